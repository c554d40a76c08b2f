"""Two workers who write the same thing to MLflow at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from ml.registry.tracking import upsert
from tests.code.at_once import at_once

# MLflow's own libraries are used in ways that they call outdated.
pytestmark = pytest.mark.filterwarnings("default")

ROUNDS = 12


@pytest.fixture
def client(tmp_path: Path) -> MlflowClient:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri, registry_uri=uri)
    client.create_registered_model("parcels")
    client.create_model_version("parcels", source=tmp_path.as_uri())
    return client


@pytest.mark.parametrize("kind", ["tag", "alias"])
def test_two_who_write_the_same_at_once_both_succeed(client: MlflowClient, kind: str) -> None:
    start = Barrier(2)

    def write(name: str) -> None:
        if kind == "tag":
            client.set_model_version_tag("parcels", "1", name, "same")
        else:
            client.set_registered_model_alias("parcels", name, "1")

    def worker(_: int) -> None:
        for turn in range(ROUNDS):
            start.wait(30)
            upsert(lambda name=f"{kind}{turn}": write(name))  # type: ignore[misc]

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(worker, range(2)))
    version = client.get_model_version("parcels", "1")
    assert len(version.tags if kind == "tag" else version.aliases) == ROUNDS


def test_every_one_of_several_rows_may_be_met(client: MlflowClient) -> None:
    """Of two in step, the second is told so at each of its rows, one after the other."""
    names = [f"row{n}" for n in range(5)]
    taken: list[str] = []

    def write() -> None:
        for name in names:
            if name not in taken:
                taken.append(name)
                raise MlflowException("UNIQUE constraint failed", error_code=BAD_REQUEST)
            client.set_model_version_tag("parcels", "1", name, "same")

    upsert(write)
    assert set(names) <= set(client.get_model_version("parcels", "1").tags)


def test_what_is_wrong_for_ever_is_not_tried_for_ever() -> None:
    def write() -> None:
        raise MlflowException("value too long", error_code=BAD_REQUEST)

    with pytest.raises(MlflowException, match="value too long"):
        upsert(write)


def test_what_is_wrong_stays_wrong(client: MlflowClient) -> None:
    with pytest.raises(MlflowException, match="not found"):
        upsert(lambda: client.set_model_version_tag("parcels", "2", "name", "value"))


FIRST = """
import sys
from datetime import date
from ml.core.job import Job
from ml.core.settings import Settings
from ml.registry.tracking import connected, experiment_id

sys.stdin.readline()
with connected(Job.of("parcels", date(2024, 3, 8), Settings.read())) as client:
    print(experiment_id(client, Job.of("parcels", date(2024, 3, 8), Settings.read())))
"""


def test_two_processes_that_first_use_an_empty_database_both_succeed(tmp_path: Path) -> None:
    """They start together once both have loaded all; MLflow fills the database for seconds."""
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    one, other = at_once(FIRST, {"MLFLOW_TRACKING_URI": uri})
    assert one == other
