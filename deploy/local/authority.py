"""The certificate authority (CA) of HTTPS, and what it signs. certificates.py is for those who only use it.

The CA is made once and lies in data/tls/, so that a browser can trust it. It can sign only for this machine and for
names inside a cluster (name constraints, RFC 5280, 4.2.1.10): a stolen key cannot impersonate another site.

`python -m deploy.local.authority NAME...` makes a certificate for this machine and these names: `make deploy TLS=1`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.certificates import CA, FOLDER

# How long the CA and a certificate are valid; browsers refuse certificates that are valid for longer than 398 days.
CA_LIFETIME, LIFETIME = timedelta(days=365), timedelta(days=90)
# A CA that ends sooner is replaced.
LEAST = timedelta(days=30)
LOCALHOST = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
CONSTRAINTS = x509.NameConstraints(
    [
        x509.DNSName("localhost"),
        # The names of Services, which mean nothing outside their cluster.
        x509.DNSName("svc.cluster.local"),
        x509.IPAddress(ip_network("127.0.0.0/8")),
        x509.IPAddress(ip_network("::1/128")),
    ],
    excluded_subtrees=None,
)


def make(names: Iterable[str] = (), *, name: str = "ingress") -> None:
    """Make a certificate for this machine and these names, and its key. The CA is kept while it is valid.

    name: of the two files.
    """
    ca, now = _authority(), datetime.now(UTC)
    _make_certificate(FOLDER / name, *ca, now, now + LIFETIME, names)


def make_bad(names: Iterable[str] = ()) -> None:
    """Make an expired certificate, and one of a CA that clients do not trust, each with its key."""
    ca, now = _authority(), datetime.now(UTC)
    _make_certificate(FOLDER / "expired", *ca, now - LIFETIME, now - timedelta(days=1), names)
    _make_certificate(FOLDER / "foreign", *_make_ca(FOLDER / "foreign-ca"), now, now + LIFETIME, names)


def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    return _read_ca() or _make_ca(FOLDER / "ca")


def _read_ca() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """Return the CA that is there, None if it is missing, broken, too old or for other names."""
    try:
        certificate = x509.load_pem_x509_certificate(CA.read_bytes())
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        key = serialization.load_pem_private_key(CA.with_suffix(".key").read_bytes(), password=None)
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return None
    is_valid = certificate.not_valid_after_utc > datetime.now(UTC) + LEAST and constraints == CONSTRAINTS
    return (certificate, key) if is_valid and isinstance(key, ec.EllipticCurvePrivateKey) else None


def _make_ca(path: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key, name, now = ec.generate_private_key(ec.SECP256R1()), _name("todolist's local CA"), datetime.now(UTC)
    certificate = (
        _builder(name, name, key, now, now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(CONSTRAINTS, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(path, certificate, key)
    return certificate, key


def _make_certificate(
    path: Path,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    names: Iterable[str],
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name("todolist"), ca.subject, key, begin, end)
        .add_extension(x509.SubjectAlternativeName([*LOCALHOST, *map(x509.DNSName, names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write(path, certificate, key)


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a certificate, and its key, which only its owner may read."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file = path.with_suffix(".key")
    key_file.unlink(missing_ok=True)
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


if __name__ == "__main__":
    make(sys.argv[1:], name="cluster")
