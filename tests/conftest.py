"""What the tests on the cluster share: a client, and a release in which the demo has been run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from k8s.access import Airflow, airflow
from k8s.demo import Clock
from tests.e2e.forget import forget_projects
from tests.e2e.readme_demo import Demo, run_demo_twice
from tests.e2e.release import PROJECTS, add_projects


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A release in which the demo has been run; every test after it stands on what it left.

    The demo sets the values a user's machine needs and no other, so the projects come after it.
    What an earlier run of the tests left of them is removed: their tests begin as on a new release.
    """
    done = run_demo_twice()
    forget_projects(folder.name for folder in PROJECTS.iterdir())
    add_projects(tmp_path_factory.mktemp("projects"))
    return done


@pytest.fixture
def client(demo: Demo) -> Iterator[Airflow]:  # noqa: ARG001 - the demo comes first
    with airflow() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock(time.monotonic())
