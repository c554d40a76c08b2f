"""The MinIO of our images, as a process, and who may tell it that a token is right."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.chart.rendering import REPO

ROOT_KEYS = {"access-key": "root", "secret-key": "a-secret-of-the-tests"}
AUDIENCE = "slipway"
_START_SECONDS = 30


def binary(tool: str) -> str:
    """What `k8s/toolchain/build` makes of a tool's lock; built here where it is not yet."""
    build = REPO / "k8s" / "toolchain" / "build"
    subprocess.run([build, tool], check=True, capture_output=True, text=True, timeout=900)
    done = subprocess.run([build, "--path", tool], check=True, capture_output=True, text=True)
    return f"{done.stdout.strip()}/{tool}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def minio(folder: Path, **environment: str) -> Iterator[str]:
    """Run MinIO with its data and its `log` in a folder; its address."""
    url = f"http://127.0.0.1:{free_port()}"
    keys = {"MINIO_ROOT_USER": ROOT_KEYS["access-key"]}
    keys |= {"MINIO_ROOT_PASSWORD": ROOT_KEYS["secret-key"], "MINIO_UPDATE": "off"}
    command = [binary("minio"), "server", str(folder / "objects"), "--address"]
    command += [url.removeprefix("http://"), "--console-address", f"127.0.0.1:{free_port()}"]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), **keys, **environment}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        _wait(f"{url}/minio/health/ready", server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"MinIO is not ready: {log.read_text()[-2000:]}")


@dataclass
class RoleService:
    """What a cloud has: it vouches for tokens of service accounts (`url`), and gives roles their
    keys (`keys_url`, only ever over TLS).

    The keys are the MinIO's for which it stands; `asked` has what it was asked for them.
    """

    url: str = ""
    keys_url: str = ""
    store_url: str = ""
    asked: list[str] = field(default_factory=list)
    _key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )

    def token(self, account: str) -> str:
        """A token of a service account, as Kubernetes projects it into a pod."""
        claims = {"iss": self.url, "sub": account, "aud": AUDIENCE, "exp": int(time.time()) + 3600}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": "one"})

    def document(self, path: str) -> dict[str, object]:
        if path.endswith("openid-configuration"):
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one"}
        return {"keys": [key | {"n": _text(numbers.n), "e": _text(numbers.e)}]}

    def keys_for(self, question: str) -> bytes:
        """Pass a question for a role's keys on to the store."""
        self.asked.append(question)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(
            self.store_url, data=question.encode(), method="POST", headers=form
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())


def _text(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@contextmanager
def role_service(keys_context: ssl.SSLContext) -> Iterator[RoleService]:
    """Run one; the store that it stands for is to be told by whoever starts that."""
    service = RoleService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(json.dumps(service.document(self.path)).encode(), "application/json")

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            said = self.rfile.read(length).decode()
            self._answer(service.keys_for(said or self.path.partition("?")[2]), "text/xml")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    plain = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    keys = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    keys.socket = keys_context.wrap_socket(keys.socket, server_side=True)
    service.url = f"http://127.0.0.1:{plain.server_address[1]}"
    service.keys_url = f"https://127.0.0.1:{keys.server_address[1]}"
    for server in (plain, keys):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        for server in (plain, keys):
            server.shutdown()
            server.server_close()
