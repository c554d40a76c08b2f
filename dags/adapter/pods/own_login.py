"""Lets a stage's pod log in to the object store as its project, where each has a user."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk.exceptions import AirflowException
from kubernetes.client import V1Pod, V1SecretKeySelector

PLACE = "{project}"
"""Where a template's keys have the name of the project that the pod works for."""
PROJECTS = "projects"
"""The file beside the templates that lists the projects which have users, one a line."""


def log_in_as(project: str, pod: V1Pod, pods_dir: str) -> None:
    """Put the project's name into the keys of the Secrets that the pod reads.

    Raises AirflowException when the project has no user; one that was just added has one a minute
    later.
    """
    places = [key for key in _keys(pod) if PLACE in key.key]
    listed = Path(pods_dir, PROJECTS)
    if places and listed.exists() and project not in listed.read_text().split():
        raise AirflowException(
            f"the object store has no user for the project {project}: name it in "
            "stages.imageProjects of the chart's values, or give its files in stages.projects"
        )
    for key in places:
        key.key = key.key.replace(PLACE, project)


def _keys(pod: V1Pod) -> list[V1SecretKeySelector]:
    """Return the references to keys of Secrets in the environment of all containers."""
    variables = [one for container in pod.spec.containers for one in container.env or []]
    sources = [one.value_from for one in variables if one.value_from]
    return [source.secret_key_ref for source in sources if source.secret_key_ref]
