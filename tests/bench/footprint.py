"""How much memory the idle release uses, pod by pod, as the kernel counts it on the nodes.

    python -m tests.bench.footprint [--json]

Working set = usage minus inactive file pages, which is what the kubelet evicts on; summed over
every running pod of the namespace, pause containers included.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from k8s.access import NAMESPACE, kubectl

MIB = 1024 * 1024


@dataclass(frozen=True)
class PodMemory:
    """A pod's working set in MiB."""

    pod: str
    mib: float


def nodes() -> list[str]:
    """Return the names of the cluster's nodes."""
    return kubectl("get", "nodes", "-o", "name").replace("node/", "").split()


def measure() -> list[PodMemory]:
    """Ask every kubelet for the working set of its running pods of the namespace."""
    found = []
    for node in nodes():
        summary = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary"))
        for pod in summary["pods"]:
            used = pod.get("memory", {}).get("workingSetBytes")
            if pod["podRef"]["namespace"] == NAMESPACE and used:
                found.append(PodMemory(pod["podRef"]["name"], round(used / MIB, 1)))
    return sorted(found, key=lambda pod: -pod.mib)


def main() -> None:
    """Print the table, or JSON."""
    found = measure()
    if "--json" in sys.argv:
        print(json.dumps([asdict(pod) for pod in found]))
        return
    for pod in found:
        print(f"{pod.pod:<48} {pod.mib:8.1f} MiB")
    print(f"{'in all':<48} {sum(pod.mib for pod in found):8.1f} MiB")


if __name__ == "__main__":
    main()
