"""From a fitted estimator to the file that is served: ONNX if it scores the same, else skops."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from ml.core.store import Store, sha256
from ml.data.frames import as_rows, as_written, for_estimator
from ml.serving.manifest import ArtifactManifest, Column, Trained
from ml.serving.predictors import OnnxPredictor, Predictor, SklearnPredictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DIFFERENCE = 1e-5
CHECKED_ROWS = 10_000
SAMPLE_ROWS = 20
FILES = {"onnx": "model.onnx", "sklearn": "model.skops"}


@dataclass(frozen=True)
class Parity:
    """How far the served scores are from the estimator's, over `rows` rows."""

    rows: int
    max_difference: float
    flips: int

    @property
    def passed(self) -> bool:
        """Whether nobody could tell the two apart."""
        return self.max_difference <= MAX_DIFFERENCE and self.flips == 0


@dataclass(frozen=True)
class Export:
    """A model file that is ready to publish, and why it is in that format."""

    format: Literal["onnx", "sklearn"]
    content: bytes
    predictor: Predictor
    reason: str
    parity: Parity | None

    @property
    def digest(self) -> str:
        """The file's sha256."""
        return sha256(self.content)


@dataclass(frozen=True)
class Candidate:
    """A fitted model and all that describes its inputs."""

    project: str
    target: str
    columns: list[Column]
    estimator: Any
    trained: Trained


def export(candidate: Candidate, holdout: pl.DataFrame) -> Export:
    """Convert to ONNX and compare; on any difference keep the estimator itself."""
    try:
        content = _to_onnx(candidate)
        predictor = OnnxPredictor(_manifest(candidate, "onnx", content, [], []), content)
        parity = compare(candidate, predictor, hard_rows(holdout, candidate.columns))
    # A converter may fail in any way on an estimator it does not know; that is no error here.
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0][:200]
        return _as_sklearn(candidate, f"no ONNX form: {type(error).__name__}: {first_line}", None)
    if parity.passed:
        return Export("onnx", content, predictor, _describe(parity), parity)
    return _as_sklearn(candidate, f"ONNX scores differently: {_describe(parity)}", parity)


def publish_artifact(
    store: Store, candidate: Candidate, export: Export, holdout: pl.DataFrame
) -> str:
    """Publish model file and manifest; return the folder's URI."""
    sample = as_rows(as_written(holdout.head(SAMPLE_ROWS)), candidate.columns)
    expected = export.predictor(sample)
    manifest = _manifest(candidate, export.format, export.content, sample, expected)
    folder = f"{candidate.project}/{manifest.sha256}"
    store.create(f"{folder}/{manifest.file}", export.content)
    store.create(f"{folder}/manifest.json", manifest.model_dump_json(indent=1).encode())
    return store.uri(folder)


def compare(candidate: Candidate, predictor: Predictor, frame: pl.DataFrame) -> Parity:
    """Score rows both ways."""
    ours = np.asarray(predictor(as_rows(frame, candidate.columns)))
    theirs = scores(candidate, frame)
    flips = int(((ours > 0.5) != (theirs > 0.5)).sum())
    return Parity(len(ours), float(np.abs(ours - theirs).max()), flips)


def scores(candidate: Candidate, frame: pl.DataFrame) -> "NDArray[np.float64]":
    """Score rows with the estimator: the chance of the target."""
    table = for_estimator(frame, candidate.columns)
    return np.asarray(candidate.estimator.predict_proba(table)[:, 1], dtype=np.float64)


def hard_rows(holdout: pl.DataFrame, columns: list[Column]) -> pl.DataFrame:
    """Take real rows, and rows with missing numbers, unseen words and extreme values."""
    real = holdout.select(c.name for c in columns).head(CHECKED_ROWS)
    few = real.head(50)
    floats = [c.name for c in columns if c.type == "float"]
    numbers = [c.name for c in columns if c.type in ("int", "float")]
    words = [c.name for c in columns if c.type == "str"]
    variants = [
        real,
        few.with_columns(pl.lit(None, real.schema[name]).alias(name) for name in floats),
        *(few.with_columns(pl.lit(None, real.schema[n]).alias(n)) for n in floats),
        *(few.with_columns(pl.lit("never seen").alias(name)) for name in words),
        few.with_columns(pl.lit("").alias(name) for name in words),
        few.with_columns(_constant(real[name], real[name].min(), 0.1) for name in numbers),
        few.with_columns(_constant(real[name], real[name].max(), 10) for name in numbers),
    ]
    return pl.concat(variants)


def _constant(column: pl.Series, value: Any, factor: float) -> pl.Expr:  # noqa: ANN401
    return pl.lit((value or 0) * factor).cast(column.dtype).alias(column.name)


def _to_onnx(candidate: Candidate) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    inputs = [
        (c.name, StringTensorType([None, 1]) if c.type == "str" else FloatTensorType([None, 1]))
        for c in candidate.columns
    ]
    options = {id(candidate.estimator): {"zipmap": False}}
    with warnings.catch_warnings():
        # What the converter's own libraries deprecate says nothing about the model.
        warnings.simplefilter("ignore")
        graph = to_onnx(candidate.estimator, initial_types=inputs, options=options)
    return bytes(graph.SerializeToString())


def _as_sklearn(candidate: Candidate, reason: str, parity: Parity | None) -> Export:
    from skops import io as skops_io

    content = bytes(skops_io.dumps(candidate.estimator))
    manifest = _manifest(candidate, "sklearn", content, [], [])
    return Export("sklearn", content, SklearnPredictor(manifest, content), reason, parity)


def _describe(parity: Parity) -> str:
    return (
        f"largest difference {parity.max_difference:.1e}, {parity.flips} changed labels "
        f"over {parity.rows} rows"
    )


def _manifest(
    candidate: Candidate,
    form: Literal["onnx", "sklearn"],
    content: bytes,
    sample: list[dict[str, Any]],
    expected: list[float],
) -> ArtifactManifest:
    return ArtifactManifest(
        project=candidate.project,
        format=form,
        file=FILES[form],
        sha256=sha256(content),
        columns=candidate.columns,
        target=candidate.target,
        sample=sample,
        expected=expected,
        trained=candidate.trained,
    )
