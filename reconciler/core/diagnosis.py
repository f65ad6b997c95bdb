"""Why a connection or its TLS handshake failed: from the facts of one attempt to a reason, a message and the next step.

Pure. `_SIGNALS` holds what a signal on the wire alone tells; a failed verification goes to `reconciler.core.verdicts`,
where the certificates tell more than the code. Every fix ends with a command that shows the same without this tool.

Sources: RFC 8446 section 6 for the alerts; the names are those of OpenSSL's reasons and of errno.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core import verdicts
from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis, is_address, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.core.observation import FailedAttempt, Phase, Trust

_Rule = tuple[str, str, str]
"""Reason, message and fix; the two texts are templates over the facts of the attempt."""

_TRUST_NOTE: dict[Trust, str] = {"bundle": " alone", "system": "'s CAs", "none": ""}

_DOING: dict[Phase, str] = {
    "prepare": "reading the certificates",
    "resolve": "resolving the name",
    "connect": "opening the TCP connection",
    "proxy": "the way through the proxy",
    "handshake": "the TLS handshake",
    "request": "the request",
}

_NOT_TLS: _Rule = (
    "NotTls",
    "{place} does not speak TLS: its first bytes are no TLS record (plain HTTP, SSH or another protocol).",
    "If the upstream serves plain HTTP, write http:// in spec.url; otherwise correct the port.",
)
_CLIENT_CERTIFICATE: _Rule = (
    "ClientCertificateRequired",
    "{place} demands a client certificate ({code}).",
    "Set spec.tls.clientCertificate and spec.tls.clientKeyFrom to a pair that the upstream accepts.",
)
_CLIENT_REFUSED: _Rule = (
    "ClientCertificateRefused",
    "{place} refuses our client certificate ({code}).",
    "Have the upstream trust the CA that issued spec.tls.clientCertificate, or use a certificate of a CA it trusts.",
)
_NOTHING_SHARED: _Rule = (
    "NoSharedCipher",
    "{place} ended the handshake before it showed a certificate: no cipher suite, curve or signature in common.",
    "Enable TLS 1.3 at the upstream, or for TLS 1.2 an ECDHE suite with AES-GCM, and a key on P-256 or RSA-2048.",
)
_TOO_OLD: _Rule = (
    "TlsTooOld",
    "{place} offers no TLS version this side accepts ({code}); it stops at TLS 1.1 or older.",
    "Enable TLS 1.2 or 1.3 at the upstream.",
)
_CLOSED: _Rule = (
    "ConnectionClosed",
    "{place} closed the connection during {doing} after {seconds:.1f} s, without a reason.",
    "Look for a proxy, firewall or rate limit in between, and into the upstream's log at this moment.",
)
_HUNG: _Rule = (
    "HandshakeTimeout",
    "{place} accepted the connection and then said nothing: no TLS handshake within {seconds:.1f} s.",
    "See whether the upstream is overloaded or the port belongs to something else; spec.verify.timeout is the limit.",
)
_NO_ROUTE: _Rule = (
    "HostUnreachable",
    "No route to {place} ({code}).",
    "Check the network path from this machine: VPN, firewall, network policy.",
)
_NO_NAME: _Rule = (
    "HostUnknown",
    "The name {host} cannot be resolved ({code}).",
    "Correct the host in spec.url, or the DNS this machine asks.",
)
_SLOW_NAME: _Rule = (
    "HostUnknown",
    "Resolving the name {host} took longer than {seconds:.1f} s.",
    "Check the DNS servers this machine asks.",
)
_WRONG_SNI: _Rule = (
    "NameNotServed",
    "{place} serves no site of the name {host} ({code}).",
    "Use the host name under which the upstream is published.",
)

_ALERTS: dict[str, _Rule] = {
    "CERTIFICATE_REQUIRED": _CLIENT_CERTIFICATE,
    "UNKNOWN_CA": _CLIENT_REFUSED,
    "BAD_CERTIFICATE": _CLIENT_REFUSED,
    "CERTIFICATE_EXPIRED": _CLIENT_REFUSED,
    "CERTIFICATE_REVOKED": _CLIENT_REFUSED,
    "CERTIFICATE_UNKNOWN": _CLIENT_REFUSED,
    "UNSUPPORTED_CERTIFICATE": _CLIENT_REFUSED,
    "ACCESS_DENIED": _CLIENT_REFUSED,
    "HANDSHAKE_FAILURE": _NOTHING_SHARED,
    "INSUFFICIENT_SECURITY": _NOTHING_SHARED,
    "PROTOCOL_VERSION": _TOO_OLD,
    "UNRECOGNIZED_NAME": _WRONG_SNI,
    "INTERNAL_ERROR": (
        "UpstreamTlsFailed",
        "{place} ended the handshake with an error of its own ({code}).",
        "Look into the upstream's log at this moment: its key, certificate or TLS settings cannot be used.",
    ),
}
"""What the alerts of TLS mean. OpenSSL names the version in which it knows one first, and releases differ in that."""

_SIGNALS: dict[str, _Rule] = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "HTTPS_PROXY_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "UNEXPECTED_MESSAGE": _NOT_TLS,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "TLSV1_UNRECOGNIZED_NAME": _WRONG_SNI,
    "UNEXPECTED_EOF_WHILE_READING": _CLOSED,
    "ECONNRESET": _CLOSED,
    "EPIPE": _CLOSED,
    "DH_KEY_TOO_SMALL": (
        "WeakKey",
        "{place} offers Diffie-Hellman parameters that are too small ({code}).",
        "Enable ECDHE at the upstream, or parameters of 2048 bits.",
    ),
    "ECONNREFUSED": (
        "ConnectionRefused",
        "Nothing listens on {place}.",
        "Start the upstream, or correct host and port in spec.url.",
    ),
    "EMSGSIZE": (
        "AnswerTooLarge",
        "{place} sent more than a probe reads.",
        "Look at what the upstream answers there; MCP lists are far smaller.",
    ),
    "EHOSTUNREACH": _NO_ROUTE,
    "ENETUNREACH": _NO_ROUTE,
    "EAI_NONAME": _NO_NAME,
    "EAI_NODATA": _NO_NAME,
    "EAI_AGAIN": _NO_NAME,
    "EAI_FAIL": _NO_NAME,
}

_NOT_A_PROXY: _Rule = (
    "NotAProxy",
    "What answers at {proxy} is no HTTP proxy ({code}).",
    "Correct {variable}, or take {host} out of it: NO_PROXY={host}",
)

_PROXY_SIGNALS: dict[str, _Rule] = {
    "NOT_HTTP": _NOT_A_PROXY,
    "UNEXPECTED_EOF_WHILE_READING": _NOT_A_PROXY,
    "HTTP_407": (
        "ProxyWantsCredentials",
        "The proxy {proxy} wants credentials ({code}), or refuses those in {variable}.",
        "Write {variable}=http://USER:PASSWORD@{proxy}, or take {host} out of it: NO_PROXY={host}",
    ),
}
"""What a proxy says, before anything is known of the upstream."""

_PROXY_STATUS: _Rule = (
    "ProxyRefused",
    "The proxy {proxy} does not connect to {place} ({code}).",
    "Have the proxy's owner allow {place}, or take it out of {variable}: NO_PROXY={host}",
)

_UNUSABLE: _Rule = (
    "TrustUnusable",
    "OpenSSL cannot use the CA bundle or the client certificate of this gateway: {detail} ({code}).",
    "Run `reconciler validate`; the client's key must be unencrypted PEM and belong to its certificate.",
)

_PROXY_SILENT: _Rule = (
    "ProxyUnreachable",
    "The proxy {proxy} did not connect to {place} within {seconds:.1f} s.",
    "See whether the proxy is up and reaches the upstream, or take {host} out of {variable}: NO_PROXY={host}",
)

_TIMEOUTS: dict[Phase, _Rule] = {
    "prepare": _UNUSABLE,
    "resolve": _SLOW_NAME,
    "connect": (
        "ConnectTimeout",
        "No TCP connection to {place} within {seconds:.1f} s.",
        "Check the network path from this machine: a firewall that drops packets looks like this.",
    ),
    "proxy": _PROXY_SILENT,
    "handshake": _HUNG,
    "request": (
        "AnswerTimeout",
        "{place} had not finished its answer when the time of the probe was up.",
        "Look into the upstream's log; spec.verify.timeout is the limit for the whole probe.",
    ),
}

_UNKNOWN: dict[Phase, _Rule] = {
    "prepare": _UNUSABLE,
    "resolve": _NO_NAME,
    "connect": ("ConnectFailed", "The connection to {place} failed: {detail} ({code}).", "Check host and port."),
    "proxy": (
        "ProxyUnreachable",
        "The proxy {proxy} cannot be reached ({code}).",
        "Start it or correct {variable}, or take {host} out of it: NO_PROXY={host}",
    ),
    "handshake": (
        "HandshakeFailed",
        "The TLS handshake with {place} failed: {detail} ({code}).",
        "Look for that word in the documentation of the upstream's TLS library, and into its log at this moment.",
    ),
    "request": (
        "ConnectionFailed",
        "The connection to {place} broke: {detail} ({code}).",
        "Look into the upstream's log at this moment.",
    ),
}


def diagnose(attempt: FailedAttempt, now: datetime) -> Diagnosis:
    """Return what went wrong, and the one thing to do."""
    found = verdicts.explain(attempt, now) if attempt.code.isdecimal() else _signal(attempt)
    message = f"{found.message} It was called {attempt.route.shown}." if _detour(attempt) else found.message
    return Diagnosis(found.reason, message, f"{found.fix} {_reproduce(attempt)}".strip())


def trusted(place: str, trust: Trust, attempt: FailedAttempt | None, now: datetime) -> Diagnosis:
    """Return what to say of a handshake that worked; `attempt` is the one with the bundle alone, if that one failed."""
    if attempt is None:
        return Diagnosis("Trusted", f"{place} is trusted by the {trust}{_TRUST_NOTE[trust]}.")
    alone = diagnose(attempt, now)
    return Diagnosis(
        "SystemTrustOnly",
        f"{place} is trusted only thanks to the system's CAs. With the bundle alone: {alone.message}",
        f"Remove spec.tls.caCertificates if a public CA is meant to be trusted; if not: {alone.fix}",
    )


def _detour(attempt: FailedAttempt) -> bool:
    """Return whether the way that was taken may be why it failed, and has not been named."""
    return bool(attempt.route.shown) and attempt.phase not in ("prepare", "proxy")


def _signal(attempt: FailedAttempt) -> Diagnosis:
    reason, message, fix = _rule(attempt)
    proxy = attempt.route.proxy
    facts = {
        "host": attempt.host,
        "place": attempt.place,
        "code": attempt.code.replace("HTTP_", "HTTP "),
        "doing": _DOING[attempt.phase],
        "seconds": attempt.seconds,
        "detail": printable(attempt.detail),
        "proxy": proxy.place if proxy else "",
        "variable": proxy.variable if proxy else "",
    }
    return Diagnosis(reason, message.format(**facts), fix.format(**facts))


def _rule(attempt: FailedAttempt) -> _Rule:
    code, phase = attempt.code, attempt.phase
    alert = code.partition("_ALERT_")[2]
    if phase == "proxy":
        known = _PROXY_SIGNALS.get(code) or (_PROXY_STATUS if code.startswith("HTTP_") else None)
    elif alert == "HANDSHAKE_FAILURE" and attempt.chain:
        # It chose a cipher and showed its certificate, so all that TLS 1.2 leaves to dislike is what we showed it.
        known = _CLIENT_REFUSED if attempt.client_certificate else _CLIENT_CERTIFICATE
    else:
        known = _ALERTS.get(alert) or _SIGNALS.get(code)
    return known or (_TIMEOUTS if code == "ETIMEDOUT" else _UNKNOWN)[phase]


def _reproduce(attempt: FailedAttempt) -> str:
    """Return the command that shows the same without us."""
    proxy = attempt.route.proxy
    if attempt.phase == "prepare":
        return ""
    if attempt.phase == "resolve":
        return f"To see the same: getent hosts {attempt.host}"
    if not attempt.secure or (attempt.phase == "proxy" and proxy):
        return f"To see the same: curl -v {_past(attempt)}{_scheme(attempt)}://{attempt.place}/"
    return f"To see the same: openssl s_client {' '.join(_options(attempt))} </dev/null"


def _options(attempt: FailedAttempt) -> Iterator[str]:
    route, host = attempt.route, attempt.host
    yield f"-connect {place_of(route.address, attempt.port) if route.address else attempt.place}"
    if route.proxy:
        yield f"-proxy {route.proxy.place}"
    yield f"-verify_ip {host}" if is_address(host) else f"-servername {host} -verify_hostname {host}"
    if attempt.bundle:
        yield "-CAfile bundle.pem"
    if not attempt.system_trust:
        yield "-no-CApath -no-CAstore" if attempt.bundle else "-no-CAfile -no-CApath -no-CAstore"
    if attempt.client_certificate:
        yield "-cert client.crt -key client.key"
    yield "-verify_return_error -showcerts"


def _past(attempt: FailedAttempt) -> str:
    """Return the options that send curl the way that was taken."""
    route = attempt.route
    if route.proxy:
        return f"--proxy http://{route.proxy.place} "
    return f"--resolve {attempt.host}:{attempt.port}:{route.address} " if route.address else ""


def _scheme(attempt: FailedAttempt) -> str:
    return "https" if attempt.secure else "http"
