"""What is known of a gateway after a pass, as conditions: was it written, is it genuine, is it reached, does it answer.

    Synced     the store holds what git says
    Trusted    the stored CA bundle is the one that was signed
    Reachable  a connection came about, and TLS was verified
    Healthy    MCP was spoken, and the required tools are there
    Ready      all of these

A condition says True, False or Unknown, with a CamelCase reason for machines and a message for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from reconciler.core.canonical import digest, document
from reconciler.core.conditions import Condition
from reconciler.core.observation import UNREACHABLE, UNTRIED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Status
    from reconciler.core.model import Certificate, LiveGateway, Outcome
    from reconciler.core.observation import Observation

BundleState = Literal["valid", "invalid", "missing", "unknown", "none"]

OBSERVED: Final = ("Reachable", "Healthy")
"""The conditions that only a probe can tell; the others can be seen in the row."""

_TRUSTED: Final[Mapping[BundleState, tuple[Status, str, str]]] = {
    "valid": ("True", "SignatureValid", "the CA bundle is signed by key {key}"),
    "none": ("True", "NoBundle", "there is no CA bundle: public CAs are trusted"),
    "invalid": ("False", "SignatureInvalid", "the CA bundle in the store is not what was signed"),
    "missing": ("False", "SignatureMissing", "the CA bundle in the store is not signed"),
    "unknown": ("Unknown", "NoTrustedKey", "there is no public key to check the signature with"),
}
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
    """

    name: str
    url: str
    observation: Observation | None
    why: str = ""
    bundle: BundleState = "none"
    key_id: str = ""
    revision: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        return self.bundle not in ("invalid", "missing") and (self.observation is None or self.observation.ok)


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
    if stamp.digest != digest(document(found.gateway)):
        message = "the row is not what was last written; `reconciler plan` shows the difference"
        return Condition("Synced", "False", "Drifted", message, stamp.revision, now)
    return Condition("Synced", "True", "Applied", f"as written from {stamp.manifest}", stamp.revision, now)


def trusted(verified: Verified, now: datetime) -> Condition:
    """Return whether the stored bundle is the one that was signed."""
    status, reason, message = _TRUSTED[verified.bundle]
    return Condition("Trusted", status, reason, message.format(key=verified.key_id), verified.revision, now)


def verified_conditions(verified: Verified, now: datetime) -> tuple[Condition, ...]:
    """Return `Trusted`, `Reachable` and `Healthy` as verification found them."""
    return (
        trusted(verified, now),
        Condition("Reachable", *_reachable(verified), verified.revision, now),
        Condition("Healthy", *_healthy(verified), verified.revision, now),
    )


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
