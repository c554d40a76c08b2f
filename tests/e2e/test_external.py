"""A company's release: another's Postgres and object store, users in Airflow's database, pairs.

The other is the first release, which lets the second one's namespace in, by values.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from k8s import access
from k8s.access import kubectl, kubectl_json, port_forward, secret
from tests.budget import budget
from tests.e2e.connections import KEPT, airflow, mlflow
from tests.e2e.preparation import GUEST
from tests.e2e.release import CHART, helm, sql
from tests.e2e.runs import ETL, Run
from tests.e2e.scenes import Scenes
from tests.e2e.test_chart import assert_parts_answer

pytestmark = [pytest.mark.e2e, pytest.mark.budget(10)]

NAMESPACE, OWNER = GUEST, "slipway"
DATABASES = {
    "company_airflow": "airflow",
    "company_mlflow": "mlflow",
    "company_mlflow_auth": "mlflow",
}
STORE_USERS = ("stages", "lander", "mlflow", "airflow", "serving")
LOGINS = [
    *(f"slipway-postgres-{role}" for role in ("airflow", "mlflow")),
    *(f"slipway-object-store-{user}" for user in STORE_USERS),
]
PAIRED = ("airflow-api-server", "airflow-scheduler", "airflow-triggerer", "mlflow")
HUNG = ("airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
NOTICE_SECONDS = 60
DAY = "2013-03-01"


def drop_databases() -> None:
    for name in DATABASES:
        sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def company_values(images: dict[str, Any]) -> dict[str, Any]:
    """The chart's values for a release without database and store of its own."""
    host = f"{OWNER}.svc.cluster.local"
    pair = {"replicas": 2}
    values = {
        "airflow": {
            "auth": {"manager": "fab"},
            **dict.fromkeys(("apiServer", "scheduler", "triggerer"), pair),
        },
        "mlflow": pair,
        "postgres": {
            "enabled": False,
            "databases": {
                "airflow": {
                    "name": "company_airflow",
                    "existingSecret": "slipway-postgres-airflow",
                },
                "mlflow": {
                    "name": "company_mlflow",
                    "authName": "company_mlflow_auth",
                    "existingSecret": "slipway-postgres-mlflow",
                },
            },
            "external": {"host": f"slipway-postgres.{host}", "sslMode": "disable"},
        },
        "objectStore": {
            "enabled": False,
            "users": {
                user: {"existingSecret": f"slipway-object-store-{user}"} for user in STORE_USERS
            },
            "external": {"endpoint": f"http://slipway-minio.{host}:9000"},
        },
    }
    return {key: values.get(key, {}) | images.get(key, {}) for key in {**images, **values}}


def images() -> dict[str, Any]:
    """Which images the first release runs."""
    found = yaml.safe_load(helm("get", "values", "slipway", "-o", "yaml")) or {}
    return {
        key: {"image": part["image"]}
        for key, part in found.items()
        if isinstance(part, dict) and "image" in part
    }


@dataclass(frozen=True)
class Company:
    """The second release: its pods of each kind when all were ready, and when some were hung."""

    ready: dict[str, int]
    hung_at: float


@pytest.fixture(scope="module")
@budget(130)
def company(scenes: Scenes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """Install the second release; while it is there, everything asked goes to its namespace.

    Once all is ready, a process of some kinds hangs, and is noticed while others are asked.
    """
    scenes.over()  # what is played asks the first one
    logins = {name: secret(name) for name in LOGINS}
    file = tmp_path_factory.mktemp("company") / "company.yaml"
    file.write_text(yaml.safe_dump(company_values(images())))
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    drop_databases()
    for name, role in DATABASES.items():
        sql(f"CREATE DATABASE {name} OWNER {role}")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(access, "NAMESPACE", NAMESPACE)
            install(file, logins)
            ready = replicas()
            for component in HUNG:
                freeze(component)
            yield Company(ready, time.monotonic())
    finally:
        KEPT.forget(NAMESPACE)
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")
        drop_databases()


def replicas() -> dict[str, int]:
    """Return how many pods of each Deployment are ready."""
    return {
        item["metadata"]["name"].removeprefix("slipway-"): item["status"]["readyReplicas"]
        for item in kubectl_json("get", "deployments")["items"]
    }


def freeze(component: str) -> None:
    """Stop the component's processes without ending them: what a hang looks like."""
    command = "kill -STOP $(cat /proc/1/task/1/children)"
    target = f"deployment/slipway-{component}"
    kubectl("exec", target, "-c", component.removeprefix("airflow-"), "--", "bash", "-c", command)


def noticed() -> set[str]:
    """Components whose hanging container the kubelet has decided to restart."""
    events = kubectl_json("get", "events", "--field-selector", "reason=Killing")["items"]
    return {
        component
        for component in HUNG
        for event in events
        if event["involvedObject"]["name"].startswith(f"slipway-{component}-")
        and "failed liveness probe" in event["message"]
    }


def install(file: Path, logins: dict[str, dict[str, str]]) -> None:
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    for name, keys in logins.items():
        made = {"metadata": {"name": name}, "apiVersion": "v1", "kind": "Secret"}
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump(made | {"stringData": keys}))
    helm("install", "slipway", str(CHART), "--values", str(file), "--wait", "--timeout", "9m")


def test_it_runs_neither_database_nor_store_and_two_of_the_rest(company: Company) -> None:
    assert kubectl_json("get", "statefulsets")["items"] == []
    assert {name: company.ready[name] for name in PAIRED} == dict.fromkeys(PAIRED, 2)


def test_its_parts_answer_each_other(company: Company) -> None:  # noqa: ARG001
    assert_parts_answer()


def test_its_administrator_logs_in_and_nobody_else(company: Company) -> None:  # noqa: ARG001
    user = secret("slipway-airflow-admin")
    with port_forward("slipway-airflow", 8080) as url:
        right = httpx.post(f"{url}/auth/token", json=dict(user), timeout=60)
        wrong = httpx.post(f"{url}/auth/token", json={**user, "password": "a guess"}, timeout=60)
    assert right.status_code == 201, right.text
    assert wrong.status_code == 401


def test_its_mlflow_keeps_models_apart_from_the_owners(company: Company) -> None:  # noqa: ARG001
    found = mlflow().get("/api/2.0/mlflow/registered-models/search").json()
    assert found.get("registered_models", []) == []


@pytest.mark.budget(40)
def test_hangs_are_noticed(company: Company) -> None:
    while noticed() != set(HUNG) and time.monotonic() - company.hung_at < NOTICE_SECONDS:
        time.sleep(1)
    assert noticed() == set(HUNG)


@pytest.mark.budget(40)
def test_a_day_of_features_runs_there(company: Company) -> None:  # noqa: ARG001
    Run.start(airflow(), ETL, DAY).green()
