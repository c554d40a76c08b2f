"""An Airflow of the tests' own: its home in a temporary folder, its database an SQLite file."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from tests.dags.airflow_database import copy_database
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
    """Make the tests' own database, in which every DAG is known."""
    copy_database(HOME / "airflow.db")
    with patch.dict(os.environ, {"SLIPWAY_STAGES": "local"}):
        store_dags()


def store_dags() -> None:
    """Write the DAG files to the database, as the DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    for bundle in manager.get_all_dag_bundles():
        bundle.initialize()
        bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
        assert not bag.import_errors
        sync_bag_to_db(bag, bundle.name, bundle.version)


def load_dag(dag_id: str) -> DAG:
    """Parse a DAG's file afresh, under the environment of this moment, and return the DAG."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(DAGS / f"{dag_id}.py")
    assert not bag.import_errors
    return bag.dags[dag_id]


def task_of(dag: DAG, task_id: str) -> Any:  # noqa: ANN401 - the tests know which operator
    """Return a task, of whatever operator it is."""
    return dag.get_task(task_id)


def run_here(dag: DAG, nap: float = 0.01, **options: Any) -> DagRun:
    """Run a DAG in this process, against the database of `airflow_db`.

    Airflow parses and stores all DAG files before each such run, which `airflow_db` has done; and
    it sleeps for a second whenever no task is ready. Here little is awaited from outside, so the
    next look may come after a nap: hundreds of such runs are minutes quicker.
    """
    sleep = time.sleep
    stored = patch.multiple(
        "airflow.dag_processing.dagbag",
        BundleDagBag=lambda **_: None,
        sync_bag_to_db=lambda *_: None,
    )
    with stored, patch("time.sleep", lambda seconds: sleep(min(seconds, nap))):
        run: DagRun = dag.test(**options)
    return run
