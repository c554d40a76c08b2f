"""The feature that tells the target by itself: where to look when a score is too good."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ml.data.frames import kind_of
from ml.serving.manifest import Column
from ml.training.intervals import auc

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Telling:
    """A feature, and the AUC that it has alone."""

    column: str
    score: float


def most_telling(frame: pl.DataFrame, columns: list[Column], target: str) -> Telling:
    """Find the feature that alone orders the rows best."""
    labels = frame[target].to_numpy()
    found = (Telling(c.name, _alone(frame[c.name], labels)) for c in columns)
    return max(found, key=lambda one: one.score)


def _alone(values: pl.Series, labels: "NDArray[np.bool_]") -> float:
    """Return the best AUC of a feature's values: either way round, missing ones low or high."""
    read = _rates if kind_of(values.dtype) == "str" else _numbers
    scores = [auc(labels, order) for order in read(values, labels)]
    return max(max(score, 1 - score) for score in scores)


def _numbers(values: pl.Series, _: "NDArray[np.bool_]") -> Iterator["NDArray[np.float64]"]:
    numbers = values.cast(pl.Float64)
    for instead in (-np.inf, np.inf):
        yield numbers.fill_null(instead).fill_nan(instead).to_numpy()


def _rates(words: pl.Series, labels: "NDArray[np.bool_]") -> Iterator["NDArray[np.float64]"]:
    """Give each word the share of positives among it in the other half of the rows.

    By its own rows a word that is there once would always be right.
    """
    table = pl.DataFrame({"word": words, "label": labels})
    halves = table.with_row_index("row").with_columns(half=pl.col("row") % 2)
    rates = halves.group_by("word", "half").agg(rate=pl.col("label").mean())
    others = rates.with_columns(half=1 - pl.col("half").cast(pl.Int64))
    mine = halves.with_columns(pl.col("half").cast(pl.Int64))
    joined = mine.join(others, on=["word", "half"], how="left", nulls_equal=True)
    yield joined.sort("row")["rate"].fill_null(float(labels.mean())).to_numpy()
