"""The chart on a cluster: its parts answer each other, nobody else, and an upgrade rests."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from k8s import access
from k8s.access import airflow, kubectl, kubectl_json, mlflow
from tests.chart.rendering import CHART
from tests.chart.test_network import PATHS
from tests.e2e import network_probe

pytestmark = pytest.mark.e2e

AGAIN = "slipway-again"
RELEASE_SECRETS = "app.kubernetes.io/managed-by=Helm"


def helm(*arguments: str, timeout_s: float = 600) -> str:
    """Run helm in the release's namespace and return what it printed."""
    done = subprocess.run(
        ["helm", "--namespace", access.NAMESPACE, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def release_secrets() -> dict[str, dict[str, str]]:
    """Every Secret that the chart made: name to keys to base64."""
    found = kubectl_json("get", "secrets", "-l", RELEASE_SECRETS)["items"]
    return {item["metadata"]["name"]: item["data"] for item in found}


def running_pods() -> dict[str, tuple[str, int]]:
    """Every pod of the release's workloads: name to identity and number of restarts."""
    found = kubectl_json("get", "pods", "-l", "app.kubernetes.io/component!=stage")["items"]
    return {
        item["metadata"]["name"]: (
            item["metadata"]["uid"],
            sum(status["restartCount"] for status in item["status"]["containerStatuses"]),
        )
        for item in found
        if item["status"]["phase"] == "Running"
    }


def test_the_parts_answer_each_other(demo: str) -> None:  # noqa: ARG001
    said = helm("test", "slipway", "--logs", "--timeout", "2m")
    assert said.count("\nok  ") + said.startswith("ok  ") == 5, said
    assert "WRONG" not in said


def test_an_upgrade_with_the_same_values_changes_nothing(demo: str) -> None:  # noqa: ARG001
    secrets, pods = release_secrets(), running_pods()
    helm("upgrade", "slipway", str(CHART), "--reuse-values", "--wait", "--timeout", "5m")
    assert len(secrets) >= 14
    assert release_secrets() == secrets
    time.sleep(5)  # a restart that the upgrade asked for would have begun
    assert running_pods() == pods


def test_the_namespace_is_restricted_and_nothing_was_refused(demo: str) -> None:  # noqa: ARG001
    namespace = kubectl_json("get", "namespace", access.NAMESPACE)
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    events = kubectl_json("get", "events")["items"]
    refused = [item["message"] for item in events if "PodSecurity" in item.get("message", "")]
    assert refused == []


def addresses() -> dict[str, str]:
    """Where the table's servers listen: row to host:port."""
    api = kubectl_json("get", "endpoints", "kubernetes", "-n", "default")["subsets"][0]
    serving = kubectl_json("get", "services", "-l", "app.kubernetes.io/component=serving")["items"]
    assert serving, "no model is served, so its paths can't be tried"
    return {
        "postgres": "slipway-postgres:5432",
        "minio": "slipway-minio:9000",
        "mlflow": "slipway-mlflow:5000",
        "airflow-api-server": "slipway-airflow:8080",
        "airflow-scheduler": f"{pod_address('airflow-scheduler')}:8793",
        "airflow-triggerer": f"{pod_address('airflow-triggerer')}:8794",
        "serving": f"{serving[0]['metadata']['name']}:8080",
        "kube": f"{api['addresses'][0]['ip']}:{api['ports'][0]['port']}",
        # Ports that no row may reach: the console, and the scheduler's health.
        "console": "slipway-minio:9001",
        "health": f"{pod_address('airflow-scheduler')}:8974",
    }


def pod_address(component: str) -> str:
    selector = f"app.kubernetes.io/component={component}"
    pods = kubectl_json("get", "pods", "-l", selector, "--field-selector=status.phase=Running")
    return str(pods["items"][0]["status"]["podIP"])


def labels_of(row: str) -> dict[str, str]:
    """Labels that make a pod a member of the row."""
    labels = {
        "app.kubernetes.io/name": "slipway",
        "app.kubernetes.io/instance": "slipway",
        "app.kubernetes.io/component": row,
    }
    if row.startswith("stage-"):
        kind = row.removeprefix("stage-")
        labels |= {"app.kubernetes.io/component": "stage", "slipway.dev/pod": kind}
    return labels


def test_every_component_reaches_what_it_needs_and_nothing_else(demo: str) -> None:  # noqa: ARG001
    postgres = kubectl_json("get", "statefulset", "slipway-postgres")
    image = postgres["spec"]["template"]["spec"]["containers"][0]["image"]
    targets = addresses()
    pods = [network_probe.pod(row, labels_of(row), image, targets) for row in PATHS]
    # No label, so no policy holds it back: the servers' own policies must.
    pods.append(network_probe.pod("stranger", {}, image, targets))
    with network_probe.running(pods):
        reached = network_probe.reached()
    assert reached == PATHS | {"stranger": {"kube"}}


@pytest.fixture
def again(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A restricted namespace of its own for a second release, removed afterwards."""
    values = kubectl_json_of_release("slipway")
    monkeypatch.setattr(access, "NAMESPACE", AGAIN)
    kubectl("delete", "namespace", AGAIN, "--ignore-not-found", "--wait=true")
    kubectl("create", "namespace", AGAIN)
    kubectl("label", "namespace", AGAIN, "pod-security.kubernetes.io/enforce=restricted")
    yield json.dumps(values)
    kubectl("delete", "namespace", AGAIN, "--wait=false")


def kubectl_json_of_release(name: str) -> dict[str, Any]:
    """The values that the release was installed with."""
    values: dict[str, Any] = json.loads(helm("get", "values", name, "-o", "json")) or {}
    return values


def test_plain_manifests_are_accepted_without_a_warning(
    demo: str,  # noqa: ARG001
    again: str,
    tmp_path: Path,
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(again)
    kubectl("label", "namespace", AGAIN, "pod-security.kubernetes.io/warn=restricted")
    manifests = helm("template", "slipway", str(CHART), "--values", str(values), "--skip-tests")
    done = subprocess.run(
        ["kubectl", "--namespace", AGAIN, "apply", "--dry-run=server", "-f", "-"],
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


def test_a_reinstall_finds_its_runs_and_models(demo: str, again: str, tmp_path: Path) -> None:  # noqa: ARG001
    values = tmp_path / "values.yaml"
    values.write_text(again)
    first = install(values)
    leave_traces()
    secrets = release_secrets()
    helm("uninstall", "slipway", "--wait", "--timeout", "3m")
    assert release_secrets() == secrets, "uninstall must keep what opens the volumes"
    second = install(values)
    assert release_secrets() == secrets
    assert_traces()
    print(f"installed in {first:.0f} s, reinstalled in {second:.0f} s")
