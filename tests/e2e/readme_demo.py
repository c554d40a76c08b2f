"""The README's first command, run twice in the release that the tests on the cluster share."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from k8s.demo import AS_OF
from tests.e2e.release import REPO, alias, records, release_secrets, running_pods, versions

PROJECT = "flights"


@dataclass(frozen=True)
class Release:
    """What of a release a demo may change: pods, Secrets, versions, records, the champion."""

    pods: dict[str, tuple[str, int]]
    secrets: dict[str, dict[str, str]]
    versions: list[str]
    datasets: list[str]
    champion: str | None

    @classmethod
    def now(cls) -> Release:
        """Return how the release is."""
        return cls(
            pods=running_pods(),
            secrets=release_secrets(),
            versions=[version["version"] for version in versions(PROJECT)],
            datasets=records(PROJECT, "split", AS_OF),
            champion=alias(PROJECT, "champion"),
        )


@dataclass(frozen=True)
class Demo:
    """What a demo said and left, and what a second one left of that."""

    said: str
    left: Release
    left_by_second: Release


def run_demo() -> str:
    """Run the README's command from the checkout and return what it printed."""
    done = subprocess.run(
        ["make", "demo"], cwd=REPO, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def run_demo_twice() -> Demo:
    """Run the demo, and again, with nothing between that could change the release."""
    said, left = run_demo(), Release.now()
    run_demo()
    return Demo(said, left, Release.now())
