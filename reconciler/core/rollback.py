"""The plan that brings the rows that an apply changed back to their pre-images. Pure, like the planning of an apply.

the apply  the row now              then
---------  -----------------------  ------------------------------------------------
created    as it was left           delete, unless it is protected
updated    as it was left           update: the pre-image, under the name that it had
deleted    not there                create
any        as it was before         nothing
any        anything else            left alone, and why

What is left alone is never forced: a newer apply is rolled back first. The journal lies beside the store, so whoever
can write the one can write the other; therefore a row is only brought back if a trusted key signed it then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.core.canonical import gateway_digest
from reconciler.core.history import mark_held
from reconciler.core.model import Action, Change, Reason
from reconciler.core.planning import PERMITTED, Plan, checksum, differing_fields
from reconciler.core.tampering import Finding, finding, in_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.history import Entry, Step
    from reconciler.core.model import LiveGateway, LiveState
    from reconciler.core.planning import Terms
    from reconciler.core.signatures import Signatures

_MAY_BE_MADE: Final = ("applied", "failed", "")
"""The outcomes of changes that were made, or may have been; the row itself says which."""

_REFERENCES: Final = ("env", "file", "secretKeyRef")


class Why(StrEnum):
    """Why a row is left alone."""

    CHANGED_SINCE = "changed_since"
    DRIFTED = "drifted"
    GONE = "gone"
    EXISTS = "exists"
    NAME_TAKEN = "name_taken"
    NOT_OURS = "not_ours"
    PROTECTED = "protected"
    NOT_GENUINE = "not_genuine"
    NO_PREIMAGE = "no_preimage"


_NEWER_FIRST: Final = "roll back the newer apply first; `reconciler history` lists them"
_SAYINGS: Final[Mapping[Why, tuple[str, str]]] = {
    Why.CHANGED_SINCE: ("a newer apply changed it", _NEWER_FIRST),
    Why.DRIFTED: (
        "somebody else changed it in the store since",
        "`reconciler plan` shows how; an apply makes it what git says",
    ),
    Why.GONE: ("it is not in the store any more", _NEWER_FIRST),
    Why.EXISTS: ("the store holds another gateway of that name by now", _NEWER_FIRST),
    Why.NAME_TAKEN: ("another gateway has the name that it had before", _NEWER_FIRST),
    Why.NOT_OURS: ("it belongs to somebody else, or to nobody", "its owner decides"),
    Why.PROTECTED: (
        "it is protected, so it is not deleted",
        "remove `reconciler/prune: disabled` in a commit of its own, apply that, and delete it through git",
    ),
    Why.NOT_GENUINE: (
        "what it was then was not signed by a key that is trusted, and signing it now would vouch for it",
        "put the right manifest and bundle into git, and apply that",
    ),
    Why.NO_PREIMAGE: (
        "what it was before was not kept, or cannot be read",
        "write its manifest as it should be, and apply that",
    ),
}


@dataclass(frozen=True, slots=True)
class Left:
    """A row that a rollback leaves as it is."""

    name: str
    why: Why

    @property
    def message(self) -> str:
        """Why, as a sentence."""
        return _SAYINGS[self.why][0]

    @property
    def fix(self) -> str:
        """What to do about it."""
        return _SAYINGS[self.why][1]


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback would do, and which rows it would leave alone."""

    plan: Plan
    left: tuple[Left, ...]


def rollback(entry: Entry, live: LiveState, signatures: Signatures, terms: Terms) -> Rollback:
    """Return what has to be done so that the rows that `entry` changed are what they were before.

    Rows that are so already count as unchanged. What the target's policy does not permit is held back.
    """
    signatures = in_store(signatures, live, terms.owner)
    steps = [step for step in entry.steps if step.status in _MAY_BE_MADE]
    answers = [_undo(step, live.gateways, signatures, terms.owner) for step in steps]
    every = sorted((each for each in answers if isinstance(each, Change)), key=lambda change: change.name)
    permitted = PERMITTED[terms.policy]
    changes = tuple(change for change in every if change.action in permitted)
    existing = sum(found.stamp is not None and found.stamp.owner == terms.owner for found in live.gateways.values())
    plan = Plan(
        changes=changes,
        conflicts=(),
        drift=(),
        orphans=(),
        held_back=tuple(change for change in every if change.action not in permitted),
        unchanged=answers.count(None),
        existing=existing,
        desired=existing + _growth(changes),
        revision="",
        dirty=False,
        checksum=checksum(changes),
    )
    return Rollback(plan, tuple(each for each in answers if isinstance(each, Left)))


def _growth(changes: tuple[Change, ...]) -> int:
    return sum((change.action is Action.CREATE) - (change.action is Action.DELETE) for change in changes)


def _undo(step: Step, rows: Mapping[str, LiveGateway], signatures: Signatures, owner: str) -> Change | Left | None:
    """Return the change that undoes a step, why there is none, or None where there is nothing to undo."""
    if _is_as_before(step, rows):
        return None
    found = rows.get(step.name)
    if (why := _obstacle(step, found, owner)) is not None:
        return Left(step.name, why)
    if step.action is Action.CREATE:
        return Change(Action.DELETE, step.name, Reason.ROLLED_BACK, before=found)
    before = step.before
    if before is None or not _is_readable(before):
        return Left(step.name, Why.NO_PREIMAGE)
    if (hindrance := _hindrance(before, step, rows, signatures, owner)) is not None:
        return Left(step.name, hindrance)
    return _restored(before, found, signatures)


def _is_as_before(step: Step, rows: Mapping[str, LiveGateway]) -> bool:
    if step.action is Action.CREATE:
        return step.name not in rows
    held = rows.get(step.held_as)
    return held is not None and step.before is not None and mark_held(held) == mark_held(step.before)


def _obstacle(step: Step, found: LiveGateway | None, owner: str) -> Why | None:
    """Return what about the row as it is now stands in the way."""
    if step.action is Action.DELETE:
        return None if found is None else Why.EXISTS
    if found is None:
        return Why.GONE
    if not _may_be_touched(found, step, owner):
        return Why.NOT_OURS
    if mark_held(found) != step.written:
        return _changed_by(found)
    protected = found.stamp is not None and found.stamp.protected
    return Why.PROTECTED if protected and step.action is Action.CREATE else None


def _may_be_touched(found: LiveGateway, step: Step, owner: str) -> bool:
    """Return whether a row is ours. One that nobody owns may be brought back to what it was, but not be deleted."""
    if found.stamp is None:
        return step.action is Action.UPDATE
    return found.stamp.owner == owner


def _changed_by(found: LiveGateway) -> Why:
    if found.stamp is None:
        return Why.NOT_OURS
    return Why.CHANGED_SINCE if found.stamp.digest == gateway_digest(found.gateway) else Why.DRIFTED


def _hindrance(
    before: LiveGateway, step: Step, rows: Mapping[str, LiveGateway], signatures: Signatures, owner: str
) -> Why | None:
    """Return what about the pre-image stands in the way."""
    adopted = step.action is Action.UPDATE and before.stamp is None
    if not adopted and (before.stamp is None or before.stamp.owner != owner):
        return Why.NOT_OURS
    if before.gateway.name != step.name and before.gateway.name in rows:
        return Why.NAME_TAKEN
    if not _is_genuine(before, signatures):
        return Why.NOT_GENUINE
    return None


def _is_genuine(before: LiveGateway, signatures: Signatures) -> bool:
    """Return whether a trusted key signed the row as it was then. That it was written over since is why it is here."""
    if not signatures.genuine(before.gateway.ca_certificate, before.signature):
        return False
    return before.stamp is None or finding(before, signatures) in (None, Finding.REPLAYED)


def _is_readable(before: LiveGateway) -> bool:
    """Return whether the pre-image says all that the row held: an unreadable reference was kept as its digest alone."""
    key = before.gateway.client_key
    return key is None or key.kind in _REFERENCES


def _restored(before: LiveGateway, found: LiveGateway | None, signatures: Signatures) -> Change:
    gateway = before.gateway
    signed = signatures.current(gateway.ca_certificate, before.signature)
    stamp = replace(before.stamp, digest=gateway_digest(gateway)) if before.stamp is not None else None
    return Change(
        action=Action.CREATE if found is None else Action.UPDATE,
        name=gateway.name,
        reason=Reason.ROLLED_BACK,
        before=found,
        after=gateway,
        signature=before.signature if signed else signatures.expected(gateway.ca_certificate),
        stamp=stamp,
        fields=differing_fields(found.gateway, gateway) if found is not None else (),
    )
