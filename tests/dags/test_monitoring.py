"""The monitoring pipeline, on the local path with stages that take no time: what leads to what."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter.pods.local_stage import LocalStageOperator
from airflow.sdk import DAG

from tests.dags.conftest import load_dag, run_here, task_of

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")

DAG_ID, TRAINING = "model_monitoring_pipeline", "ml_training_pipeline"
DAY = datetime(2013, 3, 8, 6, tzinfo=UTC)
RUN_ID = "monitoring__flights__2013-03-08"


@dataclass
class Bench:
    """The DAG in local mode whose stages find what they are told to, and its runs' ends."""

    dag: DAG
    calls_file: Path
    monkeypatch: pytest.MonkeyPatch

    def tell(self, **variables: str) -> None:
        """Set variables that the canned stages read."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name.upper(), value)

    def run(self, conf: dict[str, Any] | None = None, day: datetime = DAY) -> dict[str, str]:
        """Run the DAG; return the state of each task, and of the run as `run`."""
        for task in self.dag.tasks:
            task.retry_delay = timedelta(milliseconds=10)
        run = run_here(self.dag, logical_date=day, run_conf=conf)
        self.returned = {ti.task_id: ti.xcom_pull(ti.task_id) for ti in run.get_task_instances()}
        return {ti.task_id: str(ti.state) for ti in run.get_task_instances()} | {
            "run": str(run.state)
        }

    @property
    def trainings(self) -> dict[str, dict[str, Any]]:
        """Return the runs of the training pipeline, id to what they are told."""
        from airflow.models.dagrun import DagRun

        return {run.run_id: run.conf or {} for run in DagRun.find(dag_id=TRAINING)}


@pytest.fixture
def bench(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    airflow_db: None,  # noqa: ARG001
) -> Iterator[Bench]:
    monkeypatch.setenv("SLIPWAY_STAGES", "local")
    monkeypatch.setattr(
        LocalStageOperator, "COMMAND", (sys.executable, "-m", "tests.dags.canned_stage")
    )
    bench = Bench(load_dag(DAG_ID), tmp_path / "calls", monkeypatch)
    bench.calls_file.touch()
    bench.tell(calls=str(bench.calls_file), decision="deploy", fault_code="3")
    # Tests of other files train in the same database, and leave their runs.
    forget_trainings()
    yield bench
    forget_trainings()


def forget_trainings() -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        for run in DagRun.find(dag_id=TRAINING, session=session):
            session.delete(run)


def test_graph_of_the_monitoring_pipeline() -> None:
    dag = load_dag(DAG_ID)
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        "monitor": {"report"},
        "report": {"decide_training"},
        "decide_training": {"start_training", "keep_model"},
        "start_training": {"fin"},
        "keep_model": {"fin"},
        "fin": set(),
    }
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks}
    assert rules.pop("fin") == "none_failed_min_one_success"
    assert set(rules.values()) == {"all_success"}


def test_days_that_are_backfilled_together_are_judged_one_after_the_other() -> None:
    assert task_of(load_dag(DAG_ID), "monitor").max_active_tis_per_dag == 1


def test_it_runs_when_the_days_predictions_have_had_their_time() -> None:
    dag = load_dag(DAG_ID)
    assert dag.catchup is False
    timetable: Any = dag.timetable
    assert timetable.summary == "0 14 * * *"


@pytest.mark.parametrize("decision", ["healthy", "watch"])
def test_a_model_that_does_well_enough_is_kept(bench: Bench, decision: str) -> None:
    bench.tell(monitored=decision)
    assert bench.run() == {
        "monitor": "success",
        "report": "success",
        "decide_training": "success",
        "start_training": "skipped",
        "keep_model": "success",
        "fin": "success",
        "run": "success",
    }
    assert bench.trainings == {}
    first, second = bench.calls_file.read_text().splitlines()
    assert first == "monitor --project flights --as-of 2013-03-08"
    assert second == f"report {first.removeprefix('monitor ')} --upstream {record('monitor')}"


def record(verb: str) -> str:
    return f"file:///data/{verb}/record.json"


def test_a_model_that_became_worse_starts_one_training(bench: Bench) -> None:
    bench.tell(monitored="retrain")
    states = bench.run()
    assert (states["start_training"], states["keep_model"]) == ("success", "skipped")
    assert (states["fin"], states["run"]) == ("success", "success")
    assert bench.trainings == {RUN_ID: {"project": "flights", "as_of": "2013-03-08"}}

    again = bench.run()
    assert (again["start_training"], again["run"]) == ("success", "success")
    assert list(bench.trainings) == [RUN_ID]


def test_a_training_that_failed_does_not_count_as_done(bench: Bench) -> None:
    bench.tell(monitored="retrain")
    assert bench.run()["start_training"] == "success"
    end_trainings("failed")
    again = bench.run()
    assert (again["start_training"], again["run"]) == ("failed", "failed")
    end_trainings("success")
    assert bench.run()["start_training"] == "success"
    assert list(bench.trainings) == [RUN_ID]


def end_trainings(state: str) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).filter_by(dag_id=TRAINING).values(state=state))


def test_the_day_on_the_form_is_the_day_that_is_trained(bench: Bench) -> None:
    bench.tell(monitored="retrain")
    bench.run({"project": "flights", "as_of": "2013-02-01"})
    assert list(bench.trainings) == ["monitoring__flights__2013-02-01"]


def test_within_the_cool_down_it_says_why_no_training_is_started(bench: Bench) -> None:
    bench.tell(monitored="retrain", cooling="there is a training for 2013-03-05")
    states = bench.run()
    assert (states["start_training"], states["keep_model"]) == ("skipped", "success")
    assert states["run"] == "success"
    assert bench.trainings == {}
    kept = bench.returned["keep_model"]
    assert kept["decision"] == "retrain"
    assert kept["reason"] == (
        "AUC 0.700 is retrain; no training is started: there is a training for 2013-03-05"
    )
    assert len(json.dumps(kept)) <= 1024


@pytest.mark.parametrize("verb", ["monitor", "report"])
def test_failed_stage_makes_the_run_red_and_starts_nothing(bench: Bench, verb: str) -> None:
    bench.tell(monitored="retrain", fault=verb)
    states = bench.run()
    assert (states[verb], states["fin"], states["run"]) == ("failed", "upstream_failed", "failed")
    assert bench.trainings == {}


def test_an_answer_that_is_none_makes_the_run_red(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_of(bench.dag, "decide_training"), "decided_by", "nothing")
    states = bench.run()
    assert (states["decide_training"], states["run"]) == ("failed", "failed")
    assert bench.trainings == {}


def test_where_a_scheduler_runs_a_paused_training_pipeline_is_red(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = task_of(bench.dag, "start_training")
    assert not start.fail_when_dag_is_paused
    monkeypatch.setattr(start, "fail_when_dag_is_paused", True)
    pause(start.trigger_dag_id)
    bench.tell(monitored="retrain")
    states = bench.run()
    assert (states["start_training"], states["run"]) == ("failed", "failed")
    assert bench.trainings == {}


def pause(dag_id: str) -> None:
    """Pause a DAG, as a test before this one may have let it run."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as active:
        active.execute(update(DagModel).filter_by(dag_id=dag_id).values(is_paused=True))


def test_pods_are_started_only_where_training_is_not_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SLIPWAY_STAGES", raising=False)
    assert task_of(load_dag(DAG_ID), "start_training").fail_when_dag_is_paused
