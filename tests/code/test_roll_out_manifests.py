"""What roll_out makes of the chart's template, and of what a cluster tells about pods."""

from __future__ import annotations

import copy

import pytest

from ml.rollout.target import Deployed, Side
from ml.rollout.targets import manifests
from ml.rollout.targets.manifests import KubeObject, Templates
from tests.code.memory_target import release

LABELS = {"app.kubernetes.io/component": "serving"}
CONTAINER: KubeObject = {
    "name": "serving",
    "env": [{"name": "AWS_REGION", "value": "x"}, {"name": "SLIPWAY_PROJECT", "value": "old"}],
    "ports": [{"name": "http", "containerPort": 8080}],
}
POD: KubeObject = {
    "metadata": {"labels": LABELS, "annotations": {"kept": "yes"}},
    "spec": {"containers": [{"name": "sidecar"}, CONTAINER]},
}
TEMPLATES = Templates(
    deployment={
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "placeholder", "labels": LABELS},
        "spec": {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": POD},
    },
    service={"metadata": {"name": "placeholder"}, "spec": {"selector": LABELS, "ports": []}},
    budget={"spec": {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}},
    owner={"kind": "ConfigMap", "uid": "u"},
    namespace="slipway",
)
MADE = manifests.deployment(TEMPLATES, release("2"), Side.GREEN)


def test_a_side_is_pinned_to_the_release_and_keeps_the_rest_of_the_template() -> None:
    pod = MADE["spec"]["template"]
    serving = pod["spec"]["containers"][1]
    environment = {entry["name"]: entry["value"] for entry in serving["env"]}
    assert environment == {
        "AWS_REGION": "x",
        "SLIPWAY_PROJECT": "parcels",
        "SLIPWAY_MODEL_URI": "s3://models/2",
        "SLIPWAY_MODEL_SHA256": "2" * 64,
        "SLIPWAY_MODEL_VERSION": "2",
        "SLIPWAY_VARIANT": "green",
    }
    assert pod["spec"]["containers"][0] == {"name": "sidecar"}
    assert pod["metadata"]["annotations"] == {"kept": "yes"}
    assert MADE["metadata"]["name"] == "parcels-green"
    assert MADE["metadata"]["ownerReferences"] == [TEMPLATES.owner]


def test_a_selector_holds_what_never_changes_and_the_pod_what_does() -> None:
    fixed = LABELS | {"slipway.dev/project": "parcels", "slipway.dev/side": "green"}
    assert MADE["spec"]["selector"]["matchLabels"] == fixed
    labels = MADE["spec"]["template"]["metadata"]["labels"]
    assert fixed.items() < labels.items()
    assert labels["slipway.dev/version"] == "2"
    again = manifests.deployment(TEMPLATES, release("2"), Side.GREEN)
    other = manifests.deployment(TEMPLATES, release("3"), Side.GREEN)
    assert again == MADE
    mark = other["spec"]["template"]["metadata"]["labels"]["slipway.dev/template"]
    assert mark != labels["slipway.dev/template"]


def test_the_templates_are_left_as_they_were() -> None:
    before = copy.deepcopy(TEMPLATES)
    manifests.deployment(TEMPLATES, release("2"), Side.BLUE)
    manifests.service(TEMPLATES, "parcels", Side.BLUE)
    manifests.budget(TEMPLATES, "parcels", Side.BLUE)
    assert before == TEMPLATES


@pytest.mark.parametrize("side", [Side.BLUE, Side.GREEN, None])
def test_the_service_tells_which_side_is_live(side: Side | None) -> None:
    made = manifests.service(TEMPLATES, "two_words", side)
    assert made["metadata"]["name"] == "two-words"
    assert made["spec"]["selector"]["slipway.dev/project"] == "two_words"
    assert manifests.live_side(made) is side
    assert manifests.live_side(None) is None


def _found(**status: int) -> KubeObject:
    found = copy.deepcopy(MADE)
    found["metadata"]["generation"] = 3
    found["status"] = {"observedGeneration": 3} | status
    return found


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, 2),
        ({"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}, 1),
        ({"replicas": 2, "updatedReplicas": 2}, 0),
        ({"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}, 0),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, 0),
    ],
)
def test_ready_are_only_instances_of_the_newest_template(
    status: dict[str, int], ready: int
) -> None:
    expected = Deployed("2", "s3://models/2", "2" * 64, wanted=2, ready=ready)
    assert manifests.deployed(_found(**status)) == expected


def _pod(
    state: KubeObject | None = None, last: KubeObject | None = None, **status: object
) -> KubeObject:
    container = {"name": "serving", "state": state or {}, "lastState": last or {}}
    return {
        "metadata": {"name": "p"},
        "status": {"containerStatuses": [container]} | status,
    }


def _ended(message: str, **fields: object) -> KubeObject:
    return {"terminated": {"exitCode": 1, "reason": "Error", "message": message} | fields}


@pytest.mark.parametrize(
    ("pod", "problem"),
    [
        (_pod(_ended("starting\nerror: no model\n")), "pod p ended: no model"),
        (_pod({"running": {}}, _ended("error: no model")), "pod p ended: no model"),
        (_pod(_ended("Killed\nat last")), "pod p ended: at last"),
        (_pod(_ended("")), "pod p ended: exit code 1 without a word (Error)"),
        (_pod(_ended("", reason="OOMKilled")), "needed more memory than its limit"),
        (
            _pod({"waiting": {"reason": "ImagePullBackOff", "message": "no\n such image"}}),
            "pod p can't start: ImagePullBackOff: no such image",
        ),
    ],
)
def test_a_pod_that_can_not_start_is_a_problem_at_once(pod: KubeObject, problem: str) -> None:
    said = manifests.assess(_found(), [_pod({"running": {}}), pod]).problem
    assert said is not None
    assert problem in said


@pytest.mark.parametrize(
    "pod",
    [
        _pod({"waiting": {"reason": "ContainerCreating"}}),
        _pod({"waiting": {"reason": "ErrImagePull", "message": "a hiccup"}}),
        _pod({"running": {}}),
        _pod(_ended("error: x"), reason="Evicted"),
        _pod({"running": {}}, {"terminated": {"exitCode": 0}}),
        _pod(_ended("error: x")) | {"metadata": {"name": "p", "deletionTimestamp": "now"}},
        {"metadata": {"name": "p"}},
    ],
)
def test_what_may_still_come_right_is_no_problem(pod: KubeObject) -> None:
    assert manifests.assess(_found(), [pod]).problem is None


def test_a_pod_without_a_node_is_told_about() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes fit"}
    progress = manifests.assess(_found(), [_pod(conditions=[condition])])
    assert progress.note == "pod p has no node: 0/3 nodes fit"


def test_pods_that_may_not_be_made_are_told_about() -> None:
    found = _found()
    message = "forbidden: exceeded quota"
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    found["status"]["conditions"] = [failure]
    assert manifests.assess(found, []).note == message
