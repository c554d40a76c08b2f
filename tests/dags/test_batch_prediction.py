"""Batch scoring: which days, with what at once, and what a run says of itself."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from adapter.pods.identity import StageRun
from adapter.pods.local_stage import LocalStageOperator
from adapter.schedule.batch import MOST_PODS, gathered, partitions, summary_of
from airflow.sdk import DAG

from ml.stages import Stage
from tests.dags.conftest import load_dag, run_here, task_of

# A whole Airflow runs in here, and not all that it warns of is about us.
pytestmark = pytest.mark.filterwarnings("default")

DAG_ID = "batch_prediction_pipeline"
DAY = date(2013, 3, 4)
PINNED = " --upstream file:///data/pin_champion/record.json"


@dataclass
class Bench:
    """The DAG in local mode, with stages that take no time."""

    dag: DAG
    calls_file: Path

    def run(self, **conf: Any) -> tuple[str, dict[str, str], Any]:
        """Run the DAG; return its state, those of its tasks, and what the last task returned."""
        for task in self.dag.tasks:
            task.retry_delay = timedelta(milliseconds=10)
        run = run_here(self.dag, logical_date=datetime(2013, 3, 4, tzinfo=UTC), run_conf=conf)
        tasks = run.get_task_instances()
        states = {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in tasks}
        summarise = next(ti for ti in tasks if ti.task_id == "summarise")
        told = summarise.xcom_pull(task_ids="summarise") if summarise.state == "success" else None
        return str(run.state), states, told

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: None) -> Bench:  # noqa: ARG001
    monkeypatch.setenv("SLIPWAY_STAGES", "local")
    canned = (sys.executable, "-m", "tests.dags.canned_stage")
    monkeypatch.setattr(LocalStageOperator, "COMMAND", canned)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAULT_CODE", "3")
    return Bench(load_dag(DAG_ID), tmp_path / "calls")


@pytest.fixture(scope="module")
def dag() -> DAG:
    return load_dag(DAG_ID)


def test_graph(dag: DAG) -> None:
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert downstream == {
        "days": {"pin_champion", "score"},
        "pin_champion": {"score"},
        "score": {"summarise"},
        "summarise": set(),
    }
    assert {task.trigger_rule.value for task in dag.tasks} == {"all_success"}


def test_one_pod_a_day_and_a_few_at_once(dag: DAG) -> None:
    score = task_of(dag, "score")
    assert score.is_mapped
    assert score.max_active_tis_per_dagrun == 4
    assert score.executor == "LocalExecutor"
    assert score.retries == 2
    one = score.unmap({"as_of": "2013-03-04"})
    assert one.task_type == "StagePodOperator"
    assert one.execution_timeout == Stage("score").timeout
    assert (one.as_of, one.project) == ("2013-03-04", "{{ params.project }}")
    assert one.pod_template_file.endswith("/data.yaml")


def test_a_day_is_scored_with_the_pinned_champion(bench: Bench) -> None:
    state, states, told = bench.run()
    assert state == "success"
    assert set(states.values()) == {"success"}
    assert bench.calls == [
        "pin_champion --project flights --as-of 2013-03-04",
        f"score --project flights --as-of 2013-03-04{PINNED}",
    ]
    assert told["summary"] == (
        "version 3 of flights has scored 900 rows of 1 day, 0.2500 on average; "
        "2 rows were refused: carrier is missing (2)"
    )


def test_a_range_is_mapped_over_its_days(bench: Bench) -> None:
    state, states, told = bench.run(first="2013-02-27", last="2013-03-01")
    assert state == "success"
    assert {f"score[{n}]" for n in range(3)} <= set(states)
    days = ("2013-02-27", "2013-02-28", "2013-03-01")
    assert sorted(bench.calls[1:]) == [
        f"score --project flights --as-of {day}{PINNED}" for day in days
    ]
    assert (told["days"], told["rows"], told["refused"]) == (3, 2700, 6)
    assert told["reasons"] == {"carrier is missing": 6}


def test_a_day_that_fails_makes_the_run_red(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", "score")
    state, states, _ = bench.run(first="2013-03-01", last="2013-03-02")
    assert state == "failed"
    assert states["summarise[-1]"] == "upstream_failed"
    assert len([call for call in bench.calls if call.startswith("score")]) == 2


def test_without_a_champion_nothing_is_scored(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT", "pin_champion")
    state, states, _ = bench.run()
    assert state == "failed"
    assert states["pin_champion[-1]"] == "failed"
    assert [call.split()[0] for call in bench.calls] == ["pin_champion"]


@pytest.mark.parametrize(
    "conf", [{"first": "2013-03-01"}, {"first": "2013-03-02", "last": "2013-03-01"}]
)
def test_a_range_that_is_none_fails_before_anything_runs(
    bench: Bench, conf: dict[str, str]
) -> None:
    state, states, _ = bench.run(**conf)
    assert state == "failed"
    assert states["days[-1]"] == "failed"
    assert bench.calls == []


@pytest.mark.parametrize("count", [1, 31, MOST_PODS, MOST_PODS + 1, 364, 3653])
def test_any_range_is_cut_into_a_list_that_airflow_may_carry(count: int) -> None:
    first = date(2013, 1, 1)
    parts = partitions(first, first + timedelta(days=count - 1))
    assert len(parts) <= MOST_PODS
    assert len(json.dumps(parts)) <= 1024
    assert (count > MOST_PODS) == ("/" in parts[0])
    told = [StageRun("flights", "score", part, "d", "t", "r").arguments(None) for part in parts]
    scored = [day for arguments in told for day in days_of(arguments)]
    assert scored == [first + timedelta(days=n) for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, MOST_PODS, MOST_PODS + 1, 365])
def test_days_that_come_together_are_each_scored_once_in_few_pods(count: int) -> None:
    """As after a pause: the first event after it brings all that were missed."""
    first = date(2013, 1, 1)
    days = [first + timedelta(days=n) for n in range(count + 1) if n != count // 2]
    parts = gathered(days)
    assert len(parts) <= MOST_PODS
    assert len(json.dumps(parts)) <= 1024
    told = [StageRun("flights", "score", part, "d", "t", "r").arguments(None) for part in parts]
    assert [day for arguments in told for day in days_of(arguments)] == days


def test_a_few_days_have_a_pod_each_in_the_order_of_time() -> None:
    assert gathered([date(2013, 3, day) for day in (9, 2, 1)]) == [
        *("2013-03-01", "2013-03-02", "2013-03-09")
    ]


def test_days_too_far_apart_for_one_run_are_refused_with_the_way_out() -> None:
    days = [date(2013, 1, 1) + timedelta(days=2 * n) for n in range(MOST_PODS + 1)]
    with pytest.raises(ValueError, match="`first` and `last`"):
        gathered(days)


def days_of(arguments: list[str]) -> list[date]:
    """The days that a stage with these arguments does."""
    last = date.fromisoformat(arguments[arguments.index("--as-of") + 1])
    count = int(arguments[arguments.index("--days") + 1]) if "--days" in arguments else 1
    return [last - timedelta(days=back) for back in reversed(range(count))]


def test_pods_of_a_range_are_named_by_its_last_day() -> None:
    run = StageRun("flights", "score", "2013-01-01/2013-01-31", DAG_ID, "score", "r")
    assert run.pod_name == "flights-score-20130131"


def test_summary_adds_up_and_says_what_was_there_already() -> None:
    parts = [
        {"status": "done", "days": 1, "rows": 100, "mean_score": 0.1, "refused": 0},
        {"status": "skipped", "days": 3, "rows": 300, "mean_score": 0.5, "refused": 0},
    ]
    told = summary_of("flights", [part | {"version": "7", "reasons": {}} for part in parts])
    assert (told["days"], told["rows"], told["mean_score"]) == (4, 400, 0.4)
    assert told["skipped"] == 3
    assert told["summary"].endswith("0.4000 on average; no row was refused")
    assert len(json.dumps(told)) <= 1024


def test_summary_of_a_day_on_which_nothing_happened_has_no_mean() -> None:
    nothing = {"status": "done", "days": 1, "rows": 0, "mean_score": None, "refused": 0}
    nothing |= {"version": "7", "reasons": {}}
    told = summary_of("flights", [nothing])
    assert (told["rows"], told["mean_score"]) == (0, None)
    assert "has scored 0 rows of 1 day; no row was refused" in told["summary"]
    some = nothing | {"rows": 100, "mean_score": 0.5}
    assert summary_of("flights", [nothing, some])["mean_score"] == 0.5


def test_summary_stays_small_however_many_reasons() -> None:
    reasons = {f"{'x' * 59}{n}": 1 for n in range(40)}
    part = {"status": "done", "days": 1, "rows": 1, "mean_score": 0.1, "refused": 40}
    told = summary_of("p" * 40, [part | {"version": "7", "reasons": reasons}])
    assert len(json.dumps(told)) <= 1024


def test_form_takes_a_day_or_a_range(dag: DAG) -> None:
    for name in ("as_of", "first", "last"):
        param = dag.params.get_param(name)
        assert param.value is None
        assert param.schema["title"]
        assert param.resolve("2013-03-01")
