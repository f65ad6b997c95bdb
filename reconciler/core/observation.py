"""What a probe is asked to look at, and what it saw. Facts only: whether they are good news is decided elsewhere.

Every text that came from a peer has passed `reconciler.core.hostile.printable`: it is bounded, and holds no control or
bidirectional characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.core.model import Transport

Phase = Literal["prepare", "resolve", "connect", "handshake", "request"]
Trust = Literal["bundle", "system", "none"]

UNREACHABLE = frozenset({"HostUnknown", "ConnectionRefused", "ConnectTimeout", "HostUnreachable", "ConnectFailed"})
"""The reasons that mean: no connection came about, so nothing is known about certificates or MCP."""

UNTRIED = frozenset({"CredentialsMissing", "UrlUnusable", "ProbeFailed"})
"""The reasons that mean: the upstream was not even called, so nothing is known about it."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why something failed: a CamelCase `reason` for machines, a `message` for people, a `fix` with the next step."""

    reason: str
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """The facts of one failed attempt.

    `code` is as in `TlsObservation`: an OpenSSL verification code (`20`), an OpenSSL reason (`WRONG_VERSION_NUMBER`) or
    the name of a system error (`ECONNREFUSED`). `detail` is the library's own text, for what no rule knows. `chain` is
    the DER of what the server sent, leaf first; `bundle` the PEM text it was checked against.
    """

    host: str
    port: int
    phase: Phase
    code: str
    detail: str = ""
    seconds: float = 0.0
    chain: tuple[bytes, ...] = ()
    bundle: str = ""
    system_trust: bool = False

    @property
    def place(self) -> str:
        """Host and port, as they stand in a URL."""
        return place_of(self.host, self.port)


def place_of(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class PresentedCertificate:
    """A certificate as a server sent it. Subject and issuer in RFC 4514 form; `sha256` is the hex digest of the DER.

    `names` are the DNS names and IP addresses of subjectAltName. `self_signed`: its own key verifies its signature.
    """

    subject: str
    issuer: str
    sha256: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    self_signed: bool


@dataclass(frozen=True, slots=True)
class TlsObservation:
    """What became of the TLS handshake.

    `code` is empty when it worked, else the OpenSSL verification code (`20`), OpenSSL's reason (`WRONG_VERSION_NUMBER`)
    or the name of the system's error (`ECONNREFUSED`). `chain` is what the server sent, leaf first, also when
    verification failed. `trust` says what it took: `bundle` when the bundle alone suffices, `system` when it works only
    thanks to the system's CAs, `none` when nothing was verified.
    """

    ok: bool
    code: str = ""
    reason: str = ""
    message: str = ""
    fix: str = ""
    chain: tuple[PresentedCertificate, ...] = ()
    trust: Trust = "none"
    version: str = ""
    cipher: str = ""


@dataclass(frozen=True, slots=True)
class McpObservation:
    """What became of the MCP conversation; what was learnt before a failure is kept.

    `server` is the name and version it gives itself. `tools` are sorted. `tool_definitions` maps each tool to the
    canonical JSON of its whole definition and `tool_digests` to the hex SHA-256 of that text.
    """

    ok: bool
    reason: str = ""
    message: str = ""
    fix: str = ""
    protocol_version: str = ""
    server: str = ""
    tools: tuple[str, ...] = ()
    tool_digests: Mapping[str, str] = field(default_factory=dict)
    tool_definitions: Mapping[str, str] = field(default_factory=dict, repr=False)
    resources: int = 0
    prompts: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at one upstream, `seconds` long. `tls` is None for `http://`, `mcp` is None when TLS failed."""

    name: str
    url: str
    tls: TlsObservation | None
    mcp: McpObservation | None
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the upstream was reached, trusted where it speaks TLS, and answered MCP."""
        return (self.tls is None or self.tls.ok) and self.mcp is not None and self.mcp.ok


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """An upstream to look at, with the credentials the platform would use. The secret fields are not in its repr.

    `ca_certificate`, `client_certificate` and `client_key` are PEM text, or empty. `headers` go with every request;
    `query` is appended to the URL. `timeout_seconds` bounds the whole probe.
    """

    name: str
    url: str
    transport: Transport
    ca_certificate: str = ""
    system_trust: bool = True
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_seconds: float = 5.0
    require_tools: tuple[str, ...] = ()


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address: then a certificate has to name it as one."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
