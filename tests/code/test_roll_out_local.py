"""Roll-outs on a laptop: real models, files for sides, MLflow's registry on SQLite."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from ml.core.errors import RolloutRefusedError
from ml.core.record import Status
from ml.registry.aliases import Alias, MlflowAliases
from ml.rollout.machine import Patience, RollOut
from ml.rollout.target import BusyError, Release, Side
from ml.rollout.targets.local import LocalTarget
from tests.code.small_model import Published, publish

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@dataclass
class Laptop:
    """A folder with everything in it."""

    folder: Path
    target: LocalTarget
    client: MlflowClient
    models: list[Published]

    def release(self, index: int) -> Release:
        """Register one of the models and return it as a version to roll out."""
        model = self.models[index]
        manifest = model.manifest
        tags = {"slipway.artifact": str(model.folder), "slipway.sha256": manifest.sha256}
        made = self.client.create_model_version("parcels", source=str(model.folder), tags=tags)
        return Release(
            *("parcels", str(made.version), str(model.folder), manifest.sha256),
            *(manifest.sample, manifest.expected),
        )

    def roll_out(self, release: Release) -> Status:
        aliases = MlflowAliases(self.client)
        return RollOut(self.target, aliases, Patience(pause=0)).carry_out(release).status

    def alias(self, alias: Alias) -> str | None:
        return MlflowAliases(self.client).get("parcels", alias)

    def outcome(self, release: Release) -> str:
        return self.client.get_model_version("parcels", release.version).tags["slipway.rollout"]


@pytest.fixture
def laptop(tmp_path: Path) -> Laptop:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri, registry_uri=uri)
    client.create_registered_model("parcels")
    models = [publish(tmp_path, seed=seed) for seed in range(2)]
    return Laptop(tmp_path, LocalTarget(tmp_path / "serving"), client, models)


def test_versions_take_over_in_turn_and_a_bad_one_does_not(laptop: Laptop) -> None:
    first, second = laptop.release(0), laptop.release(1)
    assert laptop.roll_out(first) is Status.DONE
    assert laptop.roll_out(second) is Status.DONE
    assert laptop.roll_out(second) is Status.SKIPPED
    assert laptop.alias(Alias.CHAMPION) == second.version
    assert laptop.alias(Alias.PREVIOUS) == first.version
    assert laptop.target.view("parcels").live is Side.GREEN

    third = laptop.release(0)
    laptop.models[0].model.write_bytes(b"damaged")
    with pytest.raises(RolloutRefusedError, match=rf"sha256 .*version {second.version} keeps"):
        laptop.roll_out(third)
    assert laptop.alias(Alias.CHAMPION) == second.version
    assert laptop.alias(Alias.PREVIOUS) == first.version
    assert laptop.outcome(third) == "failed"
    answer = laptop.target.ask_users_way("parcels", second.sample)
    assert (answer.version, answer.predictions) == (second.version, second.expected)


def _hold(folder: Path, held: object, done: object) -> None:
    with LocalTarget(folder).hold("parcels"):
        held.set()  # type: ignore[attr-defined]
        done.wait(60)  # type: ignore[attr-defined]


def test_another_process_that_rolls_out_turns_this_one_away(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, done))
    other.start()
    try:
        assert held.wait(60)
        with pytest.raises(BusyError), LocalTarget(tmp_path).hold("parcels"):
            pass
    finally:
        done.set()
        other.join()
    with LocalTarget(tmp_path).hold("parcels"):
        pass
