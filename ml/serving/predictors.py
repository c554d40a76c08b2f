"""Turn the bytes of a model into something that scores rows."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ml.serving.artifact import ArtifactError
from ml.serving.manifest import ArtifactManifest, Column, Row

# Scores travel as decimal text and through another CPU's float32 arithmetic.
_PARITY = 1e-4


class Predictor(Protocol):
    """A loaded model."""

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        """One score per row, in the order of the rows."""


def load(manifest: ArtifactManifest, model: bytes) -> Predictor:
    """Load the model and have it repeat the predictions that its manifest promises."""
    try:
        predictor: Predictor = (
            OnnxPredictor(manifest, model)
            if manifest.format == "onnx"
            else SklearnPredictor(manifest, model)
        )
    except ArtifactError:
        raise
    # Whatever a damaged file makes a library raise, the model can't be served.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ArtifactError(f"{manifest.file} can't be loaded: {reason}") from error
    check_parity(predictor, manifest)
    return predictor


def check_parity(predictor: Predictor, manifest: ArtifactManifest) -> None:
    """Raise ArtifactError unless the sample rows score as they did after training."""
    if not manifest.sample:
        raise ArtifactError(f"the manifest of {manifest.file} has no sample to test it with")
    scores = predictor(manifest.sample)
    worst = largest_difference(scores, manifest.expected)
    if worst > _PARITY:
        raise ArtifactError(
            f"{manifest.file} does not repeat its own predictions: off by {worst:.2g}, "
            f"{_PARITY:.0e} is allowed"
        )


def largest_difference(scores: Sequence[float], expected: Sequence[float]) -> float:
    """The greatest absolute difference; infinite for another count or a score that is NaN."""
    if len(scores) != len(expected):
        return math.inf
    gaps = [abs(a - b) for a, b in zip(scores, expected, strict=True)]
    return math.inf if any(math.isnan(gap) for gap in gaps) else max(gaps, default=0.0)


@dataclass(frozen=True)
class _Input:
    """One input of a graph, the column that it takes and the type of its tensor."""

    name: str
    column: str
    kind: str


class OnnxPredictor:
    """A graph with one input per column, run on one thread."""

    def __init__(self, manifest: ArtifactManifest, model: bytes) -> None:
        import onnxruntime as ort  # 60 MB of memory that the sklearn format does without

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._inputs = _inputs(self._session.get_inputs(), manifest)
        self._output = self._session.get_outputs()[-1].name

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        """One score per row: the chance of the positive class, or the regression's value."""
        feed = {i.name: _tensor(i.column, i.kind, rows) for i in self._inputs}
        (scores,) = self._session.run([self._output], feed)
        return _positive(scores)


def _inputs(inputs: Sequence[Any], manifest: ArtifactManifest) -> list[_Input]:
    """Pair the graph's inputs with the columns: in the columns' order, if not by name.

    A converter changes names that ONNX does not like; a wrong pair fails the parity check.
    """
    columns = {column.name for column in manifest.columns}
    if {node.name for node in inputs} <= columns:
        return [_Input(node.name, node.name, node.type) for node in inputs]
    if len(inputs) != len(manifest.columns):
        raise ArtifactError(
            f"{manifest.file} takes {len(inputs)} inputs, not {len(manifest.columns)} columns"
        )
    pairs = zip(inputs, manifest.columns, strict=True)
    return [_Input(node.name, column.name, node.type) for node, column in pairs]


def _tensor(name: str, kind: str, rows: Sequence[Row]) -> np.ndarray[Any, Any]:
    values = [row.get(name) for row in rows]
    if kind == "tensor(string)":
        text = ["" if value is None else str(value) for value in values]
        return np.array(text, dtype=object).reshape(-1, 1)
    if kind == "tensor(int64)":
        return np.array(values, dtype=np.int64).reshape(-1, 1)
    if kind == "tensor(bool)":
        return np.array(values, dtype=np.bool_).reshape(-1, 1)
    dtype = np.float64 if kind == "tensor(double)" else np.float32
    return np.array(values, dtype=dtype).reshape(-1, 1)  # None becomes NaN


def _positive(scores: np.ndarray[Any, Any]) -> list[float]:
    chosen = scores[:, -1] if scores.ndim == 2 else scores
    return [float(score) for score in chosen]


class SklearnPredictor:
    """The estimator itself, for models whose ONNX form does not score the same."""

    def __init__(self, manifest: ArtifactManifest, model: bytes) -> None:
        import pandas as pd  # heavy, and only this format needs it
        from skops import io as skops_io

        # The digest pins these bytes to what this project's own training wrote.
        trusted = skops_io.get_untrusted_types(data=model)
        self._model = skops_io.load(io.BytesIO(model), trusted=trusted)
        self._frame = pd.DataFrame
        self._columns = manifest.columns

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        """One score per row: the chance of the positive class, or the regression's value."""
        frame = self._frame({c.name: _series(c, rows) for c in self._columns})
        if hasattr(self._model, "predict_proba"):
            return _positive(np.asarray(self._model.predict_proba(frame)))
        return _positive(np.asarray(self._model.predict(frame)))


def _series(column: Column, rows: Sequence[Row]) -> np.ndarray[Any, Any]:
    values = [row.get(column.name) for row in rows]
    if column.type == "str":
        return np.array(values, dtype=object)
    if column.type == "float" or any(value is None for value in values):
        return np.array(values, dtype=np.float64)
    return np.array(values, dtype=np.bool_ if column.type == "bool" else np.int64)
