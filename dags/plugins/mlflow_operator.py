"""Operators that write to MLflow's model registry: register, promote and tag versions.

Each may be run again: what is done already is found, and left as it is. Each returns `model`,
`version` and `run_id`, which Airflow's UI turns into links.

    registered = MlflowRegisterVersionOperator(
        task_id="register", model="flights", run_id="{{ params.run_id }}", source="models:/m-1f..."
    )
    MlflowPromoteOperator(
        task_id="promote",
        model="flights",
        version="{{ ti.xcom_pull(task_ids='register')['version'] }}",
        metric="auc",
    )
"""

from slipway_mlflow.operators import (
    MlflowOperator,
    MlflowPromoteOperator,
    MlflowRegisterVersionOperator,
    MlflowTagVersionOperator,
    OnRefusal,
    Promotion,
    existing,
)
from slipway_mlflow.operators import PromotionOutcome as Outcome

__all__ = [
    "MlflowOperator",
    "MlflowPromoteOperator",
    "MlflowRegisterVersionOperator",
    "MlflowTagVersionOperator",
    "OnRefusal",
    "Outcome",
    "Promotion",
    "existing",
]
