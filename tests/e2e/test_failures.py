"""Runs that can't succeed: each is red at once, says what is wrong, and is told of."""

from __future__ import annotations

import pytest

from k8s.access import Airflow, kubectl
from tests.e2e.receiver import told_of
from tests.e2e.release import records
from tests.e2e.runs import MONITORING, SCORING, TRAINING, Run
from tests.e2e.scenes import scene

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

NEVER_LANDED = "2013-11-30"
EARLY = "2013-01-05"
"""A landed day that has no whole window of days before it, and was never scored."""


@scene(120)
def failed(client: Airflow) -> dict[str, Run]:
    """What is asked of each DAG can't be done."""
    runs = {
        "not landed": Run.start(client, SCORING, NEVER_LANDED),
        "not scored": Run.start(client, MONITORING, EARLY),
        "no history": Run.start(client, TRAINING, EARLY),
        "no sense": Run.start(client, SCORING, None, between=("2013-03-02", "2013-03-01")),
    }
    for run in runs.values():
        run.finished()
    return runs


@pytest.mark.parametrize("why", ["not landed", "not scored", "no history", "no sense"])
def test_a_run_with_a_failed_task_is_a_failed_run(failed: dict[str, Run], why: str) -> None:
    run = failed[why]
    assert run.state == "failed"
    assert "failed" in run.states.values()


def test_a_day_that_has_not_landed_fails_with_its_name(failed: dict[str, Run]) -> None:
    run = failed["not landed"]
    found = run.states
    assert (found["score"], found["summarise"]) == ("failed", "upstream_failed")
    assert f"no partition has landed for {NEVER_LANDED}" in run.log("score", 0)
    assert records("flights", "score", NEVER_LANDED) == []


def test_a_day_without_predictions_is_not_measured(failed: dict[str, Run]) -> None:
    run = failed["not scored"]
    assert (run.states["monitor"], run.tries["monitor"]) == ("failed", 1)
    assert run.states["fin"] == "upstream_failed"


def test_missing_history_fails_at_once_with_the_way_out(failed: dict[str, Run]) -> None:
    run, ingest = failed["no history"], "data_preparation.ingest"
    assert run.states[ingest] == "failed"
    assert "land --project flights" in run.log(ingest)
    assert run.tries[ingest] == 1


@pytest.mark.budget(20)
def test_failed_run_is_told_once_with_its_reason_and_links(failed: dict[str, Run]) -> None:
    run = failed["no sense"]
    (notice,) = told_of(run.run_id)
    assert notice["type"] == "failure"
    assert notice["title"].startswith("failure: flights ")
    assert "Why: `days: 'first', 2013-03-02, is after 'last', 2013-03-01`" in notice["message"]
    assert f"/dags/{SCORING}/runs/{run.run_id}/tasks/days" in notice["message"]
    logs = kubectl("logs", "deploy/slipway-airflow-scheduler", "-c", "scheduler", "--tail=-1")
    assert "sent the notice" in logs
    assert "json://" not in logs
