"""Names, labels and arguments of a stage's pod."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from adapter.pods.identity import StageRun, label_value

RUN = StageRun(
    project="flights",
    stage="build_features",
    as_of="2013-03-01",
    dag_id="ml_training_pipeline",
    task_id="data_preparation.build_features",
    run_id="scheduled__2013-03-01T00:00:00+00:00",
)
VALID_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def test_pod_name_says_project_stage_and_day() -> None:
    assert RUN.pod_name == "flights-build-features-20130301"


def test_long_project_leaves_room_for_the_suffix() -> None:
    name = replace(RUN, project="p" * 80).pod_name
    assert re.fullmatch(r"[a-z0-9-]{1,54}", name)


def test_labels_name_dag_task_run_project_and_stage() -> None:
    assert RUN.labels["slipway.dev/dag"] == "ml_training_pipeline"
    assert RUN.labels["slipway.dev/task"] == "data_preparation.build_features"
    assert RUN.labels["slipway.dev/project"] == "flights"
    assert RUN.labels["slipway.dev/stage"] == "build_features"
    assert RUN.labels["slipway.dev/run"].startswith("scheduled__2013-03-01T00-00-00-00-00-")
    assert all(VALID_LABEL.fullmatch(value) for value in RUN.labels.values())


@pytest.mark.parametrize("text", ["a", "killed__2013-03-03", "x" * 63])
def test_valid_label_values_stay_as_they_are(text: str) -> None:
    assert label_value(text) == text


def test_changed_label_values_stay_apart() -> None:
    runs = ["manual__2013-03-01T00:00:00+00:00", "manual__2013-03-01T00:00:00-00:00", "é" * 90]
    values = [label_value(run) for run in runs]
    assert len(set(values)) == len(runs)
    assert all(VALID_LABEL.fullmatch(value) for value in values)


def test_first_stage_has_no_upstream() -> None:
    assert RUN.arguments(None) == [
        "build_features", "--project", "flights", "--as-of", "2013-03-01",
    ]  # fmt: skip
    assert RUN.arguments("s3://data/r.json")[-2:] == ["--upstream", "s3://data/r.json"]


def test_stage_knows_its_run() -> None:
    assert RUN.environment == {
        "SLIPWAY_DAG_ID": "ml_training_pipeline",
        "SLIPWAY_TASK_ID": "data_preparation.build_features",
        "SLIPWAY_AIRFLOW_RUN_ID": "scheduled__2013-03-01T00:00:00+00:00",
    }
