"""From a fitted estimator to the file that is served: ONNX if it scores the same, else itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.core.errors import BadInputError
from ml.core.store import Store, sha256
from ml.data.frames import as_rows, as_written, for_estimator
from ml.serving.inputs import FLOAT32_LIMIT
from ml.serving.manifest import ArtifactManifest, Column, ModelFormat, Trained
from ml.serving.predictors import OnnxPredictor, Predictor, SklearnPredictor
from ml.serving.refusals import Halving, ask
from ml.training.forms import UnservableError, onnx, pickled, skops, try_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DIFFERENCE = 1e-5
CHECKED_ROWS = 10_000
SAMPLE_ROWS, SEARCHED_ROWS = 20, 200
# In the order in which they are tried.
FILES: dict[ModelFormat, str] = {
    "onnx": "model.onnx",
    "sklearn": "model.skops",
    "cloudpickle": "model.pkl",
}


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

    format: ModelFormat
    content: bytes
    predictor: Predictor
    reason: str

    @property
    def digest(self) -> str:
        """The file's sha256."""
        return sha256(self.content)


@dataclass(frozen=True)
class Candidate:
    """A fitted model, the model.py that made it, and all that describes its inputs."""

    project: str
    module: ModuleType
    target: str
    columns: list[Column]
    estimator: Any
    trained: Trained


def export(candidate: Candidate, holdout: pl.DataFrame, packages: Sequence[str] = ()) -> Export:
    """Make the first file that scores as the estimator does, on hard rows too.

    `packages` are those that the model server has beyond ours. Raises BadInputError when there is
    no such file.
    """
    hard = hard_rows(holdout, candidate.columns)
    trained = answers(candidate, hard)
    objections: list[str] = []
    for form in FILES:
        try:
            content, predictor = _made(candidate, form)
            parity = _parity(_scores(candidate, predictor, hard), trained)
            if not parity.passed:
                objections.append(f"{_NAMES[form]} scores differently: {_describe(parity)}")
                continue
            if form != "onnx":  # its graph needs nothing but the runtime
                sample = sample_of(candidate, predictor, holdout)
                try_out(_manifest(candidate, form, content, *sample), content, packages)
        # A converter may fail in any way on an estimator it does not know; that is no error here.
        except Exception as error:
            objections.append(f"no {_NAMES[form]} form: {_first_line(error)}")
            continue
        return Export(form, content, predictor, "; ".join(objections) or _describe(parity))
    raise BadInputError(
        f"what model() of '{candidate.project}' fits can't be served as it was trained: "
        + "; ".join(objections)
    )


_NAMES: dict[ModelFormat, str] = {"onnx": "ONNX", "sklearn": "skops", "cloudpickle": "cloudpickle"}


def _made(candidate: Candidate, form: ModelFormat) -> tuple[bytes, Predictor]:
    if form == "onnx":
        content = onnx(candidate.estimator, candidate.columns)
        return content, OnnxPredictor(_manifest(candidate, form, content, [], []), content)
    keep = skops if form == "sklearn" else pickled
    content = keep(candidate.estimator, candidate.module)
    return content, SklearnPredictor(_manifest(candidate, form, content, [], []), content)


def _first_line(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0][:200]
    return (
        first_line
        if isinstance(error, UnservableError)
        else f"{type(error).__name__}: {first_line}"
    )


def sample_of(
    candidate: Candidate, predictor: Predictor, holdout: pl.DataFrame
) -> tuple[list[dict[str, Any]], list[float]]:
    """Take rows that have a score, as a person would write them, and their scores."""
    rows = as_rows(as_written(holdout.head(SEARCHED_ROWS)), candidate.columns)
    answered = ask(predictor, rows)
    refused = {refusal.row for refusal in answered.refusals}
    good = [n for n in range(len(rows)) if n not in refused][:SAMPLE_ROWS]
    if not good:
        raise BadInputError(
            f"model() of '{candidate.project}' scores none of the first {len(rows)} rows of the "
            f"holdout: the first {answered.refusals[0]}"
        )
    return [rows[n] for n in good], [answered.scores[n] for n in good]


def publish_artifact(
    store: Store, candidate: Candidate, export: Export, holdout: pl.DataFrame
) -> str:
    """Publish model file and manifest; return the folder's URI."""
    sample, expected = sample_of(candidate, export.predictor, holdout)
    manifest = _manifest(candidate, export.format, export.content, sample, expected)
    folder = f"{candidate.project}/{manifest.sha256}"
    store.create(f"{folder}/{manifest.file}", export.content)
    store.create(f"{folder}/manifest.json", manifest.model_dump_json(indent=1).encode())
    return store.uri(folder)


def compare(candidate: Candidate, predictor: Predictor, frame: pl.DataFrame) -> Parity:
    """Score rows both ways."""
    return _parity(_scores(candidate, predictor, frame), answers(candidate, frame))


def _scores(
    candidate: Candidate, predictor: Predictor, frame: pl.DataFrame
) -> "NDArray[np.float64]":
    return np.asarray(ask(predictor, as_rows(frame, candidate.columns)).scores)


def _parity(ours: "NDArray[np.float64]", theirs: "NDArray[np.float64]") -> Parity:
    """Compare row by row; a row that only one of the two refuses is infinitely far off."""
    flips = int(((ours > 0.5) != (theirs > 0.5)).sum())
    gaps = np.where(np.isnan(ours) & np.isnan(theirs), 0.0, np.abs(ours - theirs))
    return Parity(len(ours), float(np.nan_to_num(gaps, nan=np.inf).max()), flips)


def answers(candidate: Candidate, frame: pl.DataFrame) -> "NDArray[np.float64]":
    """Score rows with the estimator as it was fitted; NaN for each that it refuses."""
    asked = Halving(frame.height, lambda some: scores(candidate, frame[list(some)]).tolist())
    return np.asarray(asked.scores)


def scores(candidate: Candidate, frame: pl.DataFrame) -> "NDArray[np.float64]":
    """Score rows with the estimator: the chance of the target."""
    table = for_estimator(frame, candidate.columns)
    return np.asarray(candidate.estimator.predict_proba(table)[:, 1], dtype=np.float64)


def hard_rows(holdout: pl.DataFrame, columns: list[Column]) -> pl.DataFrame:
    """Take real rows, and rows with unseen words, extreme values, and missing where that may be."""
    real = holdout.select(c.name for c in columns).head(CHECKED_ROWS)
    few = real.head(50)
    optional = [c.name for c in columns if c.nullable]
    numbers = [c.name for c in columns if c.type in ("int", "float")]
    words = [c.name for c in columns if c.type == "str"]
    variants = [
        real,
        few.with_columns(pl.lit(None, real.schema[name]).alias(name) for name in optional),
        *(few.with_columns(pl.lit(None, real.schema[n]).alias(n)) for n in optional),
        *(few.with_columns(pl.lit("never seen").alias(name)) for name in words),
        few.with_columns(pl.lit("").alias(name) for name in words),
        few.with_columns(_constant(real[name], real[name].min(), 0.1) for name in numbers),
        few.with_columns(_constant(real[name], real[name].max(), 10) for name in numbers),
    ]
    return pl.concat(variants)


def _constant(column: pl.Series, value: Any, factor: float) -> pl.Expr:  # noqa: ANN401
    """Go beyond what was seen, but not beyond what the column's type can hold."""
    wanted = (value or 0) * factor
    if column.dtype.is_integer():
        wanted = min(max(int(wanted), -(2**63)), 2**63 - 1)
    elif abs(wanted) >= FLOAT32_LIMIT:
        wanted = value
    return pl.lit(wanted).cast(column.dtype).alias(column.name)


def _describe(parity: Parity) -> str:
    return (
        f"largest difference {parity.max_difference:.1e}, {parity.flips} changed labels "
        f"over {parity.rows} rows"
    )


def _manifest(
    candidate: Candidate,
    form: ModelFormat,
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
