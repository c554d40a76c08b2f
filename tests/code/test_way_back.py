"""Two days, a roll-back, and the second day again: with real models, from the command line."""

from __future__ import annotations

import getpass
from datetime import timedelta

import pytest
from mlflow import MlflowClient

from tests.code.workshop import AS_OF, PROJECT, Workshop, statuses

# MLflow, asked in this process what the stages left, uses what its own libraries call outdated.
pytestmark = pytest.mark.filterwarnings("default")


class Registry:
    """What MLflow says of the versions."""

    def __init__(self, workshop: Workshop) -> None:
        uri = f"sqlite:///{workshop.folder}/local/mlflow.db"
        self.client = MlflowClient(uri, registry_uri=uri)

    @property
    def aliases(self) -> dict[str, str]:
        found = self.client.get_registered_model(PROJECT).aliases
        return {alias: str(version) for alias, version in found.items() if alias != "challenger"}

    def tag(self, version: str, name: str) -> str:
        tags = self.client.get_model_version(PROJECT, version).tags
        return str(tags.get(f"slipway.{name}", ""))


def weakened(model: str) -> str:
    """A model that looks at one feature alone."""
    return model.replace("SimpleImputer(),", "SimpleImputer(), SelectKBest(k=1),").replace(
        "    from sklearn.impute",
        "    from sklearn.feature_selection import SelectKBest\n    from sklearn.impute",
    )


def test_what_was_taken_back_stays_back_until_a_person_says_otherwise(workshop: Workshop) -> None:
    workshop.land_window(days=9)
    file = workshop.project / "model.py"
    good = file.read_text()
    file.write_text(weakened(good))
    assert workshop.run(as_of=AS_OF - timedelta(days=1)).returncode == 0
    file.write_text(good)
    assert workshop.run().returncode == 0
    registry = Registry(workshop)
    assert registry.aliases == {"champion": "2", "previous": "1"}

    back = workshop.ml("roll-back", "-p", PROJECT, "--reason", "the depots complain")
    assert back.returncode == 0, back.stderr
    assert f"users of {PROJECT} get version 1 again" in back.stdout
    assert registry.aliases == {"champion": "1"}
    said = f", by {getpass.getuser()}: the depots complain"
    assert registry.tag("2", "taken_back").endswith(said)

    again = workshop.run()
    assert again.returncode == 0, again.stderr
    assert statuses(again.stdout)["roll_out"] == "refused"
    assert "not deployed: it was taken back" in again.stdout
    told = next(line for line in again.stdout.splitlines() if line.startswith("roll_out: "))
    assert " version=2 " in told
    assert " decision=refuse reason=it was taken back" in told
    assert said in registry.tag("2", "rollout_reason")
    assert registry.aliases == {"champion": "1"}

    further = workshop.ml("roll-back", "-p", PROJECT)
    assert further.returncode == 3
    assert "there is no version before it to go back to but what was taken back (2)" in (
        further.stderr
    )

    given = workshop.ml("give-back", "-p", PROJECT, "--version", "2", "--by", "anna")
    assert given.returncode == 0, given.stderr
    assert ", by anna: no reason was given (it was taken back" in registry.tag("2", "given_back")
    assert registry.aliases == {"champion": "1"}
    registered = told.split()[-1]  # the record that roll_out was started with
    day = ("-p", PROJECT, "--as-of", str(AS_OF))
    done = workshop.ml("roll-out", *day, "--upstream", registered)
    assert statuses(done.stdout)["roll_out"] == "done", done.stderr
    assert registry.aliases == {"champion": "2", "previous": "1"}
