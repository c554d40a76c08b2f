"""evaluate: measure candidate and champion on the same frozen holdout, and decide between them."""

import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.core.errors import BadInputError, failure
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, publish, upstream
from ml.core.project import Gate, ProjectSpec, read_project
from ml.core.record import Record, Result
from ml.data.frames import as_rows
from ml.data.parts import HOLDOUT, read_part
from ml.registry.tracking import Champion, champion
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import ArtifactManifest, Trained
from ml.serving.predictors import Predictor, load
from ml.stages import Stage
from ml.training.evaluation import EVALUATION
from ml.training.intervals import Interval, auc, auc_interval, gain_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPLOY, REFUSE = "deploy", "refuse"
GUESSING = 0.5
TIMED_PREDICTIONS = 60


@dataclass(frozen=True)
class Slice:
    """One part of the holdout, for example all flights of a carrier."""

    column: str
    value: str
    rows: int
    candidate: float
    champion: float | None = None

    @property
    def loss(self) -> float:
        """How much AUC this part would lose by changing the champion."""
        return 0.0 if self.champion is None else self.champion - self.candidate


@dataclass(frozen=True)
class Measured:
    """Everything the decision rests on; `champion` and `gain` are None without a rival."""

    candidate: Interval
    latency_ms: float
    champion: Interval | None = None
    gain: Interval | None = None
    slices: list[Slice] = field(default_factory=list)


@dataclass(frozen=True)
class Decision:
    """Deploy or refuse, and why, in one sentence."""

    deploy: bool
    reason: str


@dataclass(frozen=True)
class Rival:
    """The champion as a scorer, or the reason why it cannot be compared."""

    champion: Champion
    scores: "NDArray[np.float64] | None"
    trained: Trained


def run(job: Job) -> Result:
    """Evaluate the candidate that train published."""
    spec = read_project(job.project, job.settings.projects_path).spec
    trained = upstream(job, Stage.TRAIN)
    current = champion(job)
    key = fingerprint(
        stage=Stage.EVALUATE,
        candidate=trained.fingerprint,
        rival=rival_digest(current, trained.fingerprint),
        gate=spec.gate.model_dump(),
        code=code_digest(__name__),
        versions=versions("numpy", "onnxruntime"),
    )
    return once(job, Stage.EVALUATE, key, lambda folder: _work(job, spec, trained, current, folder))


def rival_digest(current: Champion | None, candidate: str) -> str:
    """Name what the candidate is measured against.

    A candidate that has become the champion is not measured against itself: running its day again
    finds the decision that was taken, against the rival of that time.
    """
    if current is None:
        return ""
    return current.rival if current.fingerprint == candidate else current.sha256


def decide(gate: Gate, measured: Measured, holdout_from: str, rival: Trained | None) -> Decision:
    """Weigh the measurements against the gate; the first thing that speaks against it counts."""
    objection = next(_objections(gate, measured, holdout_from, rival), None)
    if objection:
        return Decision(False, objection)
    if measured.champion is None or measured.gain is None:
        versus = "there is no champion to compare it with"
    elif measured.gain.value > 0:
        versus = f"better than the champion's {measured.champion.value:.3f} by {measured.gain}"
    else:
        versus = (
            f"against the champion's {measured.champion.value:.3f} the gain is {measured.gain}, "
            f"surely above {gate.min_gain:g}, which is all that is asked"
        )
    return Decision(True, f"AUC {measured.candidate} on the holdout; {versus}")


def _objections(
    gate: Gate, measured: Measured, holdout_from: str, rival: Trained | None
) -> Iterator[str]:
    floor = GUESSING + gate.min_skill
    if not measured.candidate.low > floor:
        yield f"AUC {measured.candidate} is not surely above {floor:.3f}, the least that is asked"
    if measured.latency_ms > gate.max_latency_ms:
        yield (
            f"one prediction takes {measured.latency_ms:.1f} ms, "
            f"{gate.max_latency_ms:.1f} ms are allowed"
        )
    if rival and rival.train_until >= holdout_from:
        yield (
            f"the champion (trained for {rival.as_of}) has learnt from this holdout, "
            f"as it knows days up to {rival.train_until}: no fair comparison"
        )
    if measured.gain and not measured.gain.low > gate.min_gain:
        yield (
            f"AUC {measured.candidate.value:.3f} against the champion's "
            f"{_value(measured.champion)}: the gain {measured.gain} "
            f"is not surely above {gate.min_gain:g}"
        )
    for part in measured.slices:
        if part.rows >= gate.min_slice_rows and part.loss > gate.max_slice_loss:
            yield (
                f"{part.column} {part.value} would lose: AUC {part.candidate:.3f} "
                f"against the champion's {_value(part.champion)} over {part.rows} rows"
            )


def _value(score: Interval | float | None) -> str:
    return f"{score.value if isinstance(score, Interval) else score or 0:.3f}"


def _work(
    job: Job, spec: ProjectSpec, trained: Record, current: Champion | None, folder: str
) -> Outcome:
    split = before(job, trained, Stage.SPLIT)
    holdout = read_part(job, split, HOLDOUT)
    manifest, predictor = _load(str(trained.facts["artifact"]), str(trained.facts["sha256"]))
    rival = _rival(current, trained.fingerprint, holdout)
    measured = measure(spec, holdout, manifest, predictor, rival.scores if rival else None)
    comparable = rival.trained if rival and rival.scores is not None else None
    verdict = decide(spec.gate, measured, str(split.facts["holdout_from"]), comparable)
    log.info("%s: %s", DEPLOY if verdict.deploy else REFUSE, verdict.reason)
    facts = _facts(verdict, measured, current, trained, rival, holdout.height)
    report = json.dumps(facts | {"measured": asdict(measured)}, indent=1).encode()
    output = publish(job.stores.data, folder, "evaluation.json", report, None)
    return Outcome({EVALUATION: output}, facts)


def _facts(
    verdict: Decision,
    measured: Measured,
    current: Champion | None,
    trained: Record,
    rival: Rival | None,
    rows: int,
) -> dict[str, Any]:
    note = "" if rival is None or rival.scores is not None else " (its columns are other ones)"
    return {
        "decision": DEPLOY if verdict.deploy else REFUSE,
        "reason": verdict.reason + note,
        "candidate_score": round(measured.candidate.value, 4),
        "champion_score": None if measured.champion is None else round(measured.champion.value, 4),
        "champion_version": current.version if current else None,
        "rival": rival_digest(current, trained.fingerprint),
        "latency_ms": round(measured.latency_ms, 3),
        "holdout_rows": rows,
    }


def _load(uri: str, digest: str) -> tuple[ArtifactManifest, Predictor]:
    try:
        manifest, content = fetch(uri, digest)
        return manifest, load(manifest, content)
    except ArtifactError as error:
        sentence = f"{error}: remove what is damaged and run train again"
        raise failure(sentence, passing=error.passing) from error


def _rival(current: Champion | None, candidate: str, holdout: pl.DataFrame) -> Rival | None:
    """Score the holdout with the champion, unless it is the candidate itself."""
    if current is None or current.fingerprint == candidate:
        return None
    try:
        manifest, content = fetch(current.artifact, current.sha256)
        predictor = load(manifest, content)
    except ArtifactError as error:
        sentence = f"the champion (version {current.version}) is unreadable: {error}"
        way_out = (
            "put its files back, or take its name away (in MLflow: remove the alias champion), and "
            "the candidate is judged without it"
        )
        told = sentence if error.passing else f"{sentence}; {way_out}"
        raise failure(told, passing=error.passing) from error
    if any(column.name not in holdout.columns for column in manifest.columns):
        return Rival(current, None, manifest.trained)
    scores = np.asarray(predictor(as_rows(holdout, manifest.columns)))
    return Rival(current, scores, manifest.trained)


def measure(
    spec: ProjectSpec,
    holdout: pl.DataFrame,
    manifest: ArtifactManifest,
    predictor: Predictor,
    rival: "NDArray[np.float64] | None",
) -> Measured:
    """Measure quality with its uncertainty, parts of the holdout, and the time of a prediction."""
    rows = as_rows(holdout, manifest.columns)
    labels = holdout[spec.target].to_numpy()
    scores = np.asarray(predictor(rows))
    return Measured(
        candidate=auc_interval(labels, scores),
        latency_ms=latency(predictor, rows),
        champion=None if rival is None else auc_interval(labels, rival),
        gain=None if rival is None else gain_interval(labels, scores, rival),
        slices=list(_slices(spec.gate, holdout, labels, scores, rival)),
    )


def latency(predictor: Predictor, rows: Sequence[dict[str, Any]]) -> float:
    """Return the median time of predictions of one row, in milliseconds."""
    times = []
    for row in rows[:TIMED_PREDICTIONS]:
        started = time.perf_counter()
        predictor([row])
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _slices(
    gate: Gate,
    holdout: pl.DataFrame,
    labels: "NDArray[np.bool_]",
    scores: "NDArray[np.float64]",
    rival: "NDArray[np.float64] | None",
) -> Iterator[Slice]:
    for column in gate.slices:
        if column not in holdout.columns:
            raise BadInputError(f"gate.slices names '{column}', which features() does not return")
        for value in holdout[column].unique().sort().drop_nulls():
            chosen = (holdout[column] == value).fill_null(False).to_numpy()
            if 0 < labels[chosen].sum() < chosen.sum():
                yield Slice(
                    column=column,
                    value=str(value),
                    rows=int(chosen.sum()),
                    candidate=auc(labels[chosen], scores[chosen]),
                    champion=None if rival is None else auc(labels[chosen], rival[chosen]),
                )
