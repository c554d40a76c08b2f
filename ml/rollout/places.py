"""What a roll-out works with, opened as the settings name it."""

from __future__ import annotations

from typing import cast

from ml.core.errors import BadInputError, failure
from ml.core.job import Job
from ml.registry.aliases import Aliases, MlflowAliases
from ml.registry.mlflow_client import ToldClient
from ml.registry.model_registry import ModelRegistry, RestRegistry
from ml.registry.tracking import server_of
from ml.rollout.target import Release, ServingTarget


def read_release(project: str, version: str, uri: str, sha256: str) -> Release:
    """Read a version's artifact, check its digest and return it as something to roll out."""
    from ml.serving.artifact import ArtifactError, fetch

    try:
        manifest, _ = fetch(uri, sha256)
    except ArtifactError as error:
        sentence = f"version {version} of {project} can't be rolled out: {error}"
        raise failure(sentence, passing=error.passing) from error
    return Release(project, version, uri, sha256, manifest.sample, manifest.expected)


def open_target(name: str) -> ServingTarget:
    """Return the place to deploy to: `local` or `kubernetes`."""
    if name == "kubernetes":
        from ml.rollout.targets.kubernetes import KubernetesTarget

        return KubernetesTarget.from_environment()
    if name == "local":
        from ml.rollout.targets.local import LocalTarget

        return LocalTarget.from_environment()
    raise BadInputError(f"SLIPWAY_TARGET is {name}; it can be local or kubernetes")


def open_aliases(job: Job) -> Aliases:
    """Return the aliases of the registry that the settings name."""
    if server := server_of(job):
        return MlflowAliases(RestRegistry(server))
    return MlflowAliases(cast("ModelRegistry", ToldClient(job.settings.tracking_uri)))
