"""The cluster itself: nodes, names across nodes, volumes, enforced network policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.budget import budget
from tests.e2e.cluster_probe import PORT, Cluster, load_image, pod, policy, service
from tests.e2e.release import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.budget(15)]

NAME = "slipway"
NAMESPACE = "cluster-probe"


def workers(cluster: Cluster) -> list[str]:
    return [
        node["metadata"]["name"]
        for node in cluster.get("nodes")["items"]
        if "node-role.kubernetes.io/control-plane" not in node["metadata"]["labels"]
    ]


@pytest.fixture(scope="module")
@budget(20)
def cluster() -> Iterator[Cluster]:
    """A namespace with `server` on one worker and `friend` and `stranger` on another node."""
    cluster = Cluster(f"kind-{NAME}", NAMESPACE)
    load_image(NAME)
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        here, *others = workers(cluster)
        there = others[0] if others else here
        cluster.apply(pod("server", here), pod("friend", there), pod("stranger", there))
        cluster.apply(service("server"))
        cluster.wait_ready("server", "friend", "stranger")
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def policies(cluster: Cluster) -> Iterator[Cluster]:
    yield cluster
    cluster.kubectl("delete", "networkpolicies", "--all")


def becomes(cluster: Cluster, source: str, host: str, answer: str) -> None:
    """Policies take a moment to reach the nodes; the answer must then stay."""
    wait_until(
        f"{source} -> {host} to give {answer!r}",
        lambda: cluster.connect(source, host) == answer,
        timeout_s=30,
        poll_s=0.5,
    )
    assert cluster.connect(source, host) == answer


def test_nodes_are_ready(cluster: Cluster) -> None:
    nodes = cluster.get("nodes")["items"]
    ready = [
        condition["status"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    assert len(nodes) >= 2
    assert set(ready) == {"True"}
    assert {node["status"]["nodeInfo"]["kubeletVersion"][:6] for node in nodes} == {"v1.36."}


def test_service_name_is_resolved_and_answers_across_nodes(cluster: Cluster) -> None:
    server, friend = cluster.get("pod", "server"), cluster.get("pod", "friend")
    if len(workers(cluster)) > 1:
        assert server["spec"]["nodeName"] != friend["spec"]["nodeName"]
    assert cluster.connect("friend", f"server.{NAMESPACE}.svc.cluster.local") == "server"


def test_volume_is_bound_and_keeps_its_content(cluster: Cluster) -> None:
    claim: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "kept"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    volume: dict[str, Any] = {
        "volumes": [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}],
        "securityContext": {"runAsUser": 10001, "runAsGroup": 0},
    }
    mount: dict[str, Any] = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    cluster.apply(claim, pod("writer", container=mount, **volume))
    cluster.wait_ready("writer")
    assert cluster.get("pvc", "kept")["spec"]["storageClassName"] == "standard"
    assert cluster.shell("writer", "echo twelve >/kept/months") == (0, "")
    cluster.kubectl("delete", "pod", "writer")
    cluster.apply(pod("reader", container=mount, **volume))
    cluster.wait_ready("reader")
    assert cluster.shell("reader", "cat /kept/months") == (0, "twelve")


def test_ingress_policy_lets_only_the_named_pod_in(policies: Cluster) -> None:
    assert policies.connect("stranger", "server") == "server"
    friend = {"podSelector": {"matchLabels": {"probe": "friend"}}}
    ports = [{"port": PORT}]
    policies.apply(
        policy(
            "only-friend",
            podSelector={"matchLabels": {"probe": "server"}},
            policyTypes=["Ingress"],
            ingress=[{"from": [friend], "ports": ports}],
        )
    )
    becomes(policies, "stranger", "server", "timed out")
    becomes(policies, "friend", "server", "server")


def test_egress_policy_lets_only_the_named_pod_be_reached(policies: Cluster) -> None:
    dns = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    to_friend = {"to": [{"podSelector": {"matchLabels": {"probe": "friend"}}}]}
    policies.apply(
        service("friend"),
        policy(
            "stranger-to-friend",
            podSelector={"matchLabels": {"probe": "stranger"}},
            policyTypes=["Egress"],
            egress=[dns, to_friend],
        ),
    )
    becomes(policies, "stranger", "server", "timed out")
    becomes(policies, "stranger", "friend", "friend")
    becomes(policies, "friend", "server", "server")
