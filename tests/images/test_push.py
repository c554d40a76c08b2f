"""Images go to a company's registry, and the chart is told what they are called there.

The engine is a script of the test's own, which takes notes: a registry that refuses, or that names
no digest, can't be ordered from a real one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DIGEST = f"sha256:{'0' * 64}"
WHERE = "registry.example.com:5000/team"
ENGINE = r"""#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$1" in
version) echo 29 ;;
image) case "$*" in *RepoDigests*) echo "${*: -1:1}" | sed "s|:[^:]*$|@$DIGEST|" ;; *) echo sha256:0123456789abcdef ;; esac ;;
push) [ -z "${REFUSES-}" ] || { echo "denied: log in first"; exit 1; } ;;
esac
"""  # noqa: E501


def push(folder: Path, *arguments: str, **how: str) -> subprocess.CompletedProcess[str]:
    engine = folder / "bin" / "docker"
    engine.parent.mkdir()
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
    env = kept | how | {
        "PATH": f"{engine.parent}:{os.environ['PATH']}",
        "SLIPWAY_CACHE": str(folder / "cache"),
        "CALLS": str(folder / "calls"),
        "DIGEST": DIGEST,
    }  # fmt: skip
    env.pop("DOCKER_HOST", None)
    command = [str(ROOT / "k8s/images/push"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_values_name_what_was_pushed(tmp_path: Path) -> None:
    done = push(tmp_path, WHERE)
    assert done.returncode == 0, done.stderr
    values = yaml.safe_load(done.stdout)
    assert set(values) == {"airflow", "mlflow", "postgres", "objectStore", "serving", "stages"}
    pushed = [
        line.split()[1]
        for line in (tmp_path / "calls").read_text().splitlines()
        if line.startswith("push ")
    ]
    images = [part["image"] for part in values.values()]
    assert pushed == [f"{one['registry']}/{one['repository']}:{one['tag']}" for one in images]
    assert {one["digest"] for one in images} == {DIGEST}
    assert values["stages"]["image"]["registry"] == "registry.example.com:5000"
    assert values["stages"]["image"]["repository"] == "team/slipway/ml"


def test_registry_that_refuses_leaves_no_half_of_the_values(tmp_path: Path) -> None:
    done = push(tmp_path, WHERE, REFUSES="yes")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "denied: log in first" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("team",), ("https://registry.example.com/team",)])
def test_what_is_no_registry_is_refused_before_anything_is_built(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = push(tmp_path, *arguments)
    assert done.returncode != 0
    assert "registry.example.com" in done.stderr or "REGISTRY" in done.stderr
    assert not (tmp_path / "calls").exists()
