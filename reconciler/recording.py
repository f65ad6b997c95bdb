"""Writes down what a run did and saw, in the books of its store."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.books import books_of
from reconciler.errors import StoreError
from reconciler.settings import shown_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from reconciler.books import Books
    from reconciler.core.conditions import Condition
    from reconciler.core.history import Commit, Entry
    from reconciler.core.model import Audit, Change, DesiredState, Outcome
    from reconciler.core.planning import Plan
    from reconciler.core.result import Result
    from reconciler.core.verification import Verified
    from reconciler.engine import Engine, OnError, Prober
    from reconciler.journal import Journal, Sighting
    from reconciler.ledger import Ledger
    from reconciler.settings import Settings


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an apply did, the id of its entry (0: nothing was recorded), and which earlier ones were interrupted."""

    result: Result
    id: int = 0
    interrupted: tuple[int, ...] = ()


class Recorder:
    """Carries one plan out, and writes it down: that it begins before the store is written, then what it did.

    What a guard refuses, and what changes nothing, is not written down. It is the engine's witness. The `books` are
    opened for it, unless they are open already.
    """

    def __init__(
        self, settings: Settings, engine: Engine, clock: Callable[[], datetime], by: Audit, books: Books | None = None
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._by = by
        self._books = books
        self._rollback_of = 0
        self._id = 0
        self._interrupted: tuple[int, ...] = ()
        self._signed: set[str] = set()
        self._undo = ExitStack()

    def apply(
        self,
        plan: Plan,
        desired: DesiredState,
        prober: Prober | None,
        *,
        on_error: OnError = "continue",
        rollback_of: int = 0,
    ) -> Recorded:
        """Carry the plan out as the engine does.

        Raises:
            StoreError: the beginning could not be recorded, and nothing was written; or the store failed, or the end
                could not be recorded.
        """
        self._rollback_of = rollback_of
        with self._undo:
            try:
                result = self._engine.apply(plan, desired, self._by, prober, on_error=on_error, witness=self)
            except StoreError as error:
                self._fail(plan, error)
                raise
            if result.observations and (books := self._opened()) is not None:
                record_verified(books, self._engine.examiner.examined_changes(result, desired), self._clock())
        return Recorded(result, self._id, self._interrupted)

    def begin(self, plan: Plan, changes: Sequence[Change]) -> None:
        """Write down that these changes are about to be made, and what the rows are now."""
        books = self._opened() if self._settings.history_keep else None
        if books is None:
            return
        from reconciler.core.history import Entry
        from reconciler.history import this_process

        entry = Entry(
            started_at=self._by.at,
            actor=self._by.actor,
            via=self._by.via,
            process=this_process(),
            commit=_commit(self._settings, plan),
            store=shown_store(self._settings.target.store),
            rollback_of=self._rollback_of,
        )
        key_id = self._engine.signatures.key_id
        with books.writing():
            self._id, self._interrupted = books.history.begin(entry, changes, self._settings.history_keep)
            if key_id and changes:
                books.ledger.begin(self._id, self._by.at, changes, key_id)
                self._signed = {change.name for change in changes}

    def end(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        """Write down what became of each change."""
        if (books := self._opened()) is None:
            return
        if not self._id:
            self.begin(plan, ())
        with books.writing():
            if self._id:
                books.history.finish(self._id, self._clock(), plan.changes, outcomes)
            self._note_signed(books.ledger, plan, outcomes)
            self._note_conditions(books.journal, plan, outcomes)

    def _opened(self) -> Books | None:
        """Return the books, opened by the first who writes into them."""
        if self._books is None:
            self._books = self._undo.enter_context(books_of(self._settings, create=True, fence=self._by.fence))
        return self._books

    def _note_signed(self, ledger: Ledger, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        both = zip(plan.changes, outcomes, strict=True)
        made = [(change, outcome) for change, outcome in both if change.name in self._signed]
        if made:
            ledger.finish(self._id, self._clock(), [change for change, _ in made], [outcome for _, outcome in made])

    def _fail(self, plan: Plan, error: StoreError) -> None:
        if self._books is None or not self._id:
            return
        # Where the history cannot be written any more, the entry stays without an end, and the first error is told.
        with suppress(StoreError):
            self._books.history.fail(self._id, self._clock(), len(plan.changes), str(error))

    def _note_conditions(self, journal: Journal, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        from reconciler.core.model import Action
        from reconciler.core.verification import synced

        revisions = {each.name: each.stamp.revision if each.stamp else plan.revision for each in plan.changes}
        applied = {each.name for each in outcomes if each.status == "applied"}
        lost = (each for each in plan.changes if each.name in applied)
        gone = [each.held_as for each in lost if each.action is Action.DELETE or each.held_as != each.name]
        journal.record_conditions({each.name: (synced(each, revisions[each.name], self._by.at),) for each in outcomes})
        if gone:
            journal.forget(gone)


def _commit(settings: Settings, plan: Plan) -> Commit:
    from reconciler.core.history import Commit
    from reconciler.sources.git import authorship

    commit = plan.revision.rpartition(":")[2]
    author, signature = authorship(settings.root, commit) if commit else ("", "")
    return Commit(plan.revision, plan.dirty, author, signature)


def read_entry(settings: Settings, number: int) -> Entry | None:
    """Return one apply of the store with its steps, or None when there is none of that id."""
    with books_of(settings, create=False) as books:
        return books.history.entry(number) if books is not None else None


def record_verified(books: Books, results: Sequence[Verified], now: datetime) -> None:
    """Write down what verification found of the gateways that were looked at; what is known besides is kept."""
    from reconciler.core.verification import verified_conditions

    seen = {each.name: each.observation for each in results if each.observation is not None}
    if not seen:
        return
    with books.writing():
        known = books.journal.conditions_of(seen)
        found = {each.name: verified_conditions(each, now) for each in results if each.name in seen}
        books.journal.record_conditions({name: _merged(known.get(name, ()), new) for name, new in found.items()})
        books.journal.record_observations(sightings(results, now))


def seen_tools(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the names of the tools that were last seen behind each gateway of the store, as far as that is known."""
    with suppress(StoreError), books_of(settings, create=False) as books:
        return books.journal.tools() if books is not None else {}
    return {}


def other_tools(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """Return what the last look said of those gateways, of the named ones, whose tools were not the reviewed ones."""
    with suppress(StoreError), books_of(settings, create=False) as books:
        found = books.journal.conditions_of(names) if books is not None else {}
        said = ((name, each) for name, known in found.items() for each in known if each.type == "ToolsMatch")
        return {name: each.message for name, each in said if each.status == "False"}
    return {}


def sightings(results: Sequence[Verified], now: datetime) -> dict[str, Sighting]:
    """Return what was seen of those upstreams that were looked at, by name."""
    from reconciler.journal import Sighting

    return {
        each.name: Sighting(
            verified_at=now,
            ready=each.observation.ok,
            tools=len(each.observation.mcp.tools) if each.observation.mcp else 0,
            leaf_not_after=each.observation.tls.chain[0].not_after
            if each.observation.tls and each.observation.tls.chain
            else None,
            names=each.observation.mcp.tool_names
            if each.observation.mcp and each.observation.mcp.tools_known
            else None,
        )
        for each in results
        if each.observation is not None
    }


def _merged(known: Sequence[Condition], new: Sequence[Condition]) -> tuple[Condition, ...]:
    """Return what is known with what is new; what was observed before and is not any more is over."""
    from reconciler.core.verification import OBSERVED

    types = {*OBSERVED, *(condition.type for condition in new)}
    return (*(condition for condition in known if condition.type not in types), *new)
