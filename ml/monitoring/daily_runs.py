"""MLflow's view of a model in use: one run for each day and version, dated to that day."""

import time
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from ml.core.fingerprint import fingerprint
from ml.core.job import Job
from ml.monitoring.findings import Model, Reading
from ml.registry.aliases import TAG
from ml.registry.tracking import experiment_id, run_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DAY, VERSION, SHA256 = f"{TAG}day", f"{TAG}version", f"{TAG}sha256"
# Tells what the metrics were made from; set last, so a run without it is not whole.
NUMBERS = f"{TAG}numbers"
WRITTEN = f"{TAG}written"
MOST = 5000
Runs = dict[tuple[str, str, str], "Run"]


def write_days(job: Job, client: "MlflowClient", readings: list[Reading]) -> list[Reading]:
    """Write each reading to its run, and return the readings with the ids of their runs.

    A run that holds the same numbers is left as it is; when more labels have arrived, the new
    numbers are added to it.
    """
    experiment = experiment_id(client, job, f"{job.project}-monitoring")
    days = [reading.day for reading in readings]
    found = _runs(client, experiment, min(days), max(days))
    written = []
    for reading in readings:
        run = found.get(_key(reading)) or _create(job, client, experiment, reading)
        _fill(job, client, run, reading)
        written.append(reading.model_copy(update={"run_id": run.info.run_id}))
    return written


def _key(reading: Reading) -> tuple[str, str, str]:
    return str(reading.day), reading.model.version, reading.model.sha256


def _runs(client: "MlflowClient", experiment: str, first: date, last: date) -> Runs:
    when = f"attributes.start_time >= {_at(first)} AND attributes.start_time <= {_at(last)}"
    found = client.search_runs([experiment], filter_string=when, max_results=MOST)
    # Of two that were made at the same moment, all sides keep the older one.
    ordered = sorted(found, key=_written, reverse=True)
    tags = [run.data.tags for run in ordered]
    keys = [(t.get(DAY, ""), t.get(VERSION, ""), t.get(SHA256, "")) for t in tags]
    return dict(zip(keys, ordered, strict=True))


def _written(run: "Run") -> tuple[int, str]:
    return int(run.data.tags.get(WRITTEN, 0)), str(run.info.run_id)


def _create(job: Job, client: "MlflowClient", experiment: str, reading: Reading) -> "Run":
    created = client.create_run(
        experiment,
        start_time=_at(reading.day),
        run_name=f"{reading.day} version {reading.model.version}",
        tags=_tags(job, reading.day, reading.model),
    )
    oldest = _runs(client, experiment, reading.day, reading.day)[_key(reading)]
    if oldest.info.run_id != created.info.run_id:
        client.delete_run(created.info.run_id)
    return oldest


def _tags(job: Job, day: date, model: Model) -> dict[str, str]:
    named = {DAY: str(day), VERSION: model.version, SHA256: model.sha256}
    return run_tags(job) | named | {WRITTEN: str(time.time_ns())}


def _fill(job: Job, client: "MlflowClient", run: "Run", reading: Reading) -> None:
    from mlflow.entities import Metric, RunTag

    metrics = metrics_of(reading)
    numbers = fingerprint(**metrics)
    if run.data.tags.get(NUMBERS) == numbers:
        return
    now = int(time.time() * 1000)
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in metrics.items()],
        tags=[RunTag(name, value) for name, value in run_tags(job).items()],
    )
    client.set_terminated(run.info.run_id, end_time=_at(reading.day + timedelta(days=1)))
    client.set_tag(run.info.run_id, NUMBERS, numbers)


def metrics_of(reading: Reading) -> dict[str, float]:
    """Name the numbers of a day as MLflow shows them; what is not known is left out."""
    seen, gate = reading.measures, reading.gate
    known: Iterable[tuple[str, float | None]] = (
        ("rows", seen.rows),
        ("scored", seen.scored),
        ("refused", seen.refused),
        ("labelled", seen.labelled),
        ("label_coverage", seen.coverage),
        ("mean_score", seen.mean_score),
        ("positive_rate", seen.positive_rate),
        ("log_loss", seen.log_loss),
        ("brier", seen.brier),
        ("auc", seen.auc.value if seen.auc else None),
        ("auc_low", seen.auc.low if seen.auc else None),
        ("auc_high", seen.auc.high if seen.auc else None),
        ("gate_auc", gate.auc.value if gate else None),
        ("auc_drop", gate.auc.value - seen.auc.value if gate and seen.auc else None),
    )
    return {name: float(value) for name, value in known if value is not None}


def _at(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
