"""An external Postgres is spoken to only when a known authority vouches for its name."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.chart.certificates import Authority
from tests.chart.rendering import SCENARIOS, Object, PodSpec, pod, pods, render

HOST = "localhost"
MOUNT = "/run/slipway/postgres-ca"
_TLS, _GSS = 80877103, 80877104
_GREETING = "you are here"


@pytest.fixture(scope="module")
def external() -> list[Object]:
    return render("--values", str(SCENARIOS[1]))


def test_every_container_that_connects_has_the_certificates(external: list[Object]) -> None:
    connecting = 0
    for found in pods(external):
        for container in found.containers:
            env = {item["name"]: item.get("value") for item in container.get("env", [])}
            mounts = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
            assert ("PGHOST" in env) == (MOUNT in mounts), f"{found.source} {container['name']}"
            if "PGHOST" in env:
                connecting += 1
                assert env["PGSSLMODE"] == "verify-full"
                assert env["PGSSLROOTCERT"] == f"{MOUNT}/ca.crt"
                assert ("postgres-ca", "ca.crt") in found.secrets()
    assert connecting == 12


def test_the_releases_own_postgres_needs_none(laptop: list[Object]) -> None:
    assert "PGSSLROOTCERT" not in str(laptop)
    assert "postgres-ca" not in str(laptop)


@contextmanager
def database(context: ssl.SSLContext) -> Iterator[int]:
    """What of Postgres comes before a login: it takes TLS, then tells every guest the same."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_greet_all, args=(listening, context), daemon=True).start()
        yield listening.getsockname()[1]
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _greet_all(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            guest, _ = listening.accept()
        except OSError:
            return
        with suppress(OSError):
            _greet(guest, context)


def _greet(guest: socket.socket, context: ssl.SSLContext) -> None:
    """Speak the protocol of PostgreSQL, version 3: chapter 54.2 of its manual."""
    with guest:
        while (asked := struct.unpack("!ii", guest.recv(8))[1]) == _GSS:
            guest.sendall(b"N")
        assert asked == _TLS, "a guest would have spoken in the clear"
        guest.sendall(b"S")
        with context.wrap_socket(guest, server_side=True) as secret:
            secret.recv(4096)
            fields = b"SFATAL\0VFATAL\0C28000\0M" + _GREETING.encode() + b"\0\0"
            secret.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            secret.recv(1)


SCRIPTS = {
    "psycopg2": "import psycopg2; psycopg2.connect('')",
    "psycopg": "import psycopg; psycopg.connect('')",
    "asyncpg": "import asyncio, asyncpg; asyncio.run(asyncpg.connect())",
}


def connect(driver: str, source: PodSpec, port: int, authority: Authority, folder: Path) -> str:
    """What a driver says, with the variables that a pod has."""
    given = {v["name"]: v["value"] for v in source.containers[0]["env"] if "value" in v}
    env = {name: value for name, value in given.items() if name.startswith("PG")}
    env |= {"PGHOST": HOST, "PGPORT": str(port), "PGUSER": "airflow", "PGPASSWORD": "secret"}
    env["PGSSLROOTCERT"] = env["PGSSLROOTCERT"].replace(MOUNT, str(authority.folder))
    assert Path(env["PGSSLROOTCERT"]) == authority.file
    done = subprocess.run(
        [sys.executable, "-c", SCRIPTS[driver]],
        env=env | {"PATH": os.environ["PATH"], "HOME": str(folder), "PGCONNECT_TIMEOUT": "10"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("driver", SCRIPTS)
def test_only_the_right_name_from_the_right_authority_is_spoken_to(
    external: list[Object], tmp_path: Path, driver: str
) -> None:
    source = pod(external, "Deployment/slipway-airflow-api-server")
    for folder in ("known", "stranger"):
        (tmp_path / folder).mkdir()
    known, stranger = Authority(tmp_path / "known"), Authority(tmp_path / "stranger")
    for context, greeted in [
        (known.context(HOST), True),
        (known.context("another.example.org"), False),
        (stranger.context(HOST), False),
    ]:
        with database(context) as port:
            said = connect(driver, source, port, known, tmp_path)
        assert (_GREETING in said) == greeted, said
