"""One pass: plan, guard, preflight, apply, verify. The only place that orders the steps.

It knows ports, never a concrete store, the environment or the terminal. It decides nothing about what a change means
(`core.planning` does) and nothing about when to run (its caller does).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from reconciler.clock import now
from reconciler.core import planning, safety
from reconciler.core.ca_references import references, resolved
from reconciler.core.conditions import carried_over
from reconciler.core.drift import drifted
from reconciler.core.features import lacking
from reconciler.core.model import Action, Auth, Feature, LiveState, Outcome, VerifyPolicy, Waited
from reconciler.core.ports import CaKeeper, Incremental, Remote, Serving, ToolCaller
from reconciler.core.problems import ProblemsError, has_errors
from reconciler.core.records import Records, RecordStatus
from reconciler.core.signing import SignatureStatus, sign_bundle
from reconciler.core.tampering import SAYINGS, finding
from reconciler.core.verification import OBSERVED, Standing, Verified, ready, row_synced, trusted
from reconciler.errors import InputError, StoreError, TamperingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Condition
    from reconciler.core.drift import Drifted
    from reconciler.core.model import (
        Audit,
        CaReference,
        Certificate,
        Change,
        DesiredGateway,
        DesiredState,
        Gateway,
        LiveGateway,
        Served,
        ToolCall,
    )
    from reconciler.core.observation import Observation
    from reconciler.core.planning import Plan, Terms
    from reconciler.core.ports import Signer, Store
    from reconciler.core.records import Ledger, Memory
    from reconciler.core.safety import Limits, Verdict
    from reconciler.core.signing import Keyring
    from reconciler.core.verification import BundleState
    from reconciler.journal import Sighting


OnError = Literal["abort", "continue"]
"""What becomes of the other changes when one fails, in a store without transactions."""

_LEAST_HARM_FIRST: Final = (Action.UPDATE, Action.DELETE, Action.CREATE)
"""A delete may free the URL or the name that a create needs."""

_DEFAULT_POLICY: Final = VerifyPolicy()
_REMEMBERED: Final = 16_384
"""Signatures and certificates are looked at once; what runs for months may not remember all it ever saw."""


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
class Lookup:
    """One row to look at, and how: `row` has credentials only where git sends them, `excuse` says why not at all."""

    found: LiveGateway
    row: Gateway
    policy: VerifyPolicy
    excuse: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What an apply did. `outcomes` has exactly one entry per change of the plan, in order.

    `verdicts` are the guards'; when one did not pass, nothing was written and `outcomes` is empty. `observations` are
    of the upstreams that were looked at, before (held changes) or after.
    """

    plan: Plan
    verdicts: tuple[Verdict, ...]
    outcomes: tuple[Outcome, ...] = ()
    observations: tuple[Observation, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a guard stopped the whole apply."""
        return not all(verdict.passed for verdict in self.verdicts)

    def count(self, status: str) -> int:
        """Return how many outcomes have this status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def signatures(
    signer: Signer | None, keyring: Keyring, memory: Memory | None = None, ledger: Ledger | None = None
) -> planning.Signatures:
    """Return what planning needs to know of signatures; each distinct bundle is signed and each signature checked once.

    `memory` has the rows whose records need not be verified again, and `ledger` what was signed before. Without a
    signer and without trusted keys nothing can be checked, and nothing is called tampering.
    """
    records = Records(signer, keyring, memory, ledger)

    @lru_cache(maxsize=_REMEMBERED)
    def expected(text: str) -> str:
        return sign_bundle(signer, text) if text and signer is not None else ""

    @lru_cache(maxsize=_REMEMBERED)
    def genuine(text: str, signature: str) -> bool:
        if signer is not None and signature == expected(text):
            return True
        return keyring.verdict(text, signature).status in (SignatureStatus.VALID, SignatureStatus.UNKNOWN)

    def current(text: str, signature: str) -> bool:
        return signer is None or signature == expected(text)

    return planning.Signatures(
        expected,
        genuine,
        current,
        record=records.sign,
        standing=records.status,
        signed_before=lambda: records.signed_before,
        written=records.note,
        key_id=records.key_id,
    )


@dataclass(frozen=True, slots=True)
class Engine:
    """A store and everything a pass over it needs."""

    store: Store
    kind: str
    signatures: planning.Signatures
    keyring: Keyring
    terms: Terms
    limits: Limits
    clock: Callable[[], datetime] = now

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
        desired = self._with_references(desired)
        renames = Feature.RENAME in self.store.features
        return planning.plan(self._canonical(desired), live, self.signatures, self.terms, renames=renames)

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

        A change to a gateway with `verify.mode: required` is probed before anything is written, and held when it would
        not work. Without a prober nothing is looked at. A store without transactions is written gateway by gateway, and
        `on_error` says what becomes of the others when one fails. The `witness` hears of it once that is decided.
        """
        verdicts = safety.judge(plan, self.limits)
        if not all(verdict.passed for verdict in verdicts):
            return Result(plan, verdicts)
        held = self.preflight(plan.changes, desired, prober) if prober else {}
        let_through = [change for change in plan.changes if change.name not in held]
        if witness is not None and let_through:
            witness.begin(plan, let_through)
        written = iter(self._write(let_through, audit, on_error))
        outcomes = tuple(
            _held(change, held[change.name]) if change.name in held else next(written) for change in plan.changes
        )
        for change, outcome in zip(plan.changes, outcomes, strict=True):
            if outcome.status == "applied":
                self.signatures.written(change)
        if witness is not None and outcomes:
            witness.end(plan, outcomes)
        observations = [*held.values(), *self._look(plan, outcomes, desired, prober)] if prober else []
        return Result(plan, verdicts, outcomes, tuple(observations))

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
        lookups = [self.lookup(found, reviewed.get(found.gateway.name)) for found in chosen]
        subjects = [(lookup.row, lookup.policy) for lookup in lookups if not lookup.excuse]
        seen = {observation.name: observation for observation in prober(subjects)}
        return tuple(self.examined(lookup, seen.get(lookup.found.gateway.name)) for lookup in lookups)

    def lookup(self, found: LiveGateway, reviewed: DesiredGateway | None) -> Lookup:
        """Return how to look at a row, of which git says `reviewed`.

        One that was taken off because of its tools is looked at as well: that is how it comes back.
        """
        policy = reviewed.verify if reviewed is not None else _DEFAULT_POLICY
        taken_off = reviewed is not None and reviewed.gateway.enabled and policy.on_tools_change == "disable"
        excuse = "" if taken_off and policy.mode != "off" else _excuse(found, policy)
        return Lookup(found, self._presentable(found, reviewed), policy, excuse)

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
        return self.lookup(found, reviewed.get(name))

    def examined(self, lookup: Lookup, observation: Observation | None) -> Verified:
        """Return what is known of a row after it was looked at, or was not."""
        found = lookup.found
        revision = found.stamp.revision if found.stamp else ""
        seen = self._examined(found.gateway, found.signature, revision, observation, lookup.excuse)
        return replace(seen, policy=lookup.policy, record=self._record_of(found))

    def examined_changes(self, result: Result, desired: DesiredState) -> tuple[Verified, ...]:
        """Return what is known of the gateways that an apply looked at, as it wrote or would have written them."""
        changes = {change.name: change for change in result.plan.changes}
        seen = (
            self._examined(change.after, change.signature, result.plan.revision, observation)
            for observation in result.observations
            if (change := changes[observation.name]).after is not None
        )
        return tuple(replace(each, policy=desired.gateways[each.name].verify) for each in seen)

    def tool_caller(self) -> ToolCaller:
        """Return the store as one that calls tools.

        Raises:
            InputError: there is no platform behind it that does.
        """
        if isinstance(self.store, ToolCaller):
            return self.store
        raise InputError(f"a {self.kind} store calls no tools", fix="leave out --prove-with")

    def call_tool(self, result: Result, tool: str) -> tuple[ToolCall, ...]:
        """Return what came of calling `tool`, through the platform, of each gateway that an apply wrote and left on.

        Raises:
            InputError: there is no platform behind the store that does.
        """
        caller = self.tool_caller()
        written = {outcome.name for outcome in result.outcomes if outcome.status == "applied"}
        return tuple(
            caller.call_tool(change.name, tool)
            for change in result.plan.changes
            if change.name in written and change.after is not None and change.after.enabled
        )

    def broker_reader(self) -> Serving:
        """Return the store as one whose platform takes up what was written in its own time, and can be asked.

        Raises:
            InputError: there is no such platform behind it.
        """
        if isinstance(self.store, Serving):
            return self.store
        raise InputError(f"a {self.kind} store has no broker", fix="leave out --broker")

    def served(self, result: Result) -> tuple[Served, ...]:
        """Return what the platform makes of the gateways that an apply wrote and left on, where it can be asked."""
        if not isinstance(self.store, Serving):
            return ()
        written = {outcome.name for outcome in result.outcomes if outcome.status == "applied"}
        left_on = (change for change in result.plan.changes if change.after is not None and change.after.enabled)
        return self.store.served([change.name for change in left_on if change.name in written])

    def waited(self) -> Waited:
        """Return what the other side of the store's wire took so far, where it has one."""
        return self.store.waited if isinstance(self.store, Remote) else Waited()

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
            self.standing(found, conditions.get(name, ()), sightings.get(name), now)
            for name, found in self.store.read().gateways.items()
        )

    def standing(
        self, found: LiveGateway, known: Sequence[Condition], sighting: Sighting | None, now: datetime
    ) -> Standing:
        """Return where the gateway of a row stands."""
        gateway, stamp = found.gateway, found.stamp
        revision = stamp.revision if stamp else ""
        verified = self._examined(gateway, found.signature, revision, None)
        verified = replace(verified, record=self._record_of(found))
        before = {condition.type: condition for condition in known}
        seen = (row_synced(found, now), trusted(verified, now))
        conditions = [
            *(carried_over(before.get(condition.type), condition) for condition in seen),
            *(before[kind] for kind in OBSERVED if kind in before),
        ]
        return Standing(
            name=gateway.name,
            url=gateway.url,
            enabled=gateway.enabled,
            owner=stamp.owner if stamp else "",
            revision=revision,
            conditions=(ready(conditions, now), *conditions),
            certificates=_certificates(gateway.ca_certificate),
            tools=sighting.tools if sighting else None,
            verified_at=sighting.verified_at if sighting else None,
        )

    def _examined(
        self, gateway: Gateway, signature: str, revision: str, observation: Observation | None, why: str = ""
    ) -> Verified:
        verdict = self.keyring.verdict(gateway.ca_certificate, signature)
        state = verdict.status.value if gateway.ca_certificate or signature else "none"
        return Verified(
            gateway.name, gateway.url, observation, why, cast("BundleState", state), verdict.key_id, revision
        )

    def _record_of(self, found: LiveGateway) -> RecordStatus:
        """Return what is known of the record of a row of ours: whether others sign theirs is for them to know."""
        ours = found.stamp is not None and found.stamp.owner == self.terms.owner
        return self.signatures.standing(found) if ours else RecordStatus.UNKNOWN

    def _presentable(self, found: LiveGateway, reviewed: DesiredGateway | None) -> Gateway:
        """Return the row, without its credentials unless git sends them there, over a connection that git trusts."""
        row = found.gateway
        if reviewed is not None and _same_destination(row, reviewed.gateway):
            verdict = self.keyring.verdict(row.ca_certificate, found.signature)
            if row.ca_certificate == reviewed.gateway.ca_certificate or verdict.status is SignatureStatus.VALID:
                return row
        return replace(row, auth=Auth(), client_certificate="", client_key=None)

    def preflight(self, changes: Sequence[Change], desired: DesiredState, prober: Prober) -> dict[str, Observation]:
        """Return the observations of those required upstreams that would not work with what is about to be written.

        An upstream that does not work with what the store holds now cannot be made worse, and is not held.
        """
        required = [change for change in changes if is_required(change, desired)]
        after = _probe_changes(required, [change.after for change in required], desired, prober)
        failing = [change for change in required if not after[change.name].ok]
        known = [(change, change.before) for change in failing if change.before and change.before.gateway.enabled]
        rows = [self._presentable(found, desired.gateways[change.name]) for change, found in known]
        before = _probe_changes([change for change, _ in known], rows, desired, prober)
        withheld = {change.name for (change, found), row in zip(known, rows, strict=True) if row != found.gateway}
        return {
            change.name: after[change.name]
            for change in failing
            if change.name not in before or _worked(before[change.name], withheld=change.name in withheld)
        }

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
            return Outcome(change.name, change.action, "failed", f"{error}: {error.fix}" if error.fix else str(error))
        return outcome

    def _with_references(self, desired: DesiredState) -> DesiredState:
        """Return the desired state with the CAs that the platform keeps, read anew each time: they change there."""
        wanted = references(desired)
        if not wanted or not isinstance(self.store, CaKeeper):
            return desired
        found = {reference: _content(self.store, reference) for reference in wanted}
        complete = resolved(desired, found, self.clock())
        if has_errors(complete.problems):
            raise ProblemsError(complete.problems)
        return complete

    def _look(
        self, plan: Plan, outcomes: Iterable[Outcome], desired: DesiredState, prober: Prober
    ) -> list[Observation]:
        """Return the observations of what was written, and of what a store that connects itself failed to write."""
        looked_at = ("applied",) if Feature.ATOMIC in self.store.features else ("applied", "failed")
        names = {outcome.name for outcome in outcomes if outcome.status in looked_at}
        subjects = [
            (change.after, policy)
            for change in plan.changes
            if change.name in names and change.after is not None and change.after.enabled
            if (policy := desired.gateways[change.name].verify).mode != "off"
        ]
        return prober(subjects) if subjects else []

    def _canonical(self, desired: DesiredState) -> DesiredState:
        canonical = self.store.canonical
        gateways = {
            name: wanted if (form := canonical(wanted.gateway)) is wanted.gateway else replace(wanted, gateway=form)
            for name, wanted in desired.gateways.items()
        }
        return replace(desired, gateways=gateways)


@lru_cache(maxsize=_REMEMBERED)
def _certificates(text: str) -> tuple[Certificate, ...]:
    from reconciler.core.pem import read_pem

    return tuple(read_pem("store.pem", text.encode()).certificates)


def _excuse(found: LiveGateway, policy: VerifyPolicy) -> str:
    if not found.gateway.enabled:
        return "not looked at: it is disabled"
    return "not looked at: verify.mode is off" if policy.mode == "off" else ""


def _content(store: CaKeeper, reference: CaReference) -> bytes | str:
    try:
        return store.ca_certificates(reference)
    except InputError as error:
        return str(error)


def _same_destination(row: Gateway, reviewed: Gateway) -> bool:
    return (row.url, row.auth, row.client_key) == (reviewed.url, reviewed.auth, reviewed.client_key)


def _worked(before: Observation, *, withheld: bool) -> bool:
    """Return whether an upstream works as it is; one that asks for the credentials that were withheld does."""
    asks = before.mcp is not None and before.mcp.reason in ("Unauthorized", "Forbidden")
    return before.ok or (withheld and asks)


def is_required(change: Change, desired: DesiredState) -> bool:
    """Return whether a change may be written only once its upstream was found to work with it."""
    return (
        change.after is not None
        and change.after.enabled
        and desired.gateways[change.name].verify.mode == "required"
        and (change.action is Action.CREATE or bool(change.fields))
    )


def _probe_changes(
    changes: Sequence[Change], gateways: Sequence[Gateway | None], desired: DesiredState, prober: Prober
) -> dict[str, Observation]:
    subjects = [
        (gateway, desired.gateways[change.name].verify)
        for change, gateway in zip(changes, gateways, strict=True)
        if gateway is not None
    ]
    return {observation.name: observation for observation in prober(subjects)} if subjects else {}


def _held(change: Change, observation: Observation) -> Outcome:
    part = observation.mcp or observation.tls
    why = part.reason if part else "NoAnswer"
    return Outcome(change.name, change.action, "refused", f"held, because the upstream would not work with it ({why})")
