"""Two workers who write the same thing to MLflow at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ml.registry.tracking import upsert

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


def test_what_is_wrong_stays_wrong(client: MlflowClient) -> None:
    with pytest.raises(MlflowException, match="not found"):
        upsert(lambda: client.set_model_version_tag("parcels", "2", "name", "value"))
