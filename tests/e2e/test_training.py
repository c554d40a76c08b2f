"""The training pipeline on the cluster: stages as pods, the gate, the roll-out, second runs."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from k8s.access import NAMESPACE, Airflow, airflow, kubectl, port_forward
from k8s.demo import AS_OF, DAG_ID, Clock, find_run, land
from tests.e2e.readme_demo import Demo
from tests.e2e.release import (
    alias,
    finished_run,
    log_of,
    pods,
    records,
    result,
    run_state,
    states,
    tags,
    train,
    train_when_known,
    upgrade,
    versions,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

STAGES = ["ingest", "validate", "build_features", "split", "train", "evaluate", "register"]
NEVER_LANDED = "2013-11-29"
TASK_OF = {
    **{stage: f"data_preparation.{stage}" for stage in STAGES[:4]},
    **{stage: f"training_evaluation.{stage}" for stage in STAGES[4:]},
}


def registered(project: str) -> list[str]:
    """Return the numbers of the registered versions."""
    return [version["version"] for version in versions(project)]


def model_version_answering(project: str) -> str:
    """Ask the deployed model which version it is."""
    with port_forward(project.replace("_", "-"), 8080) as url:
        return httpx.get(f"{url}/v2/health/ready", timeout=30).headers["x-model-version"]


@dataclass(frozen=True)
class Left:
    """A run of the demo's date, and what there was when it had ended."""

    run_id: str
    versions: list[str]
    datasets: list[str]


@pytest.fixture(scope="module")
def twice(demo: Demo) -> tuple[Left, Left]:  # noqa: ARG001 - which landed the data
    """Two runs of the demo's date, one after the other: the champion is the same for both."""
    with airflow() as client:
        return run_again(client), run_again(client)


def run_again(client: Airflow) -> Left:
    run_id = train(client, "flights", AS_OF, "again")
    assert finished_run(client, run_id) == "success"
    return Left(run_id, registered("flights"), records("flights", "split", AS_OF))


def test_same_date_twice_is_one_dataset_and_one_version(
    client: Airflow, twice: tuple[Left, Left]
) -> None:
    once, again = twice
    statuses = {stage: result(client, again.run_id, TASK_OF[stage])["status"] for stage in STAGES}
    assert statuses == dict.fromkeys(STAGES, "skipped")
    assert (again.versions, again.datasets) == (once.versions, once.datasets)
    assert len({result(client, run.run_id, TASK_OF["split"])["record"] for run in twice}) == 1


def test_stage_pods_say_what_they_are_and_their_logs_outlive_them(
    client: Airflow, twice: tuple[Left, Left]
) -> None:
    run_id = twice[0].run_id
    found = pods(f"slipway.dev/project=flights,slipway.dev/dag={DAG_ID},slipway.dev/run={run_id}")
    labels = [pod["metadata"]["labels"] for pod in found]
    assert set(STAGES) <= {one["slipway.dev/stage"] for one in labels}
    assert all(one["slipway.dev/task"] for one in labels)
    assert all(pod["metadata"]["name"].startswith("flights-") for pod in found)

    kubectl("delete", "pod", *(pod["metadata"]["name"] for pod in found))
    for task in client.task_instances(DAG_ID, run_id):
        # Airflow ends `fin`, which does nothing, without running it: it has no log.
        if task["state"] == "success" and task["task_id"] != "fin":
            assert log_of(client, run_id, task["task_id"]).strip("[] ")
    assert "stage=train" in log_of(client, run_id, TASK_OF["train"])


@pytest.mark.usefixtures("demo")
def test_registered_version_carries_its_story() -> None:
    version = versions("flights")[0]
    assert {
        "slipway.sha256",
        "slipway.artifact",
        "slipway.format",
        "slipway.decision",
        "slipway.reason",
        "slipway.fingerprint",
    } <= set(tags(version))


def test_backfill_of_three_days_is_three_datasets(client: Airflow) -> None:
    days = ["2013-03-01", "2013-03-02", "2013-03-03"]
    answer = client.send(
        "POST",
        "/backfills",
        {
            "dag_id": DAG_ID,
            "from_date": f"{days[0]}T00:00:00Z",
            "to_date": f"{days[-1]}T00:00:00Z",
            "max_active_runs": 1,
            "reprocess_behavior": "none",
        },
    )
    assert answer.status_code == 200, answer.text
    datasets = set()
    for day in days:
        run = wait_until(f"a run of {day}", partial(find_run, client, f"{day}T00:00:00Z"), 120)
        assert finished_run(client, run["dag_run_id"]) == "success"
        datasets.add(result(client, run["dag_run_id"], TASK_OF["split"])["record"])
    assert len(datasets) == 3
    found = [tags(version) for version in versions("flights")]
    assert len({one["slipway.fingerprint"] for one in found}) == len(found)
    deployed = [v for v in versions("flights") if tags(v)["slipway.decision"] == "deploy"]
    assert alias("flights", "champion") == deployed[-1]["version"]


def test_shuffled_labels_are_refused_and_nothing_is_deployed(client: Airflow, clock: Clock) -> None:
    land(clock, "flights_shuffled")
    run_id = train_when_known(client, "flights_shuffled", AS_OF)
    assert finished_run(client, run_id) == "success"
    assert states(client, run_id)["deployment.roll_out"] == "skipped"
    version = versions("flights_shuffled")[-1]
    assert tags(version)["slipway.decision"] == "refuse"
    assert tags(version)["slipway.reason"]
    assert alias("flights_shuffled", "champion") is None
    assert not pods("app.kubernetes.io/component=serving,slipway.dev/project=flights_shuffled")


def test_server_that_cannot_load_its_model_never_becomes_champion(
    client: Airflow, clock: Clock, tmp_path: Path
) -> None:
    land(clock, "flights_eager")
    first = train_when_known(client, "flights_eager", "2013-03-01")
    assert finished_run(client, first) == "success"
    before = alias("flights_eager", "champion")
    assert before is not None
    assert model_version_answering("flights_eager") == before

    day = day_after_training(numbered("flights_eager", before))
    land(clock, "flights_eager", day, day)

    broken = image_values("mlflow")  # has no model server in it
    whole = image_values("serving")
    upgrade({"serving": {"image": broken}}, tmp_path)
    try:
        second = train(client, "flights_eager", day, "broken")
        assert finished_run(client, second) == "failed"
    finally:
        upgrade({"serving": {"image": whole}}, tmp_path)
    assert alias("flights_eager", "champion") == before
    assert model_version_answering("flights_eager") == before
    assert tags(versions("flights_eager")[-1])["slipway.rollout"] == "failed"


def numbered(project: str, number: str) -> dict[str, Any]:
    """Return a registered version by its number."""
    return next(version for version in versions(project) if version["version"] == number)


def day_after_training(version: dict[str, Any]) -> str:
    """Return the day after the one a version was trained for: older ones are never deployed."""
    return str(date.fromisoformat(tags(version)["slipway.as_of"]) + timedelta(days=1))


def image_values(name: str) -> dict[str, str]:
    """Return the image block that the release was installed with for a component."""
    said = subprocess.run(
        ["helm", "get", "values", "slipway", "--namespace", NAMESPACE, "--all", "-o", "json"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    values: dict[str, dict[str, dict[str, str]]] = json.loads(said)
    return {key: values[name]["image"][key] for key in ("repository", "tag")}


def test_sensor_waits_and_says_for_what(client: Airflow) -> None:
    run_id = train(client, "flights", NEVER_LANDED, "waiting")
    wait_until(
        "the sensor to wait",
        lambda: states(client, run_id).get("wait_for_partition") == "deferred",
        120,
    )
    assert run_state(client, run_id) == "running"
    missing = f"landing/flights/dt={NEVER_LANDED}"
    wait_until(
        "the sensor's log to say for what",
        lambda: missing in log_of(client, run_id, "wait_for_partition"),
        60,
    )
    client.send("PATCH", f"/dags/{DAG_ID}/dagRuns/{run_id}", {"state": "failed"})


def test_missing_history_fails_at_once_with_the_way_out(client: Airflow) -> None:
    run_id = train(client, "flights_eager", "2013-01-05", "short")
    assert finished_run(client, run_id) == "failed"
    assert states(client, run_id)["data_preparation.ingest"] == "failed"
    assert "land --project flights_eager" in log_of(client, run_id, "data_preparation.ingest")
    tries = {task["task_id"]: task["try_number"] for task in client.task_instances(DAG_ID, run_id)}
    assert tries["data_preparation.ingest"] == 1
