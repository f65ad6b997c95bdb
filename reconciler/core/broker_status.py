"""What a Kuadrant broker tells at `/status`, read as hostile JSON, and its messages in words that say what to do.

Times of the broker are never compared with ours: what counts is how long before its own answer it looked at a server.
Source: `ServerValidationStatus` and the messages of `MCPManager.manage` in the MCP Gateway 0.9; those of Go's net/http
and crypto/tls that they wrap.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.core.hostile import printable
from reconciler.core.model import Served

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BYTES: Final = 8 * 1024 * 1024

_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_NEVER: Final = 1970
_SHOWN: Final = 300

_NOT_LOOKED: Final = (
    "check that the broker's --mcp-gateway-config is this very file, and its log for why it would not load it; if the"
    " file was ever deleted or is mounted by itself, restart the broker: it has stopped looking"
)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What the broker says of one server. `looked_at` is by our clock, None when it never did."""

    name: str
    ready: bool
    looked_at: datetime | None
    message: str
    tools: int
    invalid_tools: int


class _Meaning(NamedTuple):
    """What a message of the broker says, where it is recognised by a pattern."""

    pattern: str
    what: str
    fix: str


_VERIFY: Final = "`reconciler verify NAME` says what it presents and which certificate is missing"
_MEANINGS: Final = (
    _Meaning(
        r"failed to parse CA certificate PEM",
        "its CA bundle holds nothing that the broker can read",
        "`reconciler apply` writes the reviewed bundle back",
    ),
    _Meaning(
        r"signed by unknown authority",
        "the upstream's certificate is not issued by a CA of its bundle, nor of the gateway's or the system's",
        f"name the CA under `tls.caCertificates`; {_VERIFY}",
    ),
    _Meaning(
        r"is valid for .{1,200}, not |doesn't contain any IP SANs|not valid for any names|legacy Common Name",
        "the upstream's certificate is for another name than the URL has",
        "use a name of the certificate in `spec.url`, or have it issued for this one: the broker takes no other",
    ),
    _Meaning(
        r"has expired or is not yet valid",
        "a certificate of the upstream's chain has expired, or is not valid yet",
        f"renew it, or correct the broker's clock; {_VERIFY}",
    ),
    _Meaning(
        r"certificate required|remote error: tls: bad certificate",
        "the upstream asks for a client certificate",
        "the broker has none to present: use a credential instead, or another platform",
    ),
    _Meaning(
        r"does not look like a TLS handshake|HTTP response to HTTPS client",
        "the upstream speaks plain HTTP at that port",
        "write the port that speaks TLS in `spec.url`, or http:// if it is meant to be plain",
    ),
    _Meaning(
        r"failed to verify certificate|x509:",
        "the upstream's certificate was refused",
        _VERIFY,
    ),
    _Meaning(r"no such host", "the broker cannot resolve the upstream's host name", "check `spec.url` and its DNS"),
    _Meaning(
        r"connection refused|no route to host|network is unreachable",
        "nothing answers at the upstream's address, seen from the broker",
        "start the upstream, or correct host and port in `spec.url`",
    ),
    _Meaning(
        r"deadline exceeded|i/o timeout|handshake timeout|Client\.Timeout|timeout awaiting",
        "the upstream does not answer in time",
        "check that it is up, and that no firewall is between it and the broker",
    ),
    _Meaning(
        r"\b401\b|[Uu]nauthorized|\b403\b|[Ff]orbidden",
        "the upstream refuses the credential",
        "correct the secret that `spec.auth` refers to, and apply again",
    ),
    _Meaning(r"\b404\b|[Nn]ot [Ff]ound", "there is nothing at the path of the URL", "correct the path in `spec.url`"),
    _Meaning(
        r"invalid tools found",
        "the broker rejects the whole server for tools with invalid schemas",
        "correct the tools' inputSchema, or start the broker with --invalid-tool-policy FilterOut",
    ),
    _Meaning(
        r"failed to add (tools|prompts|resources) to gateway|conflict",
        "another server has tools of the same names",
        "give one of the two another `kuadrant.prefix`",
    ),
    _Meaning(
        r"protocol version",
        "the upstream and the broker know no common version of MCP",
        "update the older one of the two",
    ),
    _Meaning(r"connection reset|\bEOF\b", "the upstream breaks the connection off", "see the upstream's log"),
)


def read_status(body: bytes, heard_at: datetime) -> tuple[ServerStatus, ...]:
    """Return what the broker says of its servers; `heard_at`, aware, is when its answer was there.

    Raises:
        ValueError: this is not what a broker says.
    """
    try:
        document = json.loads(body)
        answered_at = _moment(document.get("timestamp"))
        return tuple(_server(each, heard_at, answered_at) for each in document["servers"])
    except _UNREADABLE:
        raise ValueError("not the status of a broker") from None


def judged(name: str, statuses: Iterable[ServerStatus], written_at: datetime | None) -> Served:
    """Return what the broker says of a server since `written_at`, or at all where it was not written anew."""
    said = [status for status in statuses if status.name == name and status.looked_at is not None]
    current = [each for each in said if written_at is None or (each.looked_at and each.looked_at > written_at)]
    if not current:
        why = "the broker has not looked at it since it was written" if said else "the broker does not know it yet"
        return Served(name, "unknown", reason=why, fix=_NOT_LOOKED)
    status = max(current, key=lambda each: str(each.looked_at))
    if not status.ready:
        what, fix = meaning(status.message)
        return Served(name, "failed", status.tools, what, fix)
    left_out = status.invalid_tools
    why = f"{left_out} of its tools are left out, for their schemas are invalid" if left_out else ""
    return Served(name, "ready", status.tools, why, "correct their inputSchema at the upstream" if why else "")


def meaning(message: str) -> tuple[str, str]:
    """Return what a message of the broker means, with its own words, and what to do about it."""
    said = f"the broker says: {printable(message, _SHOWN)}" if message else "the broker does not say why"
    for each in _MEANINGS:
        if re.search(each.pattern, message[:4096]):
            return f"{each.what} ({said})", each.fix
    return said, "see the broker's log"


def _server(found: Any, heard_at: datetime, answered_at: datetime | None) -> ServerStatus:  # noqa: ANN401 - as found
    looked_at = _moment(found.get("lastValidated"))
    if looked_at is not None and answered_at is not None:
        looked_at = heard_at - (answered_at - looked_at)
    return ServerStatus(
        name=_typed(found.get("name", ""), str),
        ready=found.get("ready") is True,
        looked_at=looked_at,
        message=_typed(found.get("message", ""), str),
        tools=_typed(found.get("totalTools", 0), int),
        invalid_tools=_typed(found.get("invalidTools", 0), int),
    )


def _typed(value: Any, kind: type) -> Any:  # noqa: ANN401 - as above
    if not isinstance(value, kind):
        raise TypeError(kind.__name__)
    return value


def _moment(text: str | None) -> datetime | None:
    """Return a time as Go writes it (RFC 3339 with up to nine digits of a second), None for its zero value."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment if moment.year >= _NEVER else None
