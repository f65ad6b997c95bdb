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

    from reconciler.core.lease import Fence
    from reconciler.core.observation import Tool
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
class CaReference:
    """A key of a Kubernetes object that holds CA certificates, in the namespace of the store."""

    kind: Literal["configMapKeyRef", "secretKeyRef"]
    name: str
    key: str


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
    """What only Kuadrant knows. Empty values are left to the platform.

    `route` is an HTTPRoute that is there already. With a `hostname` there is none yet: it is made for that name, below
    the Gateway `parent` of `parent_namespace` (empty: the store's own) and its `listener` (empty: any that fits).
    """

    prefix: str = ""
    route: str = ""
    category: tuple[str, ...] = ()
    hint: str = ""
    hostname: str = ""
    parent: str = ""
    parent_namespace: str = ""
    listener: str = ""
    user_specific_list: bool = False


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
class ToolsLock:
    """The reviewed tools of an upstream, sorted by name, and the root-relative path of the file that holds them.

    Where the file cannot be used, `tools` is None: then nothing is known, which is not the same as no tools.
    """

    file: str
    tools: tuple[Tool, ...] | None


@dataclass(frozen=True, slots=True)
class VerifyPolicy:
    """What the manifest asks of verification.

    `required`: probe before anything is written, and hold a change that would break. `report`: probe after.
    `off`: never. Without a `tools_lock` nobody has reviewed the tools, and none of them is a surprise.
    """

    mode: Literal["required", "report", "off"] = "report"
    timeout_seconds: float = 5.0
    require_tools: tuple[str, ...] = ()
    tools_lock: ToolsLock | None = None
    on_tools_change: Literal["report", "disable"] = "report"


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
class Suspension:
    """Until when, aware, a gateway is left alone, and why. It ends by itself."""

    until: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DesiredGateway:
    """A gateway as git wants it, and what git says about it beyond the row itself.

    Where `ca_from` is set, the row's bundle is not complete before what it refers to has been read.
    """

    gateway: Gateway
    location: Location
    labels: tuple[tuple[str, str], ...] = ()
    verify: VerifyPolicy = VerifyPolicy()
    protected: bool = False
    suspension: Suspension | None = None
    ca_from: CaReference | None = None

    def suspended(self, now: datetime) -> Suspension | None:
        """Return the suspension that is in force, if one is."""
        return self.suspension if self.suspension is not None and self.suspension.until > now else None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """Everything git wants at one revision, by name.

    `complete` is false when anything in the managed tree could not be read or parsed: what is absent then proves
    nothing, and nothing may be pruned. `bundles` maps canonical text to the bundle it came from; `clients` are the
    certificates of every client certificate file. `elsewhere` names what other targets of the same store want, some of
    which may be wanted here too. `revision` is `branch@sha1:<commit>`, or empty outside git; `dirty`
    means uncommitted changes.
    """

    gateways: Mapping[str, DesiredGateway]
    bundles: Mapping[str, TrustBundle] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    complete: bool = True
    revision: str = ""
    dirty: bool = False
    clients: tuple[Certificate, ...] = ()
    elsewhere: frozenset[str] = frozenset()


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
    write with a stale one is refused. `outdated` names the attributes whose secrets have other values here by now.
    """

    gateway: Gateway
    signature: str
    stamp: Stamp | None
    token: str
    record: str = ""
    outdated: tuple[str, ...] = ()


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
    UNSIGNED = "unsigned"
    ADOPTED = "adopted"
    REMOVED_FROM_GIT = "removed_from_git"
    PROTECTION_CHANGED = "protection_changed"
    RENAMED = "renamed"
    ROLLED_BACK = "rolled_back"
    SECRET_CHANGED = "secret_changed"  # noqa: S105 - a reason


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
class ToolCall:
    """What came of calling a tool of a gateway through its platform; "absent": the gateway has no such tool there."""

    gateway: str
    tool: str
    status: Literal["answered", "failed", "absent"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """What a running platform says of a gateway since it was written; "unknown": it had not looked at it in time.

    `tools` is how many it offers. A ready one may have a `reason` too: something it would not take.
    """

    gateway: str
    status: Literal["ready", "failed", "unknown"]
    tools: int = 0
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Waited:
    """What the other side of a store's wire took: calls, the seconds that they lasted, and the pauses it asked for."""

    calls: int = 0
    seconds: float = 0.0
    paused: float = 0.0

    def since(self, earlier: Waited) -> Waited:
        """Return what came after `earlier`."""
        return Waited(self.calls - earlier.calls, self.seconds - earlier.seconds, self.paused - earlier.paused)


@dataclass(frozen=True, slots=True)
class Audit:
    """Who writes, with what, when: for a store's own audit columns. `at` is aware UTC.

    With a `fence`, nothing is written once the lease that it comes from is another's.
    """

    actor: str
    via: str
    at: datetime
    fence: Fence | None = None


class Feature(StrEnum):
    """What a manifest may need and a store may lack; the planner compares the two before anything is written."""

    BUNDLE_SIGNATURE = "bundle signature"
    RECORD_SIGNATURE = "record signature"
    BUNDLE_ONLY_TRUST = "tls.systemTrust: false"
    CLIENT_CERTIFICATE = "tls.clientCertificate"
    PASSTHROUGH_HEADERS = "passthroughHeaders"
    SSE_TRANSPORT = "transport: sse"
    SECRET_KEY_REFERENCE = "secretKeyRef"  # noqa: S105 - the name of a manifest field
    VISIBILITY = "visibility"
    OTHER_AUTH = "auth beyond the header Authorization"
    CA_REFERENCE = "tls.caFrom"
    RENAME = "renaming"
    ATOMIC = "all or nothing"
