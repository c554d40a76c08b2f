"""Runs of the training pipeline that end in the ways its gate has, and what its stages are told.

That any failed task makes a run red, `test_every_task_fails.py` has for every DAG.
"""

from __future__ import annotations

import pytest

from ml.pipeline import TRAINING
from tests.dags.bench import Bench, bench

__all__ = ["bench"]  # a fixture

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")


def test_good_candidate_is_rolled_out(bench: Bench) -> None:
    state, states = bench.run()
    assert state == "success"
    assert bench.calls == list(TRAINING)
    assert states.pop("keep_champion") == "skipped"
    assert set(states.values()) == {"success"}
    assert bench.lines[:2] == [
        "ingest --project flights --as-of 2013-03-04",
        "validate --project flights --as-of 2013-03-04 --upstream file:///data/ingest/record.json",
    ]


def test_refused_candidate_leaves_the_champion_and_says_why(bench: Bench) -> None:
    bench.tell(decision="refuse")
    state, states = bench.run()
    assert state == "success"
    assert "roll_out" not in bench.calls
    assert states["deployment.roll_out"] == "skipped"
    assert states["keep_champion"] == "success"


def test_decision_that_is_none_makes_the_run_red(bench: Bench) -> None:
    bench.tell(decision="perhaps")
    state, states = bench.run()
    assert state == "failed"
    assert states["decide_deployment"] == "failed"
    assert "roll_out" not in bench.calls


def test_stage_that_may_work_the_next_time_is_tried_again(bench: Bench) -> None:
    bench.tell(fault="split", fault_code="1")
    state, _ = bench.run()
    assert state == "failed"
    assert bench.calls == ["ingest", "validate", "build_features", "split", "split", "split"]


def test_run_can_be_of_another_day_than_its_own(bench: Bench) -> None:
    bench.land_instead("2013-02-01")
    state, _ = bench.run({"as_of": "2013-02-01"})
    assert state == "success"
    assert {line.split("--as-of ")[1].split()[0] for line in bench.lines} == {"2013-02-01"}
