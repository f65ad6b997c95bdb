"""What the signatures of a store are worth, told with public keys alone: for an auditor, and for the rotation of a key.

Nothing is asked but the rows and the keyring: no tree, no private key, no memory of what was there before. So a genuine
row that is older than the one it replaced passes here; a pass over the store finds it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.leaving import resigned
from reconciler.core.model import Reason
from reconciler.core.planning import Plan, checksum
from reconciler.core.records import RecordStatus, RecordVerdict, verify_record
from reconciler.core.signing import SignatureStatus, Verdict
from reconciler.core.tampering import Finding, finding, in_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import Change, LiveGateway, LiveState
    from reconciler.core.signatures import Signatures
    from reconciler.core.signing import Keyring


@dataclass(frozen=True, slots=True)
class Audited:
    """One row: whose it says it is, from which commit, and what its two signatures are worth.

    `bundle` is None where there is neither a bundle nor a signature of one.
    """

    name: str
    owner: str
    revision: str
    bundle: Verdict | None
    record: RecordVerdict

    @property
    def genuine(self) -> bool:
        """Whether a trusted key vouches for all of it."""
        bundled = self.bundle is None or self.bundle.status is SignatureStatus.VALID
        return bundled and self.record.status is RecordStatus.VALID


@dataclass(frozen=True, slots=True)
class Resigning:
    """What has to be signed again, and the rows that nobody may sign because they are not genuine."""

    plan: Plan
    refused: tuple[tuple[str, Finding], ...]


def audit(live: LiveState, keyring: Keyring) -> tuple[Audited, ...]:
    """Return every row of a store, in the order of the names."""
    return tuple(_audited(found, keyring) for _, found in sorted(live.gateways.items()))


def carried(rows: tuple[Audited, ...]) -> Mapping[str, int]:
    """Return how many rows carry a signature of each trusted key, by the keys' names."""
    names: Counter[str] = Counter()
    for row in rows:
        names.update({row.record.key_name, row.bundle.key_name if row.bundle is not None else ""} - {""})
    return names


def resigning(live: LiveState, signatures: Signatures, owner: str) -> Resigning:
    """Return what makes every row of `owner` carry signatures of the key in use, and of no other."""
    signatures = in_store(signatures, live, owner)
    ours = [row for row in live.gateways.values() if row.stamp is not None and row.stamp.owner == owner]
    found = {row.gateway.name: finding(row, signatures) for row in ours}
    refused = tuple(sorted((name, evidence) for name, evidence in found.items() if evidence is not None))
    signed = (_signed_again(row, signatures) for row in ours if found[row.gateway.name] is None)
    changes = tuple(sorted((each for each in signed if each is not None), key=lambda change: change.name))
    plan = Plan(
        changes=changes,
        conflicts=(),
        drift=(),
        orphans=(),
        held_back=(),
        unchanged=len(ours) - len(changes),
        existing=len(ours),
        desired=len(ours),
        revision="",
        dirty=False,
        checksum=checksum(changes),
    )
    return Resigning(plan, refused)


def _signed_again(found: LiveGateway, signatures: Signatures) -> Change | None:
    status = signatures.standing(found)
    current = signatures.current(found.gateway.ca_certificate, found.signature)
    if found.stamp is None or (current and status is RecordStatus.VALID):
        return None
    reason = Reason.UNSIGNED if status is RecordStatus.UNSIGNED else Reason.KEY_ROTATED
    return resigned(found, found.stamp, reason, signatures)


def _audited(found: LiveGateway, keyring: Keyring) -> Audited:
    text, stamp = found.gateway.ca_certificate, found.stamp
    return Audited(
        name=found.gateway.name,
        owner=stamp.owner if stamp is not None else "",
        revision=stamp.revision if stamp is not None else "",
        bundle=keyring.verdict(text, found.signature) if text or found.signature else None,
        record=verify_record(found, keyring),
    )
