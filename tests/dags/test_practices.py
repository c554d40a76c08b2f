"""What every DAG owes whoever runs it; the DAGs and their tasks are found, not listed."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from adapter.graph import POOL
from adapter.pods.outcome import StageFailedError, StageFailedForGoodError, conclude
from adapter.pods.results import NEVER_RETRIED, StageEnd
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from ml.stages import Stage
from tests.dags.conftest import DAGS, load_dag

pytestmark = pytest.mark.filterwarnings("default")

DAG_IDS = sorted(file.stem for file in DAGS.glob("*.py"))
each_dag = pytest.mark.parametrize("dag_id", DAG_IDS)


@cache
def load(dag_id: str) -> DAG:
    return load_dag(dag_id)


def stages_of(dag: DAG) -> list[Any]:
    """Return the tasks that are stages, those with one instance for each day included."""
    return [task for task in dag.tasks if task.task_type == "StagePodOperator"]


@each_dag
def test_dag_says_what_it_does_whose_it_is_and_what_it_is_about(dag_id: str) -> None:
    dag = load(dag_id)
    assert dag.doc_md is not None
    assert dag.doc_md.strip().startswith("# ")
    assert dag.description
    assert dag.tags
    assert {task.owner for task in dag.tasks} == {"ml"}


@each_dag
def test_runs_are_bounded_in_number_and_time(dag_id: str) -> None:
    dag = load(dag_id)
    assert dag.catchup is False
    assert 1 <= dag.max_active_runs <= 4
    assert dag.dagrun_timeout is not None
    alerts: Any = dag.deadline
    (alert,) = alerts
    assert timedelta() < alert.interval < dag.dagrun_timeout
    waits = [task.timeout for task in dag.tasks if hasattr(task, "timeout") and task.timeout]
    assert all(wait < dag.dagrun_timeout.total_seconds() for wait in waits)


@each_dag
def test_tasks_are_tried_again_later_each_time(dag_id: str) -> None:
    for task in load(dag_id).tasks:
        assert task.retries == 2, task.task_id
        assert task.retry_exponential_backoff, task.task_id
        assert task.retry_delay <= timedelta(minutes=1), task.task_id
        assert task.max_retry_delay is not None, task.task_id


@each_dag
def test_stages_have_an_end_and_a_place_in_the_pool(dag_id: str) -> None:
    stages = stages_of(load(dag_id))
    assert stages
    for task in stages:
        assert task.execution_timeout, task.task_id
        assert (task.pool, task.pool_slots) == (POOL, 1), task.task_id
    others = [task for task in load(dag_id).tasks if task not in stages]
    assert {task.pool for task in others} <= {"default_pool"}


@each_dag
def test_launching_needs_no_pod(dag_id: str) -> None:
    assert {task.executor for task in load(dag_id).tasks} == {"LocalExecutor"}


@each_dag
def test_trigger_form_explains_and_checks_each_field(dag_id: str) -> None:
    params = load(dag_id).params
    assert {"project"} <= set(params)
    for name in params:
        param = params.get_param(name)
        assert param.schema.get("title"), name
        assert param.schema.get("type"), name
        assert param.description, name
        param.resolve()  # what the form starts with can be sent as it is
    assert "flights" in params.get_param("project").schema["enum"]


class _Silent:
    def log(self, level: int, event: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("verb", sorted(Stage))
def test_stage_is_tried_again_only_when_that_can_help(verb: str) -> None:
    left = json.dumps({"error": "the table weather has no rows"})
    for code in NEVER_RETRIED:
        with pytest.raises(StageFailedForGoodError) as final:
            conclude(verb, StageEnd(code, left), _Silent())
        assert isinstance(final.value, AirflowFailException)  # which Airflow never tries again
        assert final.value.exit_code == code
    with pytest.raises(StageFailedError) as passing:
        conclude(verb, StageEnd(1, left), _Silent())
    assert not isinstance(passing.value, AirflowFailException)
