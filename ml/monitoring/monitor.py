"""monitor: measure the predictions of the last days, and decide how the model in use does."""

from dataclasses import dataclass

import polars as pl

from ml.core.errors import BadInputError
from ml.core.fingerprint import code_digest, fingerprint, versions
from ml.core.job import Job, log
from ml.core.ledger import Outcome, once, publish
from ml.core.project import ProjectSpec, read_project
from ml.core.record import Result
from ml.monitoring.daily_runs import write_days
from ml.monitoring.findings import MONITORING, GateRecord, Measures, Model, Monitoring, Reading
from ml.monitoring.gate_records import gate_record
from ml.monitoring.measures import measure
from ml.monitoring.observed import Known, Scored, labels, rows, scored, together
from ml.monitoring.retraining import ask_for_training, training_now
from ml.monitoring.signals import decide, predictions, quality
from ml.registry.tracking import champion, connected
from ml.stages import Stage
from ml.training.clusters import BY_DAY


@dataclass(frozen=True)
class Seen:
    """What a window holds: every model's days, and the model in use over all of them."""

    readings: list[Reading]
    model: Model
    window: Measures
    gate: GateRecord | None


def run(job: Job) -> Result:
    """Look at the window that ends on the day asked for."""
    project = read_project(job.project, job.settings.projects_path)
    spec = project.spec
    current = _champion(job)
    days = spec.monitor.until(job.as_of)
    parts = scored(job, days)
    model = in_use(job, parts, current)
    known = labels(job, parts, project)
    key = fingerprint(
        stage=Stage.MONITOR,
        model=model.model_dump(),
        predictions=[(str(part.day), part.output.sha256, part.refused) for part in parts],
        labels=[
            (str(day), model.model_dump(), found.output.sha256, found.target)
            for (day, model), found in known.items()
        ],
        rules=spec.monitor.model_dump(),
        clusters=spec.gate.clusters,
        code=code_digest(__name__),
        versions=versions("polars", "numpy"),
    )

    def work(folder: str) -> Outcome:
        found = judge(job, spec, look(job, parts, known, model, spec.gate.clusters), current)
        log.info("%s: %s", found.decision, found.reason)
        if found.training.due:
            ask_for_training(job, found.reason)
        content = found.model_dump_json(indent=1).encode()
        output = publish(job.stores.data, folder, f"{MONITORING}.json", content, None)
        return Outcome({MONITORING: output}, _facts(found))

    return once(job, Stage.MONITOR, key, work)


def _champion(job: Job) -> str:
    found = champion(job)
    if found is None:
        raise BadInputError(
            f"{job.project} has no champion in MLflow, so no model is in use: "
            "run ml_training_pipeline until one is rolled out"
        )
    return found.version


def in_use(job: Job, parts: list[Scored], current: str) -> Model:
    """Tell whose predictions of the day count: the champion's, or those of the latest version.

    Raises BadInputError when there are no predictions of the day.
    """
    today = [part.model for part in parts if part.day == job.as_of]
    if not today:
        where = job.stores.data.uri(f"{job.project}/{Stage.SCORE}/dt={job.as_of}/")
        raise BadInputError(
            f"there are no predictions of {job.project} for {job.as_of} (nothing under {where}): "
            "run batch_prediction_pipeline for that day first"
        )
    return next((model for model in today if model.version == current), today[-1])


def look(job: Job, parts: list[Scored], known: Known, model: Model, clusters: list[str]) -> Seen:
    """Measure every day and the model's whole window, and write the days to MLflow."""
    frames = [rows(job, part, known, clusters) for part in parts]
    own = [n for n, part in enumerate(parts) if part.model == model]
    refused = sum(parts[n].refused for n in own)
    window = measure(together(frames[n] for n in own), refused, clusters)
    with connected(job) as client:
        gates = {one: gate_record(job, client, one) for one in {part.model for part in parts}}
        readings = [
            _reading(part, frame, clusters, gates[part.model])
            for part, frame in zip(parts, frames, strict=True)
        ]
        readings = write_days(job, client, readings)
    return Seen(readings, model, window, gates[model])


def _reading(
    part: Scored, frame: pl.DataFrame, clusters: list[str], gate: GateRecord | None
) -> Reading:
    # How days differ is no doubt about a day of itself: what is left is what differs within it.
    measures = measure(frame, part.refused, [name for name in clusters if name != BY_DAY])
    return Reading(
        day=part.day, model=part.model, measures=measures, reasons=part.reasons, gate=gate
    )


def judge(job: Job, spec: ProjectSpec, seen: Seen, current: str) -> Monitoring:
    """Ask every signal, and decide."""
    rules = spec.monitor
    days = sum(reading.model == seen.model for reading in seen.readings)
    signals = [
        quality(rules, seen.window, seen.gate, days),
        predictions(rules, seen.readings, job.as_of),
    ]
    decision, reason = decide(signals)
    return Monitoring(
        project=job.project,
        title=spec.title,
        as_of=job.as_of,
        rules=rules,
        model=seen.model,
        gate=seen.gate,
        champion=current,
        readings=seen.readings,
        window=seen.window,
        signals=signals,
        decision=decision,
        reason=reason,
        training=training_now(job, rules, decision),
    )


def _facts(found: Monitoring) -> dict[str, object]:
    today = next(r for r in found.readings if (r.day, r.model) == (found.as_of, found.model))
    auc, gate = found.window.auc, found.gate
    return {
        "decision": found.decision,
        "reason": found.reason,
        "start_training": found.training.due,
        "training_note": found.training.note,
        "version": found.model.version,
        "auc": round(auc.value, 4) if auc else None,
        "gate_auc": round(gate.auc.value, 4) if gate else None,
        "labelled": found.window.labelled,
        "scored": found.window.scored,
        "refused": found.window.refused,
        "run_id": today.run_id,
    }
