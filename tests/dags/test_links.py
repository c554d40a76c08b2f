"""Links from a task to what it made: their addresses, and that they reach Airflow's UI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from adapter.pods.stage_links import links_of
from airflow.sdk import DAG, BaseOperator
from slipway_mlflow.links import (
    ModelVersionLink,
    ReportLink,
    ResultLink,
    RunLink,
    mlflow_ui_url,
    object_page,
    run_page,
    version_page,
)

from ml.stages import Stage
from tests.dags.conftest import DAGS, HOME, REPO, load_dag

pytestmark = pytest.mark.filterwarnings("default")

PROVIDERS = """
import json
from airflow.providers_manager import ProvidersManager
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
manager = ProvidersManager()
hook = ProvidersManagerTaskRuntime().hooks["mlflow"]
print(json.dumps({
    "version": manager.providers["slipway-mlflow"].version,
    "hook": hook.hook_class_name,
    "testable": hook.connection_testable,
    "behaviour": manager.field_behaviours["mlflow"],
    "widgets": [name for name in manager._connection_form_widgets if "mlflow" in name],
}))
"""


def operator(**attributes: str) -> BaseOperator:
    return cast("BaseOperator", SimpleNamespace(**attributes))


def test_pages_carry_any_name() -> None:
    assert run_page("http://ui", "ab12") == "http://ui/#/runs/ab12"
    assert version_page("http://ui", "a/b c", "3") == "http://ui/#/models/a%2Fb%20c/versions/3"


def test_report_in_the_store_opens_in_its_console() -> None:
    page = object_page("http://store", "s3://data/p/report/dt=2013-03-01/r.html")
    assert page == "http://store/browser/data/p%2Freport%2Fdt%3D2013-03-01%2Fr.html"
    assert object_page("http://store", "https://elsewhere/r.html") == "https://elsewhere/r.html"


@pytest.mark.parametrize(
    ("link", "result", "address"),
    [
        (RunLink(), {"run_id": "ab"}, "http://localhost:5000/#/runs/ab"),
        (RunLink(), {"version": "3"}, ""),
        (ModelVersionLink(), {"model": "m", "version": "3"}, "/#/models/m/versions/3"),
        (ModelVersionLink(), {"version": "3"}, "/#/models/mine/versions/3"),
        (ModelVersionLink(model_from="project"), {"version": 3}, "/#/models/ours/versions/3"),
        (ModelVersionLink(), {"model": "m"}, ""),
        (ReportLink(), {"report": "s3://data/r.html"}, "http://localhost:9001/browser/data/r.html"),
        (ReportLink(), {}, ""),
    ],
)
def test_address_comes_from_the_result(
    link: ResultLink, result: dict[str, Any], address: str
) -> None:
    found = link.address(operator(model="mine", project="ours"), result)
    assert found.endswith(address)
    assert bool(found) is bool(address)


def test_browsers_address_is_the_connections_else_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLIPWAY_MLFLOW_UI_URL", "https://mlflow.example.org/")
    assert mlflow_ui_url() == "https://mlflow.example.org"
    connection = {"conn_type": "mlflow", "host": "in-cluster", "extra": {"ui_url": "https://ui/"}}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps(connection))
    result = {"run_id": "ab"}
    assert RunLink().address(operator(mlflow_conn_id="mlflow"), result) == "https://ui/#/runs/ab"
    assert RunLink().address(operator(), result) == "https://mlflow.example.org/#/runs/ab"


@pytest.fixture(scope="module")
def dag() -> DAG:
    import adapter.pods.pod_stage  # noqa: F401 - on a busy machine it takes longer than a DAG file may

    return load_dag("ml_training_pipeline")


def test_stages_that_make_something_link_to_it(dag: DAG) -> None:
    linked = {
        task.task_id: [link.name for link in task.operator_extra_links]
        for task in dag.tasks
        if task.operator_extra_links
    }
    assert linked == {
        "training_evaluation.train": ["MLflow run"],
        "training_evaluation.register": ["MLflow run", "Model version"],
        "deployment.roll_out": ["MLflow run", "Model version"],
    }


def test_what_a_stage_tells_of_is_linked_to() -> None:
    names = {stage: [link.name for link in links_of(stage)] for stage in Stage}
    assert names[Stage.PRESENT] == ["MLflow run", "Model version", "Report"]
    assert names[Stage.SCORE] == ["Model version"]
    assert names[Stage.SPLIT] == []


def test_links_are_in_what_the_ui_reads(dag: DAG) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    tasks = [task["__var"] for task in DagSerialization.serialize_dag(dag)["tasks"]]
    linked = {task["task_id"]: task.get("_operator_extra_links") for task in tasks}
    assert linked["data_preparation.ingest"] is None
    assert linked["training_evaluation.register"] == {
        "MLflow run": "_link_RunLink",
        "Model version": "_link_ModelVersionLink",
    }


def test_airflow_knows_the_connection_type_and_its_form() -> None:
    """As it runs in the image: nothing but the plugins folder on Python's path."""
    path = os.pathsep.join(map(str, [REPO, DAGS, DAGS / "plugins"]))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROVIDERS],
        env={**os.environ, "PYTHONPATH": path, "AIRFLOW_HOME": str(HOME)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["hook"] == "slipway_mlflow.hook.MlflowHook"
    assert found["testable"]
    assert len(found["widgets"]) == 4
    assert "extra" in found["behaviour"]["hidden_fields"]


def test_image_and_local_env_have_the_plugins_on_the_path() -> None:
    dockerfile = (REPO / "k8s/images/airflow/Dockerfile").read_text()
    assert "PYTHONPATH=/opt/slipway:/opt/slipway/dags:/opt/slipway/dags/plugins " in dockerfile
    assert "$PWD/dags/plugins" in (DAGS / "local.env").read_text()


def test_airflow_loads_only_plugins_at_its_start() -> None:
    """A module that Airflow loads once more by itself would hold every class twice."""
    from airflow._shared.module_loading import find_path_from_directory

    loaded = find_path_from_directory(str(DAGS / "plugins"), ".airflowignore", "glob")
    python = {Path(name).relative_to(DAGS / "plugins") for name in loaded if name.endswith(".py")}
    assert python == {Path(f"{name}.py") for name in ("custom_timetables", "notify", "preload")}
