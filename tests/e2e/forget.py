"""Take a project's doings out of a release, so that a test of it begins as in a new one.

What was landed stays, as do MLflow's runs: a stage that finds no record of its own does its work
again, whatever they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from k8s.access import Airflow, kubectl
from tests.e2e.connections import airflow, mlflow, object_store
from tests.e2e.release import remove_objects

ENDED = ("success", "failed")
BUCKETS = ("models", "data")
AT_ONCE = 100
"""As many runs as Airflow tells of at once."""


def forget_projects(projects: Iterable[str]) -> None:
    """Forget those of the projects that have done anything; first their runs, which might go on."""
    names = set(projects)
    forget_runs(airflow(), names)
    for project in sorted(with_records() & names):
        forget_models(project)


def with_records() -> set[str]:
    """Return the projects of which the release has any record."""
    found = object_store().list_objects_v2(Bucket="data", Delimiter="/")
    return {entry["Prefix"].rstrip("/") for entry in found.get("CommonPrefixes", [])}


def forget_models(project: str) -> None:
    """Remove what a project serves, what it registered and what its stages wrote."""
    label = f"slipway.dev/project={project}"
    kubectl("delete", "deployment,service,pdb,pod", "-l", label, "--wait=false")
    lease = f"slipway-roll-out-{project.replace('_', '-')}"
    kubectl("delete", "lease", lease, "--ignore-not-found")
    url = "/api/2.0/mlflow/registered-models/delete"
    answer = mlflow().request("DELETE", url, json={"name": project})
    assert answer.status_code in (200, 404), answer.text
    for bucket in BUCKETS:
        remove_objects(bucket, f"{project}/")


def forget_runs(client: Airflow, projects: set[str]) -> None:
    """Remove the runs that were started for the projects; what still runs is ended first."""
    for run in [run for run in all_runs(client) if run["conf"].get("project") in projects]:
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}"
        if run["state"] not in ENDED:
            client.send("PATCH", path, {"state": "failed"}).raise_for_status()
        client.send("DELETE", path, {}).raise_for_status()


def all_runs(client: Airflow) -> Iterator[dict[str, Any]]:
    """Return every run of every DAG."""
    seen, total = 0, 1
    while seen < total:
        page = client.get("/dags/~/dagRuns", limit=AT_ONCE, offset=seen)
        yield from page["dag_runs"]
        seen, total = seen + AT_ONCE, page["total_entries"]
