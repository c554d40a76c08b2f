"""The pod of every stage, byte for byte as it was last looked at; and what must hold for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException

from ml.stages import Profile, Stage
from tests.dags.golden import GOLDEN, pod_templates, render, render_all

REGENERATE = "run `python -m tests.dags.golden` and look at the diff"
SECRETS = {
    Profile.DATA: {"slipway-object-store-project-stages"},
    Profile.MODEL: {"slipway-object-store-project-stages", "slipway-mlflow-stages"},
    Profile.ROLL_OUT: {"slipway-object-store-project-stages", "slipway-mlflow-stages"},
    Profile.SMOKE: {"slipway-object-store-project-stages"},
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    return render_all()


@pytest.fixture(params=list(Stage))
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pod(rendered: dict[str, str], verb: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(rendered[verb])
    return parsed


def test_pod_is_the_one_last_looked_at(rendered: dict[str, str], verb: str) -> None:
    assert rendered[verb] == (GOLDEN / f"{verb}.yaml").read_text(), REGENERATE


def test_no_golden_file_without_a_stage() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == set(Stage)


def test_pod_is_one_container_that_leaves_its_result_to_kubernetes(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    assert container["name"] == "base"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["activeDeadlineSeconds"] > 0


def test_pod_says_whose_it_is(pod: dict[str, Any], verb: str) -> None:
    assert pod["metadata"]["name"] == f"flights-{verb}-20130301".replace("_", "-")
    assert pod["metadata"]["namespace"] == "slipway"
    labels = pod["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "stage"
    assert labels["slipway.dev/stage"] == verb
    env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
    assert env["SLIPWAY_AIRFLOW_RUN_ID"] == "golden__2013-03-01"
    assert env["SLIPWAY_RESULT_PATH"] == "/dev/termination-log"


def test_pod_holds_the_secrets_of_its_profile_and_no_other(pod: dict[str, Any], verb: str) -> None:
    (container,) = pod["spec"]["containers"]
    sources = [one["valueFrom"] for one in container["env"] if "valueFrom" in one]
    used = {one["secretKeyRef"]["name"] for one in sources if "secretKeyRef" in one}
    assert used == SECRETS[Stage(verb).profile]
    assert not container.get("envFrom")
    assert not [volume for volume in pod["spec"]["volumes"] if "secret" in volume]


def test_pod_logs_in_to_the_store_as_its_project(pod: dict[str, Any]) -> None:
    (container,) = pod["spec"]["containers"]
    keys = [
        one["valueFrom"]["secretKeyRef"]
        for one in container["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    ]
    found = {one["key"] for one in keys if one["name"].startswith("slipway-object-store-project-")}
    assert found == {"flights.access-key", "flights.secret-key"}


def test_project_that_the_store_has_no_user_for_is_named(tmp_path: Path) -> None:
    for file, text in pod_templates().items():
        (tmp_path / file).write_text(text)
    (tmp_path / "projects").write_text("mine")
    with pytest.raises(AirflowException) as caught:
        render(Stage.INGEST, tmp_path)
    assert str(caught.value).startswith(
        "the object store has no user for the project flights: name it in stages.imageProjects"
    )
    (tmp_path / "projects").write_text("mine\nflights")
    assert render(Stage.INGEST, tmp_path)


def test_pod_passes_the_restricted_standard(pod: dict[str, Any]) -> None:
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_only_the_roll_out_may_talk_to_kubernetes(pod: dict[str, Any], verb: str) -> None:
    may = verb == "roll_out"
    assert pod["spec"]["automountServiceAccountToken"] is may
