"""The nouns. Frozen, typed, and ignorant of files, wires and databases.

A *gateway* is one upstream MCP server as registered with a gateway platform: the row, not the product. Values are
canonical at birth: equal things are equal values, whatever the order they were written in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.core.problems import Location, Problem


class Transport(StrEnum):
    """How MCP travels. There is no default: a wrong guess makes ContextForge hang."""

    STREAMABLE_HTTP = "streamable-http"
    SSE = "sse"


class Visibility(StrEnum):
    """Who may see the gateway's tools, in ContextForge's terms."""

    PUBLIC = "public"
    TEAM = "team"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is found when it is needed. Never the secret.

    `env`: `name` is an environment variable. `file`: `name` is a path on the host that applies.
    `secretKeyRef`: `name` and `key` of a Kubernetes Secret.
    """

    kind: Literal["env", "file", "secretKeyRef"]
    name: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Auth:
    """How the platform authenticates to the upstream.

    `settings` are plain values (`username`, `tokenUrl`, …) and `secrets` references by purpose (`token`, `password`,
    a header's name, …), both sorted by name.
    """

    type: Literal["none", "bearer", "basic", "headers", "queryParameter", "oauth"] = "none"
    settings: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, SecretReference], ...] = ()


@dataclass(frozen=True, slots=True)
class ContextForgeOptions:
    """What only ContextForge knows: the gateway's mode, and the team it belongs to (empty: none)."""

    mode: str = "cache"
    team: str = ""


@dataclass(frozen=True, slots=True)
class KuadrantOptions:
    """What only Kuadrant knows. Empty values are left to the platform."""

    prefix: str = ""
    route: str = ""
    category: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway, complete and canonical, with references where secrets belong.

    `ca_certificate` and `client_certificate` are canonical PEM text without white space at either end, or empty.
    `tags` are sorted and unique. `passthrough_headers` keep their order.
    """

    name: str
    url: str
    transport: Transport
    description: str = ""
    enabled: bool = True
    visibility: Visibility = Visibility.PRIVATE
    tags: tuple[str, ...] = ()
    passthrough_headers: tuple[str, ...] = ()
    ca_certificate: str = ""
    system_trust: bool = True
    client_certificate: str = ""
    client_key: SecretReference | None = None
    auth: Auth = Auth()
    contextforge: ContextForgeOptions = ContextForgeOptions()
    kuadrant: KuadrantOptions = KuadrantOptions()


@dataclass(frozen=True, slots=True)
class VerifyPolicy:
    """What the manifest asks of verification.

    `required`: probe before anything is written, and hold a change that would break. `report`: probe after.
    `off`: never.
    """

    mode: Literal["required", "report", "off"] = "report"
    timeout_seconds: float = 5.0
    require_tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, with every field read once at parse time.

    `sha256` is the lower-case hex fingerprint of the DER, `pem` the re-encoded block without a final line end. `root`
    means subject equals issuer *and* its own signature verifies. `ca` is basicConstraints CA:TRUE. `file` and `line`
    say where the block begins.
    """

    subject: str
    issuer: str
    sha256: str
    not_before: datetime
    not_after: datetime
    root: bool
    ca: bool
    pem: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """Certificates in canonical order, and their one canonical text: the bytes that are signed and stored.

    `sha256` is the hex digest of the UTF-8 bytes of `pem`. Order and bytes depend only on the set of certificates.
    """

    pem: str
    sha256: str
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class DesiredGateway:
    """A gateway as git wants it, and what git says about it beyond the row itself."""

    gateway: Gateway
    location: Location
    labels: tuple[tuple[str, str], ...] = ()
    verify: VerifyPolicy = VerifyPolicy()
    protected: bool = False


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything git wants at one revision, by name.

    `complete` is false when anything in the managed tree could not be read or parsed: what is absent then proves
    nothing, and nothing may be pruned. `bundles` maps canonical text to the bundle it came from; `clients` are the
    certificates of every client certificate file. `revision` is `branch@sha1:<commit>`, or empty outside git; `dirty`
    means uncommitted changes.
    """

    gateways: Mapping[str, DesiredGateway]
    bundles: Mapping[str, TrustBundle] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    revision: str = ""
    dirty: bool = False
    clients: tuple[Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Stamp:
    """Our mark on what we wrote; it replaces a state file. `digest` is that of the gateway as written."""

    owner: str
    manifest: str
    revision: str
    digest: str
    protected: bool = False


@dataclass(frozen=True, slots=True)
class LiveGateway:
    """A gateway as the store holds it, nothing interpreted.

    `signature` is the bundle signature as found (empty: none), `record` that of the whole row. `token` is opaque: a
    write with a stale one is refused.
    """

    gateway: Gateway
    signature: str
    stamp: Stamp | None
    token: str
    record: str = ""


@dataclass(frozen=True, slots=True)
class LiveState:
    """Everything a store holds, by name."""

    gateways: Mapping[str, LiveGateway]


class Action(StrEnum):
    """What a change does to the store."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Reason(StrEnum):
    """Why a change is planned, or why nothing may be done."""

    ADDED = "added"
    MANIFEST_CHANGED = "manifest_changed"
    DRIFT = "drift"
    TAMPERING = "tampering"
    KEY_ROTATED = "key_rotated"
    ADOPTED = "adopted"
    REMOVED_FROM_GIT = "removed_from_git"
    PROTECTION_CHANGED = "protection_changed"
    RENAMED = "renamed"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Change:
    """One write: the row before and after, the signatures and stamp that go with it, and why.

    An update whose `before` has another name is a rename: the row stays, and whatever hangs on it. `fields` names the
    attributes of `Gateway` that differ. Creates have no `before`; deletes have no `after`.
    """

    action: Action
    name: str
    reason: Reason
    before: LiveGateway | None = None
    after: Gateway | None = None
    signature: str = ""
    stamp: Stamp | None = None
    fields: tuple[str, ...] = ()
    location: Location | None = None
    record: str = ""

    @property
    def held_as(self) -> str:
        """The name that the row has until then."""
        return self.before.gateway.name if self.before is not None else self.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one change. Exactly one per change, in the order of the changes."""

    name: str
    action: Action
    status: Literal["applied", "refused", "failed", "skipped"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """Who writes, with what, when: for a store's own audit columns. `at` is aware UTC."""

    actor: str
    via: str
    at: datetime


class Feature(StrEnum):
    """What a manifest may need and a store may lack; the planner compares the two before anything is written."""

    BUNDLE_SIGNATURE = "bundle signature"
    BUNDLE_ONLY_TRUST = "tls.systemTrust: false"
    CLIENT_CERTIFICATE = "tls.clientCertificate"
    PASSTHROUGH_HEADERS = "passthroughHeaders"
    SSE_TRANSPORT = "transport: sse"
    SECRET_KEY_REFERENCE = "secretKeyRef"  # noqa: S105 - the name of a manifest field
    VISIBILITY = "visibility"
    RENAME = "renaming"
    ATOMIC = "all or nothing"
