"""A company's release: another's Postgres and object store, users in Airflow's database, pairs.

The other is the first release, which lets the second one's namespace in, by values.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from k8s import access
from k8s.access import airflow, kubectl, kubectl_json, mlflow, port_forward, secret
from tests.chart.rendering import CHART
from tests.e2e.any_dag import Run
from tests.e2e.readme_demo import Demo
from tests.e2e.release import sql, upgrade
from tests.e2e.test_chart import assert_parts_answer, helm

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

NAMESPACE, OWNER = "slipway-company", "slipway"
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


@pytest.fixture(scope="module")
def company(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # noqa: ARG001
    """Install the second release; while it is there, everything asked goes to its namespace."""
    folder = tmp_path_factory.mktemp("company")
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}}
    guests = {part: {"service": {"allowFrom": [here]}} for part in ("postgres", "objectStore")}
    upgrade(guests, folder)
    logins = {name: secret(name) for name in LOGINS}
    file = folder / "company.yaml"
    file.write_text(yaml.safe_dump(company_values(images())))
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    drop_databases()
    for name, role in DATABASES.items():
        sql(f"CREATE DATABASE {name} OWNER {role}")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(access, "NAMESPACE", NAMESPACE)
            install(file, logins)
            yield
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
        drop_databases()
        upgrade({part: {"service": {"allowFrom": []}} for part in guests}, folder)


def install(file: Path, logins: dict[str, dict[str, str]]) -> None:
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    for name, keys in logins.items():
        made = {"metadata": {"name": name}, "apiVersion": "v1", "kind": "Secret"}
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump(made | {"stringData": keys}))
    helm("install", "slipway", str(CHART), "--values", str(file), "--wait", "--timeout", "9m")


def test_it_runs_neither_database_nor_store_and_two_of_the_rest(company: None) -> None:  # noqa: ARG001
    assert kubectl_json("get", "statefulsets")["items"] == []
    deployments = {
        item["metadata"]["name"].removeprefix("slipway-"): item["status"]["readyReplicas"]
        for item in kubectl_json("get", "deployments")["items"]
    }
    assert {name: deployments[name] for name in PAIRED} == dict.fromkeys(PAIRED, 2)


def test_its_parts_answer_each_other(company: None) -> None:  # noqa: ARG001
    assert_parts_answer()


def test_its_administrator_logs_in_and_nobody_else(company: None) -> None:  # noqa: ARG001
    user = secret("slipway-airflow-admin")
    with port_forward("slipway-airflow", 8080) as url:
        right = httpx.post(f"{url}/auth/token", json=dict(user), timeout=60)
        wrong = httpx.post(f"{url}/auth/token", json={**user, "password": "a guess"}, timeout=60)
    assert right.status_code == 201, right.text
    assert wrong.status_code == 401


def test_its_mlflow_keeps_models_apart_from_the_owners(company: None) -> None:  # noqa: ARG001
    with mlflow() as client:
        found = client.get("/api/2.0/mlflow/registered-models/search").json()
    assert found.get("registered_models", []) == []


def test_a_day_of_features_runs_there(company: None) -> None:  # noqa: ARG001
    with airflow() as client:
        run = Run.start(client, "etl_feature_engineering", DAY)
        assert run.finished(600) == "success", run.states
