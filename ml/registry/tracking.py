"""MLflow: the one place that talks to it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml.core.errors import BadInputError
from ml.core.job import Job
from ml.registry.aliases import TAG, Alias
from ml.registry.mlflow_client import SQLITE, database_of, open_client, speaking_to
from ml.registry.mlflow_rest import MlflowServer
from ml.registry.model_registry import ModelRegistry, RegisteredVersion, RestRegistry

if TYPE_CHECKING:
    from mlflow import MlflowClient

# As many rows as one `upsert` may write, or more.
MOST_ROWS = 20


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
    """Give a client of the MLflow that the settings name.

    Raises TrackingError when it does not answer, TrackingRefusedError when a person must act.
    """
    with speaking_to(job.settings.tracking_uri):
        yield open_client(job.settings.tracking_uri)


@contextmanager
def registry(job: Job) -> Iterator[ModelRegistry]:
    """Give the registry of the MLflow that the settings name; errors are as `connected` has them.

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
    `write` may write several rows: each may be met like that, and none more than once.
    """
    for left in reversed(range(MOST_ROWS)):
        try:
            write()
            return
        except Exception as error:
            if error_code(error) != "BAD_REQUEST" or not left:
                raise


def error_code(error: Exception) -> str:
    """Return MLflow's own word for an error, whether its client or its server says it."""
    return str(getattr(error, "error_code", ""))


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
        raise BadInputError(
            f"the MLflow experiment '{name}' is deleted: restore it in the MLflow UI"
        )
    return str(found.experiment_id)


def _artifacts_beside(job: Job, experiment: str) -> str | None:
    """Keep a local database's artifacts beside it; a server knows its own place."""
    uri = job.settings.tracking_uri
    if not uri.startswith(SQLITE):
        return None
    return (database_of(uri).parent / "mlflow" / experiment).as_uri()


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
