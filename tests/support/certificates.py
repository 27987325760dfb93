"""Certificates for receivers on loopback: good ones, and each kind of bad one."""

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates, and knows a client that trusts them."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def client(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        return ssl.create_default_context(cadata=pem.decode())

    def server(self, name: str, *, ended_days_ago: int = -1) -> ssl.SSLContext:
        """Return a server's context with a certificate for the name."""
        return _server(self.folder, name, self, ended_days_ago)


def new_authority(folder: Path, *, name: str = "an authority of our own") -> Authority:
    """Return an authority that nobody knows yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(name)
    builder = _builder(subject, subject, key, ended_days_ago=-1)
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return Authority(folder, key, builder.sign(key, hashes.SHA256()))


def self_signed(folder: Path, name: str) -> ssl.SSLContext:
    """Return a server's context with a certificate that only vouches for itself."""
    return _server(folder, name, None, -1)


def _server(
    folder: Path, name: str, authority: Authority | None, ended_days_ago: int
) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject if authority else _named(name)
    builder = _builder(_named(name), issuer, key, ended_days_ago=ended_days_ago)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
    )
    signer = authority.key if authority else key
    file = folder / f"{name}.pem"
    file.write_bytes(
        builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    ended_days_ago: int,
) -> x509.CertificateBuilder:
    end = dt.datetime.now(dt.UTC) - dt.timedelta(days=ended_days_ago)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=2))
        .not_valid_after(end)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
