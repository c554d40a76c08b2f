"""
# Look at the model in use, and train a new one when it must be

Once a day, when the day's predictions are made:

1. **monitor** collects the predictions of the last days and the labels that have arrived for them,
   measures each day and version, writes the numbers to MLflow (experiment `<project>-monitoring`)
   and compares the model in use with what it was at its gate: `healthy`, `watch` or `retrain`.
2. **report** publishes what was found as a page: in the data store, and in MLflow with the day's
   run.
3. **decide_training** follows the decision. **start_training** starts `ml_training_pipeline` for
   this day; **keep_model** says why not: nothing calls for it, or the last training is younger than
   the cool-down.

The limits are the project's: `monitor:` in its `project.yaml`. Too few labels never start a
training. Any failed task makes the run red; a day without predictions is one. Running a day again
does no work twice, and starts no second training.

Trigger it by hand with a `project` and a day, `as_of`; without a day it is the run's logical date.
"""

from __future__ import annotations

from datetime import timedelta

from adapter.deadlines import late_after
from adapter.gate.training_gate import (
    KeepModelOperator,
    StartTrainingOperator,
    TrainingBranchOperator,
)
from adapter.graph import RETRIES, Pipeline
from adapter.schedule.features import on_days
from adapter.schedule.project_facts import days_of, project_params
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG(
    "model_monitoring_pipeline",
    doc_md=__doc__,
    description="Measure the model in use every day, and train a new one when it has become worse",
    # The day's data may land until noon; two hours for its features and predictions to be made.
    schedule=on_days("0 14 * * *", "flights"),
    **days_of("flights"),
    catchup=False,
    max_active_runs=3,
    dagrun_timeout=timedelta(hours=6),
    deadline=late_after(timedelta(hours=2), "flights"),
    params=project_params(default="flights"),
    default_args={"owner": "ml", "executor": "LocalExecutor", **RETRIES},
    tags=["monitoring", "mlflow"],
):
    pipeline = Pipeline()
    # One at a time, so that of two days that call for a training the second sees the first's call.
    pipeline.stage("monitor", max_active_tis_per_dag=1)
    report = pipeline.stage("report")

    start_training = StartTrainingOperator(
        task_id="start_training", dag_to_run="ml_training_pipeline"
    )
    keep_model = KeepModelOperator(task_id="keep_model", decided_by=report)
    decide_training = TrainingBranchOperator(
        task_id="decide_training", decided_by=report, start=start_training, keep=keep_model
    )
    # Red when any task before it was, as a failure goes down the chain.
    fin = EmptyOperator(task_id="fin", trigger_rule="none_failed_min_one_success")

    [start_training, keep_model] >> fin
