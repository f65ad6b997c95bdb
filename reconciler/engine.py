"""One pass: plan, guard, preflight, apply, verify. The only place that orders the steps.

It knows ports, never a concrete store, the environment or the terminal. It decides nothing about what a change means
(`core.planning` does) and nothing about when to run (its caller does).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

from reconciler.clock import now
from reconciler.core import planning, safety
from reconciler.core.ca_references import references, resolved
from reconciler.core.drift import drifted
from reconciler.core.features import lacking
from reconciler.core.foresight import refusals
from reconciler.core.model import Action, Feature, LiveGateway, LiveState, Outcome, Reason, VerifyPolicy
from reconciler.core.ports import CaKeeper, Incremental, Judging
from reconciler.core.preflight import is_required, objection, puts_back_on
from reconciler.core.problems import ProblemsError, has_errors
from reconciler.core.result import Result
from reconciler.core.tampering import SAYINGS, finding
from reconciler.core.verification import Standing, Verified, policy_of
from reconciler.errors import InputError, StoreError, TamperingError
from reconciler.examining import Examiner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Condition
    from reconciler.core.drift import Drifted
    from reconciler.core.model import (
        Audit,
        CaReference,
        Change,
        DesiredGateway,
        DesiredState,
        Gateway,
        Suspension,
    )
    from reconciler.core.observation import Observation
    from reconciler.core.planning import Plan, Terms
    from reconciler.core.ports import Store
    from reconciler.core.preflight import Held
    from reconciler.core.problems import Problem
    from reconciler.core.safety import Limits
    from reconciler.core.signatures import Signatures
    from reconciler.core.signing import Keyring
    from reconciler.examining import Lookup
    from reconciler.journal import Sighting


OnError = Literal["abort", "continue"]
"""What becomes of the other changes when one fails, in a store without transactions."""

_LEAST_HARM_FIRST: Final = (Action.UPDATE, Action.DELETE, Action.CREATE)
"""A delete may free the URL or the name that a create needs."""


class Witness(Protocol):
    """Is told what is about to be written, and what became of it, before anything is looked at."""

    def begin(self, plan: Plan, changes: Sequence[Change]) -> None:
        """Take notice of the changes of a plan that are about to be made, or raise to stop them."""
        ...

    def end(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        """Take notice of what became of every change of the plan, those included that were held."""
        ...


class Prober(Protocol):
    """Looks at upstreams as the rows describe them."""

    def __call__(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        """Return one observation each, in order; a failure is an observation too."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """A store and everything a pass over it needs."""

    store: Store
    kind: str
    signatures: Signatures
    keyring: Keyring
    terms: Terms
    limits: Limits
    clock: Callable[[], datetime] = now

    @property
    def examiner(self) -> Examiner:
        """Who says what a row is worth."""
        return Examiner(self.signatures, self.keyring, self.terms.owner)

    def plan(self, desired: DesiredState) -> Plan:
        """Return what would have to be done for the store to hold `desired`.

        Raises:
            ProblemsError: a manifest needs what this store cannot hold.
            StoreError: the store could not be read.
        """
        return self.plan_against(self.store.read(), desired)

    def plan_against(self, live: LiveState, desired: DesiredState) -> Plan:
        """Return what would have to be done for the store, which was read as `live`, to hold `desired`.

        Raises:
            ProblemsError: a manifest needs what this store cannot hold, or refers to a CA that cannot be used.
        """
        if problems := list(lacking(desired, self.store.features, self.kind)):
            raise ProblemsError(problems)
        desired = self.with_references(desired)
        renames = Feature.RENAME in self.store.features
        terms = replace(self.terms, suspended=_suspended(desired, self.clock()))
        return planning.plan(self._canonical(desired), live, self.signatures, terms, renames=renames)

    def with_references(self, desired: DesiredState) -> DesiredState:
        """Return the desired state with the CAs that the platform keeps, read anew each time: they change there.

        Raises:
            ProblemsError: a manifest refers to a CA that cannot be used.
            StoreError: the platform could not be asked.
        """
        wanted = references(desired)
        if not wanted or not isinstance(self.store, CaKeeper):
            return desired
        found = {reference: _content(self.store, reference) for reference in wanted}
        complete = resolved(desired, found, self.clock())
        if has_errors(complete.problems):
            raise ProblemsError(complete.problems)
        return complete

    def foreseen(self, plan: Plan, desired: DesiredState) -> list[Problem]:
        """Return what the platform would refuse of a plan, where it can be asked before anything is written.

        Raises:
            StoreError: it could not be asked.
        """
        return list(refusals(self.store.judge(plan.changes), desired)) if isinstance(self.store, Judging) else []

    def read_named(self, names: Collection[str]) -> LiveState:
        """Return the rows of these names: no more than them is asked for, where the store can do that.

        Raises:
            StoreError: the store could not be read.
        """
        if isinstance(self.store, Incremental):
            return self.store.read_named(names)
        rows = self.store.read().gateways
        return LiveState({name: rows[name] for name in names if name in rows})

    def version(self) -> str:
        """Return a text that differs whenever the store may hold something else; empty where that cannot be told.

        Raises:
            StoreError: the store is not there any more.
        """
        return self.store.version() if isinstance(self.store, Incremental) else ""

    def apply(
        self,
        plan: Plan,
        desired: DesiredState,
        audit: Audit,
        prober: Prober | None,
        *,
        on_error: OnError = "continue",
        witness: Witness | None = None,
    ) -> Result:
        """Carry the plan out, unless a guard refuses it; then look at what was written.

        What needs a look at its upstream first (`core.preflight` says what does) is probed before anything is written,
        and held if something speaks against it. Without a prober nothing is looked at, and nothing held. A store
        without transactions is written gateway by gateway, and `on_error` says what becomes of the others when one
        fails. The `witness` hears of it once that is decided.
        """
        verdicts = safety.judge(plan, self.limits)
        if not all(verdict.passed for verdict in verdicts):
            return Result(plan, verdicts)
        held = self.preflight(plan.changes, desired, prober) if prober else {}
        let_through = self.signatures.signed([change for change in plan.changes if change.name not in held])
        if witness is not None and let_through:
            witness.begin(plan, let_through)
        written = self._write(let_through, audit, on_error)
        for change, outcome in zip(let_through, written, strict=True):
            if outcome.status == "applied":
                self.signatures.written(change)
        others = iter(written)
        outcomes = tuple(
            Outcome(change.name, change.action, "refused", held[change.name].why)
            if change.name in held
            else next(others)
            for change in plan.changes
        )
        if witness is not None and outcomes:
            witness.end(plan, outcomes)
        before = [each.observation for each in held.values()]
        after = self._look(plan, outcomes, desired, prober) if prober else []
        return Result(plan, verdicts, outcomes, (*before, *after), frozenset(held))

    def verify(
        self, reviewed: Mapping[str, DesiredGateway], names: Collection[str], prober: Prober
    ) -> tuple[Verified, ...]:
        """Look at the upstreams of the named gateways (all, when none is named) as the store describes them.

        `reviewed` are the gateways that git describes: their policies hold, and only where a row agrees with them are
        its credentials used. Whoever can write the store must not be able to have secrets sent to a place of his.

        Raises:
            InputError: the store holds no gateway of that name.
            StoreError: the store could not be read.
        """
        live = self.store.read()
        if missing := sorted(set(names) - live.gateways.keys()):
            raise InputError(f"the store holds no gateway named {', '.join(missing)}", fix="see `reconciler status`")
        chosen = [found for name, found in live.gateways.items() if not names or name in names]
        lookups = [self.examiner.lookup(found, reviewed.get(found.gateway.name)) for found in chosen]
        subjects = [(lookup.row, lookup.policy) for lookup in lookups if not lookup.excuse]
        seen = {observation.name: observation for observation in prober(subjects)}
        return tuple(self.examiner.examined(lookup, seen.get(lookup.found.gateway.name)) for lookup in lookups)

    def trusted_lookup(self, name: str, reviewed: Mapping[str, DesiredGateway]) -> Lookup:
        """Return how to reach the upstream of a gateway whose row is what was signed, and which is in use.

        Raises:
            InputError: the store holds no such gateway, or it is disabled.
            TamperingError: the row is not what was signed, so nothing goes where it leads.
            StoreError: the store could not be read.
        """
        found = self.read_named([name]).gateways.get(name)
        if found is None:
            raise InputError(f"the store holds no gateway named {name}", fix="see `reconciler status`")
        if not found.gateway.enabled:
            raise InputError(f"{name} is disabled", fix="enable it in its manifest, and apply that")
        if (evidence := finding(found, self.signatures)) is not None:
            raise TamperingError(
                f"nothing is sent to where the row of {name} leads: {SAYINGS[evidence]}",
                fix="see `reconciler drift`; `reconciler apply` writes the reviewed row back",
            )
        return self.examiner.lookup(found, reviewed.get(name))

    def drift(self) -> tuple[tuple[Drifted, ...], int]:
        """Return our rows that are not as they were applied, and how many rows are ours.

        Raises:
            StoreError: the store could not be read.
        """
        live, owner = self.store.read(), self.terms.owner
        ours = sum(found.stamp is not None and found.stamp.owner == owner for found in live.gateways.values())
        return drifted(live, self.signatures, owner), ours

    def standings(
        self, conditions: Mapping[str, Sequence[Condition]], sightings: Mapping[str, Sighting], now: datetime
    ) -> tuple[Standing, ...]:
        """Return where every gateway of the store stands: what was observed, and what can be seen in its row now.

        Raises:
            StoreError: the store could not be read.
        """
        return tuple(
            self.examiner.standing(found, conditions.get(name, ()), sightings.get(name), now)
            for name, found in self.store.read().gateways.items()
        )

    def preflight(self, changes: Sequence[Change], desired: DesiredState, prober: Prober) -> dict[str, Held]:
        """Return what speaks against changes that may only be made once their upstream was looked at, by name.

        An upstream that does not work with what the store holds now cannot be made worse, and is not held.
        """
        required = [change for change in changes if is_required(change, policy_of(desired, change.name))]
        rows = [self._row_after(change, desired) for change in required]
        seen = _probe_changes(required, rows, desired, prober)
        held: dict[str, Held] = {}
        for change, row in zip(required, rows, strict=True):
            policy, observation = policy_of(desired, change.name), seen[change.name]
            excused = row != change.after and _asks(observation) and not puts_back_on(change, policy)
            if not excused and (found := objection(change, policy, observation)) is not None:
                held[change.name] = found
        works = self._working([change for change in required if change.name in held], desired, prober)
        return {name: each for name, each in held.items() if works.get(name, True)}

    def _working(self, changes: Sequence[Change], desired: DesiredState, prober: Prober) -> dict[str, bool]:
        """Return whether upstreams work with the rows that are there, by name, as far as those are enabled.

        One that asks for credentials which were withheld works.
        """
        known = [(change, change.before) for change in changes if change.before and change.before.gateway.enabled]
        rows = [self.examiner.presentable(found, desired.gateways.get(change.name)) for change, found in known]
        seen = _probe_changes([change for change, _ in known], rows, desired, prober)
        return {
            change.name: seen[change.name].ok or (row != found.gateway and _asks(seen[change.name]))
            for (change, found), row in zip(known, rows, strict=True)
        }

    def _row_after(self, change: Change, desired: DesiredState) -> Gateway | None:
        """Return the row that a change makes. A pre-image does not say where secrets may go, so git has to."""
        if change.after is None or change.reason is not Reason.ROLLED_BACK:
            return change.after
        found = LiveGateway(change.after, change.signature, change.stamp, "")
        return self.examiner.presentable(found, desired.gateways.get(change.name))

    def _write(self, changes: Sequence[Change], audit: Audit, on_error: OnError) -> list[Outcome]:
        """Return one outcome per change, in order. Without transactions, what can do least harm goes first."""
        if Feature.ATOMIC in self.store.features:
            return self.store.apply(changes, audit)
        outcomes: dict[str, Outcome] = {}
        culprit = ""
        for change in sorted(changes, key=lambda each: _LEAST_HARM_FIRST.index(each.action)):
            if culprit and on_error == "abort":
                why = f"not tried, because `{culprit}` could not be written"
                outcomes[change.name] = Outcome(change.name, change.action, "skipped", why)
                continue
            outcomes[change.name] = outcome = self._write_one(change, audit, first=not outcomes)
            culprit = culprit or (change.name if outcome.status != "applied" else "")
        return [outcomes[change.name] for change in changes]

    def _write_one(self, change: Change, audit: Audit, *, first: bool) -> Outcome:
        try:
            (outcome,) = self.store.apply([change], audit)
        except StoreError as error:
            if first:
                raise
            return Outcome(change.name, change.action, "failed", error.in_one_line())
        return outcome

    def _look(
        self, plan: Plan, outcomes: Iterable[Outcome], desired: DesiredState, prober: Prober
    ) -> list[Observation]:
        """Return the observations of what was written, and of what a store that connects itself failed to write."""
        looked_at = ("applied",) if Feature.ATOMIC in self.store.features else ("applied", "failed")
        names = {outcome.name for outcome in outcomes if outcome.status in looked_at}
        subjects = [
            (row, policy)
            for change in plan.changes
            if change.name in names and (row := self._row_after(change, desired)) is not None and row.enabled
            if (policy := policy_of(desired, change.name)).mode != "off"
        ]
        return prober(subjects) if subjects else []

    def _canonical(self, desired: DesiredState) -> DesiredState:
        canonical = self.store.canonical
        gateways = {
            name: wanted if (form := canonical(wanted.gateway)) is wanted.gateway else replace(wanted, gateway=form)
            for name, wanted in desired.gateways.items()
        }
        return replace(desired, gateways=gateways)


def _suspended(desired: DesiredState, now: datetime) -> dict[str, Suspension]:
    asleep = ((name, wanted.suspended(now)) for name, wanted in desired.gateways.items())
    return {name: suspension for name, suspension in asleep if suspension is not None}


def _content(store: CaKeeper, reference: CaReference) -> bytes | str:
    try:
        return store.ca_certificates(reference)
    except InputError as error:
        return str(error)


def _asks(seen: Observation) -> bool:
    """Return whether an upstream wants credentials, which is all that is to be learnt without them."""
    return seen.mcp is not None and seen.mcp.reason in ("Unauthorized", "Forbidden")


def _probe_changes(
    changes: Sequence[Change], gateways: Sequence[Gateway | None], desired: DesiredState, prober: Prober
) -> dict[str, Observation]:
    subjects = [
        (gateway, policy_of(desired, change.name))
        for change, gateway in zip(changes, gateways, strict=True)
        if gateway is not None
    ]
    return {observation.name: observation for observation in prober(subjects)} if subjects else {}
