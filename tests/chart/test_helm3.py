"""Helm 3 gives what Helm 4 gives, and refuses what Helm 4 refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, REPO, SCENARIOS, Object, RefusedError, render_text


@pytest.fixture(scope="module")
def helm3() -> str:
    """The Helm 3 that `k8s/toolchain/build` builds from its lock; no machine needs to have it."""
    build = REPO / "k8s" / "toolchain" / "build"
    subprocess.run([build, "helm3"], check=True, capture_output=True, text=True, timeout=900)
    done = subprocess.run([build, "--path", "helm3"], check=True, capture_output=True, text=True)
    return f"{done.stdout.strip()}/helm3"


def objects(text: str) -> list[Object]:
    """The objects without what is made up anew at every rendering: the generated secrets."""
    found = [entry for entry in yaml.safe_load_all(text) if entry]
    for entry in found:
        if entry["kind"] == "Secret":
            entry["data"] = sorted(entry.get("data") or {})
    return found


@pytest.mark.parametrize("values", SCENARIOS, ids=lambda file: file.stem)
def test_both_helms_render_the_same(helm3: str, values: Path) -> None:
    arguments = ["--values", str(values)]
    assert objects(render_text(*arguments, binary=helm3)) == objects(render_text(*arguments))


def test_helm3_refuses_an_unknown_value(helm3: str) -> None:
    with pytest.raises(RefusedError, match="mlfow"):
        render_text("--set", "mlfow.replicas=1", binary=helm3)


def test_helm3_finds_nothing_wrong_with_the_chart(helm3: str) -> None:
    done = subprocess.run([helm3, "lint", "--strict", CHART], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
