"""Ask from inside the cluster: who can open a connection to whom?

One pod per row of the table carries exactly the labels of that component, so the release's
NetworkPolicies treat it as one. It is never ready, so no Service sends it anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from k8s.access import kubectl, kubectl_json

PROBES = "slipway.dev/probe=connectivity"
TRIES = 4
TIMEOUT_S = 3
# Few at once: on a small machine many starting pods would make an open path look closed.
AT_ONCE = 7

# Tries each target a few times, as a policy takes a moment to reach a new pod; all targets at once.
_SCRIPT = f"""
reach() {{
  for _ in $(seq {TRIES}); do
    if timeout {TIMEOUT_S} bash -c "</dev/tcp/$2/$3" 2>/dev/null; then echo "$1"; return; fi
    sleep 0.5
  done
}}
for target in $TARGETS; do
  IFS=, read -r name host port <<<"$target"
  reach "$name" "$host" "$port" &
done
wait
"""


def pod(
    row: str, labels: Mapping[str, str], image: str, targets: Mapping[str, str]
) -> dict[str, Any]:
    """A pod that looks like the row's component and prints the names of the targets it reaches."""
    key, value = PROBES.split("=")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"probe-{row}", "labels": {**labels, key: value}},
        "spec": {
            # A busy node may fail to start a container; a script that has run is not run again.
            "restartPolicy": "OnFailure",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(image, targets)],
        },
    }


def _container(image: str, targets: Mapping[str, str]) -> dict[str, Any]:
    """The probe itself, as the namespace's Pod Security wants it."""
    return {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["bash", "-c", _SCRIPT],
        "env": [{"name": "TARGETS", "value": _lines(targets)}],
        "readinessProbe": {"exec": {"command": ["false"]}},
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _lines(targets: Mapping[str, str]) -> str:
    """Targets as words `name,host,port`; given as name -> host:port."""
    return " ".join(f"{name},{at.replace(':', ',')}" for name, at in targets.items())


@contextmanager
def running(pods: Iterable[dict[str, Any]]) -> Iterator[None]:
    """Have these pods in the cluster while the block runs."""
    _remove()
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(pods)})
    kubectl("create", "-f", "-", stdin=manifest)
    try:
        yield
    finally:
        _remove()


def _remove() -> None:
    kubectl("delete", "pods", "-l", PROBES, "--wait=true", "--ignore-not-found")


def reached_by(pods: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Run the probes, a few at a time; row -> names of the targets it reached."""
    found: dict[str, set[str]] = {}
    for start in range(0, len(pods), AT_ONCE):
        with running(pods[start : start + AT_ONCE]):
            found |= reached()
    return found


def reached(timeout_s: float = 180) -> dict[str, set[str]]:
    """Wait for every probe to finish; row -> names of the targets it reached."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        pods = kubectl_json("get", "pods", "-l", PROBES)["items"]
        phases = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in pods}
        if set(phases.values()) == {"Succeeded"}:
            return {
                name.removeprefix("probe-"): set(kubectl("logs", name).split()) for name in phases
            }
        failed = [pod["status"] for pod in pods if pod["status"]["phase"] == "Failed"]
        assert not failed, failed
        time.sleep(1)
    raise AssertionError(f"probes did not finish in {timeout_s:.0f} s: {phases}")
