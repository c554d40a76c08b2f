"""Workshops: one fresh for each test, and one in which a whole run has been done."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.code.workshop import Workshop

MIGRATE = "import sys, mlflow; mlflow.MlflowClient(sys.argv[1]).search_registered_models()"


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back the servers that a test names, as MLflow hands them on by the environment."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")  # so that it is known to be put back
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, migrated once as that takes seconds."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    subprocess.run([sys.executable, "-c", MIGRATE, f"sqlite:///{file}"], check=True)
    return file


@pytest.fixture
def workshop(tmp_path: Path, database: Path) -> Workshop:
    return Workshop.at(tmp_path, database)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Workshop:
    """A workshop in which the pipeline has run once, from landing to roll-out."""
    workshop = Workshop.at(tmp_path_factory.mktemp("finished"), database)
    workshop.land_window()
    first = workshop.run()
    assert first.returncode == 0, first.stderr + first.stdout
    (workshop.folder / "first.txt").write_text(first.stdout)
    return workshop
