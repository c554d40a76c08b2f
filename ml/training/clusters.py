"""Which rows belong together: those of a day, of an hour, or of what project.yaml names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.data.daily_features import TIME, has_time
from ml.data.parts import DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

BY_DAY, BY_HOUR = "day", "hour"
ENOUGH_DAYS = 20
"""As many days are clusters enough; fewer are cut into their hours, where rows have a time."""


def clusters_of(frame: pl.DataFrame, names: Sequence[str]) -> "NDArray[np.int64]":
    """Number the cluster of each row, from 0; rows that are alike in all of `names` share one.

    `day` and `hour` are those of a row's own; other names are columns. Without names it is the
    day, or the hour where there are few days and rows have a time. A row that lacks a value
    belongs to the others of its day that do. Raises BadInputError for a name that isn't there.
    """
    if DAY not in frame.columns:
        raise BadInputError("the holdout does not say of which day its rows are: run split again")
    places = np.zeros(frame.height, np.int64)
    for name in names or [_usual(frame)]:
        places = _numbered(places, pl.struct(_place(frame, name)), frame)
    return places


def _usual(frame: pl.DataFrame) -> str:
    few = frame[DAY].n_unique() < ENOUGH_DAYS
    return BY_HOUR if few and has_time(frame.schema) else BY_DAY


def _place(frame: pl.DataFrame, name: str) -> list[pl.Expr]:
    if name == BY_DAY:
        return [pl.col(DAY)]
    if name == BY_HOUR:
        if not has_time(frame.schema):
            raise BadInputError(
                f"gate.clusters names '{BY_HOUR}', but features() returns no '{TIME}', a datetime"
            )
        return _or_day(pl.col(TIME).dt.truncate("1h"))
    if name not in frame.columns:
        raise BadInputError(f"gate.clusters names '{name}', which features() does not return")
    return _or_day(pl.col(name))


def _or_day(value: pl.Expr) -> list[pl.Expr]:
    return [value.alias("value"), pl.when(value.is_null()).then(pl.col(DAY)).alias("instead")]


def _numbered(
    before: "NDArray[np.int64]", place: pl.Expr, frame: pl.DataFrame
) -> "NDArray[np.int64]":
    """Cut clusters further by where each row is."""
    here = frame.select(place.rank("dense")).to_series().to_numpy().astype(np.int64)
    return np.unique(before * (here.max(initial=0) + 1) + here, return_inverse=True)[1]
