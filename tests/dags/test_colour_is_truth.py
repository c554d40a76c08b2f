"""A run is red when any of its tasks failed, and nothing is deployed after a failure.

Every task of the DAG is made to fail in turn, on the local path, with stages that take no time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter.gate.deployment_gate import KeepChampionOperator
from adapter.pods.local_stage import LocalStageOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from ml.pipeline import TRAINING
from ml.stages import Stage
from tests.dags.conftest import load_dag, run_here, task_of

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")

DAG_ID = "ml_training_pipeline"
GROUPS = {
    "data_preparation": ("ingest", "validate", "build_features", "split"),
    "training_evaluation": ("train", "evaluate", "register"),
    "deployment": ("roll_out",),
}
TASK_OF = {verb: f"{group}.{verb}" for group, verbs in GROUPS.items() for verb in verbs}
DAY = datetime(2013, 3, 4, tzinfo=UTC)


@dataclass
class Bench:
    """A DAG in local mode whose stages do as they are told, and what became of its last run."""

    dag: DAG
    calls_file: Path
    monkeypatch: pytest.MonkeyPatch

    def tell(self, **variables: str) -> None:
        """Set variables that the canned stages read."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name.upper(), value)

    def run(self, conf: dict[str, Any] | None = None) -> tuple[str, dict[str, str]]:
        """Run the DAG; return the state of the run, and of each task."""
        for task in self.dag.tasks:
            task.retry_delay = timedelta(milliseconds=10)
        run = run_here(self.dag, logical_date=DAY, run_conf=conf)
        states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
        return str(run.state), states

    @property
    def calls(self) -> list[str]:
        """Return the stages that were run, in order."""
        return [line.split()[0] for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: None) -> Bench:  # noqa: ARG001
    landed = tmp_path / "landing" / "flights" / "dt=2013-03-04" / "manifest.json"
    landed.parent.mkdir(parents=True)
    landed.write_text("{}")
    monkeypatch.setenv("SLIPWAY_STAGES", "local")
    monkeypatch.setenv("SLIPWAY_LANDING_URL", str(tmp_path / "landing"))
    monkeypatch.setattr(
        LocalStageOperator, "COMMAND", (sys.executable, "-m", "tests.dags.canned_stage")
    )
    bench = Bench(load_dag(DAG_ID), tmp_path / "calls", monkeypatch)
    bench.calls_file.touch()
    bench.tell(calls=str(bench.calls_file), decision="deploy", fault_code="3")
    return bench


def test_good_candidate_is_rolled_out(bench: Bench) -> None:
    state, states = bench.run()
    assert state == "success"
    assert bench.calls == list(TRAINING)
    assert states.pop("keep_champion") == "skipped"
    assert set(states.values()) == {"success"}


def test_refused_candidate_leaves_the_champion_and_says_why(bench: Bench) -> None:
    bench.tell(decision="refuse")
    state, states = bench.run()
    assert state == "success"
    assert "roll_out" not in bench.calls
    assert states["deployment.roll_out"] == "skipped"
    assert states["keep_champion"] == "success"


@pytest.mark.parametrize("verb", TRAINING)
def test_failed_stage_makes_the_run_red(bench: Bench, verb: Stage) -> None:
    bench.tell(fault=verb)
    state, states = bench.run()
    assert state == "failed"
    assert states[TASK_OF[verb]] == "failed"
    assert states["fin"] == "upstream_failed"
    assert bench.calls == list(TRAINING[: TRAINING.index(verb) + 1])


def test_day_that_never_lands_makes_the_run_red(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "landing" / "flights" / "dt=2013-03-04" / "manifest.json").unlink()
    waiting = task_of(bench.dag, "wait_for_partition")
    waiting.timeout, waiting.poke_interval = 0.3, 0.1
    state, states = bench.run()
    assert state == "failed"
    assert states["wait_for_partition"] == "failed"
    assert bench.calls == []


def test_decision_that_is_none_makes_the_run_red(bench: Bench) -> None:
    bench.tell(decision="perhaps")
    state, states = bench.run()
    assert state == "failed"
    assert states["decide_deployment"] == "failed"
    assert "roll_out" not in bench.calls


def test_failing_refusal_makes_the_run_red(bench: Bench) -> None:
    def fail(*_: object) -> None:
        raise AirflowFailException("told to fail")

    bench.tell(decision="refuse")
    bench.monkeypatch.setattr(KeepChampionOperator, "execute", fail)
    state, states = bench.run()
    assert state == "failed"
    assert states["keep_champion"] == "failed"
    assert "roll_out" not in bench.calls


def test_every_task_was_made_to_fail(bench: Bench) -> None:
    failed = {*TASK_OF.values(), "wait_for_partition", "decide_deployment", "keep_champion"}
    # `fin` runs no code of its own: it can only be what the tasks before it make it.
    assert set(bench.dag.task_ids) - failed == {"fin"}
    assert task_of(bench.dag, "fin").task_type == "EmptyOperator"


def test_stage_that_may_work_the_next_time_is_tried_again(bench: Bench) -> None:
    bench.tell(fault="split", fault_code="1")
    state, _ = bench.run()
    assert state == "failed"
    assert bench.calls == ["ingest", "validate", "build_features", "split", "split", "split"]


def test_stages_are_told_the_day_and_where_the_record_before_is(bench: Bench) -> None:
    bench.run()
    first, second = bench.calls_file.read_text().splitlines()[:2]
    assert first == "ingest --project flights --as-of 2013-03-04"
    assert second == (
        "validate --project flights --as-of 2013-03-04 --upstream file:///data/ingest/record.json"
    )


def test_run_can_be_of_another_day_than_its_own(bench: Bench, tmp_path: Path) -> None:
    landing = tmp_path / "landing" / "flights"
    (landing / "dt=2013-03-04").rename(landing / "dt=2013-02-01")
    state, _ = bench.run({"as_of": "2013-02-01"})
    assert state == "success"
    assert "--as-of 2013-02-01" in bench.calls_file.read_text()
