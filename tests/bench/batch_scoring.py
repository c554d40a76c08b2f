"""How fast a year of days is scored: rows per second and core, and the most memory its pod takes.

    python -m tests.bench.batch_scoring [--first DAY] [--last DAY] [--json]

Needs a running release. Adds the tests' project `flights_year`, which is `flights` under another
name, lands its days, trains a champion on the first of them, and builds every day's features as the
ETL does. Then one pod scores all the days. Measured is that pod alone, by its own log: rows per
second and core are rows by seconds of CPU time, starting Python and loading the model included.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from k8s.access import AccessError, airflow
from k8s.demo import Clock, land
from k8s.stage_pod import Ending, create, ending_of, manifest
from tests.e2e.release import add_projects, remove_objects
from tests.e2e.runs import TRAINING, Run, wait_until_known

PROJECT = "flights_year"
FIRST, LAST, TRAINED = date(2013, 1, 1), date(2013, 12, 30), date(2013, 3, 1)
STAGE_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Scoring:
    """What it took to score some days."""

    what: str
    days: int
    rows: int
    cpu_seconds: float
    seconds: float
    peak_mib: int

    @property
    def per_core(self) -> float:
        """Rows that one core scores in a second."""
        return self.rows / self.cpu_seconds


def measure(first: date = FIRST, last: date = LAST) -> list[Scoring]:
    """Score one day, all of them, and all of them again; each time in a pod of its own."""
    clock = Clock(time.monotonic())
    prepare(clock, first, last)
    # What an earlier measurement scored would be found, and nothing be measured.
    remove_objects("data", f"{PROJECT}/score/")
    pinned = str(stage("pin_champion", last).result["record"])
    days = str((last - first).days + 1)
    clock.say(f"scoring {days} days")
    return [
        timed("one day", last, "--upstream", pinned),
        timed("every day", last, "--upstream", pinned, "--days", days),
        timed("every day again, which finds them", last, "--upstream", pinned, "--days", days),
    ]


def prepare(clock: Clock, first: date, last: date) -> None:
    """Land the days, train a champion and build all features, unless that was done before."""
    with tempfile.TemporaryDirectory() as folder:
        add_projects(Path(folder))
    land(clock, PROJECT, str(first), str(last))
    with airflow() as client:
        wait_until_known(client, PROJECT, [TRAINING])
        run = Run.start(client, TRAINING, str(TRAINED), PROJECT)
        if run.finished(STAGE_TIMEOUT_S) != "success":
            raise AccessError(f"the training run {run.run_id} failed; `make ui` shows why")
    clock.say("building the features of every day")
    done = stage("ingest", last, "--days", str((last - first).days + 1))
    for verb in ("validate", "build_features"):
        done = stage(verb, last, "--upstream", str(done.result["record"]))


def stage(verb: str, day: date, *options: str) -> Ending:
    """Run a stage in a pod as a DAG would; AccessError when it fails."""
    arguments = [verb.replace("_", "-"), "--project", PROJECT, "--as-of", str(day), *options]
    template = "model" if verb == "pin_champion" else "data"
    name = create(manifest(template, PROJECT, arguments))
    ending = ending_of(name, STAGE_TIMEOUT_S)
    if ending.phase != "Succeeded":
        raise AccessError(f"{verb} failed: {ending.last_line} (pod {name})")
    return ending


def timed(what: str, day: date, *options: str) -> Scoring:
    """Score, and read from the stage's own log what it has needed."""
    ending = stage("score", day, *options)
    used = re.search(r"t=([\d.]+)s took ([\d.]+) s of CPU and at most (\d+) MiB", ending.log)
    if used is None:
        raise AccessError(f"the log does not say what was used: {ending.log[-500:]}")
    return Scoring(
        what=what,
        days=ending.result["days"],
        rows=ending.result["rows"],
        cpu_seconds=float(used[2]),
        seconds=float(used[1]),
        peak_mib=int(used[3]),
    )


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--first", type=date.fromisoformat, default=FIRST)
    parser.add_argument("--last", type=date.fromisoformat, default=LAST)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    try:
        found = measure(given.first, given.last)
    except AccessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps([asdict(one) for one in found]))
        return 0
    for one in found:
        print(
            f"{one.what:<34} {one.days:4} days {one.rows:7} rows {one.seconds:6.1f} s"
            f" {one.cpu_seconds:6.1f} s CPU {one.per_core:7.0f} rows/s/core {one.peak_mib:4} MiB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
