"""All five DAGs on real data: two days of the past, from a backfill of features to monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from k8s.access import Airflow, kubectl
from tests.e2e.connections import mlflow
from tests.e2e.release import alias, keys, records, tags, versions, wait_until
from tests.e2e.runs import (
    ADVANCED,
    ETL,
    MONITORING,
    SCORING,
    STAGES,
    TRAINING,
    Run,
    backfill,
    ids_by_features,
)
from tests.e2e.scenes import scene

pytestmark = [pytest.mark.e2e, pytest.mark.budget(10)]

DAYS = FIRST, LAST = "2013-03-02", "2013-03-03"
UP_TO_TRAINING = STAGES[: STAGES.index("train") + 1]
CONSUMERS = (TRAINING, SCORING)
"""What features start."""


@dataclass(frozen=True)
class TwoDays:
    """The runs of two days, all of them ended."""

    etl: list[Run]
    trainings: list[Run]
    scorings: list[Run]
    advanced: Run
    monitoring: Run
    again: Run
    measured: list[Any]
    measured_again: list[Any]

    @property
    def all(self) -> list[Run]:
        return [
            *self.etl, *self.trainings, *self.scorings, self.advanced, self.monitoring, self.again
        ]  # fmt: skip


@scene(250)
def two_days(client: Airflow) -> TwoDays:
    """Features of two days are built, and start training and scoring; the rest is asked for."""
    for dag_id in CONSUMERS:
        client.unpause(dag_id)
    known = {dag_id: ids_by_features(client, dag_id) for dag_id in CONSUMERS}
    etl = [run.green() for run in backfill(client, ETL, FIRST, LAST)]
    trainings = by_features(client, TRAINING, known[TRAINING], 1)
    scorings = by_features(client, SCORING, known[SCORING], len(DAYS))
    advanced = Run.start(client, ADVANCED, max(days_of(trainings)), dated=True)
    monitoring = Run.start(client, MONITORING, LAST, dated=True).green()
    measured = measurements()
    again = Run.start(client, MONITORING, LAST).green()
    return TwoDays(
        etl, trainings, scorings, advanced.green(), monitoring, again, measured, measurements()
    )


def by_features(client: Airflow, dag_id: str, known: set[str], wanted: int) -> list[Run]:
    """Wait for the runs that features have started, until so many of the days are done.

    Days whose features are ready at the same moment start one run together, of the newest where
    a run has one day. Where a run waits for its turn, Airflow leaves a day that comes meanwhile to
    the run that the next features start.
    """

    def started() -> list[Run] | None:
        found = [Run(client, dag_id, run_id) for run_id in ids_by_features(client, dag_id) - known]
        return found if len(days_of([run.green() for run in found])) >= wanted else None

    return wait_until(f"{dag_id} of {wanted} days", started, 480)


def days_of(runs: list[Run]) -> set[str]:
    """Return the days of which the runs' own stages name a record."""
    records = [one for run in runs for named in run.records().values() for one in named]
    return {day for day in DAYS for record in records if f"/dt={day}/" in record}


def measurements() -> list[Any]:
    """Return what monitoring has published and noted for the last day."""
    runs = {run["info"]["run_id"]: run["data"]["metrics"] for run in monitoring_runs("flights")}
    return [records("flights", stage, LAST) for stage in ("monitor", "report")] + [runs]


def monitoring_runs(project: str) -> list[dict[str, Any]]:
    """Return the runs of a project's monitoring experiment."""
    path = "/api/2.0/mlflow/experiments/get-by-name"
    found = mlflow().get(path, params={"experiment_name": f"{project}-monitoring"})
    experiment = found.raise_for_status().json()["experiment"]["experiment_id"]
    query = {"experiment_ids": [experiment], "max_results": 1000}
    answer = mlflow().post("/api/2.0/mlflow/runs/search", json=query).raise_for_status()
    runs: list[dict[str, Any]] = answer.json().get("runs", [])
    return runs


def test_every_run_is_green(two_days: TwoDays) -> None:
    assert {run.state for run in two_days.all} == {"success"}


def test_a_backfill_builds_the_features_of_days_of_the_past(two_days: TwoDays) -> None:
    for day, run in zip(DAYS, two_days.etl, strict=True):
        (named,) = run.records()["build_features"]
        assert f"/build_features/dt={day}/" in named
        assert named.removeprefix("s3://data/") in records("flights", "build_features", day)


def test_features_start_the_training_of_the_day_and_the_scoring_of_every_day(
    two_days: TwoDays,
) -> None:
    trained = [run.records()["data_preparation.split"][0] for run in two_days.trainings]
    assert all(any(f"/split/dt={day}/" in record for day in DAYS) for record in trained)
    scored = [one for run in two_days.scorings for one in run.records()["score"]]
    assert {day for day in DAYS for record in scored if f"/score/dt={day}/" in record} == set(DAYS)


def test_a_day_that_was_trained_is_found_done_by_the_whole_way(two_days: TwoDays) -> None:
    status = {
        value["stage"]: value["status"]
        for values in two_days.advanced.results().values()
        for value in values
        if value.get("stage") in UP_TO_TRAINING
    }
    # What comes after it is done again where the other day's model has become champion meanwhile.
    assert status == dict.fromkeys(UP_TO_TRAINING, "skipped")


def test_the_model_in_use_is_measured_and_kept(two_days: TwoDays) -> None:
    run = two_days.monitoring
    found = run.result("report")
    assert found["decision"] in ("healthy", "watch")
    assert run.states["start_training"] == "skipped"
    assert found["report"].removeprefix("s3://data/") in keys("data", "flights/report/")
    runs = {run["info"]["run_id"]: run for run in monitoring_runs("flights")}
    assert set(DAYS) <= {run["info"]["run_name"].split(" ")[0] for run in runs.values()}
    metrics = {one["key"]: one["value"] for one in runs[found["run_id"]]["data"]["metrics"]}
    assert metrics["rows"] > 700
    path = "/api/2.0/mlflow/artifacts/list"
    files = mlflow().get(path, params={"run_id": found["run_id"]}).json()["files"]
    assert "report.html" in [file["path"] for file in files]


def test_the_same_day_monitored_again_does_nothing(two_days: TwoDays) -> None:
    again = [two_days.again.result(stage)["status"] for stage in ("monitor", "report")]
    assert again == ["skipped", "skipped"]
    assert two_days.measured_again == two_days.measured


def test_a_version_carries_its_story_and_the_champion_was_deployed(two_days: TwoDays) -> None:  # noqa: ARG001
    champion = alias("flights", "champion")
    (story,) = [tags(one) for one in versions("flights") if one["version"] == champion]
    named = ("sha256", "artifact", "format", "decision", "reason", "fingerprint", "rollout")
    assert {f"slipway.{name}" for name in named} <= set(story)
    assert (story["slipway.decision"], story["slipway.rollout"]) == ("deploy", "done")


@pytest.mark.budget(40)
def test_clearing_a_failed_stage_starts_no_pod_for_what_was_done(two_days: TwoDays) -> None:
    run, register = two_days.trainings[-1], "training_evaluation.register"
    before = run.pods_by_stage()
    answer = run.client.send(
        "PATCH", f"{run.path}/taskInstances/{register}", {"new_state": "failed"}
    )
    answer.raise_for_status()
    run.clear(register)
    assert run.finished() == "success"
    after = run.pods_by_stage()
    assert after.pop("register") == before.pop("register") + 1
    after.pop("roll_out", None), before.pop("roll_out", None)
    assert after == before == dict.fromkeys(before, 1)


@pytest.mark.budget(20)
def test_stage_pods_say_what_they_are_and_their_logs_outlive_them(two_days: TwoDays) -> None:
    run = two_days.trainings[-1]
    found = run.pods()
    labels = [pod["metadata"]["labels"] for pod in found]
    assert set(STAGES) <= {one["slipway.dev/stage"] for one in labels}
    assert {one["slipway.dev/project"] for one in labels} == {"flights"}
    assert all(one["slipway.dev/task"] for one in labels)
    assert all(pod["metadata"]["name"].startswith("flights-") for pod in found)

    kubectl("delete", "pod", *(pod["metadata"]["name"] for pod in found))
    for task, state in run.states.items():
        # Airflow ends `fin`, which does nothing, without running it: it has no log.
        if state == "success" and task != "fin":
            assert run.log(task).strip("[] ")
    assert "stage=train" in run.log("training_evaluation.train")
