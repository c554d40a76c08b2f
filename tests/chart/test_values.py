"""Values: commented, alike for every component, closed against typing errors and contradictions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import generate
from ml.core.project import NAME
from tests.chart.rendering import CHART, REPO, SCENARIOS, RefusedError, one, render, render_values

ORDER = [
    *("enabled", "image", "replicas", "resources", "env", "pod", "podAnnotations"),
    *("serviceAccountAnnotations", "egress", "service", "persistence"),
]
COMMON = {"resources", "env", "pod", "podAnnotations", "serviceAccountAnnotations", "egress"}
WORKLOADS = [
    *("airflow.apiServer", "airflow.scheduler", "airflow.dagProcessor", "airflow.triggerer"),
    *("airflow.task", "mlflow", "postgres", "objectStore"),
    *("stages.data", "stages.model", "stages.rollOut", "stages.smoke", "stages.land", "serving"),
]
JOBS = ["airflow.migration", "airflow.cleanup", "mlflow.migration", "objectStore.setup"]
IMAGES = ["airflow", "mlflow", "postgres", "objectStore", "stages", "serving"]


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return parsed


def _at(values: dict[str, Any], path: str) -> dict[str, Any]:
    for key in path.split("."):
        values = values[key]
    return values


@pytest.mark.parametrize("path", WORKLOADS)
def test_workloads_have_the_same_keys_in_the_same_order(values: dict[str, Any], path: str) -> None:
    keys = [key for key in _at(values, path) if key in ORDER]
    assert set(keys) >= COMMON
    assert keys == sorted(keys, key=ORDER.index)
    first = list(_at(values, path))[: len(keys)]
    assert first == keys, "a workload's own keys come after the common ones"


@pytest.mark.parametrize("path", JOBS)
def test_jobs_have_the_same_keys_in_the_same_order(values: dict[str, Any], path: str) -> None:
    assert list(_at(values, path))[:3] == ["resources", "pod", "podAnnotations"]


@pytest.mark.parametrize("component", IMAGES)
def test_images_have_the_same_keys(values: dict[str, Any], component: str) -> None:
    image = list(values[component]["image"])
    assert image == ["registry", "repository", "tag", "digest", "pullPolicy"]


def test_every_value_has_a_comment() -> None:
    found = generate.entries((CHART / "values.yaml").read_text())
    assert len(found) > 150
    with pytest.raises(generate.ValuesError, match=r"values.yaml:3: a\.c has no comment"):
        generate.entries("# A group.\na:\n  c: 1\n")


def test_schema_and_table_are_what_the_values_say() -> None:
    done = subprocess.run(
        [sys.executable, str(REPO / "charts" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_schema_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "SCHEMA", tmp_path / "values.schema.json")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "TABLE", tmp_path / "values.md")
    monkeypatch.setattr(generate, "KEYS", tmp_path / "keys.txt")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 1
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generate.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 0


def test_every_group_of_the_schema_is_closed() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def groups(node: dict[str, Any], path: str) -> list[str]:
        open_here = (
            [path] if node.get("type") == "object" and "additionalProperties" not in node else []
        )
        for key, child in node.get("properties", {}).items():
            open_here += groups(child, f"{path}.{key}")
        return open_here

    assert groups(schema, "") == [".global"]


def refusal(values: dict[str, Any], tmp_path: Path) -> str:
    """What helm says about these values."""
    with pytest.raises(RefusedError) as caught:
        render_values(values, tmp_path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"airflw": {}}, "airflw"),
        ({"airflow": {"scheduler": {"replica": 2}}}, "replica"),
        ({"airflow": {"image": {"tag": 5}}}, "tag"),
        ({"airflow": {"image": {"digest": "sha256:short"}}}, "digest"),
        ({"airflow": {"auth": {"manager": "ldap"}}}, "manager"),
        ({"mlflow": {"replicas": 0}}, "replicas"),
        ({"mlflow": {"resources": {"requests": {"cpus": "1"}, "limits": {}}}}, "cpus"),
        ({"postgres": {"persistence": {"size": "lots"}}}, "size"),
        ({"objectStore": {"external": {"endpoint": "s3.example.org"}}}, "endpoint"),
        ({"stages": {"projects": {"mine": {"model.py": ""}}}}, "project.yaml"),
        ({"stages": {"projects": {"mine": {"model.txt": ""}}}}, "model.txt"),
        ({"serving": {"pod": {"hostNetwork": True}}}, "hostNetwork"),
        ({"airflow": {"notifications": {"events": ["fire"]}}}, "events"),
        ({"airflow": {"notifications": {"events": []}}}, "events"),
        ({"airflow": {"stageSlots": 0}}, "stageSlots"),
        ({"networkPolicy": {"kubernetesApi": {"cidrs": ["everywhere"]}}}, "cidrs"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    values: dict[str, Any], named: str, tmp_path: Path
) -> None:
    assert named in refusal(values, tmp_path)


FILES = {"model.py": "", "project.yaml": ""}


@pytest.mark.parametrize(
    "name", ["a", "churn", "churn-model", "churn_model", "a1", "Churn", "churn-", "-a", "a" * 41]
)
def test_a_projects_name_keeps_the_rule_that_the_stages_have(name: str, tmp_path: Path) -> None:
    values = {"stages": {"projects": {name: FILES}}}
    if NAME.fullmatch(name):
        found = render_values(values, tmp_path)
        assert f"{name}.model.py" in one(found, "ConfigMap", "slipway-projects")["data"]
    else:
        assert f"stages.projects.{name} can't be a project's name: it begins" in refusal(
            values, tmp_path
        )


@pytest.mark.parametrize("twins", [("a_b", "a-b"), ("churn", "churn-monitoring")])
def test_projects_that_would_share_a_name_outside_are_told(
    twins: tuple[str, str], tmp_path: Path
) -> None:
    sentence = refusal({"stages": {"projects": dict.fromkeys(twins, FILES)}}, tmp_path)
    assert "rename one of them" in sentence
    assert all(name in sentence for name in twins)


EXTERNAL = {"enabled": False, "external": {"host": "db"}}
BROUGHT = {
    "enabled": False,
    "databases": {"airflow": {"existingSecret": "a"}, "mlflow": {"existingSecret": "m"}},
}
USERS = ("stages", "lander", "mlflow", "serving")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"postgres": {"external": {"host": "db"}}},
            'postgres.external.host is "db" but postgres.enabled is true: set postgres.enabled to '
            "false to use the external server, or empty postgres.external.host.",
        ),
        (
            {"postgres": {"enabled": False}},
            "postgres.enabled is false but postgres.external.host is empty: name the server",
        ),
        (
            {"postgres": EXTERNAL},
            "postgres.enabled is false but postgres.databases.airflow.existingSecret is empty",
        ),
        (
            {
                "postgres": EXTERNAL
                | {
                    "existingSecret": "su",
                    "databases": {
                        "airflow": {"existingSecret": "a"},
                        "mlflow": {"existingSecret": "m"},
                    },
                }
            },
            "postgres.existingSecret holds the superuser of this release's own Postgres",
        ),
        (
            {"objectStore": {"external": {"endpoint": "https://s3"}}},
            'objectStore.external.endpoint is "https://s3" but objectStore.enabled is true',
        ),
        (
            {"objectStore": {"enabled": False}},
            "objectStore.enabled is false but objectStore.external.endpoint is empty",
        ),
        (
            {"objectStore": {"enabled": False, "external": {"endpoint": "https://s3"}}},
            "objectStore.enabled is false but objectStore.users.airflow.existingSecret is empty",
        ),
        (
            {"objectStore": {"users": {"stages": {"cloudRole": True}}}},
            "objectStore.users.stages.cloudRole is true but objectStore.enabled is true: this "
            "release's own MinIO knows no roles of a cloud",
        ),
        (
            {
                "objectStore": {
                    "enabled": False,
                    "external": {"endpoint": "https://s3"},
                    "users": {"airflow": {"cloudRole": True, "existingSecret": "keys"}}
                    | {user: {"cloudRole": True} for user in USERS},
                }
            },
            'objectStore.users.airflow has keys (existingSecret is "keys") and is a role of the '
            "cloud (cloudRole is true): leave one of them out.",
        ),
        (
            {"objectStore": {"users": {"mlflow": {"serviceAccountAnnotations": {"role": "x"}}}}},
            "objectStore.users.mlflow.serviceAccountAnnotations would do nothing, as cloudRole is "
            "false",
        ),
        (
            {"postgres": {"external": {"sslMode": "verify-full"}}},
            "postgres.external.sslMode is verify-full but postgres.enabled is true",
        ),
        (
            {"postgres": BROUGHT | {"external": {"host": "db", "sslMode": "verify-ca"}}},
            "postgres.external.sslMode is verify-ca but postgres.external.caSecret is empty: name "
            "a Secret with the key ca.crt",
        ),
        (
            {"postgres": BROUGHT | {"external": {"host": "db", "caSecret": "ca"}}},
            'postgres.external.caSecret is "ca" but nothing would be checked against it',
        ),
        (
            {"postgres": {"external": {"caSecret": "ca"}}},
            'postgres.external.caSecret is "ca" but nothing would be checked against it',
        ),
        (
            {"objectStore": {"buckets": {"data": "same", "logs": "same"}}},
            "objectStore.buckets uses a name twice",
        ),
        (
            {"airflow": {"config": {"core": {"fernet_key": "x"}}}},
            "airflow.config.core.fernet_key would put a secret into a ConfigMap: use "
            "airflow.existingSecret.",
        ),
        (
            {"mlflow": {"service": {"type": "LoadBalancer"}}},
            "mlflow.service.type is LoadBalancer but mlflow.service.allowFrom is empty",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_a_sentence(
    values: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    said = refusal(values, tmp_path)
    assert sentence in said


ENTRIES = generate.entries((CHART / "values.yaml").read_text())
GROUPS = [entry.path for entry in ENTRIES if not entry.is_leaf]


def without(paths: list[tuple[str, ...]], tmp_path: Path) -> list[str]:
    """Arguments for a values file that names these keys and gives them no value."""
    values: dict[str, Any] = {}
    for *above, key in paths:
        here = values
        for name in above:
            here = here.setdefault(name, {})
        here[key] = None
    file = tmp_path / "empty.yaml"
    file.write_text(yaml.safe_dump(values))
    return ["--values", str(file)]


@pytest.mark.parametrize("path", GROUPS, ids=".".join)
def test_a_section_without_a_value_is_a_sentence(path: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        render(*without([path], tmp_path))
    said = str(caught.value)
    sentence = f"no value is given for {'.'.join(path)}: leave the key out to keep its default"
    assert sentence in said
    assert "nil pointer" not in said


def test_every_key_that_needs_a_value_is_named_when_it_has_none(tmp_path: Path) -> None:
    needed = [entry.path for entry in ENTRIES if entry.is_leaf and not entry.may_be_empty]
    with pytest.raises(RefusedError) as caught:
        render(*without(needed, tmp_path))
    named = str(caught.value).split("no value is given for ")[1].split(": leave")[0].split(", ")
    assert named == [".".join(path) for path in needed]
    assert len(named) > 80


@pytest.mark.parametrize("file", [SCENARIOS[0], SCENARIOS[4]], ids=["one pod", "two pods"])
def test_all_other_keys_may_be_left_without_one(file: Path, tmp_path: Path) -> None:
    given = yaml.safe_load(file.read_text())
    own_meaning = {("runAsUser",), ("postgres", "runAsUser")}
    free = {entry.path for entry in ENTRIES if entry.is_leaf and entry.may_be_empty}
    free -= own_meaning | {path for path in free if is_given(given, path)}
    assert len(free) > 100
    arguments = without(sorted(free), tmp_path)
    assert rendered(file, *arguments) == rendered(file)


def is_given(values: object, path: tuple[str, ...]) -> bool:
    """Whether a values file says what this key is."""
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True


def rendered(file: Path, *arguments: str) -> str:
    """The objects as text, without the digests of values and the secrets made up anew."""
    objects = render("--values", str(file), *arguments)
    text = yaml.safe_dump([found for found in objects if found["kind"] != "Secret"])
    return re.sub(r"\b[0-9a-f]{8,16}\b", "digest", text)
