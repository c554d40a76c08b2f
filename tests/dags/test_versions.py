"""A DAG has one version for as long as it does not change, and says which revision it is of."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dags.airflow_database import copy_database
from tests.dags.conftest import DAGS, REPO

PARSE = """
import sys
from adapter.bundle import ImageBundle
from airflow.dag_processing.bundles.base import unpack_bundle_version
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

manager = DagBundlesManager()
manager.sync_bundles_to_db()
bundle = manager.get_bundle("slipway")
assert isinstance(bundle, ImageBundle)
version, _ = unpack_bundle_version(bundle.get_current_version(), bundle)
for _ in range(int(sys.argv[1])):
    bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    assert not bag.import_errors, bag.import_errors
    sync_bag_to_db(bag, bundle.name, version)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The settings of an Airflow whose DAGs come as they do on the cluster."""
    bundle = {
        "name": "slipway",
        "classpath": "adapter.bundle.ImageBundle",
        "kwargs": {"path": str(DAGS)},
    }
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__DAG_PROCESSOR__DISABLE_BUNDLE_VERSIONING": "True",
        "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "PYTHONPATH": os.pathsep.join([str(REPO), str(DAGS), str(DAGS / "plugins")]),
        "SLIPWAY_REVISION": "aaaa1111",
    }
    copy_database(tmp_path / "airflow.db")
    return env


def airflow(env: dict[str, str], *arguments: str, **more: str) -> None:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, env=env | more, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def versions(env: dict[str, str]) -> dict[str, list[str]]:
    """Return the revision of each version of each DAG, as Airflow's database has them."""
    found: dict[str, list[str]] = {}
    with sqlite3.connect(Path(env["AIRFLOW_HOME"], "airflow.db")) as database:
        for dag_id, revision in database.execute("SELECT dag_id, bundle_version FROM dag_version"):
            found.setdefault(dag_id, []).append(revision)
    return found


def test_parsing_again_makes_no_new_version(env: dict[str, str]) -> None:
    """Neither in one process nor in the next, where Python's sets have another order."""
    airflow(env, "-c", PARSE, "5", PYTHONHASHSEED="1")
    dags = {file.stem for file in DAGS.glob("*.py")}
    assert versions(env) == {dag: ["aaaa1111"] for dag in dags}
    # The next image, whose DAGs are the same: no new version, but the new revision.
    airflow(env, "-c", PARSE, "5", PYTHONHASHSEED="2", SLIPWAY_REVISION="bbbb2222")
    assert versions(env) == {dag: ["bbbb2222"] for dag in dags}


def test_dag_processor_names_the_revision_of_the_image(env: dict[str, str]) -> None:
    airflow(env, "-m", "airflow", "dag-processor", "--num-runs", "1")
    found = versions(env)
    assert found.keys() == {file.stem for file in DAGS.glob("*.py")}
    assert all(revisions == ["aaaa1111"] for revisions in found.values())
