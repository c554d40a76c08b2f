"""Every scenario makes valid objects with sound names, in the same way each time."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.chart.rendering import (
    CHART,
    SCENARIOS,
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

NEWEST = "1.36"
OLDEST = "1.30"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_what_kubernetes_knows(scenario: list[Object], version: str) -> None:
    for found in [*scenario, *templates(scenario).values()]:
        validate(json.dumps(found, sort_keys=True), version)


@cache
def validate(found: str, version: str) -> None:
    """Raise unless the object is valid; most objects are the same in every scenario."""
    kubernetes_validate.validate(json.loads(found), version, strict=True)


def test_no_object_twice_and_every_one_in_the_namespace(scenario: list[Object]) -> None:
    names = [name(found) for found in scenario]
    assert len(names) == len(set(names))
    assert {found["metadata"]["namespace"] for found in scenario} == {"slipway"}


def test_names_and_labels_are_short_enough(tmp_path: Path) -> None:
    long = "a-name-much-longer-than-anybody-would-give-to-a-release-of-it"
    for found in render_values({"fullnameOverride": long[:35], "nameOverride": long}, tmp_path):
        limit = 52 if found["kind"] in {"CronJob", "StatefulSet"} else 63
        assert len(found["metadata"]["name"]) <= limit, name(found)
        for value in found["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value), value


def test_rendering_twice_differs_in_generated_secrets_alone() -> None:
    def without_secrets() -> list[Object]:
        return [found for found in render() if found["kind"] != "Secret"]

    assert without_secrets() == without_secrets()


@pytest.mark.parametrize("file", SCENARIOS[5:6], ids=["own-secrets"])
def test_with_own_secrets_rendering_is_the_same_to_the_byte(file: Path) -> None:
    assert render_text("--values", str(file)) == render_text("--values", str(file))
    assert of_kind(render("--values", str(file)), "Secret") == []


def test_no_variable_twice(scenario_pods: list[PodSpec]) -> None:
    for found in scenario_pods:
        for container in found.containers:
            names = [variable["name"] for variable in container.get("env", [])]
            assert len(names) == len(set(names)), found.source


def test_no_hook_but_the_test(scenario: list[Object]) -> None:
    hooked = [
        name(found)
        for found in scenario
        if "helm.sh/hook" in found["metadata"].get("annotations", {})
    ]
    assert [item.split("/")[0] for item in hooked] == ["Pod"]
    assert hooked[0].endswith("-test")


def test_a_jobs_name_follows_its_pod(laptop: list[Object], tmp_path: Path) -> None:
    def jobs(objects: list[Object]) -> dict[str, str]:
        found = [item["metadata"]["name"] for item in of_kind(objects, "Job")]
        return {item.rsplit("-", 1)[0]: item.rsplit("-", 1)[1] for item in found}

    before = jobs(laptop)
    newer = jobs(render_values({"airflow": {"image": {"tag": "newer"}}}, tmp_path))
    assert newer.keys() == before.keys()
    changed = {job for job, digest in newer.items() if before[job] != digest}
    assert changed == {"slipway-airflow-migration"}


@pytest.mark.parametrize(
    ("part", "job", "components"),
    [
        ("airflow", "migration", {"airflow-migration"}),
        ("airflow", "cleanup", {"airflow-cleanup"}),
        ("mlflow", "migration", {"mlflow-migration", "test"}),
        ("objectStore", "setup", {"object-store-setup"}),
    ],
)
def test_jobs_run_where_the_values_say(
    tmp_path: Path, part: str, job: str, components: set[str]
) -> None:
    where = {"nodeSelector": {"pool": "ml"}, "tolerations": [{"key": "ml", "operator": "Exists"}]}
    objects = render_values({part: {job: {"pod": where}}}, tmp_path)
    placed = {found.component for found in pods(objects) if where.items() <= found.spec.items()}
    assert placed == components


@pytest.mark.parametrize(
    ("part", "job"), [("airflow", "migration"), ("mlflow", "migration"), ("objectStore", "setup")]
)
def test_a_new_annotation_makes_a_new_job_as_one_cant_be_changed(
    laptop: list[Object], tmp_path: Path, part: str, job: str
) -> None:
    objects = render_values({part: {job: {"podAnnotations": {"team": "ml"}}}}, tmp_path)
    (new,) = {name(one) for one in of_kind(objects, "Job")} - {name(one) for one in laptop}
    assert pod(objects, new).annotations == {"team": "ml"}


def test_pods_of_the_cleanup_and_of_the_test_carry_annotations(tmp_path: Path) -> None:
    noted = {"podAnnotations": {"team": "ml"}}
    values = {"airflow": {"cleanup": noted}, "mlflow": {"migration": noted}}
    objects = render_values(values, tmp_path)
    assert pod(objects, "CronJob/slipway-airflow-cleanup").annotations == {"team": "ml"}
    test = pod(objects, "Pod/slipway-test").annotations
    assert test["team"] == "ml"
    assert test["helm.sh/hook"] == "test"


def test_the_readme_deletes_the_jobs_that_give_users_new_passwords(laptop: list[Object]) -> None:
    named = re.search(r"component in \(([a-z,-]+)\)", (CHART / "README.md").read_text())
    assert named
    jobs = of_kind(laptop, "Job")
    components = {job["metadata"]["labels"]["app.kubernetes.io/component"] for job in jobs}
    assert set(named[1].split(",")) == components


def test_pods_wait_for_the_migration_that_the_job_does(scenario: list[Object]) -> None:
    def marks(source: PodSpec) -> set[str]:
        return {
            variable["value"]
            for container in source.containers
            for variable in container.get("env", [])
            if variable["name"] == "SLIPWAY_MIGRATION"
        }

    for component in ("airflow", "mlflow"):
        jobs = [
            found
            for found in of_kind(scenario, "Job")
            if f"{component}-migration" in found["metadata"]["name"]
        ]
        done = marks(pod(scenario, name(jobs[0])))
        waiting = [
            marks(pod(scenario, name(found)))
            for found in of_kind(scenario, "Deployment")
            if f"-{component}" in found["metadata"]["name"]
        ]
        assert len(done) == 1
        assert waiting
        assert all(found == done for found in waiting)


def test_new_size_of_the_stages_pool_makes_a_new_job_and_restarts_nothing(
    laptop: list[Object], tmp_path: Path
) -> None:
    newer = render_values({"airflow": {"stageSlots": 20}}, tmp_path)
    (job,) = [name(one) for one in of_kind(newer, "Job") if "airflow-migration" in name(one)]
    assert job not in {name(one) for one in laptop}
    (container,) = pod(newer, job).spec["containers"]
    assert {"name": "SLIPWAY_STAGE_SLOTS", "value": "20"} in container["env"]
    assert of_kind(newer, "Deployment") == of_kind(laptop, "Deployment")


def test_links_lead_where_users_find_the_interfaces(tmp_path: Path) -> None:
    values = {"mlflow": {"baseUrl": "https://mlflow.example.org"}}
    config = one(render_values(values, tmp_path), "ConfigMap", "slipway-airflow-config")["data"]
    assert config["SLIPWAY_MLFLOW_UI_URL"] == "https://mlflow.example.org"


def test_services_reach_ports_that_pods_have(scenario: list[Object]) -> None:
    everything = [*scenario, *(item for item in templates(scenario).values())]
    workloads = [
        found["spec"]["template"]
        for found in everything
        if found["kind"] in {"Deployment", "StatefulSet"}
    ]
    for service in of_kind(everything, "Service"):
        selector = service["spec"]["selector"].items()
        chosen = [item for item in workloads if selector <= item["metadata"]["labels"].items()]
        assert len(chosen) == 1, name(service)
        ports = {p["name"] for c in chosen[0]["spec"]["containers"] for p in c.get("ports", [])}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_the_names_that_others_rely_on(laptop: list[Object]) -> None:
    services = {found["metadata"]["name"] for found in of_kind(laptop, "Service")}
    assert services == {"slipway-airflow", "slipway-mlflow", "slipway-minio", "slipway-postgres"}
    assert set(templates(laptop)) == {
        *("data.yaml", "model.yaml", "roll_out.yaml", "smoke.yaml", "land.yaml", "task.yaml"),
        *("deployment.yaml", "service.yaml", "pdb.yaml"),
    }
    for stage in ("data", "model", "roll_out", "smoke", "land"):
        assert templates(laptop)[f"{stage}.yaml"]["spec"]["containers"][0]["name"] == "base"


def test_the_users_projects_restart_nothing(laptop: list[Object], tmp_path: Path) -> None:
    files = {"model.py": "def model(): ...\n", "project.yaml": "name: mine\n"}
    changed = render_values({"stages": {"projects": {"mine": files}}}, tmp_path)
    projects = one(changed, "ConfigMap", "slipway-projects")
    assert projects["data"] == {f"mine.{file}": text for file, text in files.items()}
    assert one(changed, "ConfigMap", "slipway-stage-pods")["data"]["projects"] == "flights\nmine"
    kinds = ("Deployment", "StatefulSet", "CronJob")
    assert of_kind(changed, *kinds) == of_kind(laptop, *kinds)
    (setup,) = {name(job) for job in of_kind(changed, "Job")} - {name(item) for item in laptop}
    assert setup.startswith("Job/slipway-object-store-setup-")  # it makes the project's users


def test_several_replicas_have_a_disruption_budget() -> None:
    objects = render("--values", str(SCENARIOS[4]))
    budgets = {found["metadata"]["name"] for found in of_kind(objects, "PodDisruptionBudget")}
    several = {
        found["metadata"]["name"]
        for found in of_kind(objects, "Deployment")
        if found["spec"]["replicas"] > 1
    }
    assert budgets == several
    assert len(several) == 5


def test_settings_of_the_user_win(tmp_path: Path) -> None:
    objects = render_values({"airflow": {"config": {"core": {"parallelism": 3}}}}, tmp_path)
    config = one(objects, "ConfigMap", "slipway-airflow-config")["data"]
    assert config["AIRFLOW__CORE__PARALLELISM"] == "3"


def test_a_change_of_configuration_restarts_what_reads_it(
    laptop: list[Object], tmp_path: Path
) -> None:
    changed = render_values({"airflow": {"config": {"core": {"parallelism": 3}}}}, tmp_path)
    restarted = {
        found["metadata"]["name"]
        for found in of_kind(changed, "Deployment", "StatefulSet")
        if found["spec"]["template"]
        != one(laptop, found["kind"], found["metadata"]["name"])["spec"]["template"]
    }
    assert restarted == {
        f"slipway-airflow-{process}"
        for process in ("api-server", "scheduler", "dag-processor", "triggerer")
    }


def test_mlflow_answers_to_every_spelling_of_its_service(laptop: list[Object]) -> None:
    environment = pod(laptop, "Deployment/slipway-mlflow").containers[-1]["env"]
    hosts = next(v["value"] for v in environment if v["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS")
    wanted = {"localhost:*", "127.0.0.1:*", "10.*"}
    for suffix in ("", ".slipway", ".slipway.svc", ".slipway.svc.cluster.local"):
        wanted |= {f"slipway-mlflow{suffix}", f"slipway-mlflow{suffix}:5000"}
    assert wanted <= set(hosts.split(","))


def test_scenarios_are_files_of_values() -> None:
    assert len(SCENARIOS) == 9
    for number, file in enumerate(SCENARIOS, 1):
        assert file.name.startswith(f"{number:02}-")
        assert file.read_text().startswith("# "), f"{file.name} does not say what it is"
        yaml.safe_load(file.read_text())
