"""A serving process as a pod runs it: `python -m ml.serving` and its environment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(environment: Mapping[str, str], port: int) -> subprocess.Popen[str]:
    """Start a server with this environment and nothing else of SLIPWAY's."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SLIPWAY_")}
    settings = {"SLIPWAY_HOST": "127.0.0.1", "SLIPWAY_PORT": str(port), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "ml.serving"],
        env={**clean, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and last line of a server that is not expected to stay up."""
    process = start(environment, free_port())
    _, errors = process.communicate(timeout=180)
    return process.returncode, (errors.strip().splitlines() or [""])[-1]


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    process: subprocess.Popen[str]
    url: str

    def stop(self) -> int:
        """Ask it to end, as Kubernetes does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=180)

    def is_ready(self) -> bool:
        """Whether it wants requests."""
        try:
            return httpx.get(f"{self.url}/v2/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(environment: Mapping[str, str]) -> Iterator[Running]:
    """Run a server, wait until it is ready, and end it afterwards."""
    port = free_port()
    with start(environment, port) as process:
        running = Running(process, f"http://127.0.0.1:{port}")
        try:
            _wait_ready(running)
            yield running
        finally:
            process.kill()
            process.communicate()


def _wait_ready(running: Running) -> None:
    limit = time.monotonic() + 180  # a busy machine needs long to import scikit-learn
    while not running.is_ready():
        assert running.process.poll() is None, running.process.communicate()[1]
        assert time.monotonic() < limit, "the server did not become ready"
        time.sleep(0.05)
