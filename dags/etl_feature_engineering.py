"""
# Build a day's features

Once a day, when the day's data has landed: freeze the landed files, check them against the
project's rules, and build the features with the project's `features()`. Training, batch scoring
and the drift reports all read what is built here; there is no second definition.

- **Days of the past**: `airflow backfill create --dag-id etl_feature_engineering --from-date …
  --to-date …`. A day that is there already is found, not built again.
- **Changed code**: another `model.py` gives the same days new names. Run the days again; what the
  old code built stays where it is.
- **Late data**: land the day again and run it again (`--reprocess-behavior completed`, or trigger
  it with `as_of`). The new files have other digests, so the day gets new features beside the old,
  and the next training takes the new ones, also if nobody runs this.

Every run that ends well is an event of the asset `features/<project>`, which starts
`ml_training_pipeline` and `batch_prediction_pipeline`. Pause those before you build a year.
"""

from __future__ import annotations

from datetime import timedelta

from adapter.deadlines import late_after
from adapter.graph import RETRIES, Pipeline
from adapter.schedule.features import ANNOUNCED, on_days
from adapter.schedule.project_facts import days_of, project_params
from adapter.schedule.run_days import ONE_DAY
from airflow.sdk import DAG

with DAG(
    "etl_feature_engineering",
    doc_md=__doc__,
    description="Check a day's data and build its features, for training and for scoring",
    schedule=on_days("@daily", "flights"),
    **days_of("flights"),
    catchup=False,
    max_active_runs=3,
    dagrun_timeout=timedelta(hours=16),
    deadline=late_after(timedelta(hours=14), "flights"),
    params=project_params(default="flights"),
    default_args={"owner": "ml", "executor": "LocalExecutor", **RETRIES},
    tags=["features", "data"],
):
    pipeline = Pipeline()
    waiting = pipeline.wait_for_partition(timeout=timedelta(hours=12))
    ingest = pipeline.stage("ingest", as_of=ONE_DAY)
    pipeline.stage("validate")
    pipeline.stage("build_features", **ANNOUNCED)

    waiting >> ingest
