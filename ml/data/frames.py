"""One table of features as each reader wants it: the estimator, the server, the manifest."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.data.daily_features import ID
from ml.serving.manifest import Column, FeatureType

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ml.serving.predictors import Predictor

BATCH_ROWS = 20_000


def columns_of(frame: pl.DataFrame, target: str) -> list[Column]:
    """List the model's inputs; BadInputError when a whole number or a Boolean is missing."""
    return [
        _column(frame[name])
        for name, dtype in frame.schema.items()
        # A day or a time says when a row is; features() returns none to learn from.
        if name not in (ID, target) and not dtype.is_temporal()
    ]


def _column(values: pl.Series) -> Column:
    kind = kind_of(values.dtype)
    if kind in ("int", "bool") and values.null_count():
        raise BadInputError(
            f"feature '{values.name}' is {values.dtype} and has nulls; "
            "cast it to Float64 in features(), as only floats and strings may be missing"
        )
    nullable = kind == "float" or bool(values.null_count())
    return Column(name=values.name, type=kind, nullable=nullable)


def kind_of(dtype: pl.DataType) -> FeatureType:
    """Return which of a request's four types a feature is."""
    if dtype == pl.String:
        return "str"
    if dtype == pl.Boolean:
        return "bool"
    return "int" if dtype.is_integer() else "float"


def for_estimator(frame: pl.DataFrame, columns: list[Column]) -> "pd.DataFrame":
    """Give scikit-learn a pandas table: missing numbers NaN, missing strings ''."""
    import pandas as pd

    chosen = frame.select(
        pl.col(c.name).fill_null("") if c.type == "str" else pl.col(c.name) for c in columns
    )
    # Doubles that hold 32-bit values: what is fitted is what the served graph sees, and a caller
    # of the MLflow model may pass ordinary doubles.
    doubles = chosen.with_columns(pl.col(pl.Float32).cast(pl.Float64))
    # Column by column, as polars' own conversion of a whole table needs pyarrow.
    return pd.DataFrame({column.name: column.to_numpy() for column in doubles})


def as_rows(frame: pl.DataFrame, columns: list[Column]) -> list[dict[str, Any]]:
    """Give the server's predictor rows as a request would hold them."""
    return frame.select(c.name for c in columns).to_dicts()


def predict(
    predictor: "Predictor", frame: pl.DataFrame, columns: list[Column]
) -> "NDArray[np.float64]":
    """Score a table some rows at a time: as a request holds them, rows take much room."""
    parts = [predictor(as_rows(part, columns)) for part in frame.iter_slices(BATCH_ROWS)]
    return np.array([score for part in parts for score in part], dtype=np.float64)


def as_written(frame: pl.DataFrame) -> pl.DataFrame:
    """Give 32-bit numbers as a person would write them: 35.6, not 35.599998474121094.

    The shortest decimals that mean the same 32-bit numbers, so nothing is lost.
    """
    return frame.with_columns(pl.col(pl.Float32).cast(pl.String).cast(pl.Float64))
