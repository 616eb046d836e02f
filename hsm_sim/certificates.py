"""A small private CA: one certificate for the HSM's server and one for each client role (R-4).

``ca.pem``, ``server.pem`` + ``server.key``, and for each client ``<name>.pem`` + ``<name>.key`` (0600). The CA's
own key is used once and thrown away: a new client means a new set. Who a client is, the HSM knows by the SHA-256
of its public key, never by a name in the certificate. ECDSA P-256, TLS 1.3; validity is the machine's time.
"""

import hashlib
import ipaddress
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.clock import Clock
from hsm_sim.client import Role
from hsm_sim.clients import KnownClient

CA_FILE, SERVER = "ca.pem", "server"
SERVER_NAME = "hsm.local"
VALID = timedelta(days=825)
SLACK = timedelta(hours=1)


def client_of(certificate_der: bytes) -> str:
    """SHA-256 of a certificate's public key (SubjectPublicKeyInfo), hex: a client's identity."""
    public = x509.load_der_x509_certificate(certificate_der).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def make_certificates(
    folder: Path, clock: Clock, roles: Mapping[str, Role] | None = None
) -> dict[str, KnownClient]:
    """Make the set; the clients for the HSM's policy. `roles` names the clients, one for each role if None."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    clients = roles if roles is not None else {role.lower(): role for role in Role}
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("citycard HSM CA", ca_key, None, ca_key, clock)
    _write(folder / CA_FILE, ca.public_bytes(Encoding.PEM))
    _issue(folder, SERVER, ca, ca_key, clock)
    known: dict[str, KnownClient] = {}
    for name, role in clients.items():
        made = _issue(folder, name, ca, ca_key, clock)
        known[client_of(made.public_bytes(Encoding.DER))] = KnownClient(name, role)
    return known


def _issue(
    folder: Path, name: str, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, clock: Clock
) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    made = _certificate(name, key, ca, ca_key, clock)
    _write(folder / f"{name}.pem", made.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(folder / f"{name}.key", private)
    return made


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate | None,
    ca_key: ec.EllipticCurvePrivateKey,
    clock: Clock,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if name == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - SLACK)
        .not_valid_after(clock.now() + VALID)
        .add_extension(x509.BasicConstraints(ca is None, 0 if ca is None else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(_key_usage(ca is None), critical=True)
    )
    if ca is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if name == SERVER:
        places = [x509.DNSName(SERVER_NAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(places), critical=False)
    return builder.sign(ca_key, hashes.SHA256())


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=authority, crl_sign=authority,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
