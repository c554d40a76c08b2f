"""From the chart's template to the objects of one side, as plain data; calls no cluster."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.rollout.target import Deployed, Progress, Release, Side

KubeObject = dict[str, Any]

PROJECT = "slipway.dev/project"
SIDE = "slipway.dev/side"
VERSION = "slipway.dev/version"
TEMPLATE = "slipway.dev/template"
SHA256 = "slipway.dev/sha256"
MODEL_URI = "slipway.dev/model-uri"
CONTAINER = "serving"
NOWHERE = "none"

# A container that waits for one of these does not get better by waiting.
_HOPELESS = {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}
# The cluster took the pod away for its own reasons, and makes another one.
_TAKEN_AWAY = {"Evicted", "NodeLost", "NodeShutdown", "Preempting", "Terminated"}
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Templates:
    """The chart's manifests to start from, and the object that is to own what comes of them."""

    deployment: KubeObject
    service: KubeObject
    budget: KubeObject
    owner: KubeObject
    namespace: str


def object_name(project: str, side: Side | None = None) -> str:
    """The name of a project's Service, or of a side's Deployment, by DNS's rules."""
    base = project.replace("_", "-")
    return base if side is None else f"{base}-{side}"


def deployment(templates: Templates, release: Release, side: Side) -> KubeObject:
    """The Deployment that pins a side to a release."""
    made = _owned(templates, templates.deployment, release.project, side)
    labels = {PROJECT: release.project, SIDE: str(side)}
    spec = made["spec"]
    _merge(spec.setdefault("selector", {}), "matchLabels", labels)
    pod = spec.setdefault("template", {})
    _pin(_serving_container(pod), release, side)
    labels[VERSION] = release.version
    labels[TEMPLATE] = hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()[:12]
    _merge(pod.setdefault("metadata", {}), "labels", labels)
    _merge(made["metadata"], "labels", labels)
    notes = {SHA256: release.sha256, MODEL_URI: release.model_uri}
    _merge(made["metadata"], "annotations", notes)
    return made


def service(templates: Templates, project: str, side: Side | None) -> KubeObject:
    """The Service that users reach, sending them to a side or nowhere."""
    made = _owned(templates, templates.service, project, None)
    chosen = {PROJECT: project, SIDE: str(side) if side else NOWHERE}
    _merge(made["spec"], "selector", chosen)
    return made


def budget(templates: Templates, project: str, side: Side) -> KubeObject:
    """The PodDisruptionBudget of a side."""
    made = _owned(templates, templates.budget, project, side)
    selector = made["spec"].setdefault("selector", {})
    _merge(selector, "matchLabels", {PROJECT: project, SIDE: str(side)})
    return made


def _owned(
    templates: Templates, template: KubeObject, project: str, side: Side | None
) -> KubeObject:
    made = copy.deepcopy(template)
    metadata = made.setdefault("metadata", {})
    metadata["name"] = object_name(project, side)
    metadata["namespace"] = templates.namespace
    metadata["ownerReferences"] = [templates.owner]
    _merge(metadata, "labels", {PROJECT: project} | ({SIDE: str(side)} if side else {}))
    return made


def _merge(parent: KubeObject, key: str, values: Mapping[str, str]) -> None:
    parent[key] = {**(parent.get(key) or {}), **values}


def _serving_container(pod: KubeObject) -> KubeObject:
    containers: list[KubeObject] = pod.get("spec", {}).get("containers", [])
    for container in containers:
        if container.get("name") == CONTAINER:
            return container
    raise ValueError(f"the template's Deployment has no container named {CONTAINER}")


def _pin(container: KubeObject, release: Release, side: Side) -> None:
    pinned = {
        "SLIPWAY_PROJECT": release.project,
        "SLIPWAY_MODEL_URI": release.model_uri,
        "SLIPWAY_MODEL_SHA256": release.sha256,
        "SLIPWAY_MODEL_VERSION": release.version,
        "SLIPWAY_VARIANT": str(side),
    }
    kept = [entry for entry in container.get("env") or [] if entry["name"] not in pinned]
    container["env"] = [*kept, *({"name": k, "value": v} for k, v in pinned.items())]


def deployed(found: KubeObject | None) -> Deployed:
    """What a Deployment, as the cluster returns it, runs."""
    if found is None:
        return Deployed()
    notes = found["metadata"].get("annotations") or {}
    return Deployed(
        version=(found["metadata"].get("labels") or {}).get(VERSION),
        model_uri=notes.get(MODEL_URI),
        sha256=notes.get(SHA256),
        wanted=found["spec"].get("replicas", 1),
        ready=_ready(found),
    )


def _ready(found: KubeObject) -> int:
    """Ready instances of the newest template; 0 as long as older ones are about."""
    status = found.get("status") or {}
    if status.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
        return 0
    if status.get("replicas", 0) != status.get("updatedReplicas", 0):
        return 0
    return int(status.get("availableReplicas") or 0)


def live_side(found: KubeObject | None) -> Side | None:
    """The side that a Service, as the cluster returns it, sends users to."""
    selector = (found or {}).get("spec", {}).get("selector") or {}
    chosen = selector.get(SIDE, NOWHERE)
    return None if chosen == NOWHERE else Side(chosen)


def assess(found: KubeObject, pods: Sequence[KubeObject]) -> Progress:
    """How far a side has come, from its Deployment and the pods of its newest template."""
    state = deployed(found)
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    problems = [problem for pod in staying if (problem := _problem(pod))]
    if problems:
        return Progress(state.wanted, state.ready, problem=problems[0])
    notes = [note for pod in staying if (note := _note(pod))] + _failed_conditions(found)
    return Progress(state.wanted, state.ready, note=notes[0] if notes else "")


def _problem(pod: KubeObject) -> str | None:
    status = pod.get("status") or {}
    if status.get("reason") in _TAKEN_AWAY:
        return None
    name = pod["metadata"]["name"]
    for container in _container_states(status):
        ended = container.get("state", {}).get("terminated")
        ended = ended or (container.get("lastState") or {}).get("terminated")
        if ended and ended.get("exitCode", 0) != 0:
            return f"pod {name} ended: {_last_words(ended)}"
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _HOPELESS:
            return f"pod {name} can't start: {waiting['reason']}: {_one_line(waiting)}"
    return None


def _container_states(status: KubeObject) -> list[KubeObject]:
    kinds = ("initContainerStatuses", "containerStatuses")
    return [state for kind in kinds for state in status.get(kind) or []]


def _last_words(ended: KubeObject) -> str:
    """The last sentence of a container that ended, or how it ended if it said nothing."""
    if ended.get("reason") == "OOMKilled":
        return "it needed more memory than its limit (OOMKilled)"
    lines = [line.strip() for line in (ended.get("message") or "").splitlines() if line.strip()]
    spoken = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if spoken or lines:
        return (spoken or lines)[-1][:_LONGEST_REASON]
    return f"exit code {ended.get('exitCode')} without a word ({ended.get('reason', 'Error')})"


def _one_line(waiting: KubeObject) -> str:
    return " ".join((waiting.get("message") or "no reason given").split())[:_LONGEST_REASON]


def _note(pod: KubeObject) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"pod {pod['metadata']['name']} has no node: {condition.get('message', '')}"
    return ""


def _failed_conditions(found: KubeObject) -> list[str]:
    conditions = (found.get("status") or {}).get("conditions") or []
    failed = [c for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True"]
    return [_one_line(condition) for condition in failed]


def is_ready(pod: KubeObject) -> bool:
    """Whether a pod is ready and here to stay."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
