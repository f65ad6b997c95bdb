"""Desired x live -> Plan. Pure: the same input gives the same bytes, and a plan of equal states is empty.

desired  live    stamp    then
-------  ------  -------  ---------------------------------------------------------------
yes      no      -        create
yes      equal   ours     nothing; an update if a signature or the protection is not right
yes      other   ours     update: the manifest changed, or the store drifted, or was tampered with
yes      yes     none     conflict, until it is adopted
yes      yes     other's  conflict, always
no       yes     ours     orphan: deleted by prune, kept while protected; renamed where it lives on by its URL
no       yes     other    not ours: not even mentioned
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal

from reconciler.core.canonical import digest, gateway_digest
from reconciler.core.leaving import Orphan, orphans, signed_again, unwanted, was_signed
from reconciler.core.model import Action, Change, Gateway, Reason, Stamp
from reconciler.core.records import RecordStatus, with_stamp
from reconciler.core.tampering import Finding, finding, in_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.core.model import DesiredGateway, DesiredState, LiveGateway, LiveState, Suspension
    from reconciler.core.problems import Location
    from reconciler.core.signatures import Signatures

Policy = Literal["sync", "upsert-only", "create-only"]
"""What a target permits: everything; no deletions; no updates either. As external-dns has it."""

PERMITTED: Mapping[Policy, frozenset[Action]] = {
    "sync": frozenset(Action),
    "upsert-only": frozenset({Action.CREATE, Action.UPDATE}),
    "create-only": frozenset({Action.CREATE}),
}

_FIELDS = tuple(each.name for each in fields(Gateway))


@dataclass(frozen=True, slots=True)
class Conflict:
    """A gateway git wants and somebody else holds. `owner` is empty when nobody has claimed it."""

    name: str
    owner: str
    fields: tuple[str, ...]
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """The live row is not what we last wrote, whatever git wants now. `evidence` says how tampering was found."""

    name: str
    reason: Reason
    fields: tuple[str, ...]
    evidence: Finding | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an apply would do, as a value.

    `held_back` are changes the target's policy does not permit, `suspended` what is left alone for a while. `existing`
    counts our gateways in the store, the base of the guards' percentages. `checksum` is over the changes and what they
    start from.
    """

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    drift: tuple[Drift, ...]
    orphans: tuple[Orphan, ...]
    held_back: tuple[Change, ...]
    unchanged: int
    existing: int
    desired: int
    revision: str
    dirty: bool
    checksum: str
    suspended: Mapping[str, Suspension] = field(default_factory=dict)

    @property
    def in_sync(self) -> bool:
        """Whether the store holds exactly what git says."""
        return not (self.changes or self.conflicts or self.orphans or self.held_back)

    def count(self, action: Action) -> int:
        """Return how many changes do `action`."""
        return sum(change.action is action for change in self.changes)


@dataclass(frozen=True, slots=True)
class Terms:
    """On whose behalf, and how far, a plan may go.

    `only` (names) and `labels` narrow it to some gateways. A narrowed plan deletes nothing: what it does not look at
    is not absent. What is `suspended` (by name) is left alone, and so is its row.

    Targets that share a store are of one family: their owners are `owner/target`, or `owner` as long as there was only
    one of them. What git moved from one of them to another is handed over where it stands.
    """

    owner: str
    prune: bool = False
    policy: Policy = "sync"
    adopt: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    labels: frozenset[tuple[str, str]] = frozenset()
    suspended: Mapping[str, Suspension] = field(default_factory=dict)

    @property
    def narrowed(self) -> bool:
        """Whether some gateways are left out of sight."""
        return self.only is not None or bool(self.labels)

    def is_family(self, owner: str) -> bool:
        """Return whether an owner is this one, or another target of the same repository."""
        return owner.partition("/")[0] == self.owner.partition("/")[0]


def plan(desired: DesiredState, live: LiveState, signatures: Signatures, terms: Terms, *, renames: bool = True) -> Plan:
    """Return what has to be done so that `live` becomes `desired`. Both are in the store's canonical form.

    With `renames`, the store can give a row another name: where a gateway that may be deleted and one that is created
    are the only two with their URL, the row is renamed.
    """
    wanted = _selected(desired.gateways, terms)
    signatures = in_store(signatures, live, terms.owner)
    changes: list[Change] = []
    conflicts: list[Conflict] = []
    drift: list[Drift] = []
    for name, want in wanted.items():
        found = live.gateways.get(name)
        if found is None:
            changes.append(_create(want, signatures, terms.owner, desired.revision))
        elif _is_someone_elses(found, terms, signatures, shared=name in desired.elsewhere):
            owner = found.stamp.owner if found.stamp else ""
            differing = differing_fields(found.gateway, want.gateway)
            conflicts.append(Conflict(name, owner, differing, want.location))
        elif (change := _update(want, found, signatures, terms.owner, desired.revision)) is not None:
            changes.append(change)
            if (found_drift := _drift(change, signatures)) is not None:
                drift.append(found_drift)
    existing, lost = unwanted(desired, live, terms)
    deletions, left = orphans(desired, lost, signatures, terms)
    unchanged = len(wanted) - len(changes) - len(conflicts)
    permitted = PERMITTED[terms.policy]
    if renames and permitted > {Action.CREATE}:
        changes, deletions = _with_renames(changes, deletions)
        drift.extend(_drift_of_renamed(changes, signatures))
    drift.extend(_tampered(lost, changes, signatures))
    kept = {orphan.name for orphan in left}
    signed = signed_again((found for found in lost if found.gateway.name in kept), signatures)
    every = sorted((*changes, *deletions, *signed), key=lambda change: change.name)
    allowed = tuple(change for change in every if change.action in permitted)
    return Plan(
        changes=allowed,
        conflicts=tuple(conflicts),
        drift=tuple(sorted(drift, key=lambda each: each.name)),
        orphans=tuple(left),
        held_back=tuple(change for change in every if change.action not in permitted),
        unchanged=unchanged,
        existing=existing,
        desired=len(wanted),
        revision=desired.revision,
        dirty=desired.dirty,
        checksum=checksum(allowed),
        suspended={
            name: asleep for name, asleep in terms.suspended.items() if terms.only is None or name in terms.only
        },
    )


def differing_fields(one: Gateway, other: Gateway) -> tuple[str, ...]:
    """Return the names of the attributes in which two gateways differ, in the order of the class."""
    if one == other:
        return ()
    return tuple(name for name in _FIELDS if getattr(one, name) != getattr(other, name))


def _selected(gateways: Mapping[str, DesiredGateway], terms: Terms) -> Mapping[str, DesiredGateway]:
    if not terms.narrowed and not terms.suspended:
        return gateways
    return {
        name: wanted
        for name, wanted in gateways.items()
        if (terms.only is None or name in terms.only)
        and terms.labels <= set(wanted.labels)
        and name not in terms.suspended
    }


def _is_someone_elses(found: LiveGateway, terms: Terms, signatures: Signatures, *, shared: bool) -> bool:
    """Return whether a row may not be touched. One that two targets want (`shared`) stays with the first to have it."""
    if found.stamp is None:
        return found.gateway.name not in terms.adopt
    if found.stamp.owner == terms.owner or not (shared or not terms.is_family(found.stamp.owner)):
        return False
    return not was_signed(with_stamp(found, owner=terms.owner), signatures)


def _stamp(want: DesiredGateway, owner: str, revision: str) -> Stamp:
    return Stamp(owner, want.location.file, revision, gateway_digest(want.gateway), want.protected)


def _create(want: DesiredGateway, signatures: Signatures, owner: str, revision: str) -> Change:
    gateway = want.gateway
    stamp = _stamp(want, owner, revision)
    return Change(
        action=Action.CREATE,
        name=gateway.name,
        reason=Reason.ADDED,
        after=gateway,
        signature=signatures.expected(gateway.ca_certificate),
        stamp=stamp,
        location=want.location,
    )


def _update(
    want: DesiredGateway, found: LiveGateway, signatures: Signatures, owner: str, revision: str
) -> Change | None:
    differing = differing_fields(found.gateway, want.gateway)
    reason = _reason(want, found, differing, signatures)
    if found.outdated:
        differing = tuple(name for name in _FIELDS if name in differing or name in found.outdated)
    if reason is None and found.stamp is not None and found.stamp.owner != owner:
        reason = Reason.ADOPTED
    if reason is None:
        return None
    stamp = _stamp(want, owner, revision)
    return Change(
        action=Action.UPDATE,
        name=want.gateway.name,
        reason=reason,
        before=found,
        after=want.gateway,
        signature=signatures.expected(want.gateway.ca_certificate),
        stamp=stamp,
        fields=differing,
        location=want.location,
    )


def _reason(
    want: DesiredGateway, found: LiveGateway, differing: tuple[str, ...], signatures: Signatures
) -> Reason | None:
    """Return the gravest true reason to write the row, or None when it is right as it is."""
    stamp = found.stamp
    if stamp is None:
        return Reason.ADOPTED
    status = signatures.standing(found)
    if finding(found, signatures, status) is not None:
        return Reason.TAMPERING
    if differing:
        signed = status in (RecordStatus.VALID, RecordStatus.OLDER_KEY)  # and so it is as it was written
        as_written = signed or stamp.digest == gateway_digest(found.gateway)
        return Reason.MANIFEST_CHANGED if as_written else Reason.DRIFT
    return _reason_without_differences(want, found, status, signatures)


def _reason_without_differences(
    want: DesiredGateway, found: LiveGateway, status: RecordStatus, signatures: Signatures
) -> Reason | None:
    if status is RecordStatus.UNSIGNED:
        return Reason.UNSIGNED
    if status is RecordStatus.OLDER_KEY or not signatures.current(found.gateway.ca_certificate, found.signature):
        return Reason.KEY_ROTATED
    if found.outdated:
        return Reason.SECRET_CHANGED
    return Reason.PROTECTION_CHANGED if found.stamp is None or found.stamp.protected != want.protected else None


def _drift(change: Change, signatures: Signatures) -> Drift | None:
    if change.reason not in (Reason.DRIFT, Reason.TAMPERING) or change.before is None:
        return None
    evidence = finding(change.before, signatures)
    return Drift(change.name, change.reason, change.fields or _without_fields(evidence), evidence)


def _without_fields(evidence: Finding | None) -> tuple[str, ...]:
    """Return the name of what is not right where every field is."""
    return ("ca_certificate_sig",) if evidence is Finding.BUNDLE_NOT_GENUINE else ("record",)


def _tampered(lost: Iterable[LiveGateway], changes: Iterable[Change], signatures: Signatures) -> Iterator[Drift]:
    """Yield the tampering with rows that git no longer wants, other than those that get another name."""
    renamed = {change.held_as for change in changes}
    for found in lost:
        name = found.gateway.name
        if name not in renamed and (evidence := finding(found, signatures)) is not None:
            yield Drift(name, Reason.TAMPERING, _without_fields(evidence), evidence)


def _with_renames(changes: list[Change], deletions: list[Change]) -> tuple[list[Change], list[Change]]:
    """Return the changes and deletions, with each pair that amounts to another name for one row as a rename."""
    created = _only_ones(changes, lambda change: change.after if change.action is Action.CREATE else None)
    deleted = _only_ones(deletions, lambda change: change.before.gateway if change.before else None)
    renamed = {created[url].name: _rename(created[url], deleted[url]) for url in created.keys() & deleted.keys()}
    gone = {change.held_as for change in renamed.values()}
    return (
        [renamed.get(change.name, change) for change in changes],
        [change for change in deletions if change.name not in gone],
    )


def _only_ones(changes: Iterable[Change], row: Callable[[Change], Gateway | None]) -> dict[str, Change]:
    """Return the changes whose row is the only one with its URL, by URL."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        if (gateway := row(change)) is not None:
            found.setdefault(gateway.url, []).append(change)
    return {url: same[0] for url, same in found.items() if len(same) == 1}


def _rename(create: Change, delete: Change) -> Change:
    fields = differing_fields(delete.before.gateway, create.after) if delete.before and create.after else ()
    return replace(create, action=Action.UPDATE, reason=Reason.RENAMED, before=delete.before, fields=fields)


def _drift_of_renamed(changes: Iterable[Change], signatures: Signatures) -> Iterator[Drift]:
    for change in changes:
        if change.reason is not Reason.RENAMED or (found := change.before) is None or found.stamp is None:
            continue
        if (evidence := finding(found, signatures)) is not None:
            yield Drift(change.name, Reason.TAMPERING, change.fields, evidence)
        elif found.stamp.digest != gateway_digest(found.gateway):
            yield Drift(change.name, Reason.DRIFT, change.fields)


def checksum(changes: Iterable[Change]) -> str:
    """Return a digest of what changes write, and of the rows that they start from."""
    return digest(
        [
            (
                change.name,
                change.action,
                change.before.token if change.before else "",
                change.stamp.digest if change.stamp else "",
                change.signature,
            )
            for change in changes
        ]
    )
