"""Stages that share a pod, on the cluster: fewer pods, the same records, each task its result."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8s.access import Airflow
from k8s.demo import AS_OF, DAG_ID, Clock, land
from tests.e2e.any_dag import Run
from tests.e2e.release import add_project, finished_run, records, train_when_known
from tests.e2e.test_five_dags import pods_of

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

STAGES = ("ingest", "validate", "build_features", "split", "train", "evaluate", "register")


def test_fused_stages_share_two_pods(client: Airflow, clock: Clock, tmp_path: Path) -> None:
    add_project("flights_fused", tmp_path)
    land(clock, "flights_fused")
    run = Run(client, DAG_ID, train_when_known(client, "flights_fused", AS_OF))
    assert finished_run(client, run.run_id) == "success", run.states
    started = pods_of(run, "flights_fused")
    assert {stage: count for stage, count in started.items() if stage != "roll_out"} == {
        "ingest": 1,
        "train": 1,
    }
    for stage in STAGES:
        assert len(records("flights_fused", stage, AS_OF)) == 1
    handed = [value for value in run.results().values() if isinstance(value, dict)]
    assert {one["stage"] for one in handed if "record" in one} >= set(STAGES)


def test_clearing_a_fused_stage_starts_no_pod_for_what_was_done(client: Airflow) -> None:
    run = Run(client, DAG_ID, train_when_known(client, "flights_fused", AS_OF, "cleared"))
    assert finished_run(client, run.run_id) == "success"
    before = pods_of(run, "flights_fused")
    run.clear("training_evaluation.register")
    assert finished_run(client, run.run_id) == "success"
    after = pods_of(run, "flights_fused")
    for stage in STAGES:
        assert after.get(stage) == before.get(stage)
