"""The stages against a real MLflow server that keeps the artefacts itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.mlflow_rest import RestError, get
from tests.code.workshop import PROJECT, Workshop, statuses

STARTS_WITHIN = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database, folder / "server.db")
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/server.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{uri}/health")
        yield uri
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(url)


def test_the_whole_run_and_again(server: str, workshop: Workshop) -> None:
    """No champion, then itself as champion: asked over REST, with artefacts through the server."""
    workshop.land_window()
    first = workshop.run(MLFLOW_TRACKING_URI=server)
    assert first.returncode == 0, first.stderr
    assert set(statuses(first.stdout).values()) == {"done"}
    question = {"name": PROJECT, "alias": "champion"}
    champion = get(server, "registered-models/alias", question)["model_version"]
    assert champion["version"] == "1"
    assert not (workshop.folder / "local/mlflow").exists()
    again = workshop.run(MLFLOW_TRACKING_URI=server)
    assert again.returncode == 0, again.stderr
    assert set(statuses(again.stdout).values()) == {"skipped"}


@pytest.mark.parametrize("question", [{"name": "nobody", "alias": "champion"}])
def test_a_model_that_does_not_exist_is_told_apart(server: str, question: dict[str, str]) -> None:
    with pytest.raises(RestError) as caught:
        get(server, "registered-models/alias", question)
    assert caught.value.code == "RESOURCE_DOES_NOT_EXIST"
