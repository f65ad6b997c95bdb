"""What is known of a gateway after a pass, as conditions: was it written, is it genuine, is it reached, does it answer.

    Synced     the store holds what git says
    Trusted    the stored CA bundle is the one that was signed
    Reachable  a connection came about, and TLS was verified
    Healthy    MCP was spoken, and the required tools are there
    ToolsMatch the tools are those that were reviewed; it is there only for a gateway with a tools lock
    Ready      all of these

A condition says True, False or Unknown, with a CamelCase reason for machines and a message for people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from reconciler.core.canonical import gateway_digest
from reconciler.core.conditions import Condition
from reconciler.core.model import VerifyPolicy
from reconciler.core.observation import UNREACHABLE, UNTRIED
from reconciler.core.records import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Status
    from reconciler.core.model import Certificate, DesiredState, LiveGateway, Outcome
    from reconciler.core.observation import Observation
    from reconciler.core.toolchanges import ToolChange
    from reconciler.core.tooltext import Flag

_DEFAULT_POLICY: Final = VerifyPolicy()

BundleState = Literal["valid", "invalid", "missing", "unknown", "none"]

OBSERVED: Final = ("Reachable", "Healthy", "ToolsMatch")
"""The conditions that only a probe can tell; the others can be seen in the row."""

_TRUSTED: Final[Mapping[BundleState, tuple[Status, str, str]]] = {
    "valid": ("True", "SignatureValid", "the CA bundle is signed by key {key}"),
    "none": ("True", "NoBundle", "there is no CA bundle: public CAs are trusted"),
    "invalid": ("False", "SignatureInvalid", "the CA bundle in the store is not what was signed"),
    "missing": ("False", "SignatureMissing", "the CA bundle in the store is not signed"),
    "unknown": ("Unknown", "NoTrustedKey", "there is no public key to check the signature with"),
}
RECORDS: Final[Mapping[RecordStatus, tuple[str, str]]] = {
    RecordStatus.INVALID: ("RowNotGenuine", "the row is not the one that was signed"),
    RecordStatus.MISSING: ("RowNotSigned", "the row is not signed"),
    RecordStatus.REPLAYED: ("RowReplayed", "an older row was put back in the place of the one that was written last"),
}
"""Why a row is not to be trusted, for machines and for people."""
_SYNCED: Final[Mapping[str, tuple[Status, str]]] = {
    "applied": ("True", "Applied"),
    "refused": ("False", "Refused"),
    "failed": ("False", "Failed"),
    "skipped": ("False", "Skipped"),
}


@dataclass(frozen=True, slots=True)
class Verified:
    """One gateway's result.

    `observation` is None when the upstream was not looked at, and `why` then says why not. `bundle` is the state of the
    stored bundle signature: `unknown` when there is no key to check with, `none` when there is no bundle to sign.
    `policy` is what git asks of verification; the tools lock in it is what the tools are compared with. `record` is
    what is known of the signature of the whole row, where it is one of ours.
    """

    name: str
    url: str
    observation: Observation | None
    why: str = ""
    bundle: BundleState = "none"
    key_id: str = ""
    revision: str = ""
    policy: VerifyPolicy = _DEFAULT_POLICY
    record: RecordStatus = RecordStatus.UNKNOWN

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        if self.bundle in ("invalid", "missing") or self.record in RECORDS:
            return False
        return (self.observation is None or self.observation.ok) and not self.tool_changes

    @property
    def tool_changes(self) -> tuple[ToolChange, ...] | None:
        """How the tools seen differ from the reviewed ones; None where there is nothing to compare, or nothing with."""
        lock, mcp = self.policy.tools_lock, self.observation.mcp if self.observation else None
        if lock is None or lock.tools is None or mcp is None or not mcp.tools_known:
            return None
        from reconciler.core.toolchanges import compare

        return compare(lock.tools, mcp.tools)

    def tool_flags(self) -> tuple[tuple[str, Flag], ...]:
        """Return what is remarkable about tools that nobody has locked yet, with their names.

        It takes the definitions. Of locked tools, what is new in them comes with `tool_changes`.
        """
        if self.policy.tools_lock is not None or self.observation is None:
            return ()
        from reconciler.core.toolchanges import flagged

        return flagged(self.observation.tools)


@dataclass(frozen=True, slots=True)
class Standing:
    """One gateway as it stands. `conditions` begins with `Ready`; `owner` is empty when nobody owns it.

    `tools` and `verified_at` are those of the last look at the upstream, None before the first.
    """

    name: str
    url: str
    enabled: bool
    owner: str
    revision: str
    conditions: tuple[Condition, ...]
    certificates: tuple[Certificate, ...]
    tools: int | None = None
    verified_at: datetime | None = None


def synced(outcome: Outcome, revision: str, now: datetime) -> Condition:
    """Return the condition that an outcome leaves behind."""
    status, reason = _SYNCED[outcome.status]
    message = outcome.reason or f"{outcome.action} {outcome.status}"
    return Condition("Synced", status, reason, message, revision, now)


def row_synced(found: LiveGateway, now: datetime) -> Condition:
    """Return whether a row is what was last written."""
    stamp = found.stamp
    if stamp is None:
        return Condition("Synced", "Unknown", "Unowned", "nobody owns it; `reconciler adopt` takes it over", "", now)
    if stamp.digest != gateway_digest(found.gateway):
        message = "the row is not what was last written; `reconciler plan` shows the difference"
        return Condition("Synced", "False", "Drifted", message, stamp.revision, now)
    return Condition("Synced", "True", "Applied", f"as written from {stamp.manifest}", stamp.revision, now)


def trusted(verified: Verified, now: datetime) -> Condition:
    """Return whether the stored bundle, and the row that has it, are those that were signed."""
    status, reason, message = _TRUSTED[verified.bundle]
    if status != "False" and verified.record in RECORDS:
        status, (reason, message) = "False", RECORDS[verified.record]
    return Condition("Trusted", status, reason, message.format(key=verified.key_id), verified.revision, now)


def verified_conditions(verified: Verified, now: datetime) -> tuple[Condition, ...]:
    """Return `Trusted`, `Reachable` and `Healthy` as verification found them."""
    conditions = (
        trusted(verified, now),
        Condition("Reachable", *_reachable(verified), verified.revision, now),
        Condition("Healthy", *_healthy(verified), verified.revision, now),
    )
    if verified.policy.tools_lock is None:
        return conditions
    return (*conditions, Condition("ToolsMatch", *_tools_match(verified), verified.revision, now))


def policy_of(desired: DesiredState, name: str) -> VerifyPolicy:
    """Return what git asks of the verification of a gateway; the defaults, of one that it does not describe."""
    wanted = desired.gateways.get(name)
    return wanted.verify if wanted is not None else _DEFAULT_POLICY


def unreviewed(changes: Iterable[ToolChange]) -> bool:
    """Return whether a tool is offered that is not as it was reviewed: one that is gone misleads nobody."""
    return any(change.kind != "vanished" for change in changes)


def to_disable(results: Iterable[Verified]) -> tuple[str, ...]:
    """Return the names of the gateways to take off: git asks for that when tools are not as they were reviewed.

    Only a tool that is not the reviewed one takes a gateway off, never an upstream that did not answer, nor a lock that
    cannot be read. What puts it back on is for `reconciler.core.preflight`.
    """
    return tuple(
        each.name
        for each in results
        if each.policy.on_tools_change == "disable" and unreviewed(each.tool_changes or ())
    )


def without(desired: DesiredState, names: Collection[str]) -> DesiredState:
    """Return the desired state with these gateways disabled, for as long as their tools are not the reviewed ones."""
    gateways = {
        name: replace(wanted, gateway=replace(wanted.gateway, enabled=False)) if name in names else wanted
        for name, wanted in desired.gateways.items()
    }
    return replace(desired, gateways=gateways)


def ready(conditions: Sequence[Condition], now: datetime) -> Condition:
    """Return the sum of a gateway's conditions: the first that is not True decides."""
    for status in ("False", "Unknown"):
        for condition in conditions:
            if condition.status == status:
                message = f"{condition.type}: {condition.message}"
                return Condition(
                    "Ready", status, condition.reason, message, condition.observed_revision, condition.since
                )
    if not conditions:
        return Condition("Ready", "Unknown", "NeverVerified", "nothing is known yet", "", now)
    since = max(condition.since for condition in conditions)
    return Condition("Ready", "True", "Ready", "", conditions[0].observed_revision, since)


def _reachable(verified: Verified) -> tuple[Status, str, str]:
    observation = verified.observation
    if observation is None:
        return "Unknown", "NotLookedAt", verified.why
    tls, mcp = observation.tls, observation.mcp
    if tls is None:
        if mcp is not None and mcp.reason in UNREACHABLE:
            return "False", mcp.reason, mcp.message
        if mcp is not None and mcp.reason in UNTRIED:
            return "Unknown", mcp.reason, mcp.message
        return "True", "PlainHttp", "reached without TLS"
    if not tls.ok:
        return "False", tls.reason, tls.message
    return "True", tls.reason or "TlsVerified", tls.message or f"{tls.version}, trusted by the {tls.trust}"


def _healthy(verified: Verified) -> tuple[Status, str, str]:
    observation = verified.observation
    if observation is None:
        return "Unknown", "NotLookedAt", verified.why
    mcp = observation.mcp
    if mcp is None:
        return "Unknown", "NotReached", "MCP was not spoken, because the connection failed"
    if not mcp.ok:
        return "False", mcp.reason, mcp.message
    return "True", "McpAnswered", f"MCP {mcp.protocol_version}, {len(mcp.tools)} tools"


def _tools_match(verified: Verified) -> tuple[Status, str, str]:
    lock, changes = verified.policy.tools_lock, verified.tool_changes
    if lock is not None and lock.tools is None:
        return "Unknown", "ToolsLockUnreadable", f"{lock.file} cannot be read; `reconciler validate` says why"
    if changes is None:
        return "Unknown", "ToolsNotSeen", verified.why or "the upstream did not say which tools it has"
    file = lock.file if lock is not None else ""
    if not changes:
        return "True", "ToolsAsReviewed", f"the tools are those of {file}"
    from reconciler.core.toolchanges import summary

    message = f"the tools are not those of {file}: {summary(changes)}; `reconciler verify` shows the difference"
    return "False", "ToolsChanged", message
