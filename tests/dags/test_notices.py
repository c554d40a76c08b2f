"""What the end of a run means, and what people read about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from notifications.notices import (
    Event,
    LateRun,
    Places,
    RunEnd,
    TaskEnd,
    event_of,
    late_notice_of,
    notice_of,
)

PLACES = Places("https://airflow.example.org", "https://mlflow.example.org")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEPLOY = {"decision": "deploy", "reason": "auc 0.71 is over 0.70", "version": "3"}
REFUSE = {"decision": "refuse", "reason": "auc 0.51 is under 0.55", "version": "3"}


def task(name: str, minute: int | None, state: str = "success", **left: Any) -> TaskEnd:
    ended = None if minute is None else NOON + timedelta(minutes=minute)
    return TaskEnd(name, state, ended, **left)


def broke(name: str, minute: int, error: str = "", **failure: Any) -> TaskEnd:
    return task(name, minute, "failed", failure={"error": error, **failure} if error else {})


def run(*tasks: TaskEnd, succeeded: bool = True, cause: str = "") -> RunEnd:
    return RunEnd(
        dag_id="ml_training_pipeline",
        run_id="manual__2013-03-01T00:00:00+00:00",
        succeeded=succeeded,
        cause=cause,
        project="flights",
        day="2013-03-01",
        tasks=tasks,
    )


def red(*tasks: TaskEnd, cause: str = "task_failure") -> RunEnd:
    return run(*tasks, succeeded=False, cause=cause)


CASES = {
    "nothing decided": (run(task("a", 1)), Event.SUCCESS, ""),
    "no tasks at all": (run(), Event.SUCCESS, ""),
    "deployed": (run(task("register", 1, said=DEPLOY)), Event.SUCCESS, ""),
    "refused": (run(task("register", 1, said=REFUSE)), Event.REFUSED, "auc 0.51 is under 0.55"),
    "a person refused what the gate would deploy": (
        run(
            task("keep_champion", 3, said=REFUSE | {"reason": "ana said no"}),
            task("register", 1, said=DEPLOY),
        ),
        Event.REFUSED,
        "ana said no",
    ),
    "a task after the decision says nothing of it": (
        run(task("register", 1, said=REFUSE), task("fin", 9, said={"decision": None})),
        Event.REFUSED,
        "auc 0.51 is under 0.55",
    ),
    "refused without a reason": (
        run(task("register", 1, said={"decision": "refuse"})),
        Event.REFUSED,
        "the decision was refuse",
    ),
    "healthy": (run(task("monitor", 1, said={"decision": "healthy"})), Event.SUCCESS, ""),
    "to be watched": (
        run(task("monitor", 1, said={"decision": "watch", "reason": "auc fell by 0.02"})),
        Event.DRIFT,
        "auc fell by 0.02",
    ),
    "to be trained again": (
        run(task("monitor", 1, said={"decision": "retrain", "reason": "auc fell by 0.1"})),
        Event.DRIFT,
        "auc fell by 0.1",
    ),
    "a decision that is none of ours": (
        run(task("x", 1, said={"decision": "perhaps"})),
        Event.SUCCESS,
        "",
    ),
    "one task failed": (
        red(broke("data.train", 2, "train failed: no rows", exit_code=3), task("fin", None)),
        Event.FAILURE,
        "data.train: train failed: no rows",
    ),
    "failed without a word": (
        red(broke("train", 2)),
        Event.FAILURE,
        "train: it left no word why; see its log",
    ),
    "several failed, the first one counts": (
        red(broke("b", 5, "late"), broke("a", 2, "early")),
        Event.FAILURE,
        "a: early (1 more failed: b)",
    ),
    "one of many of the same": (
        red(TaskEnd("score", "failed", NOON, 3, failure={"error": "no"})),
        Event.FAILURE,
        "score[3]: no",
    ),
    "refused, and then something failed": (
        red(task("register", 1, said=REFUSE), broke("keep_champion", 2, "no")),
        Event.FAILURE,
        "keep_champion: no",
    ),
    "taken back": (
        red(broke("deployment.roll_out", 2, "roll_out failed: wrong answers", exit_code=4)),
        Event.ROLLED_BACK,
        "deployment.roll_out: roll_out failed: wrong answers",
    ),
    "a roll-out that only broke": (
        red(broke("roll_out", 2, "roll_out failed: no cluster", exit_code=1)),
        Event.FAILURE,
        "roll_out: roll_out failed: no cluster",
    ),
    "too long": (
        red(task("train", None, "skipped"), cause="timed_out"),
        Event.FAILURE,
        "the run took longer than its DAG allows a run",
    ),
    "stuck": (
        red(cause="all_tasks_deadlocked"),
        Event.FAILURE,
        "none of the tasks that are left can ever start",
    ),
    "any other cause": (red(cause="set by hand"), Event.FAILURE, "set by hand"),
    "no cause": (red(cause=""), Event.FAILURE, "no task failed; see the run"),
}


def test_a_run_in_which_nothing_ran_is_idle() -> None:
    skipped = task("wait", 1, "skipped")
    assert run(skipped, task("fin", 1, "skipped")).idle
    assert not run(skipped, task("fin", 1)).idle
    assert not run().idle


def test_a_run_that_failed_is_never_idle() -> None:
    """Airflow skips what is left of a run that takes too long, and that may be all of it."""
    skipped = task("wait", 1, "skipped")
    assert not red(skipped, task("fin", 1, "skipped"), cause="timed_out").idle


@pytest.mark.parametrize("case", CASES)
def test_end_of_a_run_is_one_event_with_a_reason(case: str) -> None:
    ended, event, reason = CASES[case]
    assert event_of(ended) == (event, reason)


def test_every_event_can_happen() -> None:
    assert {event for _, event, _ in CASES.values()} == set(Event) - {Event.LATE}


def test_late_run_is_told_as_one_that_goes_on() -> None:
    due = datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
    run = LateRun("ml_training_pipeline", "asked for", due, "flights", "2013-03-01")
    notice = late_notice_of(run, PLACES)
    assert (notice.event, notice.title) == (
        Event.LATE,
        "late: flights 2013-03-01 (ml_training_pipeline)",
    )
    assert notice.body.split("\n\n") == [
        "The run takes much longer than it usually does, and goes on.",
        "Model: `flights`",
        "Why: `it should have ended by 2026-03-01 20:30 UTC`",
        "[Airflow run](https://airflow.example.org/dags/ml_training_pipeline/runs/asked%20for)",
    ]


def test_message_says_what_which_why_and_where() -> None:
    notice = notice_of(
        red(
            task("training.train", 1, said={"run_id": "0123abcd"}),
            task("register", 2, said=DEPLOY),
            broke("deployment.roll_out", 3, "roll_out failed: 3 of 100 scores differ", exit_code=4),
        ),
        PLACES,
    )
    assert notice.title == "rolled_back: flights 2013-03-01 (ml_training_pipeline)"
    assert notice.body.split("\n\n") == [
        "The new model was taken back. Users get what they had before.",
        "Model: `flights version 3`",
        "Why: `deployment.roll_out: roll_out failed: 3 of 100 scores differ`",
        "[Airflow run](https://airflow.example.org/dags/ml_training_pipeline/runs/"
        "manual__2013-03-01T00%3A00%3A00%2B00%3A00/tasks/deployment.roll_out)",
        "[MLflow run](https://mlflow.example.org/#/runs/0123abcd)",
    ]


def test_success_carries_the_summary_of_the_work() -> None:
    notice = notice_of(run(task("score", 1, said={"summary": "840 rows, 2 refused"})), PLACES)
    assert "Result: `840 rows, 2 refused`" in notice.body
    assert "Why" not in notice.body
    assert "MLflow" not in notice.body
    assert notice.body.endswith("/runs/manual__2013-03-01T00%3A00%3A00%2B00%3A00)")


def test_dag_without_a_project_is_told_by_its_run() -> None:
    ended = RunEnd("tidy_up", "manual__1", succeeded=True)
    notice = notice_of(ended, PLACES)
    assert notice.title == "success: manual__1 (tidy_up)"
    assert "Model" not in notice.body


def test_words_of_a_task_are_no_markdown() -> None:
    notice = notice_of(red(broke("a", 1, "`x`\n**bold** _y_")), PLACES)
    assert "Why: `a: 'x' **bold** _y_`" in notice.body
