"""MLflow: the one place that talks to it."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml.core.errors import StageError
from ml.core.job import Job
from ml.registry.aliases import TAG, Alias
from ml.registry.mlflow_rest import MlflowServer
from ml.registry.model_registry import ModelRegistry, RegisteredVersion, RestRegistry

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


@dataclass(frozen=True)
class Champion:
    """The version that serves users now."""

    version: str
    sha256: str
    artifact: str
    fingerprint: str
    # What it was measured against when it was let through; "" when there was nothing.
    rival: str
    # Where the recipe is that makes its features; "" for a version from before there were any.
    recipe: str = ""


@contextmanager
def connected(job: Job) -> Iterator["MlflowClient"]:
    """Give a client of the MLflow that the settings name; StageError when it does not answer."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri
    from mlflow.exceptions import MlflowException

    # The database's migrations and MLflow's hints are no news for whoever reads a stage's log.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = job.settings.tracking_uri
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).absolute().parent.mkdir(parents=True, exist_ok=True)
    set_tracking_uri(uri)
    set_registry_uri(uri)
    try:
        yield MlflowClient()
    except MlflowException as error:
        first_line = str(error).strip().splitlines()[0]
        sentence = without_password(f"MLflow at {uri}: {first_line}")
        raise StageError(sentence[:400]) from error


@contextmanager
def registry(job: Job) -> Iterator[ModelRegistry]:
    """Give the registry of the MLflow that the settings name; StageError when it does not answer.

    A server is asked over REST, as loading MLflow's client takes longer than the asking.
    """
    if server := server_of(job):
        yield RestRegistry(server)
        return
    with connected(job) as client:
        yield client


def server_of(job: Job) -> MlflowServer | None:
    """Return the MLflow server that the settings name; None where it is a database or folder."""
    uri = job.settings.tracking_uri
    return MlflowServer(uri) if uri.startswith(("http://", "https://")) else None


def upsert(write: Callable[[], None]) -> None:
    """Write tags and aliases that another worker may be writing at this moment.

    MLflow looks whether a row is there and inserts it if not; of two that look at once, the
    second is told BAD_REQUEST by the database's constraint, and finds the row when it tries anew.
    """
    try:
        write()
    except Exception as error:
        if error_code(error) != "BAD_REQUEST":
            raise
        write()


def error_code(error: Exception) -> str:
    """Return MLflow's own word for an error, whether its client or its server says it."""
    return str(getattr(error, "error_code", ""))


def without_password(text: str) -> str:
    """Cut `user:password@` out of every address in a text."""
    return re.sub(r"://[^/@\s]+@", "://", text)


def experiment_id(client: "MlflowClient", job: Job, name: str | None = None) -> str:
    """Find an experiment, by default the project's own, creating it the first time."""
    from mlflow.exceptions import MlflowException

    name = name or job.project
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, _artifacts_beside(job, name))
        except MlflowException:
            # Another worker created it in between; any other trouble shows again just below.
            found = client.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage == "deleted":
        raise StageError(f"the MLflow experiment '{name}' is deleted: restore it in the MLflow UI")
    return str(found.experiment_id)


def _artifacts_beside(job: Job, experiment: str) -> str | None:
    """Keep a local database's artifacts beside it; a server knows its own place."""
    uri = job.settings.tracking_uri
    if not uri.startswith("sqlite:///"):
        return None
    database = Path(uri.removeprefix("sqlite:///")).absolute()
    return (database.parent / "mlflow" / experiment).as_uri()


def champion(job: Job) -> Champion | None:
    """Find the version under the alias champion; None when there is none yet.

    The model is searched for by name: MLflow forbids a user without rights on everything to ask
    for one that does not exist, and a search just finds nothing.
    """
    with registry(job) as models:
        found = models.search_registered_models(f"name = '{job.project}'")
        number = found[0].aliases.get(Alias.CHAMPION) if found else None
        if number is None:
            return None
        return _champion(number, models.get_model_version(job.project, str(number)).tags)


def _champion(version: str | int, tags: Mapping[str, str]) -> Champion:
    return Champion(
        version=str(version),
        sha256=tags.get(f"{TAG}sha256", ""),
        artifact=tags.get(f"{TAG}artifact", ""),
        fingerprint=tags.get(f"{TAG}fingerprint", ""),
        rival=tags.get(f"{TAG}rival", ""),
        recipe=tags.get(f"{TAG}recipe", ""),
    )


def versions_of(models: ModelRegistry, project: str, fingerprint: str) -> list[RegisteredVersion]:
    """List the versions that came from one training, oldest first."""
    found = models.search_model_versions(
        f"name = '{project}' AND tag.`{TAG}fingerprint` = '{fingerprint}'"
    )
    return sorted(found, key=lambda version: int(version.version))


def run_tags(job: Job) -> dict[str, str]:
    """Tag a run with where it comes from, so that each side finds the other."""
    tags = {
        "as_of": str(job.as_of),
        "dag_id": job.settings.dag_id,
        "task_id": job.settings.task_id,
        "airflow_run_id": job.settings.airflow_run_id,
        "revision": job.settings.revision,
    }
    return {f"{TAG}{name}": value for name, value in tags.items() if value}
