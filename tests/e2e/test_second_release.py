"""A release that is removed and installed again finds its runs, its models and new passwords."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s import access
from k8s.access import kubectl
from tests.budget import budget
from tests.e2e.connections import KEPT, airflow, mlflow, object_store
from tests.e2e.release import CHART, helm, release_secrets

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.budget(150)]

NAMESPACE = "slipway-again"
CHANGED = {"slipway-mlflow-stages": "password", "slipway-object-store-stages": "secret-key"}
"""Secrets whose passwords change between two installations, and the key that holds each."""


@pytest.fixture(scope="module")
@budget(20)
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The first release's values; while they are used, everything goes to another namespace."""
    file = tmp_path_factory.mktemp("again") / "values.yaml"
    file.write_text(json.dumps(json.loads(helm("get", "values", "slipway", "-o", "json")) or {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "NAMESPACE", NAMESPACE)
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        kubectl("create", "namespace", NAMESPACE)
        label = "pod-security.kubernetes.io/enforce=restricted"
        kubectl("label", "namespace", NAMESPACE, label)
        yield file
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def install(values: Path) -> float:
    """Install the chart, wait until all is ready, and return the seconds it took."""
    start = time.monotonic()
    helm("install", "slipway", str(CHART), "--values", str(values), "--wait", "--timeout", "8m")
    return time.monotonic() - start


def leave_traces() -> None:
    """A run of a DAG that stays queued, and a registered model."""
    airflow().trigger("ml_training_pipeline", "kept", "2013-05-01T00:00:00Z", {})
    made = mlflow().post("/api/2.0/mlflow/registered-models/create", json={"name": "kept"})
    made.raise_for_status()


def assert_traces() -> None:
    run = airflow().get("/dags/ml_training_pipeline/dagRuns/kept")
    assert run["dag_run_id"] == "kept"
    found = mlflow().get("/api/2.0/mlflow/registered-models/get", params={"name": "kept"})
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
    experiment = {"experiment_id": "0"}
    mlflow("stages").get("/api/2.0/mlflow/experiments/get", params=experiment).raise_for_status()
    object_store("stages").list_objects_v2(Bucket="data", MaxKeys=1)


def test_a_reinstall_finds_its_runs_models_and_new_passwords(values: Path) -> None:
    first = install(values)
    leave_traces()
    kept = release_secrets()
    helm("uninstall", "slipway", "--wait", "--timeout", "3m")
    KEPT.forget(NAMESPACE)
    assert release_secrets() == kept, "uninstall must keep what opens the volumes"
    changed = change_passwords(kept)
    second = install(values)
    assert release_secrets() == changed
    assert_traces()
    assert_passwords_count()
    print(f"installed in {first:.0f} s, reinstalled in {second:.0f} s")
