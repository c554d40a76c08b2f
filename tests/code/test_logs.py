"""Every line of a stage's log says whose it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.dags.conftest import REPO

RUN = "scheduled__2013-03-01T00:00:00+00:00"


def log_of(tmp_path: Path, **env: str) -> tuple[list[dict[str, str]], str]:
    """Run a stage that finds no data; return the fields of its log's lines, and its errors."""
    done = subprocess.run(
        [sys.executable, "-m", "ml", "ingest", "--as-of", "2013-03-01"],
        cwd=REPO,
        env={**os.environ, "SLIPWAY_LANDING_URL": str(tmp_path), **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    lines = [line for line in done.stdout.splitlines() if line]
    heads = [re.match(r"(\w+=\S+ )+", line) for line in lines]
    return [dict(re.findall(r"(\w+)=(\S+)", head[0])) for head in heads if head], done.stderr


def test_lines_carry_stage_project_and_the_ids_of_the_run(tmp_path: Path) -> None:
    lines, _ = log_of(
        tmp_path,
        SLIPWAY_DAG_ID="ml_training_pipeline",
        SLIPWAY_TASK_ID="data_preparation.ingest",
        SLIPWAY_AIRFLOW_RUN_ID=RUN,
    )
    assert lines
    for fields in lines:
        assert fields.pop("t").endswith("s")
        assert fields.pop("level") in {"info", "error"}
        assert fields == {
            "stage": "ingest",
            "project": "flights",
            "as_of": "2013-03-01",
            "dag_id": "ml_training_pipeline",
            "task_id": "data_preparation.ingest",
            "airflow_run_id": RUN,
        }


def test_failure_is_a_line_of_the_log_too(tmp_path: Path) -> None:
    lines, errors = log_of(tmp_path)
    assert lines[-1]["level"] == "error"
    assert "dag_id" not in lines[-1]
    assert errors.startswith("error: ")
