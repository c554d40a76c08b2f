"""Reach the services of an installed release from outside the cluster.

Everything goes through `kubectl` and the current kubeconfig, so it works wherever `kubectl` does.
"""

from __future__ import annotations

import base64
import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import IO, Any

import httpx

NAMESPACE = os.environ.get("SLIPWAY_NAMESPACE", "slipway")
FORWARD_TIMEOUT_S = 30.0


class AccessError(Exception):
    """The cluster did not give what was asked; the message says what, and the way out."""


@dataclass(frozen=True)
class Login:
    """A user's name and generated password."""

    username: str
    password: str


def kubectl(*args: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run kubectl in the release's namespace and return what it printed.

    Raises AccessError with kubectl's own words when it fails.
    """
    command = ["kubectl", "-n", NAMESPACE, *args]
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise AccessError(
            'kubectl is not on PATH; run `make up`, then `eval "$(k8s/env)"`'
        ) from None
    if done.returncode != 0:
        raise AccessError(f"`kubectl {' '.join(args)}` failed: {done.stderr.strip()}")
    return done.stdout


def kubectl_json(*args: str) -> dict[str, Any]:
    """Run a kubectl command with `-o json` and return the parsed object."""
    parsed: dict[str, Any] = json.loads(kubectl(*args, "-o", "json"))
    return parsed


def secret(name: str) -> dict[str, str]:
    """Return the decoded keys of a Secret."""
    data: dict[str, str] = kubectl_json("get", "secret", name).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def login(name: str) -> Login:
    """Return the login kept in a Secret with the keys `username` and `password`."""
    keys = secret(name)
    return Login(keys["username"], keys["password"])


@contextmanager
def port_forward(service: str, port: int, local_port: int = 0) -> Iterator[str]:
    """Forward a Service's port to this machine while the block runs; yields `http://host:port`.

    `local_port` 0 takes any free port. Raises AccessError when the forward does not come up.
    """
    command = ["kubectl", "-n", NAMESPACE, "port-forward", f"service/{service}"]
    with subprocess.Popen(
        [*command, f"{local_port or ''}:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        reader = Thread(target=_read_on, args=[process.stdout], daemon=True)
        try:
            local = _forwarded_port(process.stdout, service)
            reader.start()
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()
            if reader.is_alive():
                reader.join()


def _read_on(output: IO[str]) -> None:
    """Drop what kubectl goes on to say: a line per connection, and it stops at a full pipe."""
    for _ in output:
        pass


def _forwarded_port(output: IO[str] | None, service: str) -> int:
    """Wait for kubectl to say which local port it listens on."""
    if output is None:
        raise AccessError(f"no port-forward to service {service}: its output is not captured")
    deadline = time.monotonic() + FORWARD_TIMEOUT_S
    said = ""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and selector.select(left):
            line = output.readline()
            if found := re.search(r"127\.0\.0\.1:(\d+) ->", line):
                return int(found.group(1))
            if not line:
                break
            said += line
    raise AccessError(f"no port-forward to service {service}: {said.strip() or 'no answer'}")


class Airflow:
    """A logged-in client of Airflow's public REST API."""

    def __init__(self, url: str, user: Login) -> None:
        answer = httpx.post(
            f"{url}/auth/token",
            json={"username": user.username, "password": user.password},
            timeout=30,
        )
        answer.raise_for_status()
        token = answer.json()["access_token"]
        self._client = httpx.Client(
            base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """GET a path under /api/v2 and return the JSON object; raises httpx.HTTPStatusError."""
        answer = self._client.get(path, params=params)
        answer.raise_for_status()
        parsed: dict[str, Any] = answer.json()
        return parsed

    def send(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send a JSON body; the caller looks at the status."""
        return self._client.request(method, path, json=body)

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start runs of the DAG."""
        self.send("PATCH", f"/dags/{dag_id}", {"is_paused": False}).raise_for_status()

    def trigger(
        self, dag_id: str, run_id: str, logical_date: str | None, conf: dict[str, Any]
    ) -> None:
        """Start a run; a run with this id or logical date must not exist yet."""
        self.send(
            "POST",
            f"/dags/{dag_id}/dagRuns",
            {"dag_run_id": run_id, "logical_date": logical_date, "conf": conf},
        ).raise_for_status()

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances as the API gives them."""
        found: list[dict[str, Any]] = self.get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=200
        )["task_instances"]
        return found


@contextmanager
def airflow() -> Iterator[Airflow]:
    """A client of the release's Airflow, as the generated administrator."""
    with port_forward("slipway-airflow", 8080) as url:
        client = Airflow(url, login("slipway-airflow-admin"))
        try:
            yield client
        finally:
            client.close()


@contextmanager
def mlflow(user: str = "admin") -> Iterator[httpx.Client]:
    """An HTTP client of the release's MLflow REST API, as the administrator or as another user."""
    with port_forward("slipway-mlflow", 5000) as url:
        held = login(f"slipway-mlflow-{user}")
        with httpx.Client(base_url=url, auth=(held.username, held.password), timeout=60) as client:
            yield client
