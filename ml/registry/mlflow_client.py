"""MLflow's own client: how it is opened, and its errors as sentences of ours."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.registry.mlflow_login import bare, login_of
from ml.registry.mlflow_trouble import told

if TYPE_CHECKING:
    from mlflow import MlflowClient

# An MLflow that is away should fail the stage in about a minute; the scheduler tries again.
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
SQLITE = "sqlite:///"


@contextmanager
def speaking_to(uri: str) -> Iterator[None]:
    """Turn what MLflow's client raises into one sentence; BadInputError unless waiting helps."""
    try:
        yield
    except Exception as error:
        sentence = told(uri, error)
        if sentence is None:
            raise
        raise sentence from error


def open_client(uri: str) -> "MlflowClient":
    """Open a client of the MLflow at an address, which `mlflow`'s own functions use from then on.

    Raises what the client raises: use it within `speaking_to`.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri

    # The database's migrations and MLflow's hints are no news for whoever reads a stage's log.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.update(login_of(uri).variables)
    uri = bare(uri)
    set_tracking_uri(uri)
    set_registry_uri(uri)
    if not uri.startswith(SQLITE):
        return MlflowClient()
    with _alone(database_of(uri)):
        return MlflowClient()


def database_of(uri: str) -> Path:
    """Return the file of a SQLite address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]).absolute()


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Keep others from a database while it is opened, as two who first fill it break it.

    What can't be opened is told at once: MLflow tries for minutes.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("PRAGMA schema_version")
        yield


class ToldClient:
    """A client for as long as one likes, each of whose methods raises sentences of ours."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        with speaking_to(uri):
            self._client = open_client(uri)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the client has
        method = getattr(self._client, name)

        def asked(*said: Any, **named: Any) -> Any:  # noqa: ANN401
            with speaking_to(self._uri):
                return method(*said, **named)

        return asked
