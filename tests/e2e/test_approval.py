"""A project with `approval: true` on the cluster: a run waits for a person, and does as it is told.

The answers go through Airflow's REST API, as the buttons in the UI do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8s.access import Airflow, kubectl
from k8s.demo import AS_OF, DAG_ID, Clock, land
from tests.e2e.readme_demo import Demo
from tests.e2e.release import (
    alias,
    finished_run,
    pods,
    result,
    states,
    tags,
    train,
    train_when_known,
    upgrade,
    versions,
    wait_until,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

PROJECT = "flights_approved"
GATE, ROLL_OUT = "decide_deployment", "deployment.roll_out"


@pytest.fixture
def connected(demo: Demo, tmp_path: Path) -> Iterator[None]:  # noqa: ARG001 - the demo comes first
    """Give the release's tasks a way to MLflow."""
    upgrade({"airflow": {"mlflowConnection": True}}, tmp_path)
    yield
    upgrade({"airflow": {"mlflowConnection": False}}, tmp_path)


def question(client: Airflow, run_id: str) -> dict[str, Any]:
    """Wait until the run asks, and return what it asks."""
    wait_until(
        "the gate to ask",
        lambda: states(client, run_id).get(GATE) == "awaiting_input",
        420,
    )
    return client.get(f"{task_path(run_id)}/hitlDetails")


def answer(client: Airflow, run_id: str, option: str, note: str) -> None:
    """Press one of the two buttons, once the scheduler has heard that the asking half has ended.

    Airflow 3.3.2 takes a task for lost, and asks anew, when the answer is there before that. No
    person reads a question so fast.
    """
    wait_until("the scheduler to hear that the gate asked", lambda: heard_of_asking(run_id), 60)
    body = {"chosen_options": [option], "params_input": {"note": note}}
    answered = client.send("PATCH", f"{task_path(run_id)}/hitlDetails", body)
    assert answered.status_code == 200, answered.text


def heard_of_asking(run_id: str) -> bool:
    """Tell whether the scheduler's log has the end of the process that asked."""
    scheduler = "app.kubernetes.io/component=airflow-scheduler"
    lines = kubectl("logs", "--selector", scheduler, "--tail=-1").splitlines()
    wanted = "executor event with state success", f"'{GATE}'", f"'{run_id}'"
    return any(all(word in line for word in wanted) for line in lines)


def task_path(run_id: str) -> str:
    return f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{GATE}/-1"


def test_person_decides_over_the_deployment(
    connected: None,  # noqa: ARG001
    client: Airflow,
    clock: Clock,
) -> None:
    land(clock, PROJECT)
    rejected = train_when_known(client, PROJECT, AS_OF)
    asked = question(client, rejected)
    version = versions(PROJECT)[-1]["version"]
    assert asked["subject"] == f"Deploy version {version} of {PROJECT}?"
    assert f"/models/{PROJECT}/versions/{version}" in asked["body"]
    assert not pods(f"app.kubernetes.io/component=serving,slipway.dev/project={PROJECT}")

    answer(client, rejected, "Reject", "not on a Friday")
    assert finished_run(client, rejected) == "success"
    assert states(client, rejected)[ROLL_OUT] == "skipped"
    refusal = result(client, rejected, "keep_champion")
    assert refusal["decision"] == "refuse"
    assert refusal["reason"].endswith("rejected it: not on a Friday")
    noted = tags(versions(PROJECT)[-1])
    assert noted["slipway.approval"] == "rejected"
    assert noted["slipway.approval_reason"] == refusal["reason"]
    assert noted["slipway.approval_by"] == refusal["by"]
    assert alias(PROJECT, "champion") is None
    assert not pods(f"app.kubernetes.io/component=serving,slipway.dev/project={PROJECT}")

    approved = train(client, PROJECT, AS_OF, "approved")
    question(client, approved)
    answer(client, approved, "Approve", "")
    assert finished_run(client, approved) == "success"
    assert states(client, approved)[ROLL_OUT] == "success"
    assert tags(versions(PROJECT)[-1])["slipway.approval"] == "approved"
    assert alias(PROJECT, "champion") == version
