"""A second release beside the first: plain manifests, hangs that are noticed, a reinstall."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s import access
from k8s.access import airflow, kubectl, kubectl_json, mlflow
from tests.chart.rendering import CHART
from tests.e2e.readme_demo import Demo
from tests.e2e.release import object_store
from tests.e2e.test_chart import helm, release_secrets

pytestmark = pytest.mark.e2e

NAMESPACE = "slipway-again"
HUNG = ("airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
NOTICE_SECONDS = 60
CHANGED = {"slipway-mlflow-stages": "password", "slipway-object-store-stages": "secret-key"}
"""Secrets whose passwords change between two installations, and the key that holds each."""


@pytest.fixture(scope="module")
def values(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:  # noqa: ARG001
    """The first release's values; while they are used, everything goes to another namespace."""
    file = tmp_path_factory.mktemp("again") / "values.yaml"
    file.write_text(json.dumps(json.loads(helm("get", "values", "slipway", "-o", "json")) or {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "NAMESPACE", NAMESPACE)
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        kubectl("create", "namespace", NAMESPACE)
        for mode in ("enforce", "warn"):
            label = f"pod-security.kubernetes.io/{mode}=restricted"
            kubectl("label", "namespace", NAMESPACE, label)
        yield file
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_plain_manifests_are_accepted_without_a_warning(values: Path) -> None:
    manifests = helm("template", "slipway", str(CHART), "--values", str(values), "--skip-tests")
    done = subprocess.run(
        ["kubectl", "--namespace", NAMESPACE, "apply", "--dry-run=server", "-f", "-"],
        input=manifests,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def install(values: Path) -> float:
    """Install the chart, wait until all is ready, and return the seconds it took."""
    start = time.monotonic()
    helm("install", "slipway", str(CHART), "--values", str(values), "--wait", "--timeout", "8m")
    return time.monotonic() - start


def freeze(component: str) -> None:
    """Stop the component's processes without ending them: what a hang looks like."""
    command = "kill -STOP $(cat /proc/1/task/1/children)"
    target = f"deployment/slipway-{component}"
    kubectl("exec", target, "-c", component.removeprefix("airflow-"), "--", "bash", "-c", command)


def noticed() -> set[str]:
    """Components whose hanging container the kubelet has decided to restart."""
    events = kubectl_json("get", "events", "--field-selector", "reason=Killing")["items"]
    return {
        component
        for component in HUNG
        for event in events
        if event["involvedObject"]["name"].startswith(f"slipway-{component}-")
        and "failed liveness probe" in event["message"]
    }


def leave_traces() -> None:
    """A run of a DAG that stays queued, and a registered model."""
    with airflow() as client:
        client.trigger("ml_training_pipeline", "kept", "2013-05-01T00:00:00Z", {})
    with mlflow() as client:
        made = client.post("/api/2.0/mlflow/registered-models/create", json={"name": "kept"})
        made.raise_for_status()


def assert_traces() -> None:
    with airflow() as client:
        run = client.get("/dags/ml_training_pipeline/dagRuns/kept")
        assert run["dag_run_id"] == "kept"
    with mlflow() as client:
        found = client.get("/api/2.0/mlflow/registered-models/get", params={"name": "kept"})
        found.raise_for_status()


def change_passwords(kept: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Give the Secrets of CHANGED new passwords, and return what all Secrets hold now."""
    now = {name: dict(keys) for name, keys in kept.items()}
    for name, key in CHANGED.items():
        now[name][key] = base64.b64encode(secrets.token_hex(20).encode()).decode()
        kubectl("patch", "secret", name, "--patch", json.dumps({"data": {key: now[name][key]}}))
    return now


def assert_passwords_count() -> None:
    """MLflow and the object store let `stages` in with what the Secrets hold now."""
    jobs = "app.kubernetes.io/component in (mlflow-migration,object-store-setup)"
    kubectl("wait", "job", "-l", jobs, "--for=condition=complete", "--timeout=110s")
    with mlflow("stages") as client:
        client.get(
            "/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}
        ).raise_for_status()
    with object_store("stages") as store:
        store.list_objects_v2(Bucket="data", MaxKeys=1)


def test_hangs_are_noticed_and_a_reinstall_finds_its_runs_models_and_new_passwords(
    values: Path,
) -> None:
    first = install(values)
    leave_traces()
    kept = release_secrets()

    start = time.monotonic()
    for component in HUNG:
        freeze(component)
    while noticed() != set(HUNG) and time.monotonic() - start < NOTICE_SECONDS:
        time.sleep(1)
    assert noticed() == set(HUNG)
    print(f"hangs noticed in {time.monotonic() - start:.0f} s")

    helm("uninstall", "slipway", "--wait", "--timeout", "3m")
    assert release_secrets() == kept, "uninstall must keep what opens the volumes"
    changed = change_passwords(kept)
    second = install(values)
    assert release_secrets() == changed
    assert_traces()
    assert_passwords_count()
    print(f"installed in {first:.0f} s, reinstalled in {second:.0f} s")
