"""TLS of the purse host: mandatory outside a closed network (iso8583-host.md 2.4)."""

import ssl
from pathlib import Path

from core.errors import Unavailable


def server_context(pem: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with certificate and key of one PEM file. Raises Unavailable HOST-TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(pem)
    except (OSError, ssl.SSLError):
        raise Unavailable("HOST-TLS", "the PEM file is missing or wrong", file=pem.name) from None
    return context
