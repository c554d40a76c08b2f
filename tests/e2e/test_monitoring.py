"""A model that became worse, on the cluster: monitoring notices, and starts one training."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from k8s.access import Airflow
from tests.e2e.release import alias
from tests.e2e.runs import MONITORING, SCORING, TRAINING, Run, wait_until_known
from tests.e2e.scenes import scene

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

PROJECT = "parcels_turning"
TRAINED, TURNED, LAST = "2013-03-08", "2013-03-09", "2013-03-10"


@dataclass(frozen=True)
class Turned:
    """The runs of monitoring, each with the trainings that had been started by then."""

    champion: str | None
    looks: list[tuple[Run, list[str]]]
    training: Run


@scene(250)
def turned(client: Airflow) -> Turned:
    """A model of the days before the turn scores two after it; the last is looked at twice."""
    wait_until_known(client, PROJECT, (TRAINING, SCORING, MONITORING))
    Run.start(client, TRAINING, TRAINED, PROJECT).green()
    champion = alias(PROJECT, "champion")
    Run.start(client, SCORING, None, PROJECT, between=(TURNED, LAST)).green()

    def look(day: str) -> tuple[Run, list[str]]:
        return Run.start(client, MONITORING, day, PROJECT).green(), trainings(client)

    first, second = look(LAST), look(LAST)
    training = Run(client, TRAINING, first[1][0])
    training.finished()
    # A training for a later day is on record now.
    third = look(TURNED)
    return Turned(champion, [first, second, third], training)


def trainings(client: Airflow) -> list[str]:
    """Return the ids of the training runs that monitoring has started."""
    pattern = f"monitoring__{PROJECT}__%"
    found = client.get(f"/dags/{TRAINING}/dagRuns", run_id_pattern=pattern, limit=100)
    return [run["dag_run_id"] for run in found["dag_runs"]]


def test_a_world_that_turned_calls_for_a_training(turned: Turned) -> None:
    assert turned.champion is not None
    for run, _ in turned.looks[:2]:
        found = run.result("report")
        assert found["decision"] == "retrain", found["reason"]
        assert run.states["start_training"] == "success"


def test_one_training_is_started_and_ends_well(turned: Turned) -> None:
    assert [started for _, started in turned.looks] == [[f"monitoring__{PROJECT}__{LAST}"]] * 3
    assert turned.training.state == "success"


def test_an_older_day_starts_none(turned: Turned) -> None:
    run, _ = turned.looks[2]
    assert run.states["start_training"] == "skipped"
    assert "no training is started" in run.result("keep_model")["reason"]
