"""The chain that a server presents to whoever asks: one handshake, no request, no credentials, nothing trusted.

The handshake is made as any client without a CA file makes it, with the system's CAs, and a chain that they refuse is
read all the same: so one connection tells both what the server presents and whether a CA file is needed for it. Bounded
by one deadline, by what OpenSSL takes of a chain (100 KiB), and by `MAX_CERTIFICATES`.
"""

from __future__ import annotations

import re
from contextlib import closing, suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from reconciler.core.diagnosis import diagnose
from reconciler.core.model import Transport
from reconciler.core.observation import ProbeTarget, is_address
from reconciler.core.presented import Endpoint, Fetched, read_chain
from reconciler.core.routes import STRAIGHT
from reconciler.errors import ReconcilerError
from reconciler.probes import tls
from reconciler.probes.channel import Address
from reconciler.probes.wire import Line, WireError

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

    from reconciler.core.observation import Diagnosis, FailedAttempt
    from reconciler.core.routes import Route

_AUTHORITY_END: Final = re.compile(r"[/?#]")
_PORT_ZERO: Final = re.compile(r":0+$")
_STRANGERS: Final = frozenset(" \\@/?#")

_FIXES: Final = {
    "NotTls": "Correct the port; a server that speaks no TLS presents no certificates.",
    "ConnectionRefused": "Start the server, or correct host and port.",
    "HostUnknown": "Correct the host, or the DNS this machine asks; with --connect-to IP it is not asked.",
    "HandshakeTimeout": "See whether the server is overloaded, and the port is the right one; --timeout is the limit.",
    "NoSharedCipher": "See what the server is configured to accept: TLS 1.2 or 1.3, and under which names "
    "(--server-name).",
    "NameNotServed": "Give the name under which the server is published: --server-name NAME.",
}
"""What to do in the words of a command line, where the common fix speaks of a manifest."""


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint of `HOST`, `HOST:PORT` or `https://HOST:PORT/PATH`; without a port it is 443.

    Raises:
        ValueError: this is none of them; the message says why, and does not repeat the text.
    """
    scheme, separator, rest = text.partition("://") if "://" in text else ("https", "", text)
    if scheme.lower() != "https":
        raise ValueError("only https:// servers present certificates")
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    if authority != rest and not separator:
        raise ValueError("write https:// before a path, or leave the path out")
    if authority.endswith(":"):
        raise ValueError("there is no port after the colon")
    return Endpoint(*_host_and_port(authority))


def parse_host(text: str) -> str:
    """Return a name as DNS has it, or an IP address.

    Raises:
        ValueError: it is neither.
    """
    try:
        return _host_and_port(f"[{text}]" if is_address(text) and ":" in text else f"{text}:443")[0]
    except ValueError:
        raise ValueError("write a host name or an IP address, without a port") from None


def _host_and_port(text: str) -> tuple[str, int]:
    if text.isprintable() and _STRANGERS.isdisjoint(text) and not _PORT_ZERO.search(text):
        with suppress(ValueError):
            address = Address.parse(f"https://{text}")
            return address.host, address.port
    raise ValueError("write HOST, HOST:PORT, [IPV6]:PORT or https://HOST:PORT/PATH, with a port from 1 to 65535")


def fetch(endpoint: Endpoint, timeout_seconds: float, now: datetime, route: Route = STRAIGHT) -> Fetched:
    """Return the chain that a server presents, whoever issued it; `now` is aware. `connect_to` goes before `route`.

    Raises:
        ReconcilerError: no chain was to be had; the message and the fix say why.
    """
    target = ProbeTarget(
        name=endpoint.place,
        url="",
        transport=Transport.STREAMABLE_HTTP,
        timeout_seconds=timeout_seconds,
        route=STRAIGHT if endpoint.connect_to else route,
    )
    line = Line(target, endpoint.connect_to or endpoint.host, endpoint.port)
    try:
        sent, failed = _shake_hands(line, endpoint.name)
    except WireError as error:
        sent, failed = (), error.attempt
    if failed is not None and not sent:
        raise _unreachable(failed, endpoint, now)
    return Fetched(endpoint, read_chain(endpoint.place, sent), _refusal(failed, endpoint, now))


def _shake_hands(line: Line, name: str) -> tuple[tuple[bytes, ...], FailedAttempt | None]:
    """Return what the server sent, and how the handshake failed if it did."""
    connection = _wrapped(line, name)
    start = monotonic()
    with closing(connection):
        try:
            connection.settimeout(line.deadline.remaining())
            connection.do_handshake()
        except OSError as error:
            sent = tls.presented_chain(connection)
            return sent, line.attempt("handshake", error, monotonic() - start, sent)
        return tls.presented_chain(connection), None


def _wrapped(line: Line, name: str) -> ssl.SSLSocket:
    with closing(line.connect()) as plain, line.during("handshake"):
        return tls.platform_context("").wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)


def _refusal(failed: FailedAttempt | None, endpoint: Endpoint, now: datetime) -> Diagnosis | None:
    return diagnose(replace(failed, host=endpoint.name), now) if failed else None


def _unreachable(failed: FailedAttempt, endpoint: Endpoint, now: datetime) -> ReconcilerError:
    found = diagnose(failed, now)
    own = _FIXES.get(found.reason)
    return ReconcilerError(found.message, fix=f"{own} {_reproduce(endpoint, failed)}" if own else found.fix)


def _reproduce(endpoint: Endpoint, failed: FailedAttempt) -> str:
    """Return the command that shows the same without us."""
    if failed.phase == "resolve":
        return f"To see the same: getent hosts {failed.host}"
    name = f"-servername {endpoint.sni}" if endpoint.sni else "-noservername"
    return f"To see the same: openssl s_client -connect {failed.place} {name} -showcerts </dev/null"
