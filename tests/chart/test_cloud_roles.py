"""Users of an external store that are roles of the cloud: no keys, and it works without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chart.certificates import Authority
from tests.chart.object_store import AUDIENCE, RoleService, minio, role_service
from tests.chart.rendering import (
    REPO,
    SCENARIOS,
    Object,
    PodSpec,
    of_kind,
    one,
    pod,
    pods,
    render,
    templates,
)

ROLE = "eks.amazonaws.com/role-arn"
ARN = "arn:aws:iam::111122223333:role/"


@pytest.fixture(scope="module")
def roles() -> list[Object]:
    return render("--values", str(SCENARIOS[8]))


def test_no_pod_holds_keys_of_the_store(roles: list[Object]) -> None:
    for found in pods(roles):
        assert not [secret for secret, _ in found.secrets() if "object-store" in secret]
        names = {item["name"] for box in found.containers for item in box.get("env", [])}
        assert not names & {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, found.source
        assert "OBJECT_STORE" not in str(found.spec), found.source
    assert not [s for s in of_kind(roles, "Secret") if "object-store" in s["metadata"]["name"]]


def test_accounts_of_pods_that_use_the_store_stand_for_its_users(roles: list[Object]) -> None:
    accounts = of_kind(roles, "ServiceAccount")
    named = {a["metadata"]["name"]: a["metadata"].get("annotations", {}) for a in accounts}
    assert {name: one[ROLE] for name, one in named.items() if one} == {
        "slipway-mlflow": f"{ARN}mlflow",
        "slipway-stage-data": f"{ARN}stages",
        "slipway-stage-model": f"{ARN}training",  # the workload's own
        "slipway-stage-smoke": f"{ARN}stages",
        "slipway-roll-out": f"{ARN}stages",
        "slipway-stage-land": f"{ARN}lander",
        "slipway-serving": f"{ARN}serving",
    }


def test_pods_of_roles_reach_what_gives_them_keys_and_others_do_not(roles: list[Object]) -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.30.0.0/16"}}], "ports": [{"port": 443}]}
    reaching = {
        policy["metadata"]["name"]
        for policy in of_kind(roles, "NetworkPolicy")
        if rule in policy["spec"].get("egress", [])
    }
    users = [
        *("airflow-api-server", "airflow-scheduler", "airflow-triggerer", "airflow-task", "mlflow"),
        *("stage-data", "stage-model", "stage-roll-out", "stage-smoke", "stage-land"),
        *("serving", "test"),
    ]
    assert reaching == {f"slipway-{user}" for user in users}


def test_connections_of_airflow_name_no_login(roles: list[Object]) -> None:
    scheduler = pod(roles, "Deployment/slipway-airflow-scheduler")
    variables = {v["name"]: v.get("value") for v in scheduler.spec["containers"][0]["env"]}
    for connection in ("AIRFLOW_CONN_MINIO_LOGS", "AIRFLOW_CONN_LANDING"):
        assert variables[connection] == (
            '{"conn_type": "aws", "extra": {"endpoint_url": "https://s3.eu-west-1.amazonaws.com", '
            '"region_name": "eu-west-1"}}'
        )


@dataclass(frozen=True)
class Cloud:
    """A store, what gives roles their keys, and the role that may use the store."""

    store: str
    service: RoleService
    role: str
    authority: Authority

    def environment(self, source: PodSpec, token: Path) -> dict[str, str]:
        """What a pod gets: from the chart, with the test's store, and from the cloud's webhook."""
        given = {v["name"]: v["value"] for v in source.spec["containers"][0]["env"] if "value" in v}
        address = "https://s3.eu-west-1.amazonaws.com"
        values = {name: value.replace(address, self.store) for name, value in given.items()}
        return values | {
            "PATH": os.environ["PATH"],
            "AWS_ALLOW_HTTP": "true",
            "AWS_ROLE_ARN": self.role,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": self.service.keys_url,
            # In a cloud, the system's own authorities vouch for the service.
            "AWS_CA_BUNDLE": str(self.authority.file),
            "SSL_CERT_FILE": str(self.authority.file),
        }


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "objects" / "data").mkdir(parents=True)
    authority = Authority(folder)
    with role_service(authority.context("127.0.0.1")) as service:
        openid = {
            "CONFIG_URL": f"{service.url}/.well-known/openid-configuration",
            "CLIENT_ID": AUDIENCE,
            "ROLE_POLICY": "readwrite",
        }
        given = {f"MINIO_IDENTITY_OPENID_{name}": value for name, value in openid.items()}
        with minio(folder, **given) as store:
            service.store_url = store
            yield Cloud(store, service, role_in(folder / "log"), authority)


def role_in(log: Path) -> str:
    """The name that MinIO gives its role, said once it has asked who vouches for tokens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if role := re.search(r"arn:minio:iam:[:a-zA-Z0-9/_-]+", log.read_text()):
            return role[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


OBSTORE = """
from ml.core.store import Store
store = Store("s3://data")
assert store.create("{name}", b"42")
print(store.read("{name}").decode())
"""
BOTO3 = """
import boto3, os
store = boto3.client("s3")
store.put_object(Bucket="data", Key="{name}", Body=b"42")
print(store.get_object(Bucket="data", Key="{name}")["Body"].read().decode())
"""
AIRFLOW = """
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
hook = S3Hook("minio_logs")
hook.load_string("42", "{name}", "data")
print(hook.read_key("{name}", "data"))
"""
CLIENTS = {
    "obstore": ("Pod/stage", OBSTORE),
    "boto3": ("Deployment/slipway-mlflow", BOTO3),
    "airflow": ("Deployment/slipway-airflow-scheduler", AIRFLOW),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_clients_of_the_store_work_as_a_role(
    roles: list[Object], cloud: Cloud, tmp_path: Path, client: str
) -> None:
    source, script = CLIENTS[client]
    stage = pods([templates(roles)["data.yaml"]])[0]
    found = stage if source == "Pod/stage" else pod(roles, source)
    token = tmp_path / "token"
    token.write_text(cloud.service.token("system:serviceaccount:slipway:slipway-x"))
    environment = cloud.environment(found, token) | {"AIRFLOW_HOME": str(tmp_path)}
    cloud.service.asked.clear()
    done = run(script.format(name=f"{client}.txt"), environment)
    assert done.stdout.splitlines()[-1:] == ["42"], done.stdout + done.stderr
    asked = [urllib.parse.parse_qs(question) for question in cloud.service.asked]
    assert {question["RoleArn"][0] for question in asked} == {cloud.role}


def test_a_token_of_someone_else_opens_nothing(
    roles: list[Object], cloud: Cloud, tmp_path: Path
) -> None:
    stage = pods([templates(roles)["data.yaml"]])[0]
    token = tmp_path / "token"
    token.write_text(RoleService().token("system:serviceaccount:slipway:slipway-x"))
    done = run(OBSTORE.format(name="stranger.txt"), cloud.environment(stage, token))
    assert done.returncode != 0
    assert "42" not in done.stdout


def run(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a client as the pod would, and nothing of this machine's own logins with it."""
    alone = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment | alone | {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"},
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_accounts_are_only_annotated_for_their_own_users(laptop: list[Object]) -> None:
    assert not [a for a in of_kind(laptop, "ServiceAccount") if "annotations" in a["metadata"]]
    assert one(laptop, "ServiceAccount", "slipway-stage-data")
