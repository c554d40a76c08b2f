"""The toolchain's locks and scripts, without building anything."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from k8s.toolchain.align import APART, precedence

REPO = Path(__file__).parents[2]
TOOLCHAIN = REPO / "k8s" / "toolchain"
LOCKS = sorted(TOOLCHAIN.glob("*/go.mod"))


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=REPO,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def required(lock: Path) -> dict[str, str]:
    """Return what a go.mod requires, without reading its `replace` lines."""
    text = re.sub(r"replace (\(.*?^\)|.*$)", "", lock.read_text(), flags=re.DOTALL | re.MULTILINE)
    return dict(re.findall(r"^\s+([\w.~/-]+\.[\w.~/-]+) (v\S+)", text, flags=re.MULTILINE))


def test_locks_share_the_versions_of_what_they_share() -> None:
    found: dict[str, dict[str, list[str]]] = {}
    for lock in LOCKS:
        if lock.parent.name in APART:
            continue
        for module, version in required(lock).items():
            found.setdefault(module, {}).setdefault(version, []).append(lock.parent.name)
    apart = {module: versions for module, versions in found.items() if len(versions) > 1}
    assert len(found) > 100
    assert not apart, "run: python k8s/toolchain/align.py"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_every_locked_tool_has_a_place_in_the_cache(lock: Path, tmp_path: Path) -> None:
    done = run("k8s/toolchain/build", "--path", lock.parent.name, SLIPWAY_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"{tmp_path}/toolchain/{lock.parent.name}-[0-9a-f]{{16}}\n", done.stdout)


def test_place_in_the_cache_does_not_depend_on_where_the_checkout_is(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    (copy / "k8s").mkdir(parents=True)
    subprocess.run(["cp", "-r", "k8s/lib.sh", "k8s/toolchain", copy / "k8s"], cwd=REPO, check=True)
    here = run("k8s/toolchain/build", "--path", "kind", SLIPWAY_CACHE="/c")
    there = run(str(copy / "k8s/toolchain/build"), "--path", "kind", SLIPWAY_CACHE="/c")
    assert here.stdout == there.stdout != ""


def test_unknown_tool_is_named_and_nothing_is_built(tmp_path: Path) -> None:
    done = run("k8s/toolchain/build", "kubeclt", SLIPWAY_CACHE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no tool 'kubeclt'; there are: containerd")
    assert not list(tmp_path.iterdir())


def test_semver_order() -> None:
    mixed = ["v1.10.0", "v1.9.1", "v1.10.0-rc.1", "v0.0.0-20240102030405-aaaaaaaaaaaa"]
    assert sorted(mixed, key=precedence) == [mixed[3], mixed[1], mixed[2], mixed[0]]


def test_environment_is_for_a_shell_to_evaluate(tmp_path: Path) -> None:
    script = 'eval "$(k8s/env)" && printf "%s\\n" "$SLIPWAY_CACHE" "${PATH%%:*}"'
    done = run("bash", "-euc", script, SLIPWAY_CACHE=f"{tmp_path}/with space")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{tmp_path}/with space", f"{tmp_path}/with space/bin"]
