"""What dags/README.md tells an author to type works, with the real stages and no cluster."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from ml.pipeline import TRAINING
from ml.stages import Stage
from tests.dags.conftest import DAGS, REPO


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout, in which a run may leave its files."""
    for name in ("dags", "ml", ".venv"):
        (tmp_path / name).symlink_to(REPO / name)
    return tmp_path


def commands(number: int = 0) -> str:
    """Return one of the README's blocks of commands, by default the first."""
    found = re.findall(r"```bash\n(.*?)```", (DAGS / "README.md").read_text(), re.DOTALL)
    return str(found[number])


def run(script: str, folder: Path) -> str:
    clean = {name: text for name, text in os.environ.items() if "AIRFLOW" not in name}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def outcomes(said: str) -> dict[str, str]:
    """Return how each stage ended, by the line its task wrote."""
    return dict(re.findall(rf"\] ({'|'.join(Stage)}) (done|skipped): file://", said))


def ended(said: str) -> dict[str, str]:
    """Return how the run of each DAG ended, by the line Airflow wrote."""
    return dict(re.findall(r"DagRun Finished: dag_id=(\w+), .*? state=(\w+)", said))


@pytest.mark.timeout(900)
def test_dag_runs_without_a_cluster_and_the_second_time_skips(checkout: Path) -> None:
    said = run(commands(), checkout)
    assert outcomes(said) == dict.fromkeys(TRAINING, "done")
    assert ended(said) == {"ml_training_pipeline": "success"}

    again = commands().splitlines()
    said = run("\n".join([again[0], again[-1]]), checkout)
    assert outcomes(said) == dict.fromkeys(TRAINING, "skipped")
    assert ended(said) == {"ml_training_pipeline": "success"}

    said = run(f"{again[0]}\n{commands(1)}", checkout)
    assert outcomes(said) == {
        **dict.fromkeys(("ingest", "validate", "pin_champion", "score"), "done"),
        "build_features": "done",
    }
    assert ended(said) == dict.fromkeys(
        ("etl_feature_engineering", "batch_prediction_pipeline"), "success"
    )
    assert "version 1 of flights has scored 958 rows of 1 day" in said
