"""Time and memory of the gate's intervals over very many rows.

    python -m tests.bench.intervals [--rows 1000000]

Needs nothing. Made-up rows of a week, scored by two models; each way to name clusters is measured
in a process of its own. Memory is what its peak adds to the rows themselves.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import polars as pl

from ml.data.daily_features import TIME
from ml.data.parts import DAY
from ml.training.clusters import clusters_of
from ml.training.intervals import auc_interval, gain_interval

CLUSTERS: dict[str, list[str]] = {
    "the hour": [],
    "the day": ["day"],
    "hour and depot": ["hour", "depot"],
    "row": ["id"],
}
ROWS = 1_000_000
MIB = 1024


@dataclass(frozen=True)
class Cost:
    """What the intervals of candidate, champion and gain cost together."""

    clusters: int
    seconds: float
    mebibytes: float


def made_up(rows: int) -> pl.DataFrame:
    """Rows of a week with labels and two scores."""
    dice = np.random.default_rng(0)
    labels = dice.random(rows) < 0.3
    minutes = pl.Series(np.sort(dice.integers(0, 7 * 24 * 60, rows)))
    first = pl.lit(date(2024, 3, 1)).cast(pl.Datetime("us"))
    return pl.DataFrame(
        {
            "id": np.arange(rows).astype(str),
            "depot": dice.choice(["north", "south", "west"], rows),
            "label": labels,
            "one": dice.random(rows) + 0.2 * labels,
            "other": dice.random(rows) + 0.2 * labels,
        }
    ).with_columns((first + pl.duration(minutes=pl.lit(minutes))).alias(TIME)).with_columns(
        pl.col(TIME).dt.date().alias(DAY)
    )  # fmt: skip


def cost(rows: int, names: list[str]) -> Cost:
    """Measure in this process."""
    frame = made_up(rows)
    labels, one, other = (frame[name].to_numpy() for name in ("label", "one", "other"))
    before, started = _peak(), time.monotonic()
    clusters = clusters_of(frame, names)
    for scores in (one, other):
        auc_interval(labels, scores, clusters)
    gain_interval(labels, one, other, clusters)
    seconds = time.monotonic() - started
    return Cost(int(clusters.max()) + 1, round(seconds, 1), round(_peak() - before))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def measure(rows: int) -> dict[str, Cost]:
    """Measure each way to name clusters in a process of its own."""
    found = {}
    for text, names in CLUSTERS.items():
        command = [sys.executable, "-m", "tests.bench.intervals", "--rows", str(rows), "--only"]
        done = subprocess.run([*command, ",".join(names)], capture_output=True, check=True)
        found[text] = Cost(**json.loads(done.stdout))
    return found


def main() -> None:
    """Print the table that docs/decisions holds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--only", help="names of clusters, measured in this process")
    given = parser.parse_args()
    if given.only is not None:
        names = [name for name in given.only.split(",") if name]
        print(json.dumps(asdict(cost(given.rows, names))))
        return
    print(f"| {given.rows:,} rows by | clusters | time | memory |\n| --- | --- | --- | --- |")
    for text, one in measure(given.rows).items():
        print(f"| {text} | {one.clusters:,} | {one.seconds} s | {one.mebibytes:.0f} MiB |")


if __name__ == "__main__":
    main()
