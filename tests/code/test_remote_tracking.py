"""The stages against a real MLflow server that asks for a login and keeps the artifacts itself.

The stages' user has the rights that the chart gives it: to read what is there and to create.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.registry.mlflow_rest import RestError, get
from tests.code.workshop import AS_OF, PROJECT, Workshop, statuses
from tests.mlflow_server import STAGES, mlflow_server

LOGIN = {"MLFLOW_TRACKING_USERNAME": STAGES[0], "MLFLOW_TRACKING_PASSWORD": STAGES[1]}
RUN = ("run", "-p", PROJECT, "--as-of", str(AS_OF))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database, folder / "server.db")
    with mlflow_server(folder) as uri:
        yield uri


def test_the_whole_run_and_again(
    server: str, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No champion, then itself as champion: asked over REST, with artifacts through the server."""
    workshop.land_window()
    first = workshop.ml(*RUN, MLFLOW_TRACKING_URI=server, **LOGIN)
    assert first.returncode == 0, first.stderr
    assert set(statuses(first.stdout).values()) == {"done"}
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    question = {"name": PROJECT, "alias": "champion"}
    champion = get(server, "registered-models/alias", question)["model_version"]
    assert champion["version"] == "1"
    assert not (workshop.folder / "local/mlflow").exists()
    again = workshop.ml(*RUN, MLFLOW_TRACKING_URI=server, **LOGIN)
    assert again.returncode == 0, again.stderr
    assert set(statuses(again.stdout).values()) == {"skipped"}


def test_a_wrong_password_is_told_apart(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "stages")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not this one")
    with pytest.raises(RestError, match="401"):
        get(server, "registered-models/search", {})
