"""What pods may do: Pod Security, secrets, accounts, the Kubernetes API."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tests.chart.rendering import (
    Object,
    PodSpec,
    name,
    of_kind,
    one,
    pod,
    pods,
    render,
    render_text,
    render_values,
    templates,
)

SERVICE_ACCOUNT = "serviceAccountName"


def test_every_pod_passes_pod_security_restricted(scenario_pods: list[PodSpec]) -> None:
    assert len(scenario_pods) >= 14
    for found in scenario_pods:
        security = found.spec["securityContext"]
        assert security["runAsNonRoot"] is True, found.source
        assert security.get("runAsUser", 1) != 0, found.source
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, found.source
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert not found.spec.get(key), found.source
        for volume in found.spec.get("volumes", []):
            kinds = volume.keys() - {"name"}
            assert kinds <= {"configMap", "emptyDir", "projected"}, f"{found.source}: {kinds}"


def test_every_container_can_change_nothing_but_its_volumes(scenario_pods: list[PodSpec]) -> None:
    for found in scenario_pods:
        for container in found.containers:
            where = f"{found.source} {container['name']}"
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where
            assert not [port for port in container.get("ports", []) if "hostPort" in port], where


def test_every_container_says_what_it_needs_and_may_take(scenario_pods: list[PodSpec]) -> None:
    for found in scenario_pods:
        for container in found.containers:
            for amounts in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][amounts].keys(), found.source


def test_images_are_pinned(scenario_pods: list[PodSpec]) -> None:
    for found in scenario_pods:
        for container in found.containers:
            assert re.fullmatch(r"[^:@]+:[^:@]+(@sha256:[0-9a-f]{64})?", container["image"])
            assert not container["image"].endswith(":latest")


def test_long_running_containers_have_probes(scenario: list[Object]) -> None:
    running = of_kind([*scenario, *templates(scenario).values()], "Deployment", "StatefulSet")
    for found in running:
        for container in found["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "livenessProbe"} <= container.keys(), name(found)


def test_no_pod_gets_every_services_address(scenario_pods: list[PodSpec]) -> None:
    assert all(found.spec["enableServiceLinks"] is False for found in scenario_pods)


def test_one_service_account_for_each_component(scenario: list[Object]) -> None:
    accounts = {found["metadata"]["name"] for found in of_kind(scenario, "ServiceAccount")}
    used: dict[str, set[str]] = {}
    for found in pods(scenario):
        kind = found.labels.get("slipway.dev/pod", found.component)
        used.setdefault(found.spec[SERVICE_ACCOUNT], set()).add(kind)
    assert used.keys() == accounts
    assert all(len(kinds) == 1 for kinds in used.values()), used


def test_roles_are_namespaced_and_hold_no_wildcard_and_no_secret(scenario: list[Object]) -> None:
    assert of_kind(scenario, "ClusterRole", "ClusterRoleBinding") == []
    assert not [found for found in scenario if found["kind"] == "CustomResourceDefinition"]
    for role in of_kind(scenario, "Role"):
        for rule in role["rules"]:
            for key in ("verbs", "resources", "apiGroups"):
                assert "*" not in rule[key], name(role)
            assert not {"secrets", "pods/exec", "pods/attach"} & set(rule["resources"])


def test_a_token_is_mounted_where_a_role_is_bound_and_nowhere_else(scenario: list[Object]) -> None:
    bound = {
        subject["name"]
        for binding in of_kind(scenario, "RoleBinding")
        for subject in binding["subjects"]
    }
    for found in pods(scenario):
        mounted = found.spec["automountServiceAccountToken"]
        assert mounted is (found.spec[SERVICE_ACCOUNT] in bound), found.source
    for account in of_kind(scenario, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def _environment(found: PodSpec) -> set[str]:
    return {
        variable["name"] for container in found.containers for variable in container.get("env", [])
    }


# The classes of secrets that can change what Airflow believes.
DATABASE = re.compile(r"SQL_ALCHEMY_CONN|PGPASSWORD|PASSWORD_FILE")
CONTROL = re.compile(r"FERNET|JWT|API__SECRET_KEY")


def test_pods_of_stages_tasks_and_models_hold_no_secret_of_airflow(laptop: list[Object]) -> None:
    checked = 0
    for file, found in templates(laptop).items():
        if file in {"service.yaml", "pdb.yaml"}:
            continue
        source = pods([found])[0]
        for variable in _environment(source):
            assert not DATABASE.search(variable), f"{file}: {variable}"
            assert not CONTROL.search(variable), f"{file}: {variable}"
        secrets = {secret for secret, _ in source.secrets()}
        assert not secrets & {"slipway-airflow", "slipway-postgres", "slipway-postgres-airflow"}
        checked += 1
    assert checked == len(SECRETS)


SECRETS = {
    "data.yaml": {"slipway-object-store-project-stages"},
    "model.yaml": {"slipway-object-store-project-stages", "slipway-mlflow-stages"},
    "roll_out.yaml": {"slipway-object-store-project-stages", "slipway-mlflow-stages"},
    "smoke.yaml": {"slipway-object-store-project-stages"},
    "land.yaml": {"slipway-object-store-project-lander"},
    "task.yaml": {"slipway-object-store-airflow"},
    "deployment.yaml": {"slipway-object-store-serving"},
}


@pytest.mark.parametrize("file", SECRETS)
def test_each_template_reads_exactly_its_secrets(laptop: list[Object], file: str) -> None:
    source = pods([templates(laptop)[file]])[0]
    assert {secret for secret, _ in source.secrets()} == SECRETS[file]


PROCESSES = {
    "api-server": {"fernet-key", "jwt-secret", "api-secret-key"},
    "scheduler": {"fernet-key", "jwt-secret", "api-secret-key"},
    "dag-processor": {"fernet-key"},
    "triggerer": {"fernet-key", "api-secret-key"},
}


@pytest.mark.parametrize("process", PROCESSES)
def test_each_airflow_process_reads_the_keys_it_uses(laptop: list[Object], process: str) -> None:
    found = pod(laptop, f"Deployment/slipway-airflow-{process}")
    keys = {key for secret, key in found.secrets() if secret == "slipway-airflow"}
    assert keys == PROCESSES[process]


@pytest.mark.parametrize(
    ("events", "senders"),
    [("failure,late", {"scheduler", "triggerer"}), ("failure", {"scheduler"})],
)
def test_addresses_of_notices_are_only_where_notices_are_sent_from(
    tmp_path: Path, events: str, senders: set[str]
) -> None:
    told = {"existingSecret": "people", "events": events.split(",")}
    values = {"airflow": {"notifications": told}}
    objects = render_values(values, tmp_path)
    reading = [found for found in pods(objects) if ("people", "addresses") in found.secrets()]
    assert {found.source for found in reading} == {
        f"Deployment/slipway-airflow-{sender}" for sender in senders
    }
    for found in reading:
        (process,) = found.spec["containers"]
        env = {item["name"]: item["value"] for item in process["env"] if "NOTIF" in item["name"]}
        assert env == {
            "SLIPWAY_NOTIFICATIONS_FILE": "/opt/slipway-notifications/addresses",
            "SLIPWAY_NOTIFICATIONS_EVENTS": events,
        }
        mounts = {m["name"]: m["mountPath"] for m in process["volumeMounts"]}
        assert mounts["notifications"] == "/opt/slipway-notifications"


def test_no_pod_knows_of_notices_unless_someone_is_told(laptop: list[Object]) -> None:
    assert "NOTIFICATIONS" not in render_text()
    assert not any("notifications" in str(found.spec) for found in pods(laptop))


def test_generated_secrets_appear_nowhere_else() -> None:
    text = render_text()
    documents = text.split("\n---\n")
    secret_values = _generated()
    assert len(secret_values) >= 14
    others = "\n".join(item for item in documents if "kind: Secret" not in item)
    for value in secret_values:
        assert value not in others


def _generated() -> list[str]:
    return [
        base64.b64decode(value).decode()
        for found in of_kind(render(), "Secret")
        for key, value in found["data"].items()
        if not key.endswith(("username", "access-key"))
    ]


def test_nothing_secret_is_an_argument_or_a_setting(scenario: list[Object]) -> None:
    suspicious = re.compile(r"(?i)(password|secret|token)=|://[^/\s]*:[^/\s@]*@")
    for source in pods(scenario):
        for container in source.containers:
            for word in [*container.get("command", []), *container.get("args", [])]:
                assert not suspicious.search(word), f"{source.source}: {word}"
                assert "PASSWORD)" not in word
                assert "SECRET_KEY)" not in word
    for found in of_kind(scenario, "ConfigMap"):
        if found["metadata"]["name"].endswith("-config"):
            for key, value in found["data"].items():
                assert not suspicious.search(str(value)), f"{name(found)}: {key}"


def test_generated_secrets_are_strong_and_kept() -> None:
    objects = render()
    for found in of_kind(objects, "Secret"):
        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", name(found)
        for key, value in found["data"].items():
            if not key.endswith(("username", "access-key")):
                assert len(base64.b64decode(value)) >= 24, f"{name(found)}: {key}"
    airflow = one(objects, "Secret", "slipway-airflow")["data"]
    fernet = base64.b64decode(airflow["fernet-key"]).decode()
    assert len(base64.urlsafe_b64decode(fernet)) == 32
    assert not {"+", "/"} & set(fernet)
    assert len(base64.b64decode(airflow["jwt-secret"])) >= 64


def test_two_releases_share_no_secret() -> None:
    assert not set(_generated()) & set(_generated())


def test_secrets_that_pods_read_are_made_or_brought(scenario: list[Object]) -> None:
    made = {
        (found["metadata"]["name"], key)
        for found in of_kind(scenario, "Secret")
        for key in found["data"]
    }
    read = {item for found in pods(scenario) for item in found.secrets()}
    read = {(secret, key.replace("{project}", "flights")) for secret, key in read}
    ours = {item for item in read if item[0].startswith(("slipway-", "factory-"))}
    assert ours <= made
