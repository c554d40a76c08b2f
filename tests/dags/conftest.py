"""An Airflow of the tests' own: its home in a temporary folder, its database an SQLite file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from tests.dags.receivers import mailbox, receiver, told

__all__ = ["mailbox", "receiver", "told"]  # fixtures

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

REPO = Path(__file__).parents[2]
DAGS = REPO / "dags"
SHM = Path("/dev/shm")  # noqa: S108 - the tests' database is small, and quickest in memory
HOME = Path(tempfile.mkdtemp(prefix="slipway-airflow-", dir=SHM if SHM.is_dir() else None))

# Airflow reads its configuration when it is first imported, so this comes before any such import.
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    # How long a file takes has a test of its own, in CPU time; a machine may be busy.
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME}/airflow.db",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
}
sys.path[:0] = [str(DAGS), str(DAGS / "plugins"), str(REPO)]


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Make the tables of the tests' own database."""
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def load_dag(dag_id: str) -> DAG:
    """Parse the DAG files afresh, under the environment of this moment, and return one DAG."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(DAGS)
    assert not bag.import_errors
    return bag.dags[dag_id]


def task_of(dag: DAG, task_id: str) -> Any:  # noqa: ANN401 - the tests know which operator
    """Return a task, of whatever operator it is."""
    return dag.get_task(task_id)


def run_here(dag: DAG, **options: Any) -> DagRun:
    """Run a DAG in this process.

    Airflow sleeps for a second whenever no task is ready. Here nothing is awaited from outside, so
    the next look may come at once: hundreds of such runs are minutes quicker.
    """
    sleep = time.sleep
    with patch("time.sleep", lambda seconds: sleep(min(seconds, 0.01))):
        run: DagRun = dag.test(**options)
    return run
