"""The stages against a real MLflow server that asks for a login and keeps the artefacts itself.

The stages' user has the rights that the chart gives it: to read what is there and to create.
"""

from __future__ import annotations

import json
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

from ml.mlflow_rest import RestError, authorization, get
from tests.code.workshop import AS_OF, PROJECT, Workshop, statuses

STARTS_WITHIN = 120.0
ADMIN, STAGES = ("admin", "a long password 1"), ("stages", "a long password 2")
LOGIN = {"MLFLOW_TRACKING_USERNAME": STAGES[0], "MLFLOW_TRACKING_PASSWORD": STAGES[1]}
RUN = ("run", "-p", PROJECT, "--as-of", str(AS_OF))
AUTH = """
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(database, folder / "server.db")
    ini = folder / "auth.ini"
    ini.write_text(AUTH.format(folder=folder))
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/server.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
            "--app-name=basic-auth",
        ],
        env=os.environ
        | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_AUTH_CONFIG_PATH": str(ini),
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of this test",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{uri}/health")
        create_user(uri)
        yield uri
    finally:
        process.terminate()
        process.wait(30)


def create_user(uri: str) -> None:
    body = json.dumps({"username": STAGES[0], "password": STAGES[1]}).encode()
    headers = {"Authorization": authorization(*ADMIN), "Content-Type": "application/json"}
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/users/create", body, headers)
    urllib.request.urlopen(request, timeout=60).close()


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


def test_the_whole_run_and_again(
    server: str, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No champion, then itself as champion: asked over REST, with artefacts through the server."""
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
