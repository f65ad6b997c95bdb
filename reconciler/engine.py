"""One pass: plan, guard, preflight, apply, verify. The only place that orders the steps.

It knows ports, never a concrete store, the environment or the terminal. It decides nothing about what a change means
(`core.planning` does) and nothing about when to run (its caller does).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from reconciler.core import planning, safety
from reconciler.core.conditions import carried_over
from reconciler.core.drift import drifted
from reconciler.core.features import lacking
from reconciler.core.model import Action, Auth, Feature, Outcome, VerifyPolicy
from reconciler.core.problems import ProblemsError
from reconciler.core.signing import SignatureStatus, sign_bundle
from reconciler.core.verification import OBSERVED, Standing, Verified, ready, row_synced, trusted
from reconciler.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Condition
    from reconciler.core.drift import Drifted
    from reconciler.core.model import Audit, Change, DesiredGateway, DesiredState, Gateway, LiveGateway
    from reconciler.core.observation import Observation
    from reconciler.core.planning import Plan, Terms
    from reconciler.core.ports import Signer, Store
    from reconciler.core.safety import Limits, Verdict
    from reconciler.core.signing import Keyring
    from reconciler.core.verification import BundleState
    from reconciler.journal import Sighting


OnError = Literal["abort", "continue"]
"""What becomes of the other changes when one fails, in a store without transactions."""

_LEAST_HARM_FIRST: Final = (Action.UPDATE, Action.DELETE, Action.CREATE)
"""A delete may free the URL or the name that a create needs."""

_DEFAULT_POLICY: Final = VerifyPolicy()


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


def signatures(signer: Signer | None, keyring: Keyring) -> planning.Signatures:
    """Return what planning needs to know of signatures; each distinct bundle is signed and each signature checked once.

    Without a signer and without trusted keys nothing can be checked, and nothing is called tampering.
    """

    @cache
    def expected(text: str) -> str:
        return sign_bundle(signer, text) if text and signer is not None else ""

    @cache
    def genuine(text: str, signature: str) -> bool:
        if signer is not None and signature == expected(text):
            return True
        return keyring.verdict(text, signature).status in (SignatureStatus.VALID, SignatureStatus.UNKNOWN)

    def current(text: str, signature: str) -> bool:
        return signer is None or signature == expected(text)

    return planning.Signatures(expected, genuine, current)


@dataclass(frozen=True, slots=True)
class Engine:
    """A store and everything a pass over it needs."""

    store: Store
    kind: str
    signatures: planning.Signatures
    keyring: Keyring
    terms: Terms
    limits: Limits

    def plan(self, desired: DesiredState) -> Plan:
        """Return what would have to be done for the store to hold `desired`.

        Raises:
            ProblemsError: a manifest needs what this store cannot hold.
            StoreError: the store could not be read.
        """
        if problems := list(lacking(desired, self.store.features, self.kind)):
            raise ProblemsError(problems)
        renames = Feature.RENAME in self.store.features
        return planning.plan(self._canonical(desired), self.store.read(), self.signatures, self.terms, renames=renames)

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
        held = self._preflight(plan, desired, prober) if prober else {}
        let_through = [change for change in plan.changes if change.name not in held]
        if witness is not None and let_through:
            witness.begin(plan, let_through)
        written = iter(self._write(let_through, audit, on_error))
        outcomes = tuple(
            _held(change, held[change.name]) if change.name in held else next(written) for change in plan.changes
        )
        if witness is not None and outcomes:
            witness.end(plan, outcomes)
        observations = [*held.values(), *_look(plan, outcomes, desired, prober)] if prober else []
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
        policies = {name: wanted.verify for name, wanted in reviewed.items()}
        excuses = [self._excuse(found, policies) for found in chosen]
        subjects = [
            (
                self._presentable(found, reviewed.get(found.gateway.name)),
                policies.get(found.gateway.name, _DEFAULT_POLICY),
            )
            for found, excuse in zip(chosen, excuses, strict=True)
            if not excuse
        ]
        seen = {observation.name: observation for observation in prober(subjects)}
        return tuple(
            self._examined(
                found.gateway,
                found.signature,
                found.stamp.revision if found.stamp else "",
                seen.get(found.gateway.name),
                excuse,
            )
            for found, excuse in zip(chosen, excuses, strict=True)
        )

    def examined_changes(self, result: Result) -> tuple[Verified, ...]:
        """Return what is known of the gateways that an apply looked at, as it wrote or would have written them."""
        changes = {change.name: change for change in result.plan.changes}
        return tuple(
            self._examined(change.after, change.signature, result.plan.revision, observation)
            for observation in result.observations
            if (change := changes[observation.name]).after is not None
        )

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
            self._standing(found, conditions.get(name, ()), sightings.get(name), now)
            for name, found in self.store.read().gateways.items()
        )

    def _standing(
        self, found: LiveGateway, known: Sequence[Condition], sighting: Sighting | None, now: datetime
    ) -> Standing:
        from reconciler.core.pem import read_pem

        gateway, stamp = found.gateway, found.stamp
        revision = stamp.revision if stamp else ""
        verified = self._examined(gateway, found.signature, revision, None)
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
            certificates=read_pem("store.pem", gateway.ca_certificate.encode()).certificates,
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

    def _excuse(self, found: LiveGateway, policies: Mapping[str, VerifyPolicy]) -> str:
        if not found.gateway.enabled:
            return "not looked at: it is disabled"
        if policies.get(found.gateway.name, _DEFAULT_POLICY).mode == "off":
            return "not looked at: verify.mode is off"
        return ""

    def _presentable(self, found: LiveGateway, reviewed: DesiredGateway | None) -> Gateway:
        """Return the row, without its credentials unless git sends them there, over a connection that git trusts."""
        row = found.gateway
        if reviewed is not None and _same_destination(row, reviewed.gateway):
            verdict = self.keyring.verdict(row.ca_certificate, found.signature)
            if row.ca_certificate == reviewed.gateway.ca_certificate or verdict.status is SignatureStatus.VALID:
                return row
        return replace(row, auth=Auth(), client_certificate="", client_key=None)

    def _preflight(self, plan: Plan, desired: DesiredState, prober: Prober) -> dict[str, Observation]:
        """Return the observations of those required upstreams that would not work with what is about to be written.

        An upstream that does not work with what the store holds now cannot be made worse, and is not held.
        """
        required = [change for change in plan.changes if _is_required(change, desired)]
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

    def _canonical(self, desired: DesiredState) -> DesiredState:
        canonical = self.store.canonical
        gateways = {
            name: wanted if (form := canonical(wanted.gateway)) is wanted.gateway else replace(wanted, gateway=form)
            for name, wanted in desired.gateways.items()
        }
        return replace(desired, gateways=gateways)


def _same_destination(row: Gateway, reviewed: Gateway) -> bool:
    return (row.url, row.auth, row.client_key) == (reviewed.url, reviewed.auth, reviewed.client_key)


def _worked(before: Observation, *, withheld: bool) -> bool:
    """Return whether an upstream works as it is; one that asks for the credentials that were withheld does."""
    asks = before.mcp is not None and before.mcp.reason in ("Unauthorized", "Forbidden")
    return before.ok or (withheld and asks)


def _is_required(change: Change, desired: DesiredState) -> bool:
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


def _look(
    plan: Plan, outcomes: Iterable[Outcome], desired: DesiredState, prober: Callable[..., list[Observation]]
) -> list[Observation]:
    written = {outcome.name for outcome in outcomes if outcome.status == "applied"}
    subjects = [
        (change.after, policy)
        for change in plan.changes
        if change.name in written and change.after is not None and change.after.enabled
        if (policy := desired.gateways[change.name].verify).mode != "off"
    ]
    return prober(subjects) if subjects else []
