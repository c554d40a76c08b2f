"""
# Train a project's model, and deploy it when it is better

Whenever a day's features have been built (by `etl_feature_engineering`), for that day:

1. **data_preparation** checks the data, builds the features and keeps the last days apart.
2. **training_evaluation** trains a candidate, measures it and today's champion on the same days
   that neither has seen, and registers it in MLflow with the decision and its reason.
3. **decide_deployment** follows that decision. `deploy`: **roll_out** starts the candidate beside
   the champion, checks it with real predictions, and only then sends users to it. `refuse`:
   **keep_champion** says why. A project with `approval: true` has it ask a person before `deploy`:
   answer under Required Actions; a no, or no answer, keeps the champion. **roll_out** itself
   refuses, and the run stays green, what was compared with a champion that has been replaced since
   (run the day again) and what was taken back (give it back first): it is skipped, says why in its
   log and on the version in MLflow.

Any failed task makes the run red. Features of a day before the project's first whole window of
days start a run that is skipped: there is nothing to train on yet. Running a day again does no work
twice: a stage that finds its result from before returns it.

Trigger it by hand with a `project` and a day, `as_of`, or run it for days of the past with
`airflow backfill create`. Without `as_of` the day is that of the features, or the logical date.
"""

from __future__ import annotations

from datetime import timedelta

from adapter.deadlines import late_after
from adapter.gate.deployment_gate import DecisionBranchOperator, KeepChampionOperator
from adapter.graph import RETRIES, Pipeline
from adapter.schedule.features import on_features
from adapter.schedule.project_facts import days_of, project_params
from adapter.schedule.window import WindowSensor
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

with DAG(
    "ml_training_pipeline",
    doc_md=__doc__,
    description="Train a project's model every day, and deploy it when it is better",
    schedule=on_features("flights"),
    **days_of("flights"),
    catchup=False,
    max_active_runs=4,
    dagrun_timeout=timedelta(hours=30),
    deadline=late_after(timedelta(hours=16), "flights"),
    params=project_params(default="flights"),
    default_args={"owner": "ml", "executor": "LocalExecutor", **RETRIES},
    tags=["training", "mlflow", "serving"],
):
    pipeline = Pipeline()
    waiting = pipeline.wait_for_partition(WindowSensor, timeout=timedelta(hours=12))

    with TaskGroup("data_preparation") as data_preparation:
        pipeline.stage("ingest")
        pipeline.stage("validate")
        pipeline.stage("build_features")
        pipeline.stage("split")

    with TaskGroup("training_evaluation"):
        pipeline.stage("train")
        pipeline.stage("evaluate")
        register = pipeline.stage("register")

    with TaskGroup("deployment"):
        roll_out = pipeline.stage("roll_out")
    keep_champion = KeepChampionOperator(task_id="keep_champion")

    decide_deployment = DecisionBranchOperator(
        task_id="decide_deployment", decided_by=register, deploy=roll_out, refuse=keep_champion
    )
    # Red when any task before it was, as a failure goes down the chain; green only when a branch
    # was really taken.
    fin = EmptyOperator(task_id="fin", trigger_rule="none_failed_min_one_success")

    waiting >> data_preparation
    [roll_out, keep_champion] >> fin
