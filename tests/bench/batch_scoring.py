"""How fast a year of days is scored: rows per second and core, and the most memory it takes.

    python -m tests.bench.batch_scoring [--first DAY] [--last DAY] [--folder FOLDER] [--json]

Lands the example project's days in a folder of its own, trains a model on the first of them,
builds every day's features as the ETL does, and then scores the days in one process, as one pod
would. Measured is the scoring alone. Rows per second and core are rows by seconds of CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
PROJECT = "flights"
FIRST, LAST, TRAINED = date(2013, 1, 1), date(2013, 12, 30), date(2013, 3, 1)


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


def measure(folder: Path, first: date = FIRST, last: date = LAST) -> list[Scoring]:
    """Score the days, then ask for them again; each is a process of its own."""
    prepare(folder, first, last)
    ml(folder, "pin-champion", "--as-of", str(last))
    pinned = result(folder)["record"]
    days = ("--days", str((last - first).days + 1))
    one = (folder, "score", "--as-of", str(last), "--upstream", pinned)
    return [
        timed("one day", *one),
        timed("every day", *one, *days),
        timed("every day again, which finds them", *one, *days),
    ]


def prepare(folder: Path, first: date, last: date) -> None:
    """Land the days, train a champion and build all features, unless that was done before."""
    ml(folder, "land", "--from", str(first), "--to", str(last))
    ml(folder, "run", "--as-of", str(TRAINED))
    ml(folder, "ingest", "--as-of", str(last), "--days", str((last - first).days + 1))
    for stage in ("validate", "build-features"):
        ml(folder, stage, "--as-of", str(last), "--upstream", result(folder)["record"])


def ml(folder: Path, *arguments: str) -> str:
    """Run `python -m ml` on files in the folder; return what it printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY_", "MLFLOW_"))}
    ours = {"PYTHONPATH": str(REPO), "SLIPWAY_RESULT_PATH": str(folder / "result.json")}
    command = [sys.executable, "-m", "ml", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=kept | ours, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def result(folder: Path) -> dict[str, Any]:
    """Return what the last stage told its caller."""
    return dict(json.loads((folder / "result.json").read_text()))


def timed(what: str, folder: Path, *arguments: str) -> Scoring:
    """Score, and read from the stage's own log what it has needed."""
    said = ml(folder, *arguments)
    used = re.search(r"t=([\d.]+)s took ([\d.]+) s of CPU and at most (\d+) MiB", said)
    if used is None:
        raise RuntimeError(f"the log does not say what was used: {said[-500:]}")
    told = result(folder)
    return Scoring(
        what=what,
        days=told["days"],
        rows=told["rows"],
        cpu_seconds=float(used[2]),
        seconds=float(used[1]),
        peak_mib=int(used[3]),
    )


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=date.fromisoformat, default=FIRST)
    parser.add_argument("--last", type=date.fromisoformat, default=LAST)
    parser.add_argument("--folder", type=Path, help="kept, so that a second call is quick")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (given.folder or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(folder, given.first, given.last)
    if given.json:
        print(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        print(
            f"{one.what:<34} {one.days:4} days {one.rows:7} rows {one.seconds:6.1f} s"
            f" {one.cpu_seconds:6.1f} s CPU {one.per_core:7.0f} rows/s/core {one.peak_mib:4} MiB"
        )


if __name__ == "__main__":
    main()
