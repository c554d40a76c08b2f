"""A real MLflow server on loopback that asks for a login, as the chart's does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ml.registry.mlflow_login import authorization

STARTS_WITHIN = 240.0
ADMIN, STAGES = ("admin", "a long password 1"), ("stages", "a long password 2")
"""User and password of the administrator, and of the user whom the chart gives to the stages."""
AUTH = """
[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


def connect(
    monkeypatch: pytest.MonkeyPatch, url: str, password: str = STAGES[1], **extra: object
) -> None:
    """Give Airflow the connection `mlflow`."""
    parts = urlsplit(url)
    connection = {
        "conn_type": "mlflow",
        "host": parts.hostname,
        "port": parts.port,
        "login": STAGES[0],
        "password": password,
        "extra": extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps(connection))


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run a server on `server.db` in a folder, and give its address; both users are there."""
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
