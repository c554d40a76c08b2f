"""`make bench`: measure the running cluster and write docs/benchmarks.md from what was measured."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from k8s.demo import AS_OF
from tests.bench import batch_scoring, footprint, fused_stages, stage_overhead

REPO = Path(__file__).parents[2]
TARGET = REPO / "docs" / "benchmarks.md"

PAGE = """# Benchmarks

Written by `make bench` on {day:%Y-%m-%d}; not edited by hand. Machine:
{cores} cores, {architecture}, Linux {linux}.

## `make demo` with an empty cache and no container registry

{cold}

## `make demo` with a warm cache

{warm}

## What launching a stage costs

Seconds of a warm `ml_training_pipeline` run, stage by stage, that its container did not spend
running.

{overhead}

## Stages that share a pod

A whole run of `ml_training_pipeline` in which every stage finds its work done, so that what differs
is launching; twice each way. `fuse` in a project's YAML decides.

{fused}

## Scoring whole days

The example project's year, scored by one pod as `batch_prediction_pipeline` starts them. Starting
Python and loading the model are part of the time.

{scoring}

## Memory of the idle release

{idle}
"""


def cache() -> Path:
    """Return the folder in which the set-up keeps its timings."""
    base = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    return Path(os.environ.get("SLIPWAY_CACHE", f"{base}/slipway"))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def phases(name: str) -> str:
    """Return the table of a kept timings file, or a sentence that it was not measured."""
    file = cache() / name
    if not file.exists():
        return "Not measured on this machine."
    rows = [line.split("\t") for line in file.read_text().splitlines()]
    *body, (_, whole) = [(phase, f"{int(seconds)} s") for phase, seconds in rows]
    return table(("phase", "time"), [*body, ("**from start to end**", f"**{whole}**")])


def memory() -> str:
    """Return the table of the idle release's memory."""
    found = footprint.measure()
    rows = [(pod.pod, f"{pod.mib:.0f} MiB") for pod in found]
    total = sum(pod.mib for pod in found)
    return table(("pod", "working set"), [*rows, ("**in all**", f"**{total:.0f} MiB**")])


def overhead() -> str:
    """Return the table of each stage's time beside its own code's, of the latest green run."""
    return f"```\n{stage_overhead.table(stage_overhead.measure(None))}\n```"


def scoring() -> str:
    """Return the table of what scoring a year of days takes."""
    found = batch_scoring.measure()
    head = ("scored", "days", "rows", "time", "CPU time", "rows per second and core", "most memory")
    rows: list[tuple[str, ...]] = [
        (
            *(one.what, str(one.days), str(one.rows), f"{one.seconds:.1f} s"),
            *(f"{one.cpu_seconds:.1f} s", f"{one.per_core:.0f}", f"{one.peak_mib} MiB"),
        )
        for one in found
    ]
    return table(head, rows)


def fused() -> str:
    """Return the table of a training's time with a pod for every stage, and with two pods."""
    found = fused_stages.measure(AS_OF)
    rows: list[tuple[str, ...]] = [
        (one.way, f"{one.seconds:.1f} s", str(one.pods)) for one in found
    ]
    return table(("stages", "whole run", "pods"), rows)


def page() -> str:
    """Measure, and return the whole page; memory comes first, before anything is added for it."""
    return PAGE.format(
        day=datetime.now(UTC),
        cores=os.cpu_count(),
        architecture=platform.machine(),
        linux=platform.release().split("-")[0],
        cold=phases("timings-cold.tsv"),
        warm=phases("timings-warm.tsv"),
        idle=memory(),
        overhead=overhead(),
        fused=fused(),
        scoring=scoring(),
    )


def main() -> None:
    """Write the page."""
    TARGET.write_text(page())
    print(f"wrote {TARGET.relative_to(REPO)}")


if __name__ == "__main__":
    main()
