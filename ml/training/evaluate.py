"""evaluate: measure candidate and champion on the same frozen holdout, and decide between them."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.core.errors import BadInputError, StageError
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, publish, upstream
from ml.core.project import ProjectSpec, read_project
from ml.core.record import Record, Result
from ml.data.frames import as_rows, predict
from ml.data.parts import HOLDOUT, read_part
from ml.registry.tracking import Champion, champion
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import ArtifactManifest, Trained
from ml.serving.predictors import Predictor, load
from ml.stages import Stage
from ml.training.clusters import clusters_of
from ml.training.evaluation import EVALUATION
from ml.training.gate import Decision, Measured, decide
from ml.training.intervals import auc_interval, gain_interval, told_by
from ml.training.slices import ScoredRows, slices_of
from ml.training.telling import most_telling

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPLOY, REFUSE = "deploy", "refuse"
TIMED_PREDICTIONS = 60


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
        raise BadInputError(f"{error}: remove what is damaged and run train again") from error


def _rival(current: Champion | None, candidate: str, holdout: pl.DataFrame) -> Rival | None:
    """Score the holdout with the champion, unless it is the candidate itself."""
    if current is None or current.fingerprint == candidate:
        return None
    try:
        manifest, content = fetch(current.artifact, current.sha256)
        predictor = load(manifest, content)
    except ArtifactError as error:
        raise StageError(f"the champion (version {current.version}) is unreadable: {error}") from (
            error
        )
    if any(column.name not in holdout.columns for column in manifest.columns):
        return Rival(current, None, manifest.trained)
    scores = predict(predictor, holdout, manifest.columns)
    return Rival(current, scores, manifest.trained)


def measure(
    spec: ProjectSpec,
    holdout: pl.DataFrame,
    manifest: ArtifactManifest,
    predictor: Predictor,
    rival: "NDArray[np.float64] | None",
) -> Measured:
    """Measure quality with its uncertainty, parts of the holdout, and the time of a prediction."""
    gate, labels = spec.gate, holdout[spec.target].to_numpy()
    clusters = clusters_of(holdout, gate.clusters)
    scores = predict(predictor, holdout, manifest.columns)
    quality = auc_interval(labels, scores, clusters)
    easy = quality.value > gate.max_score
    return Measured(
        candidate=quality,
        latency_ms=latency(predictor, as_rows(holdout.head(TIMED_PREDICTIONS), manifest.columns)),
        clusters=told_by(labels, clusters),
        champion=None if rival is None else auc_interval(labels, rival, clusters),
        gain=None if rival is None else gain_interval(labels, scores, rival, clusters),
        slices=list(slices_of(gate.slices, holdout, ScoredRows(labels, scores, rival, clusters))),
        telling=most_telling(holdout, manifest.columns, spec.target) if easy else None,
    )


def latency(predictor: Predictor, rows: Sequence[dict[str, Any]]) -> float:
    """Return the median time of predictions of one row, in milliseconds."""
    times = []
    for row in rows:
        started = time.perf_counter()
        predictor([row])
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
