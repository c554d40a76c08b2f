"""The chart as helm renders it, and ways into the objects that come out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).parents[2]
CHART = REPO / "charts" / "slipway"
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "slipway"
# Sections of the two ConfigMaps that hold whole objects for others to create.
TEMPLATES = ("stage-pods", "serving-template")

Object = dict[str, Any]


class RefusedError(Exception):
    """Helm would not render; the text is what it printed."""


def helm() -> str:
    """The helm binary on PATH, or the one `k8s/env` puts there."""
    if found := shutil.which("helm"):
        return found
    environment = subprocess.run(
        ["bash", "-c", 'eval "$(k8s/env)" && command -v helm'],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    if environment.returncode != 0:
        raise AssertionError("helm is not on PATH: run `k8s/toolchain/build helm`")
    return environment.stdout.strip()


def render_text(
    *arguments: str, binary: str | None = None, kubeconfig: Path = Path("/dev/null")
) -> str:
    """What `helm template` prints; raises RefusedError with helm's words."""
    command = [binary or helm(), "template", "slipway", str(CHART), "--namespace", NAMESPACE]
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        raise RefusedError(done.stderr)
    return done.stdout


def render(*arguments: str) -> list[Object]:
    """The rendered objects, in helm's order."""
    return [found for found in yaml.safe_load_all(render_text(*arguments)) if found]


def render_values(values: Object, tmp_path: Path) -> list[Object]:
    """The objects for these values on top of the defaults."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    return render("--values", str(file))


def name(found: Object) -> str:
    """Kind and name, for messages."""
    return f"{found['kind']}/{found['metadata']['name']}"


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def one(objects: list[Object], kind: str, called: str) -> Object:
    """The object of that kind and name."""
    found = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == called]
    assert len(found) == 1, f"{kind}/{called}: {len(found)} of them"
    return found[0]


def templates(objects: list[Object]) -> dict[str, Object]:
    """The objects inside the ConfigMaps of stage pods and of serving, file name to object."""
    return {
        file: yaml.safe_load(text)
        for found in of_kind(objects, "ConfigMap")
        if found["metadata"]["name"].endswith(TEMPLATES)
        for file, text in found["data"].items()
        if file.endswith(".yaml")
    }


@dataclass(frozen=True)
class PodSpec:
    """A pod that the chart starts or tells others to start."""

    source: str
    labels: dict[str, str]
    annotations: dict[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """Every container, those that run first included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    def secrets(self) -> set[tuple[str, str]]:
        """Secret name and key of everything that the pod reads."""
        return set(_secrets(self.spec))


def pods(objects: list[Object]) -> list[PodSpec]:
    """Every pod, those inside templates for stages and serving included."""
    everything = [*objects, *templates(objects).values()]
    return [pod for found in everything if (pod := _pod(found)) is not None]


def pod(objects: list[Object], source: str) -> PodSpec:
    """The pod that this object makes, for example Deployment/slipway-mlflow."""
    found = [item for item in pods(objects) if item.source == source]
    assert len(found) == 1, f"{source}: {[item.source for item in pods(objects)]}"
    return found[0]


def _pod(found: Object) -> PodSpec | None:
    spec = found.get("spec", {})
    match found["kind"]:
        case "Pod":
            template = found
        case "Deployment" | "StatefulSet" | "Job":
            template = spec["template"]
        case "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
        case _:
            return None
    metadata = template["metadata"]
    return PodSpec(
        name(found), metadata["labels"], metadata.get("annotations") or {}, template["spec"]
    )


def _secrets(spec: Object) -> Iterator[tuple[str, str]]:
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    for variable in (item for container in containers for item in container.get("env", [])):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            yield reference["name"], reference["key"]
    for container in containers:
        for source in container.get("envFrom", []):
            assert "secretRef" not in source, f"{container['name']} takes a whole Secret"
    for volume in spec.get("volumes", []):
        yield from _secrets_of_volume(volume)


def _secrets_of_volume(volume: Object) -> Iterator[tuple[str, str]]:
    assert "secret" not in volume, f"{volume['name']} mounts a whole Secret"
    for source in volume.get("projected", {}).get("sources", []):
        for item in source.get("secret", {}).get("items", []):
            yield source["secret"]["name"], item["key"]
