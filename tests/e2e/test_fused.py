"""Stages that share a pod, on the cluster: fewer pods, the same records, each task its result."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from k8s.access import airflow
from k8s.demo import AS_OF, DAG_ID, Clock, land
from tests.e2e.any_dag import Run
from tests.e2e.readme_demo import Demo
from tests.e2e.release import finished_run, records, train_when_known
from tests.e2e.test_five_dags import pods_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

PROJECT = "flights_fused"
STAGES = ("ingest", "validate", "build_features", "split", "train", "evaluate", "register")


@pytest.fixture(scope="module")
def run(demo: Demo) -> Iterator[Run]:  # noqa: ARG001 - the demo comes first
    """A training run that has ended well."""
    land(Clock(time.monotonic()), PROJECT)
    with airflow() as client:
        run = Run(client, DAG_ID, train_when_known(client, PROJECT, AS_OF))
        assert finished_run(client, run.run_id) == "success", run.states
        yield run


def test_fused_stages_share_two_pods(run: Run) -> None:
    started = pods_of(run, PROJECT)
    started.pop("roll_out", None)
    assert started == {"ingest": 1, "train": 1}
    for stage in STAGES:
        assert len(records(PROJECT, stage, AS_OF)) == 1
    handed = [value for value in run.results().values() if isinstance(value, dict)]
    assert {one["stage"] for one in handed if "record" in one} >= set(STAGES)


def test_clearing_a_fused_stage_starts_no_pod_for_what_was_done(run: Run) -> None:
    before = pods_of(run, PROJECT)
    run.clear("training_evaluation.register")
    assert finished_run(run.client, run.run_id) == "success"
    after = pods_of(run, PROJECT)
    for stage in STAGES:
        assert after.get(stage) == before.get(stage)
