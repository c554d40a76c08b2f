"""Whether monitoring asks for a training: not before the last one has had its time.

What was asked for stays in the data store under `<project>/retraining/`, so every later day finds
it. Days are the data's own, so a run for an older day decides as it would have then.
"""

import json
from collections.abc import Iterable
from datetime import date, timedelta

from ml.core.job import Job
from ml.core.project import Monitor
from ml.monitoring.findings import Training, Verdict
from ml.stages import Stage

ASKED = "retraining"


def training_now(job: Job, rules: Monitor, verdict: Verdict) -> Training:
    """Say whether a training is due for the day, by the trainings that are on record."""
    if verdict != Verdict.RETRAIN:
        return Training(due=False)
    trained, asked = (_days(job, folder) for folder in (Stage.TRAIN, ASKED))
    return weigh(rules.cool_down, job.as_of, trained, asked)


def weigh(cool_down: int, as_of: date, trained: set[date], asked: set[date]) -> Training:
    """Say whether a training for `as_of` is due.

    `trained` are days for which one is on record, `asked` those for which monitoring asked for
    one. A later day counts too: training for an older one would only make an older model.
    """
    first = as_of - timedelta(days=cool_down)
    # Who has asked for this very day asks again: the run has the same id, so there is but one.
    recent = {day for day in trained | (asked - {as_of}) if day > first}
    if not recent:
        return Training(due=True)
    last = max(recent)
    what = "there is a training" if last in trained else "monitoring has asked for a training"
    when = "later" if last > as_of else f"less than {cool_down} days before"
    note = f"{what} for {last}" + ("" if last == as_of else f", {when}")
    return Training(due=False, note=note)


def ask_for_training(job: Job, reason: str) -> None:
    """Leave a note that a training was asked for this day; a second one changes nothing."""
    content = json.dumps({"as_of": str(job.as_of), "reason": reason}).encode()
    job.stores.data.create(f"{job.project}/{ASKED}/dt={job.as_of}/asked.json", content)


def _days(job: Job, folder: str) -> set[date]:
    return set(_dates(job.stores.data.sizes(f"{job.project}/{folder}/")))


def _dates(paths: Iterable[str]) -> Iterable[date]:
    for path in paths:
        parts = [part for part in path.split("/") if part.startswith("dt=")]
        if parts:
            yield date.fromisoformat(parts[0].removeprefix("dt="))
