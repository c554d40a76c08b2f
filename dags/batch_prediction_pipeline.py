"""
# Score whole days with the model that is in production

1. **pin_champion** looks up once which version is champion. All days of this run are scored with
   that version, whatever is deployed meanwhile, and every output row names it.
2. **score** runs once for each day, a few at a time. It builds the day's features if nobody has
   yet, and refuses rows that break the project's rules, counting them by reason.
3. **summarise** adds up rows, mean score and refused rows.

A day appears under `data/<project>/score/` whole or not at all. The same day with the same version
is not scored again; another version writes beside it.

Runs when features are built, for the days they are of. By hand: a `project` and a day `as_of`, or
`first` and `last` for a range; more than 40 days share pods. A day that has not landed fails the
run with its name.
"""

from __future__ import annotations

from datetime import timedelta

from adapter.deadlines import late_after
from adapter.graph import RETRIES, Pipeline
from adapter.schedule.batch import AT_ONCE, DaysOperator, SummaryOperator, range_params
from adapter.schedule.features import on_features
from adapter.schedule.project_facts import days_of, project_params
from adapter.schedule.run_days import EVERY_DAY, PROJECT
from airflow.sdk import DAG

with DAG(
    "batch_prediction_pipeline",
    doc_md=__doc__,
    description="Score days of data with the champion, and say what came of it",
    schedule=on_features("flights"),
    **days_of("flights"),
    catchup=False,
    max_active_runs=2,
    dagrun_timeout=timedelta(hours=12),
    deadline=late_after(timedelta(hours=6), "flights"),
    params=project_params(default="flights") | range_params(),
    default_args={"owner": "ml", "executor": "LocalExecutor", **RETRIES},
    tags=["scoring", "mlflow"],
):
    pipeline = Pipeline()
    days = DaysOperator(
        task_id="days",
        days=EVERY_DAY,
        first="{{ params.first or '' }}",
        last="{{ params.last or '' }}",
    )
    pin_champion = pipeline.stage("pin_champion")
    score = pipeline.stage_for_each("score", days.output, at_once=AT_ONCE)
    SummaryOperator(task_id="summarise", project=PROJECT, results=score.output)

    days >> pin_champion
