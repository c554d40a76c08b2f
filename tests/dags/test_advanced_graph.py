"""The graph of `ml_model_deployment_advanced`, and what was wrong with its original.

The original was drawn for looking at only. Its branch could not work, twice over, and its runs
ended green all the same with nothing deployed.
"""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from tests.dags.conftest import load_dag, task_of

pytestmark = pytest.mark.filterwarnings("default")

VERBS = {
    "data_preparation.download": "ingest",
    "data_preparation.validate": "validate",
    "data_preparation.preprocess": "build_features",
    "data_preparation.split": "split",
    "training_evaluation.train": "train",
    "training_evaluation.evaluate": "evaluate",
    "training_evaluation.register": "register",
    "deployment.build_artifacts": "build_artifacts",
    "deployment.deploy_api": "roll_out",
    "deployment.run_tests": "smoke",
    "visualization_monitoring.dashboards": "present",
    "visualization_monitoring.monitoring": "describe",
}


@pytest.fixture(scope="module")
def dag() -> DAG:
    return load_dag("ml_model_deployment_advanced")


def test_graph_is_the_original_node_for_node(dag: DAG) -> None:
    downstream = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert downstream == {
        "wait_for_data": {"data_preparation.download"},
        "data_preparation.download": {"data_preparation.validate"},
        "data_preparation.validate": {"data_preparation.preprocess"},
        "data_preparation.preprocess": {"data_preparation.split"},
        "data_preparation.split": {"training_evaluation.train"},
        "training_evaluation.train": {"training_evaluation.evaluate"},
        "training_evaluation.evaluate": {"training_evaluation.register"},
        "training_evaluation.register": {"decide_deployment", "deployment.build_artifacts"},
        "decide_deployment": {"deployment.build_artifacts", "keep_champion"},
        "deployment.build_artifacts": {"deployment.deploy_api"},
        "deployment.deploy_api": {"deployment.run_tests"},
        "deployment.run_tests": {
            "visualization_monitoring.dashboards",
            "visualization_monitoring.monitoring",
        },
        "visualization_monitoring.dashboards": {"notify_success"},
        "visualization_monitoring.monitoring": {"notify_success"},
        "keep_champion": {"notify_failure", "fin"},
        "notify_success": {"notify_failure", "fin"},
        "notify_failure": {"fin"},
        "fin": set(),
    }


def test_every_step_does_the_work_of_a_stage(dag: DAG) -> None:
    stages = {t.task_id: t.stage for t in dag.tasks if getattr(t, "stage", None)}  # type: ignore[union-attr]
    assert stages == VERBS


def test_wait_holds_no_worker_between_two_looks(dag: DAG) -> None:
    wait = task_of(dag, "wait_for_data")
    assert (wait.mode, wait.poke_interval, wait.timeout) == ("reschedule", 300, 12 * 3600)
    assert not wait.deferrable
    assert not wait.soft_fail


def test_first_bug_of_the_original_decision_is_pulled_from_an_id_with_its_group(dag: DAG) -> None:
    """It pulled from `evaluate`, but in a group the id is `group.evaluate`: it got nothing."""
    for task_id in ("decide_deployment", "notify_success"):
        pulled = task_of(dag, task_id).decided_by
        assert pulled == "training_evaluation.register"
        assert pulled in dag.task_ids
    assert task_of(dag, "notify_success").tested_by == "deployment.run_tests"


def test_second_bug_of_the_original_branches_are_ids_with_their_group(dag: DAG) -> None:
    """It returned a name without its group's, which Airflow refuses."""
    gate = task_of(dag, "decide_deployment")
    assert gate.branches == {"deploy": "deployment.build_artifacts", "refuse": "keep_champion"}
    assert set(gate.branches.values()) == gate.downstream_task_ids
    assert set(gate.branches.values()) <= set(dag.task_ids)


def test_false_green_of_the_original_no_rule_lets_a_failure_end_green(dag: DAG) -> None:
    """Its last task ran after any success, and its notifier of failures after anything.

    Here the last task runs only when nothing before it has failed; and it stands after the
    notifier of failures, so that one's success is not the run's.
    """
    rules = {task.task_id: task.trigger_rule.value for task in dag.tasks}
    assert rules.pop("fin") == "none_failed_min_one_success"
    assert rules.pop("notify_failure") == "one_failed"
    assert set(rules.values()) == {"all_success"}
    assert [task.task_id for task in dag.leaves] == ["fin"]
    assert {"notify_success", "keep_champion"} <= task_of(dag, "fin").upstream_task_ids


def test_notifier_of_failures_hears_of_every_task(dag: DAG) -> None:
    heard = task_of(dag, "notify_failure").get_flat_relative_ids(upstream=True)
    assert set(dag.task_ids) - heard == {"notify_failure", "fin"}


def test_dag_says_what_it_is(dag: DAG) -> None:
    assert dag.doc_md is not None
    assert dag.doc_md.strip().startswith("# ")
    for step in ("data_preparation", "decide_deployment", "notify_failure", "fin"):
        assert f"**{step}**" in dag.doc_md
    assert dag.tags
    assert dag.owner == "ml"
