"""In the release's own store a project's pods change what is under the project's name alone."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
import obstore
import pytest
from botocore.exceptions import ClientError
from obstore.store import S3Store

from tests.chart.object_store import ROOT_KEYS, binary, minio
from tests.chart.rendering import (
    CHART,
    SCENARIOS,
    Object,
    one,
    pods,
    render,
    render_values,
    templates,
)

FILES = {"model.py": "def model(): ...\n", "project.yaml": "target: late\n"}
VALUES: Object = {"stages": {"projects": {"my_own": FILES, "my": FILES}}}
STAGES = ("data.yaml", "model.yaml", "roll_out.yaml", "smoke.yaml", "land.yaml")


def keys_of_the_store(objects: list[Object], template: str) -> dict[str, tuple[str, str]]:
    """Variable to Secret and key, of a stage's login to the store."""
    (container,) = pods([templates(objects)[template]])[0].containers
    references = {v["name"]: v.get("valueFrom", {}).get("secretKeyRef") for v in container["env"]}
    found = {name: one for name, one in references.items() if name.startswith("AWS_") and one}
    return {name: (one["name"], one["key"]) for name, one in found.items()}


@pytest.mark.parametrize("template", STAGES)
def test_stages_log_in_as_their_project(laptop: list[Object], template: str) -> None:
    user = "lander" if template == "land.yaml" else "stages"
    secret = f"slipway-object-store-project-{user}"
    assert keys_of_the_store(laptop, template) == {
        "AWS_ACCESS_KEY_ID": (secret, "{project}.access-key"),
        "AWS_SECRET_ACCESS_KEY": (secret, "{project}.secret-key"),
    }


@pytest.mark.parametrize("file", [SCENARIOS[2], SCENARIOS[5]], ids=["external", "own keys"])
def test_keys_of_the_users_own_are_for_all_projects(file: Path) -> None:
    objects = render("--values", str(file))
    for template in STAGES:
        for secret, key in keys_of_the_store(objects, template).values():
            assert "-project-" not in secret
            assert "{project}" not in key


def test_every_project_has_keys(tmp_path: Path) -> None:
    objects = render_values(VALUES, tmp_path)
    for user in ("stages", "lander"):
        keys = one(objects, "Secret", f"slipway-object-store-project-{user}")["data"]
        assert set(keys) == {
            f"{project}.{half}"
            for project in ("flights", "my", "my_own")
            for half in ("access-key", "secret-key")
        }
        assert len(set(keys.values())) == 6


@dataclass(frozen=True)
class Installed:
    """A store that the chart's setup has been run on, and the keys of its users."""

    url: str
    keys: Mapping[str, tuple[str, str]]

    def login(self, user: str, bucket: str) -> S3Store:
        access, secret = self.keys[user]
        return S3Store(
            bucket,
            endpoint=self.url,
            access_key_id=access,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True},
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("store")
    objects = render_values(VALUES, folder)
    (job,) = [item for item in pods(objects) if item.component == "object-store-setup"]
    with minio(folder) as url:
        keys = _write_keys(job.spec, objects, folder / "users")
        for _ in range(2):  # to the same end any number of times
            _run_setup(job.spec, objects, folder, url)
        yield Installed(url, keys)


def _write_keys(spec: Object, objects: list[Object], folder: Path) -> dict[str, tuple[str, str]]:
    """Put the Secrets' keys where the Job's volume has them; the users they are for."""
    (volume,) = [v for v in spec["volumes"] if v["name"] == "users"]
    for source in volume["projected"]["sources"]:
        data = one(objects, "Secret", source["secret"]["name"])["data"]
        for item in source["secret"]["items"]:
            file = folder / item["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            root = ROOT_KEYS[item["key"]] if file.parent.name == "root" else ""
            file.write_text(root or base64.b64decode(data[item["key"]]).decode())
    return {
        user.name: ((user / "access-key").read_text(), (user / "secret-key").read_text())
        for user in folder.iterdir()
    }


def _run_setup(spec: Object, objects: list[Object], folder: Path, url: str) -> None:
    (container,) = spec["containers"]
    given = {item["name"]: item["value"] for item in container["env"]}
    policies = folder / "setup"
    policies.mkdir(exist_ok=True)
    for name, text in one(objects, "ConfigMap", "slipway-object-store-setup")["data"].items():
        (policies / name).write_text(text)
    script = (CHART / "files/object-store/setup.sh").read_text()
    script = script.replace("/opt/slipway-setup", str(policies))
    script = script.replace("/run/slipway/users", str(folder / "users"))
    path = f"{Path(binary('mc')).parent}:{os.environ['PATH']}"
    env = given | {"STORE_URL": url, "HOME": str(folder), "PATH": path}
    done = subprocess.run(
        ["sh", "-c", script], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "user mlflow is there"  # MLflow waits for it


def refused(store: S3Store, path: str) -> None:
    """Assert that this login may neither write, read, delete nor look there."""
    for ask in (
        lambda: obstore.list(store, path.rpartition("/")[0]).collect(),
        lambda: obstore.head(store, path),
        lambda: obstore.put(store, path, b"mine now"),
        lambda: obstore.get(store, path),
        lambda: obstore.delete(store, path),
    ):
        with pytest.raises(Exception, match=r"403|AccessDenied|denied"):
            ask()


@pytest.mark.parametrize("bucket", ["data", "models"])
def test_a_projects_stages_write_under_its_name_and_nowhere_else(
    installed: Installed, bucket: str
) -> None:
    mine, other = (installed.login(f"stages-{name}", bucket) for name in ("my", "my_own"))
    obstore.put(mine, "my/train/a", b"42", mode="create")
    assert bytes(obstore.get(mine, "my/train/a").bytes()) == b"42"
    assert [item["path"] for item in obstore.list(mine, "my").collect()] == ["my/train/a"]
    for look in (obstore.head, obstore.get):
        with pytest.raises(FileNotFoundError):
            look(mine, "my/train/b")
    refused(other, "my/train/a")
    refused(other, "my-own/a")
    refused(other, "a")
    obstore.delete(mine, "my/train/a")


def test_a_projects_stages_read_its_landing_which_only_its_lander_writes(
    installed: Installed,
) -> None:
    lander, stages = (installed.login(f"{user}-my", "landing") for user in ("lander", "stages"))
    obstore.put(lander, "my/dt=2013-03-01/a", b"42")
    assert bytes(obstore.get(stages, "my/dt=2013-03-01/a").bytes()) == b"42"
    with pytest.raises(Exception, match=r"403|AccessDenied|denied"):
        obstore.put(stages, "my/dt=2013-03-01/a", b"43")
    for other in ("lander-my_own", "stages-my_own", "stages-flights"):
        refused(installed.login(other, "landing"), "my/dt=2013-03-01/a")
    refused(installed.login("lander-my", "data"), "my/dt=2013-03-01/a")


def test_the_servers_read_all_models_and_change_none(installed: Installed) -> None:
    obstore.put(installed.login("stages-my", "models"), "my/model", b"42")
    serving = installed.login("serving", "models")
    assert bytes(obstore.get(serving, "my/model").bytes()) == b"42"
    with pytest.raises(Exception, match=r"403|AccessDenied|denied"):
        obstore.put(serving, "my/model", b"43")


def test_no_user_of_a_project_manages_users_or_buckets(installed: Installed) -> None:
    access, secret = installed.keys["stages-my"]
    client = boto3.client(
        "s3",
        endpoint_url=installed.url,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        client.create_bucket(Bucket="mine")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_bucket(Bucket="data")
