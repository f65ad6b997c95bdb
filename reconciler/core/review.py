"""A plan as a reviewer reads it: the gravest first, drift apart from what git intends, and what each change means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from reconciler.core.effects import tool_effect
from reconciler.core.model import Action, Reason
from reconciler.core.rotation import exchange, rotation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.effects import KnownTools, ToolEffect
    from reconciler.core.model import Certificate, Change
    from reconciler.core.planning import Drift, Plan
    from reconciler.core.rotation import Exchange, Rotation
    from reconciler.core.tampering import Finding

_TRUST = frozenset({"ca_certificate", "system_trust"})
_HEALED = frozenset({Reason.DRIFT, Reason.TAMPERING})


class Group(IntEnum):
    """The kinds of changes, in the order in which they want to be looked at."""

    DELETIONS = 1
    TRUST = 2
    DRIFT = 3
    UPDATES = 4
    CREATIONS = 5


@dataclass(frozen=True, slots=True)
class Review:
    """One change, and what it means.

    `drift` is what somebody else did to the row since it was written: DRIFT, TAMPERING or None, and `evidence` how
    tampering was found. `intended` says that git changed as well, or alone. `bundle` is there where another bundle is
    stored, `rotation` where that is meant to be a step from one bundle to the next.
    """

    change: Change
    group: Group
    drift: Reason | None
    intended: bool
    bundle: Exchange | None
    rotation: Rotation | None
    tools: ToolEffect | None
    evidence: Finding | None = None

    @property
    def git_says(self) -> bool:
        """Whether what is written comes from git, or is the pre-image of a row: that may hold whatever it held."""
        return self.change.reason is not Reason.ROLLED_BACK


def review(plan: Plan, certificates: Mapping[str, Sequence[Certificate]], tools: KnownTools) -> tuple[Review, ...]:
    """Return a review of each change, by group and name. `certificates` are those of the bundles, by their text."""
    drifted = {drift.name: drift for drift in plan.drift}
    found = [_review(change, drifted.get(change.name), certificates, tools) for change in plan.changes]
    return tuple(sorted(found, key=lambda each: (each.group, each.change.name)))


def _review(
    change: Change, drifted: Drift | None, certificates: Mapping[str, Sequence[Certificate]], tools: KnownTools
) -> Review:
    before, after = (change.before.gateway if change.before else None), change.after
    drift = change.reason if change.reason in _HEALED else drifted.reason if drifted is not None else None
    intended = drift is None or _git_changed(change)
    old, new = (gateway.ca_certificate if gateway else "" for gateway in (before, after))
    held, wanted = certificates.get(old, ()), certificates.get(new, ())
    is_a_step = before and after and old != new and intended and drift is not Reason.TAMPERING
    return Review(
        change=change,
        group=_group(change),
        drift=drift,
        intended=intended,
        bundle=exchange(held, wanted) if old != new else None,
        rotation=rotation(held, wanted) if is_a_step else None,
        tools=tool_effect(change, tools),
        evidence=drifted.evidence if drifted is not None else None,
    )


def _git_changed(change: Change) -> bool:
    """Return whether git says something else than when the row was written last."""
    written = change.before.stamp if change.before else None
    return written is None or change.stamp is None or written.digest != change.stamp.digest


def _group(change: Change) -> Group:
    if change.action is Action.DELETE:
        return Group.DELETIONS
    if change.reason in _HEALED:
        return Group.DRIFT
    if change.action is Action.CREATE:
        return Group.CREATIONS
    return Group.TRUST if _TRUST & set(change.fields) else Group.UPDATES
