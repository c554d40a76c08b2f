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

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

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


def upsert(write: Callable[[], None]) -> None:
    """Write tags and aliases that another worker may be writing at this moment.

    MLflow looks whether a row is there and inserts it if not; of two that look at once, the
    second is told BAD_REQUEST by the database's constraint, and finds the row when it tries anew.
    """
    from mlflow.exceptions import MlflowException

    try:
        write()
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write()


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
    if job.settings.tracking_uri.startswith(("http://", "https://")):
        return _champion_of_server(job.settings.tracking_uri, job.project)
    with connected(job) as client:
        models = client.search_registered_models(f"name = '{job.project}'")
        number = models[0].aliases.get(Alias.CHAMPION) if models else None
        if number is None:
            return None
        return _champion(number, client.get_model_version(job.project, number).tags)


def _champion_of_server(uri: str, project: str) -> Champion | None:
    """Ask the server's REST API, as loading MLflow's client for two questions takes seconds."""
    from ml.registry.mlflow_rest import RestError, get

    try:
        found = get(uri, "registered-models/search", {"filter": f"name = '{project}'"})
        aliases = [a for m in found.get("registered_models", []) for a in m.get("aliases", [])]
        number = next((a["version"] for a in aliases if a["alias"] == Alias.CHAMPION), None)
        if number is None:
            return None
        question = {"name": project, "version": str(number)}
        version = get(uri, "model-versions/get", question)["model_version"]
    except RestError as error:
        raise StageError(without_password(f"MLflow at {uri}: {error}")) from error
    return _champion(number, {tag["key"]: tag["value"] for tag in version.get("tags", [])})


def _champion(version: str | int, tags: Mapping[str, str]) -> Champion:
    return Champion(
        version=str(version),
        sha256=tags.get(f"{TAG}sha256", ""),
        artifact=tags.get(f"{TAG}artifact", ""),
        fingerprint=tags.get(f"{TAG}fingerprint", ""),
        rival=tags.get(f"{TAG}rival", ""),
    )


def versions_of(client: "MlflowClient", project: str, fingerprint: str) -> list["ModelVersion"]:
    """List the versions that came from one training, oldest first."""
    found = client.search_model_versions(
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
