"""evaluate: measure candidate and champion on the same frozen holdout, and decide between them."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ml.core.errors import failure
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, before, once, publish, upstream
from ml.core.project import Project, ProjectSpec, read_project
from ml.core.record import Record, Result
from ml.data.frames import predict
from ml.data.parts import HOLDOUT, read_part
from ml.registry.tracking import Champion, champion
from ml.serving.artifact import ArtifactError, fetch
from ml.serving.manifest import ArtifactManifest
from ml.serving.predictors import Predictor, load
from ml.stages import Stage
from ml.training.clusters import clusters_of
from ml.training.evaluation import EVALUATION
from ml.training.intervals import auc_interval, gain_interval, told_by
from ml.training.rival import Rival, meet
from ml.training.slices import ScoredRows, slices_of
from ml.training.telling import most_telling
from ml.training.verdict import Decision, Measured, Unmeasured, decide

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEPLOY, REFUSE = "deploy", "refuse"
TIMED_PREDICTIONS = 60


def run(job: Job) -> Result:
    """Evaluate the candidate that train published."""
    project = read_project(job.project, job.settings.projects_path)
    trained = upstream(job, Stage.TRAIN)
    current = champion(job)
    key = fingerprint(
        stage=Stage.EVALUATE,
        candidate=trained.fingerprint,
        rival=rival_digest(current, trained.fingerprint),
        gate=project.spec.gate.model_dump(),
        code=code_digest(__name__),
        versions=versions("numpy", "onnxruntime"),
    )

    def work(folder: str) -> Outcome:
        return _work(job, project, trained, current, folder)

    return once(job, Stage.EVALUATE, key, work)


def rival_digest(current: Champion | None, candidate: str) -> str:
    """Name what the candidate is measured against.

    A candidate that has become the champion is not measured against itself: running its day again
    finds the decision that was taken, against the rival of that time.
    """
    if current is None:
        return ""
    return current.rival if current.fingerprint == candidate else current.sha256


def _work(
    job: Job, project: Project, trained: Record, current: Champion | None, folder: str
) -> Outcome:
    split = before(job, trained, Stage.SPLIT)
    holdout = read_part(job, split, HOLDOUT)
    manifest, predictor = _load(str(trained.facts["artifact"]), str(trained.facts["sha256"]))
    rival = meet(job, project, current, trained, holdout)
    rows = rival.rows if rival else holdout
    measured = measure(project.spec, rows, manifest, predictor, rival.scores if rival else None)
    verdict = _weigh(project.spec, measured, str(split.facts["holdout_from"]), rival)
    log.info("%s: %s", DEPLOY if verdict.deploy else REFUSE, verdict.reason)
    facts = _facts(verdict, measured, current, trained, rows.height)
    report = json.dumps(facts | {"measured": asdict(measured)}, indent=1).encode()
    output = publish(job.stores.data, folder, "evaluation.json", report, None)
    return Outcome({EVALUATION: output}, facts)


def _weigh(
    spec: ProjectSpec, measured: Measured, holdout_from: str, rival: Rival | None
) -> Decision:
    if rival and rival.scores is None:
        unmeasured = Unmeasured(rival.champion.version, rival.trouble)
        return decide(spec.gate, measured, holdout_from, None, unmeasured)
    return decide(spec.gate, measured, holdout_from, rival.trained if rival else None)


def _facts(
    verdict: Decision, measured: Measured, current: Champion | None, trained: Record, rows: int
) -> dict[str, Any]:
    return {
        "decision": DEPLOY if verdict.deploy else REFUSE,
        "reason": verdict.reason,
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
        latency_ms=latency(predictor, manifest.sample),
        clusters=told_by(labels, clusters),
        champion=None if rival is None else auc_interval(labels, rival, clusters),
        gain=None if rival is None else gain_interval(labels, scores, rival, clusters),
        slices=list(slices_of(gate.slices, holdout, ScoredRows(labels, scores, rival, clusters))),
        telling=most_telling(holdout, manifest.columns, spec.target) if easy else None,
    )


def latency(predictor: Predictor, rows: Sequence[dict[str, Any]]) -> float:
    """Return the median time of predictions of one row, in milliseconds."""
    times = []
    for turn in range(TIMED_PREDICTIONS):
        started = time.perf_counter()
        predictor([rows[turn % len(rows)]])
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
