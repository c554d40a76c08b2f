"""Every pod is behind the default refusal, and paths have two ends that agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.kubernetes_api import FORBIDDEN, kubernetes_api
from tests.chart.rendering import (
    Object,
    PodSpec,
    RefusedError,
    name,
    of_kind,
    one,
    pods,
    render_text,
    render_values,
)

DENY = "slipway-default-deny"
# Who may connect to whom; everything else is refused. The same table is tried out on a cluster.
PATHS = {
    "airflow-api-server": {"postgres", "minio", "airflow-scheduler", "airflow-triggerer", "kube"},
    "airflow-scheduler": {"postgres", "minio", "airflow-api-server", "kube"},
    "airflow-dag-processor": {"postgres"},
    "airflow-triggerer": {"postgres", "minio", "kube"},
    "airflow-task": {"minio", "airflow-api-server"},
    "airflow-migration": {"postgres"},
    "airflow-cleanup": {"kube"},
    "mlflow": {"postgres", "minio"},
    "mlflow-migration": {"postgres"},
    "postgres": set(),
    "minio": set(),
    "object-store-setup": {"minio"},
    "stage-data": {"minio"},
    "stage-model": {"minio", "mlflow"},
    "stage-roll-out": {"minio", "mlflow", "serving", "kube"},
    "stage-smoke": {"minio", "serving"},
    "stage-land": {"minio"},
    "serving": {"minio"},
    "test": {"minio", "mlflow", "airflow-api-server"},
}


def selects(policy: Object, labels: dict[str, str]) -> bool:
    """Whether the policy applies to a pod with these labels."""
    wanted: dict[str, str] = policy["spec"]["podSelector"]["matchLabels"]
    return wanted.items() <= labels.items()


def row(found: PodSpec) -> str:
    """The pod's row of the table."""
    kind = found.labels.get("slipway.dev/pod")
    return f"stage-{kind}" if kind else found.component


def _targets(rule: dict[str, Any], known: dict[str, dict[str, str]]) -> set[str]:
    reached = set()
    for peer in rule["to"]:
        if "ipBlock" in peer:
            reached.add("kube")
        labels = peer.get("podSelector", {}).get("matchLabels")
        reached |= {item for item, has in known.items() if labels and labels.items() <= has.items()}
    return reached


def test_every_pod_is_refused_everything_by_default(laptop: list[Object]) -> None:
    deny = one(laptop, "NetworkPolicy", DENY)
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny["spec"]
    ports = {port["port"] for rule in deny["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53}
    for found in pods(laptop):
        assert selects(deny, found.labels), found.source


def test_every_pod_has_its_row_in_the_table(laptop: list[Object]) -> None:
    assert {row(found) for found in pods(laptop)} == PATHS.keys()


def test_pods_may_leave_for_what_the_table_says_and_nothing_else(laptop: list[Object]) -> None:
    policies = of_kind(laptop, "NetworkPolicy")
    known = {row(found): found.labels for found in pods(laptop)}
    for source, labels in known.items():
        reached: set[str] = set()
        for policy in policies:
            if policy["metadata"]["name"] != DENY and selects(policy, labels):
                for rule in policy["spec"].get("egress", []):
                    reached |= _targets(rule, known)
        assert reached == PATHS[source], source


def test_pods_are_entered_by_whom_the_table_says_and_nobody_else(laptop: list[Object]) -> None:
    policies = of_kind(laptop, "NetworkPolicy")
    known = {row(found): found.labels for found in pods(laptop)}
    for target, labels in known.items():
        entered: set[str] = set()
        for policy in policies:
            if selects(policy, labels):
                for rule in policy["spec"].get("ingress", []):
                    entered |= _targets({"to": rule["from"]}, known)
        assert entered == {client for client, to in PATHS.items() if target in to}, target


def test_only_named_ports_are_open(laptop: list[Object]) -> None:
    for policy in of_kind(laptop, "NetworkPolicy"):
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction, []):
                assert rule.get("ports"), f"{name(policy)} opens every port"


def test_outsiders_come_in_where_the_values_say(tmp_path: Path) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}
    objects = render_values({"mlflow": {"service": {"allowFrom": [peer]}}}, tmp_path)
    admitting = [
        name(policy)
        for policy in of_kind(objects, "NetworkPolicy")
        if peer in [p for rule in policy["spec"].get("ingress", []) for p in rule["from"]]
    ]
    assert admitting == ["NetworkPolicy/slipway-mlflow"]


def test_outsiders_reach_the_console_too_and_pods_of_the_release_do_not(tmp_path: Path) -> None:
    peer = {"ipBlock": {"cidr": "10.1.0.0/16"}}
    objects = render_values({"objectStore": {"service": {"allowFrom": [peer]}}}, tmp_path)
    inside, outside = one(objects, "NetworkPolicy", "slipway-minio")["spec"]["ingress"]
    assert peer not in inside["from"]
    assert inside["ports"] == [{"port": 9000}]
    assert outside == {"from": [peer], "ports": [{"port": 9000}, {"port": 9001}]}


def test_an_external_database_is_reached_at_its_addresses_alone(tmp_path: Path) -> None:
    values = {
        "postgres": {
            "enabled": False,
            "external": {"host": "db.example.org", "port": 6432, "cidrs": ["10.9.0.0/16"]},
            "databases": {"airflow": {"existingSecret": "a"}, "mlflow": {"existingSecret": "m"}},
        }
    }
    objects = render_values(values, tmp_path)
    policy = one(objects, "NetworkPolicy", "slipway-mlflow")
    outside = [rule for rule in policy["spec"]["egress"] if "ipBlock" in rule["to"][0]]
    assert outside == [{"to": [{"ipBlock": {"cidr": "10.9.0.0/16"}}], "ports": [{"port": 6432}]}]
    assert not [
        p for p in of_kind(objects, "NetworkPolicy") if p["metadata"]["name"].endswith("postgres")
    ]


@pytest.mark.parametrize(
    ("events", "senders"),
    [
        (["failure", "late"], ["slipway-airflow-scheduler", "slipway-airflow-triggerer"]),
        (["failure"], ["slipway-airflow-scheduler"]),
    ],
)
def test_receivers_of_notices_are_reached_only_by_who_sends_and_only_when_there_are_some(
    laptop: list[Object], tmp_path: Path, events: list[str], senders: list[str]
) -> None:
    told = {"existingSecret": "people", "events": events, "cidrs": ["10.20.0.0/16"], "ports": [443]}
    objects = render_values({"airflow": {"notifications": told}}, tmp_path)
    changed = [
        policy["metadata"]["name"]
        for policy in of_kind(objects, "NetworkPolicy")
        if policy != one(laptop, "NetworkPolicy", policy["metadata"]["name"])
    ]
    assert changed == senders
    to_receivers = {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"port": 443}]}
    for sender in changed:
        assert to_receivers in one(objects, "NetworkPolicy", sender)["spec"]["egress"]


def test_policies_can_be_left_out(tmp_path: Path) -> None:
    objects = render_values({"networkPolicy": {"enabled": False}}, tmp_path)
    assert of_kind(objects, "NetworkPolicy") == []


def test_tasks_reach_mlflow_only_when_the_values_say_so(tmp_path: Path) -> None:
    clients = {"airflow-scheduler", "airflow-triggerer", "airflow-task"}
    objects = render_values({"airflow": {"mlflowConnection": True}}, tmp_path)
    known = {row(found): found.labels for found in pods(objects)}
    (policy,) = (
        one
        for one in of_kind(objects, "NetworkPolicy")
        if one["metadata"]["name"] == "slipway-mlflow"
    )
    entered = {
        client
        for rule in policy["spec"]["ingress"]
        for client in _targets({"to": rule["from"]}, known)
    }
    assert entered == {client for client, to in PATHS.items() if "mlflow" in to} | clients


SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
SERVICE = "/api/v1/namespaces/default/services/kubernetes"
API: dict[str, Object] = {
    SLICE: {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["172.18.0.4"]}, {"addresses": ["172.18.0.5"]}],
        "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
    },
    SERVICE: {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 443}]},
    },
}
ASKING = ["airflow-api-server", "airflow-cleanup", "airflow-scheduler", "airflow-triggerer"]
ASKING += ["stage-roll-out"]


def ways_to_the_api(objects: list[Object]) -> dict[str, tuple[list[str], list[int]]]:
    """Address ranges and ports that policies of the defaults open besides pods, by policy."""
    return {
        policy["metadata"]["name"].removeprefix("slipway-"): (
            [peer["ipBlock"]["cidr"] for peer in rule["to"]],
            [port["port"] for port in rule["ports"]],
        )
        for policy in of_kind(objects, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if "ipBlock" in rule["to"][0]
    }


def asked(objects: dict[str, Object], folder: Path, *arguments: str) -> list[Object]:
    """What Helm renders when it may ask a cluster that has these objects."""
    how = ("--dry-run=server", "--disable-openapi-validation")
    with kubernetes_api(objects, folder) as kubeconfig:
        text = render_text(*how, *arguments, kubeconfig=kubeconfig)
    return [found for found in yaml.safe_load_all(text) if found]


def test_the_way_to_the_kubernetes_api_leads_to_the_addresses_that_the_cluster_names(
    tmp_path: Path,
) -> None:
    ways = ways_to_the_api(asked(API, tmp_path))
    cidrs = ["172.18.0.4/32", "172.18.0.5/32", "10.96.0.1/32", "fd00::1/128"]
    assert ways == dict.fromkeys(ASKING, (cidrs, [443, 6443, 8443]))


def test_it_leads_everywhere_where_helm_can_not_ask(laptop: list[Object]) -> None:
    assert ways_to_the_api(laptop) == dict.fromkeys(ASKING, (["0.0.0.0/0"], [443, 6443]))


@pytest.mark.parametrize("cluster", [API, dict.fromkeys(API, FORBIDDEN)], ids=["seen", "hidden"])
def test_ranges_in_the_values_win_and_nothing_is_asked(
    tmp_path: Path, cluster: dict[str, Object]
) -> None:
    given = ["--set", "networkPolicy.kubernetesApi.cidrs={10.7.0.0/16}"]
    ways = ways_to_the_api(asked(cluster, tmp_path, *given))
    assert ways == dict.fromkeys(ASKING, (["10.7.0.0/16"], [443, 6443]))


def test_who_may_not_ask_is_told_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        asked(dict.fromkeys(API, FORBIDDEN), tmp_path)
    assert "where you may not look it up, give networkPolicy.kubernetesApi.cidrs" in str(
        caught.value
    )
    assert 'endpointslices "kubernetes" is forbidden' in str(caught.value)
