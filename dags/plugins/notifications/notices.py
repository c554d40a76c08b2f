"""What the end of a run, or its being late, means to people, and the message that tells them.

Knows neither Airflow nor who is told: plain data comes in, a notice goes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

ROLLED_BACK_EXIT = 4
"""The exit code of a roll-out whose checks failed, after it took itself back."""


class Event(StrEnum):
    """What can happen to a run that somebody may want to know."""

    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"
    DRIFT = "drift"
    LATE = "late"


_OF_DECISION = {"refuse": Event.REFUSED, "watch": Event.DRIFT, "retrain": Event.DRIFT}

_HEADLINE = {
    Event.SUCCESS: "The run ended well.",
    Event.FAILURE: "The run failed. Nothing after the failed task was done.",
    Event.REFUSED: "The new model was refused. The champion stays.",
    Event.ROLLED_BACK: "The new model was taken back. Users get what they had before.",
    Event.DRIFT: "What the model sees or answers has changed.",
    Event.LATE: "The run takes much longer than it usually does, and goes on.",
}

_CAUSES = {
    "timed_out": "the run took longer than its DAG allows a run",
    "all_tasks_deadlocked": "none of the tasks that are left can ever start",
}


@dataclass(frozen=True)
class TaskEnd:
    """How one task of the run ended.

    `said` is what the task returned, when it returned a dict; `failure` is what was noted when it
    failed: `error`, a sentence, and for a stage `exit_code`. Either may be empty.
    """

    task_id: str
    state: str
    ended: datetime | None = None
    map_index: int = -1
    said: Mapping[str, Any] = field(default_factory=dict)
    failure: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the task's id, with its number when it is one of many of the same."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def complaint(self) -> str:
        """Return which task failed and its own sentence, or where to look for one."""
        return f"{self.name}: {self.failure.get('error') or 'it left no word why; see its log'}"


@dataclass(frozen=True)
class RunEnd:
    """A run that has just ended, well or not; `cause` is Airflow's own word for why."""

    dag_id: str
    run_id: str
    succeeded: bool
    cause: str = ""
    project: str = ""
    day: str = ""
    tasks: Sequence[TaskEnd] = ()

    @property
    def failed(self) -> list[TaskEnd]:
        """Return the tasks that failed, the first one first."""
        return [task for task in self._in_order() if task.state == "failed"]

    @property
    def idle(self) -> bool:
        """Return whether there was nothing to do: it ended well, and not one task ran."""
        # Airflow also skips what is left of a run that takes too long, and that may be all of it.
        skipped = bool(self.tasks) and all(task.state == "skipped" for task in self.tasks)
        return self.succeeded and skipped

    def last_said(self, key: str) -> Mapping[str, Any]:
        """Return what the last task with a word on `key` returned; empty when there is none."""
        found = [task.said for task in self._in_order() if task.said.get(key) is not None]
        return found[-1] if found else {}

    def _in_order(self) -> list[TaskEnd]:
        return sorted(self.tasks, key=lambda task: task.ended or datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True)
class LateRun:
    """A run that still goes on after `due`, the time by which it should have ended."""

    dag_id: str
    run_id: str
    due: datetime
    project: str = ""
    day: str = ""


@dataclass(frozen=True)
class Places:
    """Where people find Airflow and MLflow, as their browsers know them."""

    airflow: str
    mlflow: str


@dataclass(frozen=True)
class Notice:
    """One message: the title begins with the event, the body is Markdown."""

    event: Event
    title: str
    body: str


def event_of(run: RunEnd) -> tuple[Event, str]:
    """Return what a run's end means, and why; the reason of a plain success is empty.

    A failure outdoes any decision. Of several decisions the last counts, as a person may have
    overruled the first.
    """
    if not run.succeeded:
        codes = {task.failure.get("exit_code") for task in run.failed}
        return Event.ROLLED_BACK if ROLLED_BACK_EXIT in codes else Event.FAILURE, _blame(run)
    said = run.last_said("decision")
    event = _OF_DECISION.get(str(said.get("decision")))
    if event is None:
        return Event.SUCCESS, ""
    return event, str(said.get("reason") or f"the decision was {said['decision']}")


def _blame(run: RunEnd) -> str:
    if not run.failed:
        return _CAUSES.get(run.cause) or run.cause or "no task failed; see the run"
    first, *others = run.failed
    more = ", ".join(task.name for task in others[:5])
    return first.complaint + (f" ({len(others)} more failed: {more})" if others else "")


def notice_of(run: RunEnd, places: Places) -> Notice:
    """Write the message about a run's end."""
    event, reason = event_of(run)
    return Notice(event, _title(event, run), "\n\n".join(_paragraphs(run, event, reason, places)))


def late_notice_of(run: LateRun, places: Places) -> Notice:
    """Write the message about a run that is late."""
    paragraphs = (
        _HEADLINE[Event.LATE],
        *([f"Model: {_code(run.project)}"] if run.project else []),
        f"Why: {_code(f'it should have ended by {run.due:%Y-%m-%d %H:%M} UTC')}",
        f"[Airflow run]({_run_link(run, places)})",
    )
    return Notice(Event.LATE, _title(Event.LATE, run), "\n\n".join(paragraphs))


def _title(event: Event, run: RunEnd | LateRun) -> str:
    about = " ".join(part for part in (run.project, run.day) if part) or run.run_id
    return f"{event}: {about} ({run.dag_id})"


def _paragraphs(run: RunEnd, event: Event, reason: str, places: Places) -> Iterator[str]:
    yield _HEADLINE[event]
    if run.project:
        version = run.last_said("version").get("version")
        yield f"Model: {_code(run.project + (f' version {version}' if version else ''))}"
    if reason:
        yield f"Why: {_code(reason)}"
    if summary := run.last_said("summary").get("summary"):
        yield f"Result: {_code(str(summary))}"
    yield f"[Airflow run]({_airflow_link(run, places)})"
    if link := _mlflow_link(run, places):
        yield link


def _code(text: str) -> str:
    """Keep a text as it is: underscores and stars in it are no Markdown."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def _run_link(run: RunEnd | LateRun, places: Places) -> str:
    return f"{places.airflow}/dags/{quote(run.dag_id, '')}/runs/{quote(run.run_id, '')}"


def _airflow_link(run: RunEnd, places: Places) -> str:
    link = _run_link(run, places)
    # Someone who is told of a failure wants that task's log.
    return f"{link}/tasks/{quote(run.failed[0].task_id, '')}" if run.failed else link


def _mlflow_link(run: RunEnd, places: Places) -> str:
    said = run.last_said("run_id")
    if not said:
        return ""
    # MLflow finds the run's experiment by itself.
    return f"[MLflow run]({places.mlflow}/#/runs/{quote(str(said['run_id']), '')})"
