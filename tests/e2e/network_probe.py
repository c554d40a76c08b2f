"""Ask from inside the cluster: who can open a connection to whom?

One pod per row of the table carries exactly the labels of that component, so the release's
NetworkPolicies treat it as one. It is never ready, so no Service sends it anything.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from k8s.access import kubectl, kubectl_json

PROBES = "slipway.dev/probe=connectivity"
TRIES = 3
TIMEOUT_S = 3
START_S = 15
"""What all pods together need to start: those that probe meanwhile would find open paths closed."""

# Tries each target a few times, as a policy takes a moment to reach a new pod; all targets at once.
_SCRIPT = f"""
until [ "$(date +%s)" -ge "$BEGIN" ]; do sleep 0.5; done
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
        "env": [
            {"name": "TARGETS", "value": _lines(targets)},
            {"name": "BEGIN", "value": str(int(time.time()) + START_S)},
        ],
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
    """Run the probes; row -> names of the targets it reached."""
    with running(pods):
        finished(len(pods))
        said = kubectl("logs", "-l", PROBES, "--prefix", "--tail=-1", "--max-log-requests=50")
    found: dict[str, set[str]] = {pod["metadata"]["name"]: set() for pod in pods}
    for name, target in re.findall(r"^\[pod/(\S+)/probe\] (\S+)$", said, re.MULTILINE):
        found[name].add(target)
    return {name.removeprefix("probe-"): targets for name, targets in found.items()}


def finished(count: int, timeout_s: float = 180) -> None:
    """Wait for every probe to finish."""
    deadline = time.monotonic() + timeout_s
    phases: list[str] = []
    while time.monotonic() < deadline:
        statuses = [pod["status"] for pod in kubectl_json("get", "pods", "-l", PROBES)["items"]]
        phases = [status["phase"] for status in statuses]
        if phases == ["Succeeded"] * count:
            return
        assert "Failed" not in phases, statuses
        time.sleep(2)
    raise AssertionError(f"probes did not finish in {timeout_s:.0f} s: {phases}")
