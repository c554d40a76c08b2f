"""The chart on a cluster: its parts answer each other, nobody else, and Pod Security is kept."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s import access
from k8s.access import kubectl, kubectl_json
from tests.chart.test_network import PATHS
from tests.e2e import network_probe
from tests.e2e.release import CHART, helm, staying_pods

pytestmark = [pytest.mark.e2e, pytest.mark.budget(20), pytest.mark.usefixtures("demo")]


def assert_parts_answer() -> None:
    """Run the chart's own test, and read that all it asks was answered."""
    said = helm("test", "slipway", "--logs", "--timeout", "2m")
    assert said.count("\nok  ") + said.startswith("ok  ") == 5, said
    assert "WRONG" not in said


def test_the_parts_answer_each_other() -> None:
    assert_parts_answer()


@pytest.fixture
def restricted() -> Iterator[str]:
    """An empty namespace that warns of what it would refuse."""
    name = "slipway-plain"
    kubectl("create", "namespace", name)
    for mode in ("enforce", "warn"):
        label = f"pod-security.kubernetes.io/{mode}=restricted"
        kubectl("label", "namespace", name, label)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def test_plain_manifests_are_accepted_without_a_warning(restricted: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(helm("get", "values", "slipway", "-o", "yaml"))
    given = ("--values", str(values), "--skip-tests", "--namespace", restricted)
    manifests = helm("template", "slipway", str(CHART), *given)
    done = subprocess.run(
        ["kubectl", "--namespace", restricted, "apply", "--dry-run=server", "-f", "-"],
        input=manifests,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_the_namespace_is_restricted_and_nothing_was_refused() -> None:
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
        # A port that no row may reach.
        "console": "slipway-minio:9001",
    }


def pod_address(component: str) -> str:
    found = staying_pods(f"app.kubernetes.io/component={component}")
    return str(found[0]["status"]["podIP"])


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


@pytest.mark.budget(60)
def test_every_component_reaches_what_it_needs_and_nothing_else() -> None:
    postgres = kubectl_json("get", "statefulset", "slipway-postgres")
    image = postgres["spec"]["template"]["spec"]["containers"][0]["image"]
    targets = addresses()
    pods = [network_probe.pod(row, labels_of(row), image, targets) for row in PATHS]
    # No label, so no policy holds it back: the servers' own policies must.
    pods.append(network_probe.pod("stranger", {}, image, targets))
    assert network_probe.reached_by(pods) == PATHS | {"stranger": {"kube"}}


def test_the_way_to_the_kubernetes_api_leads_to_its_own_addresses_alone() -> None:
    api = kubectl_json("get", "endpointslice", "kubernetes", "-n", "default")["endpoints"]
    service = kubectl_json("get", "service", "kubernetes", "-n", "default")["spec"]["clusterIPs"]
    known = {address for one in api for address in one["addresses"]} | set(service)
    opened = {
        peer["ipBlock"]["cidr"].partition("/")[0]
        for row in ("stage-roll-out", "airflow-cleanup")
        for rule in kubectl_json("get", "networkpolicy", f"slipway-{row}")["spec"]["egress"]
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    }
    assert opened == known
