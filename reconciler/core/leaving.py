"""Rows that git no longer wants: which of them may go, which stay, and why.

What a row says of itself counts only as far as its signature does. A row is never deleted because somebody without a
key took its protection away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from reconciler.core.model import Action, Change, Reason
from reconciler.core.records import RecordStatus, with_stamp
from reconciler.core.tampering import finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.core.model import DesiredState, LiveGateway, LiveState, Stamp
    from reconciler.core.planning import Terms
    from reconciler.core.signatures import Signatures


@dataclass(frozen=True, slots=True)
class Orphan:
    """A gateway of ours that git no longer wants and that this plan leaves alone, and why."""

    name: str
    why: Literal["not pruned", "protected", "tree incomplete"]


def unwanted(desired: DesiredState, live: LiveState, terms: Terms) -> tuple[int, list[LiveGateway]]:
    """Return how many gateways of ours exist, and those that git no longer wants."""
    ours = [found for found in live.gateways.values() if found.stamp is not None and found.stamp.owner == terms.owner]
    if terms.narrowed:
        return len(ours), []
    wanted = desired.gateways.keys() | desired.elsewhere
    return len(ours), [found for found in ours if found.gateway.name not in wanted]


def orphans(
    desired: DesiredState, lost: Iterable[LiveGateway], signatures: Signatures, terms: Terms
) -> tuple[list[Change], list[Orphan]]:
    """Return which rows that git no longer wants are to be deleted, and which are left."""
    deletions: list[Change] = []
    left: list[Orphan] = []
    for found in lost:
        name = found.gateway.name
        if _is_protected(found, signatures):
            left.append(Orphan(name, "protected"))
        elif not terms.prune:
            left.append(Orphan(name, "not pruned"))
        elif not desired.complete:
            left.append(Orphan(name, "tree incomplete"))
        else:
            deletions.append(Change(Action.DELETE, name, Reason.REMOVED_FROM_GIT, before=found))
    return deletions, sorted(left, key=lambda orphan: orphan.name)


def signed_again(kept: Iterable[LiveGateway], signatures: Signatures) -> Iterator[Change]:
    """Yield the signing of rows that git lost and that stay: an older key's word ends with that key."""
    for found in kept:
        stamp, status = found.stamp, signatures.standing(found)
        if stamp is None or finding(found, signatures, status) is not None:
            continue
        if status in (RecordStatus.UNSIGNED, RecordStatus.OLDER_KEY):
            reason = Reason.UNSIGNED if status is RecordStatus.UNSIGNED else Reason.KEY_ROTATED
            yield resigned(found, stamp, reason, signatures)


def resigned(found: LiveGateway, stamp: Stamp, reason: Reason, signatures: Signatures) -> Change:
    """Return the change that signs a row as it is."""
    return Change(
        action=Action.UPDATE,
        name=found.gateway.name,
        reason=reason,
        before=found,
        after=found.gateway,
        signature=signatures.expected(found.gateway.ca_certificate),
        stamp=stamp,
    )


def _is_protected(found: LiveGateway, signatures: Signatures) -> bool:
    """Return whether a row is kept from being deleted. Taking the flag away without a key does not help."""
    if found.stamp is None or found.stamp.protected:
        return True
    return finding(found, signatures) is not None and was_signed(with_stamp(found, protected=True), signatures)


def was_signed(found: LiveGateway, signatures: Signatures) -> bool:
    """Return whether a trusted key signed the row, and nothing newer took its place."""
    return signatures.standing(found) in (RecordStatus.VALID, RecordStatus.OLDER_KEY)
