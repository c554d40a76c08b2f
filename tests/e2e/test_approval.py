"""A project with `approval: true` on the cluster: a run waits for a person, and does as it is told.

The answers go through Airflow's REST API, as the buttons in the UI do. While a run waits, its model
can be spoiled: a model that no server loads never becomes champion, and the run is red.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from k8s.access import Airflow, kubectl
from tests.e2e.connections import object_store
from tests.e2e.release import alias, pods, tags, version_answering, versions, wait_until
from tests.e2e.runs import TRAINING, Run, wait_until_known
from tests.e2e.scenes import scene

pytestmark = [pytest.mark.e2e, pytest.mark.budget(5)]

PROJECT = "parcels_approved"
DAY, NEXT = "2013-03-05", "2013-03-06"
GATE, ROLL_OUT = "decide_deployment", "deployment.roll_out"
SERVED = f"app.kubernetes.io/component=serving,slipway.dev/project={PROJECT}"


@dataclass(frozen=True)
class Answered:
    """A run that has ended as a person wanted, and what there was then."""

    run: Run
    asked: dict[str, Any]
    version: str
    champion_before: str | None
    champion: str | None
    served_before: bool
    served: bool
    noted: dict[str, str]


@scene(350)
def answered(client: Airflow) -> list[Answered]:
    """A day is rejected, and approved when it is run again; the next one's model is spoiled."""
    wait_until_known(client, PROJECT, [TRAINING])
    return [
        answer(Run.start(client, TRAINING, DAY, PROJECT), "Reject", "not on a Friday"),
        answer(Run.start(client, TRAINING, DAY, PROJECT), "Approve"),
        answer(Run.start(client, TRAINING, NEXT, PROJECT), "Approve", spoiled=True),
    ]


def answer(run: Run, option: str, note: str = "", *, spoiled: bool = False) -> Answered:
    """Wait for the question, press one of the two buttons, and wait for the end of the run."""
    asked = question(run)
    newest = versions(PROJECT)[-1]
    if spoiled:
        spoil(tags(newest)["slipway.artifact"])
    before = alias(PROJECT, "champion"), bool(pods(SERVED))
    press(run, option, note)
    run.finished()
    noted = tags(versions(PROJECT)[-1])
    after = alias(PROJECT, "champion"), bool(pods(SERVED))
    return Answered(run, asked, newest["version"], before[0], after[0], before[1], after[1], noted)


def question(run: Run) -> dict[str, Any]:
    """Wait until the run asks, and return what it asks."""
    wait_until("the gate to ask", lambda: run.states.get(GATE) == "awaiting_input", 420)
    return run.client.get(f"{run.path}/taskInstances/{GATE}/-1/hitlDetails")


def press(run: Run, option: str, note: str) -> None:
    """Answer once the scheduler has heard that the asking half has ended.

    Airflow 3.3.2 takes a task for lost, and asks anew, when the answer is there before that. No
    person reads a question so fast.
    """
    wait_until("the scheduler to hear that the gate asked", lambda: heard_of_asking(run), 60)
    body = {"chosen_options": [option], "params_input": {"note": note}}
    path = f"{run.path}/taskInstances/{GATE}/-1/hitlDetails"
    answered = run.client.send("PATCH", path, body)
    assert answered.status_code == 200, answered.text


def heard_of_asking(run: Run) -> bool:
    """Tell whether the scheduler's log has the end of the process that asked."""
    scheduler = "app.kubernetes.io/component=airflow-scheduler"
    lines = kubectl("logs", "--selector", scheduler, "--tail=-1", "--since=5m").splitlines()
    wanted = "executor event with state success", f"'{GATE}'", f"'{run.run_id}'"
    return any(all(word in line for word in wanted) for line in lines)


def spoil(artifact: str) -> None:
    """Let an artifact promise predictions that its model does not make: no server serves that."""
    bucket, _, folder = artifact.removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": f"{folder}/manifest.json"}
    manifest = json.loads(object_store().get_object(**place)["Body"].read())
    manifest["expected"] = [0.5] * len(manifest["expected"])
    object_store().put_object(**place, Body=json.dumps(manifest).encode())


def test_the_question_names_the_version_and_nothing_is_served_before(
    answered: list[Answered],
) -> None:
    first = answered[0]
    assert first.asked["subject"] == f"Deploy version {first.version} of {PROJECT}?"
    assert f"/models/{PROJECT}/versions/{first.version}" in first.asked["body"]
    assert not first.served_before


def test_a_no_keeps_everything_as_it_was_and_is_noted(answered: list[Answered]) -> None:
    no = answered[0]
    assert no.run.state == "success"
    assert no.run.states[ROLL_OUT] == "skipped"
    refusal = no.run.result("keep_champion")
    assert refusal["decision"] == "refuse"
    assert refusal["reason"].endswith("rejected it: not on a Friday")
    assert no.noted["slipway.approval"] == "rejected"
    assert no.noted["slipway.approval_reason"] == refusal["reason"]
    assert no.noted["slipway.approval_by"] == refusal["by"]
    assert (no.champion, no.served) == (None, False)


def test_a_yes_deploys(answered: list[Answered]) -> None:
    yes = answered[1]
    assert yes.run.state == "success"
    assert yes.run.states[ROLL_OUT] == "success"
    assert yes.noted["slipway.approval"] == "approved"
    assert yes.version == answered[0].version
    assert (yes.champion, yes.served) == (yes.version, True)


def test_a_model_that_no_server_loads_makes_the_run_red_and_the_old_one_answers(
    answered: list[Answered],
) -> None:
    yes, spoiled = answered[1:]
    assert spoiled.version != yes.version
    assert spoiled.run.state == "failed"
    assert spoiled.run.states[ROLL_OUT] == "failed"
    assert spoiled.noted["slipway.rollout"] == "failed"
    assert "own predictions" in spoiled.noted["slipway.rollout_reason"]
    assert (spoiled.champion_before, spoiled.champion) == (yes.version, yes.version)
    assert version_answering(PROJECT) == yes.version
