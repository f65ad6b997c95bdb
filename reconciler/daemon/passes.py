"""Passes over one target: read, plan, guard, write, and say what is left to do.

It runs in its worker's thread and waits for nothing but the store: upstreams are looked at elsewhere, and what may only
be written once its upstream was found to work is handed back. A pass over some gateways asks the store for these rows
alone; only a pass over all of them deletes.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from reconciler.core.model import Action, LiveState, Reason
from reconciler.core.preflight import is_required
from reconciler.core.safety import judge
from reconciler.core.verification import policy_of
from reconciler.daemon.events import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from reconciler.books import Books
    from reconciler.core.lease import Fence
    from reconciler.core.model import Change, DesiredState, Outcome
    from reconciler.core.planning import Plan
    from reconciler.core.verification import Verified
    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Notices
    from reconciler.daemon.register import Register
    from reconciler.engine import Engine
    from reconciler.settings import Settings

Extent = Literal["everything", "what git changed", "nothing"]
"""How much of a plan is written: where drift is only reported, a pass that only looks for it writes nothing."""

_HEALING = (Reason.DRIFT, Reason.TAMPERING)
_NAMED_AT_MOST = 1000
"""From here on reading all rows is no dearer than asking for some."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a pass did: the names it wrote, the changes that wait for a look at their upstream, and what failed and why.

    `refused` says which guard stopped it; nothing was written then.
    """

    applied: tuple[str, ...] = ()
    to_probe: tuple[Change, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    left: int = 0


class Passes:
    """The passes over one target. The store is opened by the first one, and anew after anything went wrong."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        clock: Callable[[], datetime],
        board: Board,
        notices: Notices,
        register: Register,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._clock = clock
        self._board = board
        self._notices = notices
        self._register = register
        self._opened = ExitStack()
        self._engine: Engine | None = None
        self._books: Books | None = None
        self._keys_hold_until: datetime | None = None
        self._version = ""
        self._target = settings.target.name

    def engine(self) -> Engine:
        """Return the engine, opened for writing; what the journal kept is remembered the first time.

        Once the window of a trusted key opens or ends, it is opened anew, with the keys that are in force then.

        Raises:
            ReconcilerError: the store or the key cannot be used.
        """
        if self._keys_hold_until is not None and self._clock() >= self._keys_hold_until:
            self.close()
        if self._engine is None:
            from reconciler.books import books_of
            from reconciler.composition import build_engine
            from reconciler.core.signing import Keyring

            self._keys_hold_until = Keyring(self._settings.trusted_keys).changes_after(self._clock())
            opening = build_engine(self._settings, self._environ, write=True, clock=self._clock)
            self._engine = self._opened.enter_context(opening)
            opening_books = books_of(self._settings, create=True, environ=self._environ)
            self._books = self._opened.enter_context(opening_books)
            if self._books is not None and not self._register.names:
                journal = self._books.journal
                self._register.remember(journal.conditions(), journal.observations())
        return self._engine

    def close(self) -> None:
        """Close the store. The next pass opens it again."""
        self._engine, self._books, self._version = None, None, ""
        self._opened.close()

    def unchanged(self) -> bool:
        """Return whether the store holds for certain what the last whole pass left alone.

        Raises:
            ReconcilerError: the store is not what it was.
        """
        return bool(self._version) and self.engine().version() == self._version

    def whole(self, desired: DesiredState, extent: Extent, fence: Fence | None) -> Done:
        """Make a pass over every gateway.

        Raises:
            ReconcilerError: the store could not be read or written, or cannot hold what a manifest needs.
        """
        engine = self.engine()
        version = engine.version()
        live = engine.store.read()
        plan = engine.plan_against(live, desired)
        done = self._carry_out(engine, plan, desired, extent, fence)
        at_rest = not (done.applied or done.to_probe or done.failed or done.refused or done.left)
        self._version = version if at_rest and not plan.suspended else ""
        self._reread(engine, desired, done.applied, live)
        return done

    def some(self, desired: DesiredState, names: frozenset[str], fence: Fence | None) -> Done:
        """Make a pass over the named gateways, all of which git describes.

        Raises:
            ReconcilerError: as above.
        """
        engine = self.engine()
        engine = replace(engine, terms=replace(engine.terms, only=names))
        live = engine.read_named(names)
        wanted = replace(desired, gateways={name: desired.gateways[name] for name in names if name in desired.gateways})
        plan = replace(engine.plan_against(live, wanted), existing=self._register.owned, desired=len(desired.gateways))
        done = self._carry_out(engine, plan, desired, "everything", fence)
        if done.to_probe or done.failed or done.refused or done.left:
            self._version = ""
        self._register.read(engine, live.gateways, desired, asked=names)
        self._reread(engine, desired, done.applied, None)
        return done

    def write(self, changes: Sequence[Change], desired: DesiredState, fence: Fence | None) -> Done:
        """Write changes whose upstreams were found to work with them, unless their rows changed meanwhile.

        Raises:
            ReconcilerError: the store could not be written.
        """
        engine = self.engine()
        done = self._written(engine, _part(_nothing_else(desired, self._register.owned), changes), desired, fence)
        self._reread(engine, desired, done.applied, None)
        return done

    def record(self, verified: Sequence[Verified], fence: Fence | None) -> None:
        """Write down what was seen of upstreams.

        Raises:
            ReconcilerError: the store could not be opened, or what is written down beside it cannot be written.
        """
        from reconciler.recording import record_verified

        self.engine()
        if self._books is not None:
            record_verified(self._books.under(fence), verified, self._clock())

    def _carry_out(
        self, engine: Engine, plan: Plan, desired: DesiredState, extent: Extent, fence: Fence | None
    ) -> Done:
        changes = [change for change in plan.changes if _permitted(change, extent)]
        left = len(plan.changes) - len(changes)
        plan = _part(plan, changes)
        if refused := "; ".join(verdict.message for verdict in judge(plan, engine.limits) if not verdict.passed):
            return Done(refused=refused, left=len(changes))
        to_probe = tuple(change for change in changes if is_required(change, policy_of(desired, change.name)))
        waiting = {change.name for change in to_probe}
        free = [change for change in changes if change.name not in waiting]
        done = self._written(engine, _part(plan, free), desired, fence)
        return replace(done, to_probe=to_probe, left=left + len(plan.conflicts))

    def _written(self, engine: Engine, plan: Plan, desired: DesiredState, fence: Fence | None) -> Done:
        from reconciler.composition import audit
        from reconciler.recording import Recorder

        if not plan.changes:
            return Done()
        by = replace(audit(self._environ, self._clock()), fence=fence)
        books = self._books.under(fence) if self._books is not None else None
        recorded = Recorder(self._settings, engine, self._clock, by, books).apply(plan, desired, None)
        outcomes = recorded.result.outcomes
        self._tell(plan, outcomes)
        return Done(
            applied=tuple(each.name for each in outcomes if each.status == "applied"),
            failed={each.name: each.reason or each.status for each in outcomes if each.status != "applied"},
        )

    def _tell(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        """Count what was done, and tell it: healed rows one by one, everything else in one sentence."""
        changes = {change.name: change for change in plan.changes}
        applied = [changes[outcome.name] for outcome in outcomes if outcome.status == "applied"]
        for outcome in outcomes:
            self._board.count(
                "reconciler_changes_total", target=self._target, action=outcome.action, outcome=outcome.status
            )
        for change in applied:
            if change.reason in _HEALING:
                self._board.count("reconciler_healed_total", target=self._target, reason=change.reason)
                reason = "TamperingHealed" if change.reason is Reason.TAMPERING else "DriftHealed"
                fields = ", ".join(change.fields) or "its signature"
                message = f"somebody changed {fields} in the store; the row is again what git says"
                self._notices.happened(Subject(self._target, change.name), reason, message, plan.revision)
        if applied:
            counts = {action: sum(change.action is action for change in applied) for action in Action}
            said = ", ".join(f"{count} {action}d" for action, count in counts.items() if count)
            self._notices.happened(Subject(self._target), "Applied", said, plan.revision)

    def _reread(self, engine: Engine, desired: DesiredState, applied: Sequence[str], live: LiveState | None) -> None:
        """See what the store holds after a write; without one, what was read before still holds."""
        if applied and (live is not None or len(applied) > _NAMED_AT_MOST):
            live = engine.store.read()
        if live is not None:
            self._register.read(engine, live.gateways, desired, asked=None)
        elif applied:
            self._register.read(engine, engine.read_named(applied).gateways, desired, asked=applied)


def _permitted(change: Change, extent: Extent) -> bool:
    return extent == "everything" or (extent == "what git changed" and change.reason not in _HEALING)


def _part(plan: Plan, changes: Sequence[Change]) -> Plan:
    """Return the plan with some of its changes only. Its guards go on to count what exists."""
    from reconciler.core.planning import checksum

    return replace(plan, changes=tuple(changes), checksum=checksum(changes))


def _nothing_else(desired: DesiredState, existing: int) -> Plan:
    from reconciler.core.planning import Plan

    count = len(desired.gateways)
    return Plan((), (), (), (), (), count, existing, count, desired.revision, desired.dirty, "")
