"""What a probe is asked to look at, and what it saw. Facts only: whether they are good news is decided elsewhere.

Every text that came from a peer has passed `reconciler.core.hostile.printable`: it is bounded, and holds no control or
bidirectional characters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal

from reconciler.core.routes import STRAIGHT, Route

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.core.model import Transport

Phase = Literal["prepare", "resolve", "connect", "proxy", "handshake", "request"]
Trust = Literal["bundle", "system", "none"]

UNREACHABLE = frozenset(
    {"HostUnknown", "ConnectionRefused", "ConnectTimeout", "HostUnreachable", "ConnectFailed"}
    | {"ProxyUnreachable", "ProxyRefused", "ProxyWantsCredentials", "NotAProxy"}
)
"""The reasons that mean: no connection came about, so nothing is known about certificates or MCP."""

UNTRIED = frozenset(
    {"CredentialsMissing", "UrlUnusable", "ProbeFailed", "ProxyUnusable"}
    | {"TokenUrlUnusable", "TokenUnavailable", "TokenRefused"}
)
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
    the DER of what the server sent, leaf first; `bundle` the PEM text it was checked against. `secure`: TLS was spoken,
    or meant to be; `client_certificate`: one was presented, if asked for.
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
    secure: bool = True
    client_certificate: bool = False
    route: Route = STRAIGHT

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
class Tool:
    """A tool as its server defines it. `name` is fit to be shown; `digest` is the hex SHA-256 of the definition.

    `definition` is the canonical JSON (RFC 8785) of the whole object that `tools/list` gave: `name`, `title`,
    `description`, `inputSchema`, `outputSchema`, `annotations` and whatever else it holds, as the server spells it. It
    is kept only for who asks (`ProbeTarget.keep_definitions`), and empty otherwise: a fleet has many.
    """

    name: str
    digest: str
    definition: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool to call once it is known, with `arguments` as a JSON object.

    `reviewed` is the digest that its definition must have; None where no tools were reviewed, and empty for a tool that
    is not among the reviewed ones.
    """

    tool: str
    arguments: str = field(default="{}", repr=False)
    reviewed: str | None = None


@dataclass(frozen=True, slots=True)
class McpObservation:
    """What became of the MCP conversation; what was learnt before a failure is kept.

    `server` is the name and version it gives itself. `tools` are sorted by name, and no name is there twice. `answer`
    is the canonical JSON of what a tool that was to be called gave back, as it came: nothing in it is fit to be shown.
    """

    ok: bool
    reason: str = ""
    message: str = ""
    fix: str = ""
    protocol_version: str = ""
    server: str = ""
    tools: tuple[Tool, ...] = ()
    resources: int = 0
    prompts: int = 0
    answer: str = field(default="", repr=False)

    @property
    def tools_known(self) -> bool:
        """Whether `tools` are all the tools that the server has, so that what is not there is not offered."""
        return self.ok or self.reason == "ToolsMissing"

    @property
    def tool_names(self) -> tuple[str, ...]:
        """The names of the tools, sorted."""
        return tuple(tool.name for tool in self.tools)


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at one upstream, `seconds` long. `tls` is None for `http://`, `mcp` is None when TLS failed.

    `route` is the way that was taken, so that everybody can see from where an upstream was looked at.
    """

    name: str
    url: str
    tls: TlsObservation | None
    mcp: McpObservation | None
    seconds: float
    route: Route = STRAIGHT

    @property
    def ok(self) -> bool:
        """Whether the upstream was reached, trusted where it speaks TLS, and answered MCP."""
        return (self.tls is None or self.tls.ok) and self.mcp is not None and self.mcp.ok

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools that were seen, sorted by name."""
        return self.mcp.tools if self.mcp else ()


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """An upstream to look at, with the credentials the platform would use. The secret fields are not in its repr.

    `ca_certificate`, `client_certificate` and `client_key` are PEM text, or empty. `headers` go with every request;
    `query` is appended to the URL. `timeout_seconds` bounds the whole probe. `revision` is the MCP revision that is
    offered first. `keep_definitions` asks for the tools' whole definitions, beside their digests, and `call` for a tool
    to be called.
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
    route: Route = STRAIGHT
    revision: str = "2025-11-25"
    keep_definitions: bool = False
    call: ToolRequest | None = None


def is_address(host: str) -> bool:
    """Return whether `host` is an IP address: then a certificate has to name it as one."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
