"""One table of features as each reader wants it: the estimator, the server, the manifest."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.data.daily_features import ID
from ml.serving.inputs import INFINITE, Input, table
from ml.serving.manifest import Column, FeatureType
from ml.serving.refusals import Answers, Refusal, ask

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ml.serving.predictors import Predictor

BATCH_ROWS = 20_000


def columns_of(
    frames: Sequence[pl.DataFrame], target: str, optional: Collection[str] = ()
) -> list[Column]:
    """List the model's inputs, and which of them may be missing.

    A fraction or a text may be missing when it was in one of the frames, or is among the
    `optional`, of which the project says so. Raises BadInputError when a whole number or a Boolean
    is missing, or a fraction is infinite.
    """
    # A day or a time says when a row is; features() returns none to learn from.
    kept = (n for n, dtype in frames[0].schema.items() if not dtype.is_temporal())
    names = [name for name in kept if name not in (ID, target)]
    return [_column([frame[name] for frame in frames], name in optional) for name in names]


def _column(parts: list[pl.Series], optional: bool) -> Column:
    name, kind = parts[0].name, kind_of(parts[0].dtype)
    held = any(bool(missing(part).any()) for part in parts)
    if kind in ("int", "bool"):
        if held:
            raise BadInputError(
                f"feature '{name}' is {parts[0].dtype} and has nulls; "
                "cast it to Float64 in features(), as only floats and strings may be missing"
            )
        return Column(name=name, type=kind)
    infinite = sum(int(part.is_infinite().sum()) for part in parts if part.dtype.is_float())
    if infinite:
        raise BadInputError(f"feature '{name}' {INFINITE} in {infinite} rows")
    return Column(name=name, type=kind, nullable=held or optional)


def missing(values: pl.Series) -> pl.Series:
    """Mark what is missing; what is not a number is."""
    return values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()


def unfit(schema: pl.Schema, columns: list[Column]) -> str | None:
    """Say which column of a model a table of features does not hold as its type; None if all."""
    for column in columns:
        found = schema.get(column.name)
        if found is None:
            return f"'{column.name}' is not there"
        if kind_of(found) != column.type:
            return f"'{column.name}' is {kind_of(found)}, not {column.type}"
    return None


def kind_of(dtype: pl.DataType) -> FeatureType:
    """Return which of a request's four types a feature is."""
    if dtype == pl.String:
        return "str"
    if dtype == pl.Boolean:
        return "bool"
    return "int" if dtype.is_integer() else "float"


def for_estimator(frame: pl.DataFrame, columns: list[Column]) -> "pd.DataFrame":
    """Give scikit-learn the pandas table that it also gets on the server."""
    # Column by column, as polars' own conversion of a whole table needs pyarrow.
    return table([Input.of(c) for c in columns], {c.name: _values(frame[c.name]) for c in columns})


def _values(column: pl.Series) -> "Sequence[object] | NDArray[Any]":
    return column.to_list() if column.dtype == pl.String else column.to_numpy()


def as_rows(frame: pl.DataFrame, columns: list[Column]) -> list[dict[str, Any]]:
    """Give the server's predictor rows as a request would hold them."""
    return frame.select(c.name for c in columns).to_dicts()


def answers_of(predictor: "Predictor", frame: pl.DataFrame, columns: list[Column]) -> Answers:
    """Score a table some rows at a time: as a request holds them, rows take much room."""
    scores: list[float] = []
    refusals: list[Refusal] = []
    for part in frame.iter_slices(BATCH_ROWS):
        found = ask(predictor, as_rows(part, columns))
        refusals += [replace(one, row=one.row + len(scores)) for one in found.refusals]
        scores += found.scores
    return Answers(scores, refusals)


def predict(
    predictor: "Predictor", frame: pl.DataFrame, columns: list[Column]
) -> "NDArray[np.float64]":
    """Give a score to each row of a table; where the model has none, the mean of the others."""
    return np.array(answers_of(predictor, frame, columns).guessed, dtype=np.float64)


def as_written(frame: pl.DataFrame) -> pl.DataFrame:
    """Give 32-bit numbers as a person would write them: 35.6, not 35.599998474121094.

    The shortest decimals that mean the same 32-bit numbers, so nothing is lost.
    """
    return frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64))
