"""Questions the end-to-end tests ask of the installed release, and conditions they wait for."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import boto3
import yaml

from k8s.access import (
    NAMESPACE,
    Airflow,
    kubectl,
    kubectl_json,
    mlflow,
    port_forward,
    secret,
)
from k8s.demo import DAG_ID

REPO = Path(__file__).parents[2]
PROJECTS = REPO / "tests" / "projects"
T = TypeVar("T")
DELETED_AT_ONCE = 1000
"""As many objects as one request to S3 may remove."""


def wait_until(
    what: str, check: Callable[[], T | None], timeout_s: float, poll_s: float = 1.0
) -> T:
    """Return the first result of `check` that is neither None nor False."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = check()
        if found is not None and found is not False:
            return found
        time.sleep(poll_s)
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {what}")


def run_state(client: Airflow, run_id: str) -> str:
    return str(client.get(f"/dags/{DAG_ID}/dagRuns/{run_id}")["state"])


def finished_run(client: Airflow, run_id: str, timeout_s: float = 420) -> str:
    """Wait for the run to finish and return its state."""

    def state() -> str | None:
        found = run_state(client, run_id)
        return found if found in ("success", "failed") else None

    return wait_until(f"run {run_id} to finish", state, timeout_s)


def train(client: Airflow, project: str, day: str, why: str) -> str:
    """Start a run of the day beside any other run of it, and return its id, new each time."""
    client.unpause(DAG_ID)
    run_id = f"{why}__{day}__{time.time():.0f}"
    client.trigger(DAG_ID, run_id, None, {"project": project, "as_of": day})
    return run_id


def train_when_known(client: Airflow, project: str, day: str, why: str = "known") -> str:
    """Start a run as soon as the DAG's form offers the project."""
    wait_until(
        f"the DAG to know {project}",
        lambda: (
            project
            in client.get(f"/dags/{DAG_ID}/details")["params"]["project"]["schema"].get("enum", [])
        ),
        240,
    )
    return train(client, project, day, why)


def result(client: Airflow, run_id: str, task_id: str) -> dict[str, Any]:
    """Return what a stage handed over."""
    entry = client.get(
        f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    )
    value = entry["value"]
    parsed: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
    return parsed


def states(client: Airflow, run_id: str) -> dict[str, str]:
    """Return each task's state."""
    return {task["task_id"]: task["state"] for task in client.task_instances(DAG_ID, run_id)}


def log_of(client: Airflow, run_id: str, task_id: str) -> str:
    """Return the last try's log, as the UI would show it."""
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}"
    tries = client.get(path)["try_number"]
    return json.dumps(client.get(f"{path}/logs/{tries}", full_content="true")["content"])


def versions(project: str) -> list[dict[str, Any]]:
    """Return the project's registered versions, oldest first."""
    with mlflow() as client:
        answer = client.get(
            "/api/2.0/mlflow/model-versions/search", params={"filter": f"name='{project}'"}
        )
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json().get("model_versions", [])
    return sorted(found, key=lambda version: int(version["version"]))


def alias(project: str, name: str) -> str | None:
    """Return the version that an alias names, or None."""
    with mlflow() as client:
        answer = client.get(
            "/api/2.0/mlflow/registered-models/alias", params={"name": project, "alias": name}
        )
    return str(answer.json()["model_version"]["version"]) if answer.status_code == 200 else None


def tags(version: dict[str, Any]) -> dict[str, str]:
    """Return a version's tags."""
    return {tag["key"]: tag["value"] for tag in version.get("tags", [])}


@contextmanager
def object_store(user: str = "root") -> Iterator[Any]:
    """An S3 client of the release's object store, as its root user or as another."""
    held = secret(f"slipway-object-store-{user}")
    with port_forward("slipway-minio", 9000) as url:
        yield boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=held["access-key"],
            aws_secret_access_key=held["secret-key"],
            region_name="us-east-1",
        )


def keys(bucket: str, prefix: str) -> list[str]:
    """Return the object keys under a prefix."""
    with object_store() as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


def remove_objects(bucket: str, prefix: str) -> None:
    """Remove every object under a prefix."""
    found = keys(bucket, prefix)
    with object_store() as client:
        for start in range(0, len(found), DELETED_AT_ONCE):
            batch = [{"Key": key} for key in found[start : start + DELETED_AT_ONCE]]
            client.delete_objects(Bucket=bucket, Delete={"Objects": batch})


def records(project: str, stage: str, day: str) -> list[str]:
    """Return the keys of the records a stage published for a day."""
    found = keys("data", f"{project}/{stage}/dt={day}/")
    return [key for key in found if key.endswith("/record.json")]


def pods(selector: str) -> list[dict[str, Any]]:
    """Return the pods that a label selector finds."""
    items: list[dict[str, Any]] = kubectl_json("get", "pods", "-l", selector)["items"]
    return items


def staying_pods(selector: str) -> list[dict[str, Any]]:
    """Return the pods that run, and are not being replaced by others."""
    return [
        pod
        for pod in pods(selector)
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]


def running_pods() -> dict[str, tuple[str, int]]:
    """Return the pods of the release's workloads: name to identity and number of restarts."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            sum(status["restartCount"] for status in pod["status"]["containerStatuses"]),
        )
        for pod in staying_pods("app.kubernetes.io/component!=stage")
    }


def stage_pods(project: str, stage: str, run_id: str | None = None) -> list[dict[str, Any]]:
    """Return the pods of a project's stage, of one run or of all."""
    found = pods(f"slipway.dev/project={project},slipway.dev/stage={stage}")
    if run_id is None:
        return found
    return [pod for pod in found if pod["metadata"]["labels"].get("slipway.dev/run") == run_id]


def upgrade(values: dict[str, Any], tmp_path: Path) -> None:
    """Change values of the release, keeping every other one."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    subprocess.run(
        [
            "helm", "upgrade", "slipway", str(REPO / "charts" / "slipway"),
            "--namespace", NAMESPACE, "--reuse-values", "--values", str(file),
            "--wait", "--timeout", "5m",
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip


def add_projects(tmp_path: Path) -> None:
    """Give the release all of the tests' projects, as a user would: by values.

    All at once: nodes look only once a minute whether a ConfigMap has changed.
    """
    projects = {
        folder.name: {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}
        for folder in PROJECTS.iterdir()
    }
    upgrade({"stages": {"projects": projects}}, tmp_path)


def sql(statement: str, database: str = "postgres") -> str:
    """Run a statement in the release's Postgres as its superuser; return the bare rows."""
    command = ["psql", "-qAt", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--username", "postgres"]
    pod = ["slipway-postgres-0", "--container", "postgres"]
    return kubectl("exec", *pod, "--", *command, "--dbname", database, "--command", statement)


def delete_pod(name: str) -> None:
    """Kill a pod at once, as a lost node would."""
    kubectl("delete", "pod", name, "--grace-period=0", "--force")
