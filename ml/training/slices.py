"""Parts of the holdout, and how each would do with the candidate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.training.intervals import Interval, auc, gain_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Slice:
    """One part of the holdout, for example all flights of a carrier.

    `loss` is how much AUC it would lose by changing the champion; None without one.
    """

    column: str
    value: str
    rows: int
    candidate: float
    champion: float | None = None
    loss: Interval | None = None


@dataclass(frozen=True)
class ScoredRows:
    """Rows with what they turned out to be, what both models say of them, and their clusters."""

    labels: "NDArray[np.bool_]"
    candidate: "NDArray[np.float64]"
    champion: "NDArray[np.float64] | None"
    clusters: "NDArray[np.int64]"

    def part(self, rows: "NDArray[np.int64]") -> "ScoredRows":
        """Choose some of the rows, their clusters numbered anew."""
        return ScoredRows(
            self.labels[rows],
            self.candidate[rows],
            None if self.champion is None else self.champion[rows],
            np.unique(self.clusters[rows], return_inverse=True)[1],
        )


def slices_of(columns: list[str], holdout: pl.DataFrame, scored: ScoredRows) -> Iterator[Slice]:
    """Measure the parts of the holdout that the gate looks into, those with both classes."""
    for column in columns:
        if column not in holdout.columns:
            raise BadInputError(f"gate.slices names '{column}', which features() does not return")
        numbered = holdout.select(pl.col(column).alias("value")).with_row_index("row").drop_nulls()
        for value, rows in numbered.group_by("value").agg("row").sort("value").iter_rows():
            part = scored.part(np.asarray(rows))
            if 0 < part.labels.sum() < len(part.labels):
                yield _slice(column, str(value), part)


def _slice(column: str, value: str, part: ScoredRows) -> Slice:
    score = auc(part.labels, part.candidate)
    if part.champion is None:
        return Slice(column, value, len(part.labels), score)
    return Slice(
        column=column,
        value=value,
        rows=len(part.labels),
        candidate=score,
        champion=auc(part.labels, part.champion),
        loss=gain_interval(part.labels, part.champion, part.candidate, part.clusters),
    )
