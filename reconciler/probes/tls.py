"""TLS as a gateway platform does it: contexts, and what a server presents, also when it is not trusted.

Contexts set their verification flags themselves: neither VERIFY_X509_STRICT nor VERIFY_X509_PARTIAL_CHAIN, which
`ssl.create_default_context` turns on from Python 3.13. So every Python gives the same verdict, and it is the one that a
platform on 3.12 gives.
"""

from __future__ import annotations

import ssl
import sys
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST
_ENCODING_DER = 2
_MAX_CHAIN = 20


@lru_cache(maxsize=256)
def bundle_context(bundle: str) -> ssl.SSLContext:
    """Return the context that trusts the certificates of `bundle` alone. It is shared: do not change it.

    Raises:
        ssl.SSLError: the text holds no certificate, or a broken one.
    """
    return _context(bundle)


@lru_cache(maxsize=8)
def platform_context(bundle: str) -> ssl.SSLContext:
    """Return the context that trusts the system's CAs and `bundle`, as both platforms do. It is shared.

    A set of system CAs takes 20 ms and 0.8 MB, so few are kept: most upstreams need none, or the one without a bundle.

    Raises:
        ssl.SSLError: the text holds no certificate, or a broken one.
    """
    context = _context(bundle)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def with_client_certificate(bundle: str, *, system: bool, certificate: str, key: str) -> ssl.SSLContext:
    """Return a context of its own that also presents a client certificate. It holds a private key: it is not kept.

    Raises:
        ssl.SSLError: one of the PEM texts cannot be used, or key and certificate do not belong together.
    """
    context = _context(bundle)
    if system:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    load_identity(context, certificate, key)
    return context


def load_identity(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate chain and its unencrypted key, both PEM text, into `context`.

    OpenSSL takes them from files only. They stand in a directory that nobody else can enter, and are gone on return.

    Raises:
        ssl.SSLError: they cannot be used.
    """
    with TemporaryDirectory() as directory:
        file = Path(directory, "identity.pem")
        file.touch(mode=0o600)
        file.write_text(f"{key}\n{certificate}\n", encoding="utf-8")
        # The empty password answers OpenSSL's question for an encrypted key, which would otherwise go to the terminal.
        context.load_cert_chain(file, password="")


def _context(bundle: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags = _FLAGS
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not bundle.isascii():
        raise ssl.SSLError("the CA bundle is not ASCII text")
    if bundle:
        context.load_verify_locations(cadata=bundle)
    return context


def presented_chain(connection: ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the DER of the certificates the server sent, leaf first; also after a handshake that failed to verify.

    Empty when the handshake did not come that far; twenty at the most.
    """
    if sys.version_info >= (3, 13):
        return tuple(connection.get_unverified_chain() or ())[:_MAX_CHAIN]
    # Public from 3.13 on. Python 3.11 and 3.12, which change no more, have it on the object underneath.
    underneath = getattr(connection, "_sslobj", None)
    chain = underneath.get_unverified_chain() if underneath else None
    return tuple(certificate.public_bytes(_ENCODING_DER) for certificate in (chain or ())[:_MAX_CHAIN])
