"""An authority that vouches for servers, for a day."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Authority:
    """Signs certificates in a folder; `file` is what those who trust it are given."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def file(self) -> Path:
        """Its own certificate, in PEM."""
        file = self.folder / "ca.crt"
        if not file.exists():
            made = self._certificate(_name("authority"), self.key.public_key())
            ca = x509.BasicConstraints(ca=True, path_length=0)
            signed = made.add_extension(ca, critical=True).sign(self.key, hashes.SHA256())
            file.write_bytes(signed.public_bytes(Encoding.PEM))
        return file

    def context(self, host: str) -> ssl.SSLContext:
        """What a server needs to show that it is `host`, a name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        known: x509.GeneralName = x509.DNSName(host)
        if host[0].isdigit():
            known = x509.IPAddress(ipaddress.ip_address(host))
        made = self._certificate(_name(host), key.public_key())
        signed = made.add_extension(x509.SubjectAlternativeName([known]), critical=False).sign(
            self.key, hashes.SHA256()
        )
        file = self.folder / f"{host}.pem"
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(plain + signed.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name("authority"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
        )
