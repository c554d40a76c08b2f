"""Start a pod from one of the chart's stage templates by hand, and see how it ends."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import yaml

from k8s.access import NAMESPACE, AccessError, kubectl, kubectl_json

POLL_S = 1.0
HOPELESS = {
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
}
FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Ending:
    """How a stage's pod ended: its phase, the result it handed over, and what it said."""

    phase: str
    result: dict[str, Any]
    log: str

    @property
    def last_line(self) -> str:
        """Return what it said last, in most cases the one sentence that matters."""
        return (self.log.strip().splitlines() or ["nothing was said"])[-1]


def manifest(template: str, project: str, arguments: list[str]) -> dict[str, Any]:
    """Return a pod for a project from a template of the chart, such as `land` or `roll_out`.

    `arguments` are those of `python -m ml`, the verb first.
    """
    templates = kubectl_json("get", "configmap", "slipway-stage-pods")["data"]
    pod: dict[str, Any] = yaml.safe_load(templates[f"{template}.yaml"])
    verb = arguments[0]
    name = f"{project}-{verb}-{uuid.uuid4().hex[:5]}"
    pod["metadata"]["name"] = name.replace("_", "-")
    labels = pod["metadata"].setdefault("labels", {})
    labels |= {"slipway.dev/stage": verb.replace("-", "_"), "slipway.dev/project": project}
    container = pod["spec"]["containers"][0]
    container["args"] = arguments
    _log_in_as(project, container)
    return pod


def _log_in_as(project: str, container: dict[str, Any]) -> None:
    """Put the project's name into the keys of Secrets, as the adapter does for stages of a DAG."""
    for variable in container.get("env", []):
        if key := variable.get("valueFrom", {}).get("secretKeyRef"):
            key["key"] = key["key"].replace("{project}", project)


def create(pod: dict[str, Any]) -> str:
    """Create a pod and return its name."""
    kubectl("create", "-f", "-", stdin=json.dumps(pod))
    return str(pod["metadata"]["name"])


def remove(name: str) -> None:
    """Delete a pod that is no longer needed, its log with it."""
    kubectl("delete", "pod", name, "--ignore-not-found", "--wait=false")


def ending_of(name: str, timeout_s: float) -> Ending:
    """Wait until a pod has finished; AccessError when it cannot start or takes too long."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        status: dict[str, Any] = kubectl_json("get", "pod", name)["status"]
        if status.get("phase") in FINISHED:
            return Ending(status["phase"], _result(status), kubectl("logs", name))
        _refuse_hopeless(name, status)
        time.sleep(POLL_S)
    raise AccessError(
        f"pod {name} did not finish within {timeout_s:.0f} s; "
        f"look at `kubectl -n {NAMESPACE} describe pod {name}`"
    )


def _result(status: dict[str, Any]) -> dict[str, Any]:
    """Return the termination message; none when the pod itself was lost."""
    for container in status.get("containerStatuses", []):
        message = (container["state"].get("terminated") or {}).get("message", "")
        if message.startswith("{"):
            result: dict[str, Any] = json.loads(message)
            return result
    return {}


def _refuse_hopeless(name: str, status: dict[str, Any]) -> None:
    for container in status.get("containerStatuses", []):
        waiting = container["state"].get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            way_out = "`make up` builds and loads the images"
            if waiting["reason"] == "CreateContainerConfigError":
                way_out = "a project's users are made for those in the chart's values (stages)"
            raise AccessError(
                f"pod {name} cannot start: {waiting['reason']}: {waiting.get('message', '')}; "
                f"{way_out}"
            )
