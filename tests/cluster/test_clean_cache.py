"""`make clean-cache` leaves nothing of ours behind, in the machine's own engine neither."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = r"""#!/usr/bin/env bash
case "$1" in
version) echo 29 ;;
images) [[ "$*" == *"reference=slipway/*"* ]] && printf '%s' "$IMAGES" ;;
rmi) echo "$*" >>"$CALLS"; [ -z "${IN_USE-}" ] ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with a cache and few programs, an engine not among them."""
    (tmp_path / "cache/toolchain").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "calls").touch()
    needed = ("bash", "env", "dirname", "du", "cut", "chmod", "rm", "timeout", "wc", "xargs")
    for name in needed:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    return tmp_path


def add_engine(machine: Path) -> None:
    (machine / "bin/docker").write_text(DOCKER)
    (machine / "bin/docker").chmod(0o755)


def clean(machine: Path, *images: str, **how: str) -> subprocess.CompletedProcess[str]:
    env = how | {
        "PATH": str(machine / "bin"),
        "SLIPWAY_CACHE": str(machine / "cache"),
        "CALLS": str(machine / "calls"),
        "IMAGES": "".join(f"{image}\n" for image in images),
    }
    command = [str(ROOT / "k8s/clean-cache")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_images_in_the_machine_s_own_engine_go_too(machine: Path) -> None:
    add_engine(machine)
    done = clean(machine, "slipway/ml:0123", "slipway/node:v1")
    assert done.returncode == 0, done.stderr
    assert (machine / "calls").read_text().split() == [
        "rmi",
        "-f",
        "slipway/ml:0123",
        "slipway/node:v1",
    ]
    assert not (machine / "cache").exists()


def test_images_go_when_the_cache_went_before(machine: Path) -> None:
    add_engine(machine)
    shutil.rmtree(machine / "cache")
    assert clean(machine, "slipway/ml:0123").returncode == 0
    assert "slipway/ml:0123" in (machine / "calls").read_text()


def test_engine_without_our_images_is_left_alone(machine: Path) -> None:
    add_engine(machine)
    assert clean(machine).returncode == 0
    assert (machine / "calls").read_text() == ""


def test_image_in_use_is_said_and_the_cache_still_goes(machine: Path) -> None:
    add_engine(machine)
    done = clean(machine, "slipway/ml:0123", IN_USE="1")
    assert done.returncode == 0
    assert "not all of them" in done.stderr
    assert not (machine / "cache").exists()


def test_no_engine_is_no_failure(machine: Path) -> None:
    done = clean(machine)
    assert done.returncode == 0, done.stderr
    assert not (machine / "cache").exists()


def test_nothing_goes_while_our_own_engine_uses_the_cache(machine: Path) -> None:
    add_engine(machine)
    (machine / "cache/engine").mkdir()
    done = clean(machine, "slipway/ml:0123")
    assert done.returncode != 0
    assert "make down" in done.stderr
    assert (machine / "calls").read_text() == ""
