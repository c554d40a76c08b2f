"""How long a training takes with a pod for every stage, and with the stages of a kind in one pod.

    python -m tests.bench.fused_stages [--day 2013-03-01] [--json]

Needs a running release. Adds the tests' project `flights_fused`, which is `flights` with a `fuse`,
and lands its data. A first run of each way does the work; then each is measured twice on the same
day, finding everything done, so that what differs is what launching costs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from k8s.access import AccessError, Airflow, airflow
from k8s.demo import AS_OF, Clock, land
from tests.e2e.release import add_projects
from tests.e2e.runs import TRAINING, Run, wait_until_known

WAYS = {"flights": "a pod for every stage", "flights_fused": "stages of a kind in one pod"}


@dataclass(frozen=True)
class Timing:
    """One run: the whole of it in seconds, and how many pods it took."""

    way: str
    seconds: float
    pods: int


def timing(client: Airflow, project: str, day: str) -> Timing:
    """Run the training once and measure it; raises AccessError when it does not end well."""
    run = Run.start(client, TRAINING, day, project)
    if run.finished(1200) != "success":
        raise AccessError(f"run {run.run_id} failed: {run.states}")
    return Timing(WAYS[project], round(run.seconds, 1), run.pods_by_stage().total())


def measure(day: str) -> list[Timing]:
    """Run both ways twice, after a run of each that is not measured."""
    clock = Clock(time.monotonic())
    with tempfile.TemporaryDirectory() as folder:
        add_projects(Path(folder))
    land(clock, "flights_fused")
    with airflow() as client:
        for project in WAYS:
            wait_until_known(client, project, [TRAINING])
            Run.start(client, TRAINING, day, project).finished(1200)
        return [timing(client, project, day) for project in (*WAYS, *WAYS)]


def table(rows: list[Timing]) -> str:
    """Return the rows as text."""
    lines = [f"{'':<32}{'seconds':>9}{'pods':>6}"]
    lines += [f"{row.way:<32}{row.seconds:>9.1f}{row.pods:>6}" for row in rows]
    return "\n".join(lines)


def main() -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--day", default=AS_OF, help="day to train for; its data must have landed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    try:
        rows = measure(options.day)
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps([asdict(row) for row in rows]) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
