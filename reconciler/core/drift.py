"""Live state against what was last applied: no tree is needed, for every row carries the digest of what we wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reconciler.core.canonical import gateway_digest
from reconciler.core.model import Reason
from reconciler.core.tampering import Finding, finding, in_store

if TYPE_CHECKING:
    from reconciler.core.model import LiveGateway, LiveState
    from reconciler.core.signatures import Signatures


@dataclass(frozen=True, slots=True)
class Drifted:
    """A row of ours that is not as it was applied. `manifest` and `revision` say from where it was.

    `evidence` says how tampering was found.
    """

    name: str
    reason: Literal[Reason.DRIFT, Reason.TAMPERING]
    manifest: str
    revision: str
    evidence: Finding | None = None


def drifted(live: LiveState, signatures: Signatures, owner: str) -> tuple[Drifted, ...]:
    """Return the rows of `owner` that somebody else changed since they were applied, in the order of their names.

    What was deleted since is not seen here: a plan finds it.
    """
    signatures = in_store(signatures, live, owner)
    found = (_drifted(row, signatures) for _, row in sorted(live.gateways.items()) if _is_of(row, owner))
    return tuple(each for each in found if each is not None)


def _is_of(row: LiveGateway, owner: str) -> bool:
    return row.stamp is not None and row.stamp.owner == owner


def _drifted(row: LiveGateway, signatures: Signatures) -> Drifted | None:
    stamp = row.stamp
    if stamp is None:
        return None
    if (evidence := finding(row, signatures)) is not None:
        return Drifted(row.gateway.name, Reason.TAMPERING, stamp.manifest, stamp.revision, evidence)
    if stamp.digest != gateway_digest(row.gateway):
        return Drifted(row.gateway.name, Reason.DRIFT, stamp.manifest, stamp.revision)
    return None
