"""One upgrade that gives the release all that the tests need beyond a user's first demo.

Every upgrade that replaces Airflow's pods costs half a minute of both processors, and nodes look
only once a minute whether a ConfigMap has changed: so it is one, before all tests that need it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from k8s.access import kubectl
from k8s.stage_pod import manifest
from tests.e2e.receiver import reaches, start_receiver
from tests.e2e.release import COMMON, projects, upgrade, wait_until

FIRST, LAST = "2013-03-01", "2013-03-12"
"""The days that the projects of parcels have."""
GUEST = "slipway-company"
"""The namespace of another release, which uses this one's database and store."""


def prepare(tmp_path: Path) -> None:
    """Upgrade the release, and land the days of the tests' projects."""
    names = sorted(name for name in projects() if name.startswith(COMMON))
    upgrade(values(), tmp_path)
    land(names)
    # A notice is sent once: not before each of the two that send any is let through.
    for process in ("scheduler", "triggerer"):
        wait_until(f"the {process} to reach the receiver", lambda: reaches(process), 120)  # noqa: B023


def values() -> dict[str, Any]:
    """Return what the upgrade changes."""
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": GUEST}}}
    guests = {part: {"service": {"allowFrom": [here]}} for part in ("postgres", "objectStore")}
    airflow = {"mlflowConnection": True, "notifications": start_receiver()}
    return {"stages": {"projects": projects()}, "airflow": airflow, **guests}


def land(names: list[str]) -> None:
    """Land the days of several projects, at the same time."""
    days = ["--from", FIRST, "--to", LAST]
    made = [manifest("land", name, ["land", "--project", name, *days]) for name in names]
    listing = {"apiVersion": "v1", "kind": "List", "items": made}
    kubectl("create", "-f", "-", stdin=json.dumps(listing))
    pods = [f"pod/{pod['metadata']['name']}" for pod in made]
    kubectl("wait", *pods, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=110s")
    kubectl("delete", *pods, "--wait=false")
