"""The server of the locally deployed model: the one that a pod would run, on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from ml.core.errors import StageError
from ml.rollout.target import Deployed, TargetError
from ml.rollout.targets.local import LocalTarget

# A busy machine needs long to import what serving imports.
_PATIENCE = 120


@contextmanager
def served(target: LocalTarget, project: str) -> Iterator[str]:
    """Serve the side that is live while the block runs; yields the server's address.

    Raises TargetError when nothing is live or its server does not start.
    """
    view = target.view(project)
    if view.live is None:
        raise TargetError(f"no version of {project} is deployed here: roll one out first")
    port = _free_port()
    environment = _environment(project, view.sides[view.live], port)
    command = [sys.executable, "-m", "ml.serving"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_ready(process, url)
            yield url
        finally:
            process.kill()


def _environment(project: str, pinned: Deployed, port: int) -> dict[str, str]:
    told = {
        "SLIPWAY_PROJECT": project,
        "SLIPWAY_MODEL_URI": pinned.model_uri or "",
        "SLIPWAY_MODEL_SHA256": pinned.sha256 or "",
        "SLIPWAY_MODEL_VERSION": pinned.version or "",
        "SLIPWAY_HOST": "127.0.0.1",
        "SLIPWAY_PORT": str(port),
    }
    return {**os.environ, **told}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_ready(process: subprocess.Popen[str], url: str) -> None:
    limit = time.monotonic() + _PATIENCE
    while not _answers(f"{url}/v2/health/ready"):
        if process.poll() is not None:
            said = process.stderr.read() if process.stderr else ""
            last = (said.strip().splitlines() or ["without a word"])[-1]
            raise StageError(f"the server ended at once: {last.removeprefix('error: ')}")
        if time.monotonic() > limit:
            raise TargetError(f"the server at {url} was not ready after {_PATIENCE} s")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
            return True
    except (urllib.error.URLError, OSError):
        return False
