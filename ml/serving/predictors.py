"""Turn the bytes of a model into something that scores rows."""

from __future__ import annotations

import io
import math
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from ml.serving.artifact import ArtifactError, first_line
from ml.serving.inputs import Input, table
from ml.serving.manifest import ArtifactManifest, Row

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
        check_parity(predictor, manifest)
    except ArtifactError:
        raise
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"{manifest.file} needs the package {error.name}, which is not installed here"
        ) from error
    # Whatever a damaged file or a user's estimator raises, the model can't be served.
    except Exception as error:
        raise ArtifactError(f"{manifest.file} can't be loaded: {first_line(error)}") from error
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
class _Port:
    """One input of a graph, the column that it takes and the type of its tensor."""

    name: str
    column: Input
    kind: str

    def tensor(self, rows: Sequence[Row]) -> np.ndarray[Any, Any]:
        """Give the column's values as the graph takes them: what the estimator saw, once more."""
        seen = self.column.seen([row.get(self.column.name) for row in rows])
        return seen.astype(_TENSORS.get(self.kind, np.float32), copy=False).reshape(-1, 1)


_TENSORS: dict[str, Any] = {
    "tensor(string)": object,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
}


class OnnxPredictor:
    """A graph with one input per column, run on one thread."""

    def __init__(self, manifest: ArtifactManifest, model: bytes) -> None:
        import onnxruntime as ort  # 60 MB of memory that the sklearn format does without

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4  # what it can't score it raises, and that is told
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._ports = _ports(self._session.get_inputs(), manifest)
        self._output = self._session.get_outputs()[-1].name

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        """One score per row: the chance of the positive class, or the regression's value."""
        feed = {port.name: port.tensor(rows) for port in self._ports}
        (scores,) = self._session.run([self._output], feed)
        return _positive(scores)


def _ports(nodes: Sequence[Any], manifest: ArtifactManifest) -> list[_Port]:
    """Pair the graph's inputs with the columns: in the columns' order, if not by name.

    A converter changes names that ONNX does not like; a wrong pair fails the parity check.
    """
    columns = {column.name: Input.of(column) for column in manifest.columns}
    if {node.name for node in nodes} <= columns.keys():
        return [_Port(node.name, columns[node.name], node.type) for node in nodes]
    if len(nodes) != len(manifest.columns):
        raise ArtifactError(
            f"{manifest.file} takes {len(nodes)} inputs, not {len(manifest.columns)} columns"
        )
    pairs = zip(nodes, columns.values(), strict=True)
    return [_Port(node.name, column, node.type) for node, column in pairs]


def _positive(scores: np.ndarray[Any, Any]) -> list[float]:
    chosen = scores[:, -1] if scores.ndim == 2 else scores
    return [float(score) for score in chosen]


class SklearnPredictor:
    """The estimator itself, for models whose ONNX form does not score the same."""

    def __init__(self, manifest: ArtifactManifest, model: bytes) -> None:
        import pandas  # noqa: F401 - heavy, and only this format needs it: not at the first request

        self._model = _unpacked(manifest.format, model)
        self._inputs = [Input.of(column) for column in manifest.columns]

    def __call__(self, rows: Sequence[Row]) -> list[float]:
        """One score per row: the chance of the positive class, or the regression's value."""
        values = {one.name: [row.get(one.name) for row in rows] for one in self._inputs}
        frame = table(self._inputs, values)
        if hasattr(self._model, "predict_proba"):
            return _positive(np.asarray(self._model.predict_proba(frame)))
        return _positive(np.asarray(self._model.predict(frame)))


def _unpacked(form: str, model: bytes) -> Any:  # noqa: ANN401 - any estimator
    """Read an estimator; the digest pins these bytes to what this project's training wrote."""
    if form == "cloudpickle":
        return pickle.loads(model)  # noqa: S301 - see above
    with quiet_skops() as skops:
        trusted = skops.get_untrusted_types(data=model)
        return skops.load(io.BytesIO(model), trusted=trusted)


@contextmanager
def quiet_skops() -> Iterator[ModuleType]:
    """Give `skops.io`, which looks through whatever is loaded.

    What others deprecate says nothing about the model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skops import io as skops_io

        yield skops_io
