"""What an estimator sees of a model's columns: the one way from values to its table.

Training, the model server, batch scoring and a model that is loaded from MLflow all take it, so
that what was fitted is what answers. Only numpy is imported, as MLflow's file carries this module
along to places that have nothing else of ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ml.serving.manifest import Column

    Array = NDArray[Any]

MISSING = "is missing"
INFINITE = "is infinite as a 32-bit number"
FLOAT32_LIMIT = float(2**128 - 2**103)
"""The least number that is infinite when it is rounded to 32 bits."""


class InputError(ValueError):
    """A column holds what the model was never meant to take."""

    def __init__(self, column: str, fault: str) -> None:
        super().__init__(f"{column} {fault}")
        self.column = column
        self.fault = fault


@dataclass(frozen=True)
class Input:
    """A column as a plain thing, which travels in a pickled model."""

    name: str
    type: str
    nullable: bool

    @classmethod
    def of(cls, column: Column) -> Input:
        """Take what counts of a manifest's column."""
        return cls(column.name, column.type, column.nullable)

    def seen(self, values: Sequence[object] | Array) -> Array:
        """Give the values as the estimator gets them; InputError for one that it must not get.

        Whole numbers are 64 bits wide; fractions are doubles that hold 32-bit values, as those
        are what the served graph computes with. A missing number is NaN, a missing text is "".
        """
        return _READERS[self.type](self, values)


def table(inputs: Sequence[Input], values: Mapping[str, Sequence[object] | Array]) -> pd.DataFrame:
    """Give all columns as the pandas table that scikit-learn gets."""
    import pandas as pd  # heavy, and the ONNX form does without

    return pd.DataFrame({one.name: one.seen(values[one.name]) for one in inputs})


def _floats(column: Input, values: Sequence[object] | Array) -> Array:
    array = np.asarray(values)
    if array.dtype.kind == "O":
        array = np.asarray([math.nan if value is None else value for value in values])
    if array.dtype.kind not in "fiu":
        raise InputError(column.name, "is not a number")
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    if not column.nullable and np.isnan(rounded).any():
        raise InputError(column.name, MISSING)
    if np.isinf(rounded).any():
        raise InputError(column.name, INFINITE)
    return rounded.astype(np.float64)


def _integers(column: Input, values: Sequence[object] | Array) -> Array:
    return _exact(column, values, np.dtype(np.int64), "iu", "is not a whole number of 64 bits")


def _booleans(column: Input, values: Sequence[object] | Array) -> Array:
    return _exact(column, values, np.dtype(np.bool_), "b", "is neither true nor false")


def _exact(
    column: Input, values: Sequence[object] | Array, wanted: np.dtype[Any], kinds: str, fault: str
) -> Array:
    if not len(values):
        return np.empty(0, wanted)
    array = np.asarray(values)
    if array.dtype.kind == "O" and any(value is None for value in array):
        raise InputError(column.name, MISSING)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError(column.name, MISSING)
    if array.dtype.kind not in kinds or not np.can_cast(array.dtype, wanted):
        raise InputError(column.name, fault)
    return array.astype(wanted)


def _words(column: Input, values: Sequence[object] | Array) -> Array:
    words = ["" if value is None else value for value in values]
    if not column.nullable and any(value is None for value in values):
        raise InputError(column.name, MISSING)
    if not all(isinstance(word, str) for word in words):
        raise InputError(column.name, "is not text")
    return np.array(words, dtype=object)


_READERS: dict[str, Callable[[Input, Sequence[object] | Array], Array]] = {
    "float": _floats,
    "int": _integers,
    "bool": _booleans,
    "str": _words,
}


class AsTrained:
    """An estimator that sees what it was trained on, whatever table it is given.

    It is what MLflow keeps, as MLflow hands on a caller's own table: doubles, None among words, and
    without the columns that may be missing.
    """

    def __init__(self, estimator: object, inputs: Sequence[Input]) -> None:
        self.estimator: Any = estimator
        self.inputs = list(inputs)

    def predict(self, frame: pd.DataFrame) -> Array:
        """The likelier class of each row; InputError for a row that it must not get."""
        return np.asarray(self.estimator.predict(self._seen(frame)))

    def predict_proba(self, frame: pd.DataFrame) -> Array:
        """The chance of each class, a row each; InputError for a row that it must not get."""
        return np.asarray(self.estimator.predict_proba(self._seen(frame)))

    def _seen(self, frame: pd.DataFrame) -> pd.DataFrame:
        return table(self.inputs, {one.name: _given(one, frame) for one in self.inputs})


def _given(one: Input, frame: pd.DataFrame) -> Sequence[object] | Array:
    if one.name not in frame.columns:
        return [None] * len(frame)
    missing, values = frame[one.name].isna().to_numpy(), frame[one.name].to_numpy()
    if not missing.any():
        return np.asarray(values)
    return [None if gone else value for gone, value in zip(missing, values.tolist(), strict=True)]
