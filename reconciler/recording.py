"""Writes down what a run did and saw: the journal and the history of a settings' store, and what goes into them.

They lie beside the gateways of an SQL store; for other stores in `.reconciler/` beside the manifests, which is made by
the first run that writes. Reading makes nothing.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.errors import StoreError
from reconciler.settings import shown_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.core.conditions import Condition
    from reconciler.core.history import Commit, Entry
    from reconciler.core.lease import Fence
    from reconciler.core.model import Audit, Change, DesiredState, Outcome
    from reconciler.core.planning import Plan
    from reconciler.core.verification import Verified
    from reconciler.engine import Engine, OnError, Prober, Result
    from reconciler.history import History
    from reconciler.journal import Journal, Sighting
    from reconciler.leases import Lease
    from reconciler.ledger import Ledger
    from reconciler.settings import Settings

DIRECTORY: Final = ".reconciler"

_POSTGRESQL: Final = "postgresql:"
_KUBERNETES: Final = "kubernetes:"


@contextmanager
def journal_of(
    settings: Settings, *, create: bool, fence: Fence | None = None, environ: Mapping[str, str] = os.environ
) -> Iterator[Journal | None]:
    """Yield the journal of the store, or None where a store has none.

    With a `fence`, nothing is written once its lease is another's. `environ` has the password of a database.
    """
    from reconciler.journal import open_journal, open_journal_at

    if settings.target.store.startswith(_POSTGRESQL):
        journal = open_journal_at(settings.target.store, environ, create=create, fence=fence)
    elif (path := _file_of(settings, create=create)) is not None:
        journal = open_journal(path, create=create, fence=_local(settings, fence))
    else:
        yield None
        return
    with closing(journal):
        yield journal


@contextmanager
def history_of(
    settings: Settings, *, create: bool, fence: Fence | None = None, environ: Mapping[str, str] = os.environ
) -> Iterator[History | None]:
    """Yield the history of the store, or None where a store has none. It is opened as the journal is."""
    from reconciler.history import open_history, open_history_at

    if settings.target.store.startswith(_POSTGRESQL):
        history = open_history_at(settings.target.store, environ, create=create, fence=fence)
    elif (path := _file_of(settings, create=create)) is not None:
        history = open_history(path, create=create, fence=_local(settings, fence))
    else:
        yield None
        return
    with closing(history):
        yield history


@contextmanager
def ledger_of(
    settings: Settings, *, create: bool, fence: Fence | None = None, environ: Mapping[str, str] = os.environ
) -> Iterator[Ledger | None]:
    """Yield the ledger of the store, or None where a store has none. It is opened as the journal is."""
    from reconciler.ledger import open_ledger, open_ledger_at

    store = settings.target.store
    if not settings.history_keep:
        yield None
        return
    if store.startswith(_POSTGRESQL):
        ledger = open_ledger_at(store, environ, create=create, fence=fence)
    elif (path := _file_of(settings, create=create)) is not None:
        name = "" if store.startswith("sqlite:") else shown_store(store)
        ledger = open_ledger(path, name, create=create, fence=_local(settings, fence))
    else:
        yield None
        return
    with closing(ledger):
        yield ledger


def lease_of(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> Lease | None:
    """Return the lease of the target, or None where a store has no room for one. It is the caller's to close.

    It lies in the cluster of a Kubernetes store, else where the journal does, under the name that the target puts into
    its stamps: targets that share a database have a lease each, and whatever writes for the same target anywhere has
    the same one.

    Raises:
        InputError: there is no usable way into the cluster.
        StoreError: the database cannot be reached.
    """
    from reconciler.history import this_process
    from reconciler.leases.kubernetes import open_kubernetes_lease
    from reconciler.leases.postgresql import open_postgresql_lease
    from reconciler.leases.sqlite import open_sqlite_lease

    name = settings.stamp_owner
    if settings.target.store.startswith(_POSTGRESQL):
        return open_postgresql_lease(settings.target.store, environ, name, this_process())
    if settings.target.store.startswith(_KUBERNETES):
        return open_kubernetes_lease(settings.target.store, environ, name, this_process())
    path = _file_of(settings, create=True)
    return None if path is None else open_sqlite_lease(path, name, this_process())


def _local(settings: Settings, fence: Fence | None) -> Fence | None:
    """Return the fence that a file of this host has to obey: none where the lease is not in it but in a cluster."""
    return None if settings.target.store.startswith(_KUBERNETES) else fence


def _file_of(settings: Settings, *, create: bool) -> Path | None:
    """Return the file that journal and history are in; a store that forgets has none.

    Raises:
        StoreError: its directory cannot be made, or is a link: a repository must not choose what is written to.
    """
    from reconciler.stores import sqlite_path

    target = settings.target
    if (beside := sqlite_path(target.store)) is not None:
        return beside
    if target.store.startswith("memory:") or not settings.history_keep:
        return None
    directory = settings.root / DIRECTORY
    path = directory / f"journal-{target.name}.db"
    if directory.is_symlink() or path.is_symlink():
        raise StoreError(f"{path} is reached through a link", fix="remove the link: the journal is made where it is")
    if create:
        _make_private(directory)
    return path


def _make_private(directory: Path) -> None:
    """Make a directory that its owner alone can read, and that git does not see."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="ascii")
    except OSError as error:
        fix = "let it be written, or set `spec.history.keep: 0` in reconciler.yaml to keep no history"
        raise StoreError(f"{directory} cannot be made: {error.strerror}", fix=fix) from error


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an apply did, the id of its entry (0: nothing was recorded), and which earlier ones were interrupted."""

    result: Result
    id: int = 0
    interrupted: tuple[int, ...] = ()


class Recorder:
    """Carries one plan out, and writes it down: that it begins before the store is written, then what it did.

    What a guard refuses, and what changes nothing, is not written down. It is the engine's witness.
    """

    def __init__(self, settings: Settings, engine: Engine, clock: Callable[[], datetime], by: Audit) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._by = by
        self._rollback_of = 0
        self._id = 0
        self._interrupted: tuple[int, ...] = ()
        self._key_id = engine.signatures.key_id
        self._signed: set[str] = set()

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
        try:
            result = self._engine.apply(plan, desired, self._by, prober, on_error=on_error, witness=self)
        except StoreError as error:
            self._fail(plan, error)
            raise
        record_verified(self._settings, self._engine.examined_changes(result, desired), self._clock(), self._by.fence)
        return Recorded(result, self._id, self._interrupted)

    def begin(self, plan: Plan, changes: Sequence[Change]) -> None:
        """Write down that these changes are about to be made, and what the rows are now."""
        if not self._settings.history_keep:
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
        with history_of(self._settings, create=True, fence=self._by.fence) as history:
            if history is not None:
                self._id, self._interrupted = history.begin(entry, changes, self._settings.history_keep)
        if self._key_id and changes:
            with ledger_of(self._settings, create=True, fence=self._by.fence) as ledger:
                if ledger is not None:
                    ledger.begin(self._id, self._by.at, changes, self._key_id)
                    self._signed = {change.name for change in changes}

    def end(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        """Write down what became of each change."""
        if not self._id:
            self.begin(plan, ())
        if self._id:
            with history_of(self._settings, create=True, fence=self._by.fence) as history:
                if history is not None:
                    history.finish(self._id, self._clock(), plan.changes, outcomes)
        self._note_signed(plan, outcomes)
        self._note_conditions(plan, outcomes)

    def _note_signed(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        if not self._signed:
            return
        both = zip(plan.changes, outcomes, strict=True)
        made = [(change, outcome) for change, outcome in both if change.name in self._signed]
        with ledger_of(self._settings, create=True, fence=self._by.fence) as ledger:
            if ledger is not None:
                changes, ends = [change for change, _ in made], [outcome for _, outcome in made]
                ledger.finish(self._id, self._clock(), changes, ends)

    def _fail(self, plan: Plan, error: StoreError) -> None:
        if not self._id:
            return
        # Where the history cannot be written any more, the entry stays without an end, and the first error is told.
        with suppress(StoreError), history_of(self._settings, create=True, fence=self._by.fence) as history:
            if history is not None:
                history.fail(self._id, self._clock(), len(plan.changes), str(error))

    def _note_conditions(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        from reconciler.core.model import Action
        from reconciler.core.verification import synced

        revisions = {each.name: each.stamp.revision if each.stamp else plan.revision for each in plan.changes}
        applied = {each.name for each in outcomes if each.status == "applied"}
        lost = (each for each in plan.changes if each.name in applied)
        gone = [each.held_as for each in lost if each.action is Action.DELETE or each.held_as != each.name]
        with journal_of(self._settings, create=True, fence=self._by.fence) as journal:
            if journal is not None:
                found = {each.name: (synced(each, revisions[each.name], self._by.at),) for each in outcomes}
                journal.record_conditions(found)
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
    with history_of(settings, create=False) as history:
        return history.entry(number) if history is not None else None


def record_verified(settings: Settings, results: Sequence[Verified], now: datetime, fence: Fence | None = None) -> None:
    """Write down what verification found of the gateways that were looked at; what is known besides is kept."""
    from reconciler.core.verification import verified_conditions

    seen = {each.name: each.observation for each in results if each.observation is not None}
    if not seen:
        return
    with journal_of(settings, create=True, fence=fence) as journal:
        if journal is None:
            return
        known = journal.conditions_of(seen)
        found = {each.name: verified_conditions(each, now) for each in results if each.name in seen}
        journal.record_conditions({name: _merged(known.get(name, ()), new) for name, new in found.items()})
        journal.record_observations(sightings(results, now))


def seen_tools(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return the names of the tools that were last seen behind each gateway of the store, as far as that is known."""
    with suppress(StoreError), journal_of(settings, create=False) as journal:
        return journal.tools() if journal is not None else {}
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
