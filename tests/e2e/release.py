"""Questions the end-to-end tests ask of the installed release, and conditions they wait for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

from k8s import access
from k8s.access import kubectl, kubectl_json, port_forward
from tests.e2e.connections import mlflow, object_store

REPO = Path(__file__).parents[2]
CHART = REPO / "charts" / "slipway"
PROJECTS = REPO / "tests" / "projects"
COMMON = "parcels"
"""The project that lends the others in its folder the files they do not have of their own."""
RELEASE_SECRETS = "app.kubernetes.io/managed-by=Helm"
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


def versions(project: str) -> list[dict[str, Any]]:
    """Return the project's registered versions, oldest first."""
    path, query = "/api/2.0/mlflow/model-versions/search", {"filter": f"name='{project}'"}
    answer = mlflow().get(path, params=query).raise_for_status().json()
    found: list[dict[str, Any]] = answer.get("model_versions", [])
    return sorted(found, key=lambda version: int(version["version"]))


def alias(project: str, name: str) -> str | None:
    """Return the version that an alias names, or None."""
    query = {"name": project, "alias": name}
    answer = mlflow().get("/api/2.0/mlflow/registered-models/alias", params=query)
    return str(answer.json()["model_version"]["version"]) if answer.status_code == 200 else None


def tags(version: dict[str, Any]) -> dict[str, str]:
    """Return a version's tags."""
    return {tag["key"]: tag["value"] for tag in version.get("tags", [])}


def keys(bucket: str, prefix: str) -> list[str]:
    """Return the object keys under a prefix."""
    pages = object_store().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def remove_objects(bucket: str, prefix: str) -> None:
    """Remove every object under a prefix."""
    found = keys(bucket, prefix)
    for start in range(0, len(found), DELETED_AT_ONCE):
        batch = [{"Key": key} for key in found[start : start + DELETED_AT_ONCE]]
        object_store().delete_objects(Bucket=bucket, Delete={"Objects": batch})


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


def release_secrets() -> dict[str, dict[str, str]]:
    """Return every Secret that the chart made: name to keys to base64."""
    found = kubectl_json("get", "secrets", "-l", RELEASE_SECRETS)["items"]
    return {item["metadata"]["name"]: item["data"] for item in found}


def helm(*arguments: str, timeout_s: float = 600) -> str:
    """Run helm in the release's namespace and return what it printed."""
    done = subprocess.run(
        ["helm", "--namespace", access.NAMESPACE, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def upgrade(values: dict[str, Any], tmp_path: Path) -> None:
    """Change values of the release, keeping every other one."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    kept = ("--reuse-values", "--values", str(file))
    helm("upgrade", "slipway", str(CHART), *kept, "--wait", "--timeout", "5m")
    # Helm waits for no Job: new projects have users in the object store once this one is done.
    setup = "app.kubernetes.io/component=object-store-setup"
    kubectl("wait", "job", "-l", setup, "--for=condition=complete", "--timeout=2m")


def projects() -> dict[str, dict[str, str]]:
    """Return the texts of the tests' projects, as the chart's values take them."""
    texts = {
        folder.name: {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}
        for folder in PROJECTS.iterdir()
    }
    return {
        name: (texts[COMMON] if name.startswith(COMMON) else {}) | files
        for name, files in texts.items()
    }


def add_projects(tmp_path: Path) -> None:
    """Give the release all of the tests' projects, as a user would: by values."""
    upgrade({"stages": {"projects": projects()}}, tmp_path)


def sql(statement: str, database: str = "postgres") -> str:
    """Run a statement in the release's Postgres as its superuser; return the bare rows."""
    command = ["psql", "-qAt", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--username", "postgres"]
    pod = ["slipway-postgres-0", "--container", "postgres"]
    return kubectl("exec", *pod, "--", *command, "--dbname", database, "--command", statement)


def delete_pod(name: str) -> None:
    """Kill a pod at once, as a lost node would."""
    kubectl("delete", "pod", name, "--grace-period=0", "--force")


def version_answering(project: str) -> str:
    """Ask the deployed model which version it is."""
    with port_forward(project.replace("_", "-"), 8080) as url:
        reply = httpx.get(f"{url}/v2/health/ready", timeout=30)
    return str(reply.headers["x-model-version"])
