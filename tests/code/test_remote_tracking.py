"""The stages against a real MLflow server that asks for a login and keeps the artifacts itself.

The stages' user has the rights that the chart gives it: to read what is there and to create.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from mlflow import MlflowClient

from ml.registry.mlflow_client import open_client
from ml.registry.mlflow_rest import MlflowServer
from ml.registry.mlflow_trouble import TrackingError
from ml.registry.model_registry import RestRegistry
from tests.code.at_once import at_once
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


NEWCOMER = """
import sys
from datetime import date
from ml.core.job import Job
from ml.core.settings import Settings
from ml.registry.register import _ensure_model
from ml.registry.tracking import connected, experiment_id, registry

sys.stdin.readline()
job = Job.of("newcomer", date(2024, 3, 8), Settings.read())
with connected(job) as client:
    print(experiment_id(client, job))
with registry(job) as models:
    _ensure_model(models, job.project)
"""


def test_two_processes_that_bring_a_new_project_to_a_server_both_succeed(server: str) -> None:
    one, other = at_once(NEWCOMER, LOGIN | {"MLFLOW_TRACKING_URI": server})
    assert one == other


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
    found = MlflowServer(server).get("registered-models/alias", name=PROJECT, alias="champion")
    assert found["model_version"]["version"] == "1"
    assert not (workshop.folder / "local/mlflow").exists()
    again = workshop.ml(*RUN, MLFLOW_TRACKING_URI=server, **LOGIN)
    assert again.returncode == 0, again.stderr
    assert set(statuses(again.stdout).values()) == {"skipped"}


LOGINS = {
    "variables": (LOGIN, ""),
    "address": ({}, f"{STAGES[0]}:{quote(STAGES[1])}@"),
}


@pytest.fixture(params=LOGINS)
def asked(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> RestRegistry:
    """The server's registry over REST, with each way to log in."""
    variables, login = LOGINS[request.param]
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return RestRegistry(MlflowServer(server.replace("://", f"://{login}")))


@pytest.fixture
def logged(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that is there, made by MLflow's own client."""
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(server, registry_uri=server)
    return str(client.create_run(client.create_experiment(str(uuid4()))).info.run_id)


def test_asked_over_rest_the_registry_does_what_mlflows_client_does(
    logged: str, asked: RestRegistry, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that the stages ask, looked at afterwards with MLflow's own client."""
    model = f"rest-{uuid4()}"
    asked.create_registered_model(model)
    with pytest.raises(TrackingError) as twice:
        asked.create_registered_model(model)
    assert twice.value.error_code == "RESOURCE_ALREADY_EXISTS"
    made = asked.create_model_version(
        model, f"runs:/{logged}/model", logged, {"a": "1"}, description="said", model_id=None
    )
    other = asked.create_model_version(
        model, f"runs:/{logged}/model", logged, {"a": "2"}, description=None, model_id=None
    )
    asked.set_model_version_tag(model, made.version, "b", "ünï")
    asked.set_model_version_tag(model, made.version, "c", "gone")
    asked.delete_model_version_tag(model, made.version, "c")
    asked.set_registered_model_alias(model, "champion", made.version)
    asked.set_registered_model_alias(model, "gone", made.version)
    asked.delete_registered_model_alias(model, "gone")
    asked.delete_model_version(model, other.version)
    asked.set_tag(logged, "told", "yes")
    asked.log_metric(logged, "auc", 0.75)
    asked.log_dict(logged, {"decision": "deploy"}, "decision.json")

    assert asked.get_registered_model(model).aliases == {"champion": "1"}
    assert asked.search_registered_models(f"name = '{model}'")[0].aliases == {"champion": "1"}
    assert [one.version for one in asked.search_model_versions(f"name = '{model}'")] == ["1"]
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    client = MlflowClient(server, registry_uri=server)
    version = client.get_model_version(model, "1")
    assert version.tags == asked.get_model_version(model, "1").tags == {"a": "1", "b": "ünï"}
    assert (version.description, version.run_id) == ("said", logged)
    run = client.get_run(logged)
    assert (run.data.tags["told"], run.data.metrics["auc"]) == ("yes", 0.75)
    assert json.loads(Path(client.download_artifacts(logged, "decision.json")).read_text()) == {
        "decision": "deploy"
    }


def test_every_page_of_a_search_is_read(
    logged: str,
    asked: RestRegistry,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = f"pages-{request.node.callspec.params['asked']}"
    asked.create_registered_model(model)
    for _ in range(5):
        asked.create_model_version(
            model, f"runs:/{logged}/m", logged, None, description=None, model_id=None
        )
    monkeypatch.setattr("ml.registry.model_registry.PAGE", 2)
    found = asked.search_model_versions(f"name = '{model}'")
    assert sorted(one.version for one in found) == ["1", "2", "3", "4", "5"]


def test_a_wrong_password_is_told_apart_and_not_written_down(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    wrong = server.replace("://", "://stages:not-this-one@")
    with pytest.raises(TrackingError, match="401") as refused:
        RestRegistry(MlflowServer(wrong)).search_registered_models("name = 'x'")
    assert "not-this-one" not in str(refused.value)


def test_a_token_is_sent_where_there_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token")
    with heard(b"{}") as (uri, requests):
        MlflowServer(uri).get("registered-models/search")
    assert [one["Authorization"] for one in requests] == ["Bearer a-token"]


@pytest.mark.parametrize("way", [*LOGINS, "file"])
def test_mlflows_client_logs_in_as_rest_does(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    variables, login = LOGINS.get(way, ({}, ""))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # so that it is known to be put back
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    if way == "file":
        (tmp_path / ".mlflow").mkdir()
        lines = [f"{name.lower()} = {value}" for name, value in LOGIN.items()]
        (tmp_path / ".mlflow/credentials").write_text("\n".join(["[mlflow]", *lines]))
    uri = server.replace("://", f"://{login}")
    found = MlflowServer(uri).get("registered-models/search")
    assert open_client(uri).search_registered_models() is not None
    assert isinstance(found, dict)
    run = open_client(uri).create_run(open_client(uri).create_experiment(str(uuid4())))
    open_client(uri).log_text(run.info.run_id, "kept", "said.txt")


def test_mlflows_client_sends_a_token_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-token")
    with heard(b"{}") as (uri, requests):
        open_client(uri.replace("://", "://me:other@")).get_experiment("1")
    assert [one["Authorization"] for one in requests] == ["Bearer a-token"]


def test_what_is_no_mlflow_is_named() -> None:
    with (
        heard(b"<html>Log in, please") as (uri, _),
        pytest.raises(TrackingError, match="no MLflow"),
    ):
        MlflowServer(uri).get("registered-models/search")


@contextmanager
def heard(answer: bytes) -> Iterator[tuple[str, list[Any]]]:
    """A server with one answer for everything, and the headers that it is sent."""
    requests: list[Any] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.headers)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


def test_asking_over_rest_loads_no_client() -> None:
    """It is what this way is for: MLflow's client takes longer to load than most stages work."""
    code = "import sys, ml.registry.register, ml.rollout.places; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "mlflow" not in loaded
