"""Receivers of notices on this machine: an HTTP server that is any host, and a mail server.

The HTTP receiver takes plain requests, and as a proxy also those that are meant for Slack or Teams:
it answers CONNECT itself, with a certificate of its own for whatever host was asked for. So Apprise
runs as it is, with addresses as people write them.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aiosmtpd.smtp import Envelope
    from notifications.outbox import Outbox

HOSTS = ("hooks.slack.com", "*.westeurope.logic.azure.com", "events.pagerduty.com")


@dataclass(frozen=True)
class Post:
    """One request: the host it was meant for, its path, and its JSON."""

    host: str
    path: str
    body: dict[str, Any]


@dataclass
class Receiver:
    """What was posted to it; `status` is what it answers, after `delay_s` seconds."""

    port: int
    certificate: Path
    posts: list[Post] = field(default_factory=list)
    status: int = 200
    delay_s: float = 0

    @property
    def address(self) -> str:
        """Return the Apprise address of a plain JSON webhook here."""
        return f"json://127.0.0.1:{self.port}/hook"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables with which HTTPS to any host ends here, and is believed."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.port}",
            "REQUESTS_CA_BUNDLE": str(self.certificate),
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver
    tls: ssl.SSLContext


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    meant_for = ""

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.meant_for = self.path.partition(":")[0]
        self.handle_one_request()
        self.close_connection = True
        self.connection.close()

    def do_POST(self) -> None:
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(receiver.delay_s)
        host = self.meant_for or self.headers["Host"]
        receiver.posts.append(Post(host, self.path, json.loads(body)))
        self.send_response(receiver.status)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


def start_receiver(folder: Path) -> Iterator[Receiver]:
    """Run a receiver until the caller is done with it."""
    certificate, key = make_certificate(folder)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(certificate, key)
    server.receiver = Receiver(server.server_address[1], certificate)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.receiver
    server.shutdown()
    thread.join()
    server.server_close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for all the hosts that the receiver plays, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receivers")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "receiver.crt", folder / "receiver.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@dataclass
class Mailbox:
    """A mail server that keeps what it is sent."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802
        """Keep one mail."""
        content = envelope.content
        assert isinstance(content, bytes)
        mail: Message = BytesParser(policy=default).parsebytes(content)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


def start_mailbox() -> Iterator[Mailbox]:
    """Run a mail server until the caller is done with it."""
    from aiosmtpd.controller import Controller

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mailbox = Mailbox(free.getsockname()[1])
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    yield mailbox
    controller.stop()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """An HTTP receiver."""
    yield from start_receiver(tmp_path)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server."""
    yield from start_mailbox()


@dataclass
class Told:
    """What people were told, in a process whose notices all go to one JSON webhook."""

    receiver: Receiver

    def notices(self) -> list[tuple[str, str, str]]:
        """Wait until nothing is on its way; return event, title and body of each notice."""
        outbox().settle()
        posts = [post.body for post in self.receiver.posts]
        return [(post["title"].partition(":")[0], post["title"], post["message"]) for post in posts]

    def events(self) -> list[str]:
        """Wait until nothing is on its way; return the events that were told, in order."""
        return [event for event, _, _ in self.notices()]

    def forget(self) -> None:
        """Start anew, for a test that runs a DAG many times."""
        outbox().settle()
        self.receiver.posts.clear()


def outbox() -> Outbox:
    """Return what this process tells people through."""
    from notifications.outbox import OUTBOX  # imports Airflow, whose home must be set before

    return OUTBOX


@pytest.fixture
def told(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Notifications are on, with one JSON webhook as the receiver."""
    file = tmp_path / "addresses"
    file.write_text(receiver.address)
    monkeypatch.setenv("SLIPWAY_NOTIFICATIONS_FILE", str(file))
    return Told(receiver)
