"""What the tests on the cluster share: a client, and a release in which the demo has been run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from k8s.access import Airflow, airflow
from k8s.demo import Clock
from tests.e2e.release import run_demo


@pytest.fixture(scope="session")
def demo() -> str:
    """A release in which the demo has been run; every test after it stands on what it left."""
    return run_demo()


@pytest.fixture
def client(demo: str) -> Iterator[Airflow]:  # noqa: ARG001 - the demo comes first
    with airflow() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock(time.monotonic())
