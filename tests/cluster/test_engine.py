"""What our engine leaves behind: images that seldom change, and only when it ends in order.

The engine is a process that does nothing, and its client a script that takes notes: one that does
not answer any more can't be ordered from a real one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="ending an engine needs root")

ROOT = Path(__file__).resolve().parents[2]
IMAGES = """
slipway/ml 0123
slipway/node v2
slipway/node v1
slipway/python-builder 0123
<none> <none>
debian bookworm-slim
"""
CLIENT = r"""#!/usr/bin/env bash
echo "$*" >>"$STATE/calls"
case "$1" in
version) [ -z "${SILENT-}" ] && echo 29 ;;
ps) echo 0123abcd ;;
images) echo "$IMAGES" | grep . ;;
rmi) [ -z "${REFUSES-}" ] ;;
esac
"""
# The daemon is nobody's child, or it would stay as a zombie of the one that waits for this script.
SCRIPT = """
(dockerd 100 & echo $! >"$SLIPWAY_ENGINE_DIR/dockerd.pid")
"$ROOT/k8s/engine/stop"
"""


def stop(folder: Path, **how: str) -> None:
    """End an engine in a network of its own."""
    client, daemon = folder / "bin/docker", folder / "bin/dockerd"
    client.parent.mkdir()
    client.write_text(CLIENT)
    client.chmod(0o755)
    shutil.copy(shutil.which("sleep") or "sleep", daemon)
    (folder / "engine/data/overlay2").mkdir(parents=True)
    env = os.environ | {
        "PATH": f"{client.parent}:{os.environ['PATH']}",
        "ROOT": str(ROOT),
        "STATE": str(folder),
        "IMAGES": IMAGES,
        "SLIPWAY_CACHE": str(folder / "cache"),
        "SLIPWAY_ENGINE_DIR": str(folder / "engine"),
    }
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "engine/docker.sock"))
        command = ["unshare", "--net", "bash", "-euc", SCRIPT]
        done = subprocess.run(command, env=env | how, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (folder / "engine").exists()


def kept(folder: Path) -> bool:
    return (folder / "engine-data/overlay2").exists()


def test_latest_images_that_seldom_change_are_kept(tmp_path: Path) -> None:
    stop(tmp_path)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert kept(tmp_path)
    assert "rm --force --volumes 0123abcd" in calls
    assert "rmi --force slipway/ml:0123 slipway/node:v1" in calls


@pytest.mark.parametrize("how", [{"SILENT": "1"}, {"REFUSES": "1"}], ids=["silent", "refuses"])
def test_engine_that_is_not_in_order_leaves_nothing(tmp_path: Path, how: dict[str, str]) -> None:
    (tmp_path / "engine-data/overlay2").mkdir(parents=True)
    stop(tmp_path, **how)
    assert not kept(tmp_path)
