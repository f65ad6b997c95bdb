"""Why a connection or its TLS handshake failed: from the facts of one attempt to a reason, a message and the next step.

Pure. `_SIGNALS` holds what a signal on the wire alone tells; a failed verification goes to `reconciler.core.verdicts`,
where the certificates tell more than the code. Every fix ends with a command that shows the same without this tool.

Sources: RFC 8446 section 6 for the alerts; the names are those of OpenSSL's reasons and of errno.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core import verdicts
from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis, is_address

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.core.observation import FailedAttempt, Phase, Trust

_Rule = tuple[str, str, str]
"""Reason, message and fix; the two texts are templates over the facts of the attempt."""

_TRUST_NOTE: dict[Trust, str] = {"bundle": " alone", "system": "'s CAs", "none": ""}

_DOING: dict[Phase, str] = {
    "prepare": "reading the certificates",
    "resolve": "resolving the name",
    "connect": "opening the TCP connection",
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
    "{place} demands a client certificate, and the one it got, if any, is not enough.",
    "Set spec.tls.clientCertificate and spec.tls.clientKeyFrom to a pair that the upstream accepts.",
)
_CLIENT_REFUSED: _Rule = (
    "ClientCertificateRefused",
    "{place} refuses our client certificate ({code}).",
    "Have the upstream trust the CA that issued spec.tls.clientCertificate, or use a certificate of a CA it trusts.",
)
_NOTHING_SHARED: _Rule = (
    "HandshakeRefused",
    "{place} ended the handshake: no cipher, curve or version in common, or it demands a client certificate.",
    "See what the upstream is configured to accept: TLS 1.2 or 1.3, and whether it wants spec.tls.clientCertificate.",
)
_TOO_OLD: _Rule = (
    "TlsTooOld",
    "{place} offers no TLS version this side accepts; it stops at TLS 1.1 or older.",
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

_SIGNALS: dict[str, _Rule] = {
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "HTTP_REQUEST": _NOT_TLS,
    "HTTPS_PROXY_REQUEST": _NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "UNEXPECTED_MESSAGE": _NOT_TLS,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CLIENT_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _CLIENT_REFUSED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _CLIENT_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _CLIENT_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": _CLIENT_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _CLIENT_REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _CLIENT_REFUSED,
    "TLSV1_ALERT_ACCESS_DENIED": _CLIENT_REFUSED,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": _NOTHING_SHARED,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": _NOTHING_SHARED,
    "TLSV1_ALERT_PROTOCOL_VERSION": _TOO_OLD,
    "UNSUPPORTED_PROTOCOL": _TOO_OLD,
    "TLSV1_UNRECOGNIZED_NAME": _WRONG_SNI,
    "UNEXPECTED_EOF_WHILE_READING": _CLOSED,
    "ECONNRESET": _CLOSED,
    "EPIPE": _CLOSED,
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

_UNUSABLE: _Rule = (
    "TrustUnusable",
    "OpenSSL cannot use the CA bundle or the client certificate of this gateway: {detail} ({code}).",
    "Run `reconciler validate`; the client's key must be unencrypted PEM and belong to its certificate.",
)

_TIMEOUTS: dict[Phase, _Rule] = {
    "prepare": _UNUSABLE,
    "resolve": _SLOW_NAME,
    "connect": (
        "ConnectTimeout",
        "No TCP connection to {place} within {seconds:.1f} s.",
        "Check the network path from this machine: a firewall that drops packets looks like this.",
    ),
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
    "handshake": ("HandshakeFailed", "The TLS handshake with {place} failed: {detail} ({code}).", ""),
    "request": ("ConnectionFailed", "The connection to {place} broke: {detail} ({code}).", ""),
}


def diagnose(attempt: FailedAttempt, now: datetime) -> Diagnosis:
    """Return what went wrong, and the one thing to do."""
    found = verdicts.explain(attempt, now) if attempt.code.isdecimal() else _signal(attempt)
    return Diagnosis(found.reason, found.message, f"{found.fix} {_reproduce(attempt)}".strip())


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


def _signal(attempt: FailedAttempt) -> Diagnosis:
    rules = _TIMEOUTS if attempt.code == "ETIMEDOUT" else _UNKNOWN
    reason, message, fix = _SIGNALS.get(attempt.code) or rules[attempt.phase]
    facts = {
        "host": attempt.host,
        "place": attempt.place,
        "code": attempt.code,
        "doing": _DOING[attempt.phase],
        "seconds": attempt.seconds,
        "detail": printable(attempt.detail),
    }
    return Diagnosis(reason, message.format(**facts), fix.format(**facts))


def _reproduce(attempt: FailedAttempt) -> str:
    """Return the command that shows the same without us."""
    if attempt.phase == "prepare":
        return ""
    if attempt.phase == "resolve":
        return f"To see the same: getent hosts {attempt.host}"
    name = f"-verify_ip {attempt.host}" if is_address(attempt.host) else _by_name(attempt.host)
    trust = " -CAfile bundle.pem" if attempt.bundle else ""
    return f"To see the same: openssl s_client -connect {attempt.place} {name}{trust} -showcerts </dev/null"


def _by_name(host: str) -> str:
    return f"-servername {host} -verify_hostname {host}"
