"""Monitoring on the cluster: a model that does well is kept, one that became worse is trained."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import httpx
import pytest

from k8s.access import Airflow, mlflow
from k8s.demo import DAG_ID as TRAINING
from k8s.demo import Clock, land
from tests.e2e.release import (
    alias,
    finished_run,
    keys,
    records,
    train_when_known,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

SCORING, MONITORING = "batch_prediction_pipeline", "model_monitoring_pipeline"
TURNING = "flights_turning"


def run_dag(client: Airflow, dag_id: str, project: str, day: str) -> tuple[str, str]:
    """Run a DAG for a day to its end; return the run's id and state."""
    client.unpause(dag_id)
    run_id = f"seen__{project}__{day}__{time.time():.0f}"
    conf = {"project": project, "as_of": day}
    wait_until(
        f"{dag_id} to know {project}",
        lambda: project in enum_of(client.get(f"/dags/{dag_id}/details")),
        240,
    )
    client.trigger(dag_id, run_id, None, conf)

    def ended() -> str | None:
        state = str(client.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
        return state if state in ("success", "failed") else None

    return run_id, wait_until(f"{dag_id} of {day} to end", ended, 420)


def enum_of(details: dict[str, Any]) -> list[str]:
    known: list[str] = details["params"]["project"]["schema"].get("enum", [])
    return known


def task_states(client: Airflow, run_id: str) -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in client.task_instances(MONITORING, run_id)}


def returned(client: Airflow, run_id: str, task_id: str) -> dict[str, Any]:
    path = f"/dags/{MONITORING}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    value: dict[str, Any] = client.get(path, deserialize="true")["value"]
    return value


def monitoring_runs(project: str) -> list[dict[str, Any]]:
    """Return the runs of a project's monitoring experiment."""
    with mlflow() as server:
        path = "/api/2.0/mlflow/experiments/get-by-name"
        found = server.get(path, params={"experiment_name": f"{project}-monitoring"})
        if found.status_code == 404:
            return []
        experiment = found.raise_for_status().json()["experiment"]["experiment_id"]
        query = {"experiment_ids": [experiment], "max_results": 1000}
        answer = server.post("/api/2.0/mlflow/runs/search", json=query).raise_for_status()
    runs: list[dict[str, Any]] = answer.json().get("runs", [])
    return runs


def metrics(run: dict[str, Any]) -> dict[str, float]:
    return {one["key"]: one["value"] for one in run["data"]["metrics"]}


def trainings(client: Airflow, project: str) -> list[str]:
    """Return the ids of the training runs that monitoring has started for a project."""
    pattern = f"monitoring__{project}__%"
    found = client.get(f"/dags/{TRAINING}/dagRuns", run_id_pattern=pattern, limit=100)
    ids = [run["dag_run_id"] for run in found["dag_runs"]]
    return [run_id for run_id in ids if run_id.startswith(f"monitoring__{project}__")]


def test_the_model_in_use_is_measured_and_kept(client: Airflow) -> None:
    for day in ("2013-03-02", "2013-03-03"):
        assert run_dag(client, SCORING, "flights", day)[1] == "success"
    run_id, state = run_dag(client, MONITORING, "flights", "2013-03-03")
    assert state == "success"
    found = returned(client, run_id, "report")
    assert found["decision"] in ("healthy", "watch")
    assert task_states(client, run_id)["start_training"] == "skipped"
    assert found["report"].removeprefix("s3://data/") in keys("data", "flights/report/")

    runs = {run["info"]["run_id"]: run for run in monitoring_runs("flights")}
    days = [run["info"]["run_name"].split(" ")[0] for run in runs.values()]
    assert {"2013-03-02", "2013-03-03"} <= set(days)
    assert metrics(runs[found["run_id"]])["rows"] > 700
    assert "report.html" in page_of(found["run_id"])


def page_of(run_id: str) -> list[str]:
    with mlflow() as server:
        answer: httpx.Response = server.get(
            "/api/2.0/mlflow/artifacts/list", params={"run_id": run_id}
        )
    return [file["path"] for file in answer.raise_for_status().json().get("files", [])]


def test_the_same_day_again_does_nothing(client: Airflow) -> None:
    def state() -> tuple[list[str], list[str], dict[str, dict[str, float]]]:
        known = {run["info"]["run_id"]: metrics(run) for run in monitoring_runs("flights")}
        stages = [records("flights", stage, "2013-03-03") for stage in ("monitor", "report")]
        return stages[0], stages[1], known

    before = state()
    run_id, ended = run_dag(client, MONITORING, "flights", "2013-03-03")
    assert ended == "success"
    assert [returned(client, run_id, stage)["status"] for stage in ("monitor", "report")] == [
        "skipped",
        "skipped",
    ]
    assert state() == before


def test_a_day_without_predictions_is_red_at_once(client: Airflow) -> None:
    run_id, state = run_dag(client, MONITORING, "flights", "2013-01-05")
    assert state == "failed"
    tasks = {task["task_id"]: task for task in client.task_instances(MONITORING, run_id)}
    assert (tasks["monitor"]["state"], tasks["monitor"]["try_number"]) == ("failed", 1)
    assert tasks["fin"]["state"] == "upstream_failed"


def test_a_world_that_turned_starts_one_training(client: Airflow, clock: Clock) -> None:
    land(clock, TURNING, "2013-02-18", "2013-03-03")
    first = train_when_known(client, TURNING, "2013-03-01")
    assert finished_run(client, first) == "success"
    assert alias(TURNING, "champion") is not None
    for day in ("2013-03-02", "2013-03-03"):
        assert run_dag(client, SCORING, TURNING, day)[1] == "success"

    started = []
    for _ in range(2):
        run_id, state = run_dag(client, MONITORING, TURNING, "2013-03-03")
        assert state == "success"
        found = returned(client, run_id, "report")
        assert found["decision"] == "retrain", found["reason"]
        assert task_states(client, run_id)["start_training"] == "success"
        started.append(trainings(client, TURNING))
    assert started[0] == started[1] == [f"monitoring__{TURNING}__2013-03-03"]
    ended = wait_until("the training", partial(finished_run, client, started[0][0]), 480)
    assert ended == "success"

    # A training for a later day is on record now: an older day starts none.
    run_id, state = run_dag(client, MONITORING, TURNING, "2013-03-02")
    assert state == "success"
    assert task_states(client, run_id)["start_training"] == "skipped"
    assert "no training is started" in returned(client, run_id, "keep_model")["reason"]
    assert trainings(client, TURNING) == started[0]
