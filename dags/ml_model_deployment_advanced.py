"""
# Take a model from raw data to users, every step in sight

Start it by hand, or from another system, with a `project` and a day, `as_of`; without a day it is
the run's logical date.

1. **wait_for_data** looks every five minutes, for twelve hours at most, and holds no worker.
2. **data_preparation** and **training_evaluation** are the stages of `ml_training_pipeline`: a day
   that was trained there is found done here.
3. **decide_deployment** follows the decision of *register*. If it is `refuse`, **keep_champion**
   says why.
4. **deployment** checks that the artifact is whole and writes down what it must answer, switches
   users over to it, then holds the API to what was written down. What was taken back, or compared
   with a champion that has been replaced since, **deploy_api** refuses: it is skipped, with a
   reason, and so is what builds on it.
5. **visualization_monitoring** writes a page about all this, and records what the new model's data
   and scores look like, to compare later days with.
6. **notify_success** and **notify_failure** put into words what people are told at the run's end.

Any failed task makes the run red: **fin** runs only when nothing has failed.
"""

from __future__ import annotations

from datetime import timedelta

from adapter.deadlines import late_after
from adapter.gate.deployment_gate import DecisionBranchOperator, KeepChampionOperator
from adapter.graph import RESCHEDULED, RETRIES, Pipeline
from adapter.news import FailureNewsOperator, SuccessNewsOperator
from adapter.schedule.project_facts import project_params
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

with DAG(
    "ml_model_deployment_advanced",
    doc_md=__doc__,
    description="Take a model from raw data to users, every step in sight",
    schedule=None,
    max_active_runs=3,
    dagrun_timeout=timedelta(hours=30),
    deadline=late_after(timedelta(hours=16), "flights"),
    params=project_params(default="flights"),
    default_args={"owner": "ml", "executor": "LocalExecutor", **RETRIES},
    tags=["training", "mlflow", "serving"],
):
    pipeline = Pipeline()
    stage = pipeline.stage
    waiting = pipeline.wait_for_partition(task_id="wait_for_data", **RESCHEDULED)
    with TaskGroup("data_preparation") as data_preparation:
        stage("ingest", task_id="download")
        stage("validate")
        stage("build_features", task_id="preprocess")
        stage("split")
    with TaskGroup("training_evaluation"):
        stage("train")
        stage("evaluate")
        register = stage("register")
    with TaskGroup("deployment"):
        artifacts = stage("build_artifacts")
        stage("roll_out", task_id="deploy_api", after=artifacts)
        run_tests = stage("smoke", task_id="run_tests")
    with TaskGroup("visualization_monitoring"):
        shown = [stage("present", task_id="dashboards"), stage("describe", task_id="monitoring")]

    keep_champion = KeepChampionOperator(task_id="keep_champion")
    DecisionBranchOperator(
        task_id="decide_deployment", decided_by=register, deploy=artifacts, refuse=keep_champion
    )
    notify_success = SuccessNewsOperator(
        task_id="notify_success", decided_by=register, tested_by=run_tests
    )
    notify_failure = FailureNewsOperator(task_id="notify_failure", trigger_rule="one_failed")
    fin = EmptyOperator(task_id="fin", trigger_rule="none_failed_min_one_success")

    waiting >> data_preparation
    shown >> notify_success
    [notify_success, keep_champion] >> notify_failure
    [notify_success, keep_champion, notify_failure] >> fin
