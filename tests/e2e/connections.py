"""Ways into the release that stay open for as long as the tests run: each takes a second to open.

They lead to the namespace that `k8s.access` names at the time. Threads may share them.
"""

from __future__ import annotations

import atexit
import socket
from collections.abc import Callable
from contextlib import ExitStack
from threading import RLock
from typing import Any, TypeVar

import httpx

from k8s import access
from k8s.access import Airflow, login, port_forward, secret

Connection = TypeVar("Connection")


class Kept:
    """What was opened, by the namespace it leads to and its name."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._forwards = ExitStack()
        self._open: dict[tuple[str, str], Any] = {}

    def get(self, name: str, connect: Callable[[], Connection]) -> Connection:
        """Return what is open under a name, or open it."""
        key = access.NAMESPACE, name
        with self._lock:
            if key not in self._open:
                self._open[key] = connect()
            found: Connection = self._open[key]
            return found

    def url(self, service: str, port: int) -> str:
        """Return where a Service's port is forwarded to."""
        name = f"{service}:{port}"
        with self._lock:
            url = self.get(name, lambda: self._forward(service, port))
            if not listens(url):
                self.forget(access.NAMESPACE)
                url = self.get(name, lambda: self._forward(service, port))
        return url

    def _forward(self, service: str, port: int) -> str:
        return self._forwards.enter_context(port_forward(service, port))

    def forget(self, namespace: str) -> None:
        """Open everything of a namespace anew when it is next asked for: its pods were replaced."""
        with self._lock:
            for key in [key for key in self._open if key[0] == namespace]:
                close = getattr(self._open.pop(key), "close", None)
                if close:
                    close()

    def close(self) -> None:
        """Close everything."""
        for namespace in {key[0] for key in self._open}:
            self.forget(namespace)
        self._forwards.close()


KEPT = Kept()
atexit.register(KEPT.close)


def listens(url: str) -> bool:
    """Tell whether a forward is still there; it ends when its pod does."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def airflow() -> Airflow:
    """Return a client of the release's Airflow, as the generated administrator."""
    url = KEPT.url("slipway-airflow", 8080)
    return KEPT.get(f"airflow at {url}", lambda: Airflow(url, login("slipway-airflow-admin")))


def mlflow(user: str = "admin") -> httpx.Client:
    """Return a client of the release's MLflow, as the administrator or as another user."""
    url = KEPT.url("slipway-mlflow", 5000)

    def connect() -> httpx.Client:
        held = login(f"slipway-mlflow-{user}")
        return httpx.Client(base_url=url, auth=(held.username, held.password), timeout=60)

    return KEPT.get(f"mlflow at {url} as {user}", connect)


def object_store(user: str = "root") -> Any:  # noqa: ANN401 - boto3 has no types
    """Return an S3 client of the release's object store, as its root user or as another."""
    url = KEPT.url("slipway-minio", 9000)

    def connect() -> Any:  # noqa: ANN401
        import boto3

        held = secret(f"slipway-object-store-{user}")
        return boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=held["access-key"],
            aws_secret_access_key=held["secret-key"],
            region_name="us-east-1",
        )

    return KEPT.get(f"store at {url} as {user}", connect)
