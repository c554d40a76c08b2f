"""Every DAG file: it loads without network, quickly, stays small, and is built the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import ParamValidationError

from tests.dags.conftest import DAGS, REPO, load_dag, task_of

pytestmark = pytest.mark.filterwarnings("default")

FILES = sorted(DAGS.glob("*.py"))
# Each file in a process of its own, which is forked from one that has Airflow in memory already.
PARSE = """
import json, os, socket, sys, time
import airflow.sdk
import airflow.providers.cncf.kubernetes.operators.pod
import airflow.providers.standard.operators.empty
from airflow.dag_processing.dagbag import DagBag

def refuse(*args, **kwargs):
    raise OSError("a DAG file reached for the network")

def parse(file):
    before = set(sys.modules)
    started = time.process_time()
    bag = DagBag(file)
    took = time.process_time() - started
    return {
        "errors": bag.import_errors,
        "warnings": [str(one) for found in bag.captured_warnings.values() for one in found],
        "dags": list(bag.dags),
        "seconds": took,
        "modules": sorted(set(sys.modules) - before),
    }

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
for file in sys.argv[1:]:
    if os.fork() == 0:
        print("parsed", json.dumps(parse(file)), flush=True)
        os._exit(0)
    os.wait()
"""
HEAVY = {"boto3", "mlflow", "numpy", "pandas", "polars", "sklearn", "onnxruntime"}


@pytest.fixture(scope="module")
def parsed() -> dict[str, dict[str, Any]]:
    """What came of parsing each file, alone."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), str(DAGS)])}
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *map(str, FILES)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    said = [line.partition(" ") for line in done.stdout.splitlines()]
    found = [json.loads(rest) for word, _, rest in said if word == "parsed"]
    return {file.stem: one for file, one in zip(FILES, found, strict=True)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_parses_alone_without_network_in_half_a_second(
    file: Path, parsed: dict[str, dict[str, Any]]
) -> None:
    found = parsed[file.stem]
    assert found["errors"] == {}
    assert found["warnings"] == []
    assert found["dags"] == [file.stem]
    assert found["seconds"] < 0.5
    assert not HEAVY & {module.split(".")[0] for module in found["modules"]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_file_is_a_declaration(file: Path) -> None:
    source = file.read_text()
    assert len(source.splitlines()) <= 80
    assert "def " not in source
    assert "lambda" not in source


@pytest.fixture(scope="module")
def dag() -> DAG:
    return load_dag("ml_training_pipeline")


def test_graph_of_the_training_pipeline(dag: DAG) -> None:
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert downstream == {
        "wait_for_partition": {"data_preparation.ingest"},
        "data_preparation.ingest": {"data_preparation.validate"},
        "data_preparation.validate": {"data_preparation.build_features"},
        "data_preparation.build_features": {"data_preparation.split"},
        "data_preparation.split": {"training_evaluation.train"},
        "training_evaluation.train": {"training_evaluation.evaluate"},
        "training_evaluation.evaluate": {"training_evaluation.register"},
        "training_evaluation.register": {"decide_deployment", "deployment.roll_out"},
        "decide_deployment": {"deployment.roll_out", "keep_champion"},
        "deployment.roll_out": {"fin"},
        "keep_champion": {"fin"},
        "fin": set(),
    }


def test_false_green_is_impossible(dag: DAG) -> None:
    """The graph that inspired this one ended green though its branch had failed.

    Its last task ran whatever came before it. Here no task does: the only rule that is not
    `all_success` is that of `fin`, which the branch not taken needs, and which a failure stops.
    """
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks}
    assert rules.pop("fin") == "none_failed_min_one_success"
    assert set(rules.values()) == {"all_success"}
    assert [task.task_id for task in dag.leaves] == ["fin"]
    assert not any(getattr(task, "soft_fail", False) for task in dag.tasks)


def test_branch_ids_carry_their_task_group(dag: DAG) -> None:
    """The graph that inspired this one returned a task's name without its group's, and failed."""
    gate = task_of(dag, "decide_deployment")
    assert gate.branches == {"deploy": "deployment.roll_out", "refuse": "keep_champion"}
    assert set(gate.branches.values()) <= set(dag.task_ids)
    assert set(gate.branches.values()) == gate.downstream_task_ids


@pytest.mark.parametrize("dag_id", ["ml_training_pipeline", "ml_model_deployment_advanced"])
def test_approval_is_refused_by_silence_before_the_run_is_over(dag_id: str) -> None:
    """Also when the data came at the last moment, and with hours left for the stages."""
    dag = load_dag(dag_id)
    gate = task_of(dag, "decide_deployment")
    (wait,) = [task_of(dag, root.task_id) for root in dag.roots]
    assert gate.defaults == ["Reject"]
    assert gate.response_timeout == timedelta(hours=12)
    assert dag.dagrun_timeout is not None
    waited = timedelta(seconds=wait.timeout) + gate.response_timeout
    assert waited + timedelta(hours=6) <= dag.dagrun_timeout


def test_results_are_pulled_from_ids_with_their_task_group(dag: DAG) -> None:
    """The graph that inspired this one pulled from a name without its group's, and got nothing."""
    assert task_of(dag, "decide_deployment").decided_by == "training_evaluation.register"
    assert task_of(dag, "keep_champion").decided_by == "decide_deployment"
    upstream = task_of(dag, "training_evaluation.train").upstream_record
    assert upstream == "{{ ti.xcom_pull(task_ids='data_preparation.split')['record'] }}"


def test_no_run_is_made_for_today_of_a_project_of_the_past(dag: DAG) -> None:
    assert dag.catchup is False
    assert dag.start_date == datetime(2013, 1, 1, tzinfo=UTC)
    assert dag.end_date == datetime(2013, 12, 30, tzinfo=UTC)


def test_dag_says_who_what_and_how_long(dag: DAG) -> None:
    assert dag.doc_md is not None
    assert dag.doc_md.strip().startswith("# ")
    assert dag.owner == "ml"
    assert dag.tags
    assert dag.max_active_runs <= 4
    assert dag.dagrun_timeout is not None
    alerts: Any = dag.deadline
    (alert,) = alerts
    assert alert.callback.path == "adapter.deadlines.report_late_run"
    assert timedelta(hours=12) < alert.interval < dag.dagrun_timeout


def test_every_task_can_be_tried_again_and_no_stage_runs_for_ever(dag: DAG) -> None:
    for task in dag.tasks:
        assert task.retries == 2
        assert task.retry_exponential_backoff
        assert task.executor == "LocalExecutor"
    stages = [task for task in dag.tasks if task.task_type == "StagePodOperator"]
    assert len(stages) == 8
    assert all(task.execution_timeout for task in stages)
    assert task_of(dag, "wait_for_partition").timeout == 12 * 3600


def test_form_offers_the_projects_and_a_day(dag: DAG) -> None:
    project, as_of = (dag.params.get_param(name) for name in ("project", "as_of"))
    assert project.value == "flights"
    assert "flights" in project.schema["enum"]
    assert as_of.value is None
    for param in (project, as_of):
        assert param.schema["title"]
        assert param.description


@pytest.mark.parametrize(
    ("name", "value"),
    [("project", "nobody's"), ("as_of", "yesterday"), ("as_of", "2013-02-30"), ("as_of", 20130301)],
)
def test_form_refuses_what_makes_no_sense(dag: DAG, name: str, value: object) -> None:
    param = dag.params.get_param(name)
    assert param.resolve("flights" if name == "project" else "2013-03-01")
    with pytest.raises(ParamValidationError):
        param.resolve(value)


def test_users_projects_are_on_the_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ours.project.yaml").write_text("not even: [valid")
    monkeypatch.setenv("SLIPWAY_PROJECTS_PATH", str(tmp_path))
    project = load_dag("ml_training_pipeline").params.get_param("project")
    assert {"flights", "ours"} <= set(project.schema["enum"])


def test_unknown_place_for_stages_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("SLIPWAY_STAGES", "moon")
    errors = DagBag(DAGS).import_errors.values()
    assert len(errors) == len(FILES)
    assert all("SLIPWAY_STAGES is `moon`: set it to `pods` or `local`" in e for e in errors)
