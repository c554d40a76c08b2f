"""Links from a task in Airflow's UI to what it made: the MLflow run, the model version, the report.

A link is made from the task's own return value when the task ends, so it costs nothing to look at:

- `run_id` gives "MLflow run",
- `version` gives "Model version",
- `report` gives "Report", an address a browser opens or an object in the store.

Browsers rarely reach MLflow under the name that pods use. The address for browsers is the extra
`ui_url` of the operator's MLflow connection, else `SLIPWAY_MLFLOW_UI_URL`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

MLFLOW_UI_URL = "http://localhost:5000"
OBJECT_STORE_UI_URL = "http://localhost:9001"


def mlflow_ui_url(env: Mapping[str, str] = os.environ) -> str:
    """Return where browsers find MLflow: `SLIPWAY_MLFLOW_UI_URL`."""
    return (env.get("SLIPWAY_MLFLOW_UI_URL") or MLFLOW_UI_URL).rstrip("/")


def object_store_ui_url(env: Mapping[str, str] = os.environ) -> str:
    """Return where browsers find the object store's console: `SLIPWAY_OBJECT_STORE_UI_URL`."""
    return (env.get("SLIPWAY_OBJECT_STORE_UI_URL") or OBJECT_STORE_UI_URL).rstrip("/")


def run_page(ui_url: str, run_id: str) -> str:
    """Return the page of a run; MLflow finds its experiment by itself."""
    return f"{ui_url}/#/runs/{quote(run_id, safe='')}"


def version_page(ui_url: str, model: str, version: str) -> str:
    """Return the page of a model's version."""
    return f"{ui_url}/#/models/{quote(model, safe='')}/versions/{quote(version, safe='')}"


def object_page(ui_url: str, uri: str) -> str:
    """Return the page of an `s3://` object in the store's console; any other address as it is."""
    if not uri.startswith("s3://"):
        return uri
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return f"{ui_url}/browser/{quote(bucket, safe='')}/{quote(key, safe='')}"


@attrs.define()
class ResultLink(BaseOperatorLink):
    """A link made from a task's return value; none when the value does not hold what it needs."""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, or "" when the task has left nothing to link to."""
        from airflow.sdk.execution_time.xcom import XCom  # only exists in a task

        result = XCom.get_value(key="return_value", ti_key=ti_key)
        return self.address(operator, result) if isinstance(result, dict) else ""

    def address(self, operator: BaseOperator, result: dict[str, Any]) -> str:
        """Return the address that a result stands for, or ""."""
        raise NotImplementedError


@attrs.define()
class RunLink(ResultLink):
    """To the MLflow run under `run_id` of the result."""

    @property
    def name(self) -> str:
        """Return the link's label."""
        return "MLflow run"

    def address(self, operator: BaseOperator, result: dict[str, Any]) -> str:
        """Return the run's page."""
        run_id = result.get("run_id")
        return run_page(_mlflow_ui_of(operator), str(run_id)) if run_id else ""


@attrs.define()
class ModelVersionLink(ResultLink):
    """To the model version under `version` of the result.

    The model is the result's `model`, else the operator's attribute `model_from`.
    """

    model_from: str = "model"

    @property
    def name(self) -> str:
        """Return the link's label."""
        return "Model version"

    def address(self, operator: BaseOperator, result: dict[str, Any]) -> str:
        """Return the version's page."""
        model = result.get("model") or getattr(operator, self.model_from, None)
        version = result.get("version")
        if not (model and version):
            return ""
        return version_page(_mlflow_ui_of(operator), str(model), str(version))


@attrs.define()
class ReportLink(ResultLink):
    """To the report under `report` of the result."""

    @property
    def name(self) -> str:
        """Return the link's label."""
        return "Report"

    def address(self, operator: BaseOperator, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Return the report's address, in the store's console when it is an object."""
        report = result.get("report")
        return object_page(object_store_ui_url(), str(report)) if report else ""


def _mlflow_ui_of(operator: BaseOperator) -> str:
    """Return the address for browsers that the operator's connection gives, else the setting."""
    conn_id = getattr(operator, "mlflow_conn_id", None)
    if conn_id is None:
        return mlflow_ui_url()
    from airflow.sdk import Connection

    extra = Connection.get(conn_id).extra_dejson
    return str(extra.get("ui_url") or mlflow_ui_url()).rstrip("/")
