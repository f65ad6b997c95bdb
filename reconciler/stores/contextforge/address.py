"""Where a platform is and how we are let in: its URL, our token, and its own private CA.

The token and the CA come from the environment that the composition root hands over, never from the URL.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.core.model import SecretReference
from reconciler.errors import InputError

if TYPE_CHECKING:
    from reconciler.stores.access import Access

TOKEN: Final = "RECONCILER_CONTEXTFORGE_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_FILE: Final = "RECONCILER_CONTEXTFORGE_TOKEN_FILE"  # noqa: S105 - as above
CA_FILE: Final = "RECONCILER_CONTEXTFORGE_CA_FILE"

_SCHEME: Final = "contextforge+"
_SENDABLE: Final = re.compile(r"[\x21-\x7e]+")
LOGIN: Final = (
    f"set {TOKEN_FILE} (or {TOKEN}) to a token that may gateways.read, and to apply also gateways.create,"
    " gateways.update and gateways.delete; whoever has logged in there makes one with POST /v1/tokens"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A platform. `base` is its URL without a final slash, `context` is None over plain HTTP."""

    base: str
    token: str = field(repr=False)
    context: ssl.SSLContext | None = field(default=None, repr=False)


def address_of(url: str, access: Access) -> Address:
    """Return where the platform of a store URL is.

    Raises:
        InputError: the URL is none, there is no token, or the CA file cannot be used. The URL is not repeated.
    """
    base = _base(url.removeprefix(_SCHEME))
    ca_file = access.environ.get(CA_FILE, "")
    return Address(base, _token(access), _context(ca_file) if base.startswith("https:") else None)


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise _bad_url("has no host, or no such port")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("has a user name or password", fix=LOGIN)
    if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise _bad_url("has more than a host, a port and a path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise _bad_url(
            "would send the token unencrypted", fix="write contextforge+https://; http is for loopback alone"
        )
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _token(access: Access) -> str:
    given, file = access.environ.get(TOKEN, "").strip(), access.environ.get(TOKEN_FILE, "")
    token = given or (access.secret(SecretReference("file", file)) if file else "")
    if not token:
        raise InputError("there is no token for the ContextForge platform", fix=LOGIN)
    if not _SENDABLE.fullmatch(token):
        raise InputError("the token for the ContextForge platform has characters that no token has", fix=LOGIN)
    return token


def _context(ca_file: str) -> ssl.SSLContext:
    """Return a context that verifies the platform: by this file alone, if there is one, else by the system's CAs."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the file of {CA_FILE} cannot be used: {getattr(error, 'strerror', None) or 'not a PEM file'}",
            fix="give the PEM file of the CA that issued the platform's own certificate",
        ) from None


def _bad_url(what: str, *, fix: str = "") -> InputError:
    return InputError(
        f"the store's URL begins with `{_SCHEME}` and {what}",
        fix=fix or "write contextforge+https://gateway.example, with a port or a path if it has one",
    )
