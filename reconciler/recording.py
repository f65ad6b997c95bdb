"""Writes down what a run did and saw: the journal and the history of a settings' store, and what goes into them.

They lie in the file of an SQLite store; for other stores in `.reconciler/` beside the manifests, which is made by the
first run that writes. Reading makes nothing.
"""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.errors import StoreError
from reconciler.settings import shown_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.core.conditions import Condition
    from reconciler.core.history import Commit, Entry
    from reconciler.core.model import Audit, Change, DesiredState, Outcome
    from reconciler.core.planning import Plan
    from reconciler.core.verification import Verified
    from reconciler.engine import Engine, OnError, Prober, Result
    from reconciler.history import History
    from reconciler.journal import Journal
    from reconciler.settings import Settings

DIRECTORY: Final = ".reconciler"


@contextmanager
def journal_of(settings: Settings, *, create: bool) -> Iterator[Journal | None]:
    """Yield the journal of the store, or None where a store has none."""
    from reconciler.journal import open_journal

    path = _file_of(settings, create=create)
    if path is None:
        yield None
        return
    with closing(open_journal(path, create=create)) as journal:
        yield journal


@contextmanager
def history_of(settings: Settings, *, create: bool) -> Iterator[History | None]:
    """Yield the history of the store, or None where a store has none."""
    from reconciler.history import open_history

    path = _file_of(settings, create=create)
    if path is None:
        yield None
        return
    with closing(open_history(path, create=create)) as history:
        yield history


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
        record_verified(self._settings, self._engine.examined_changes(result), self._clock())
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
        with history_of(self._settings, create=True) as history:
            if history is not None:
                self._id, self._interrupted = history.begin(entry, changes, self._settings.history_keep)

    def end(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        """Write down what became of each change."""
        if not self._id:
            self.begin(plan, ())
        if self._id:
            with history_of(self._settings, create=True) as history:
                if history is not None:
                    history.finish(self._id, self._clock(), plan.changes, outcomes)
        self._note_conditions(plan, outcomes)

    def _fail(self, plan: Plan, error: StoreError) -> None:
        if not self._id:
            return
        # Where the history cannot be written any more, the entry stays without an end, and the first error is told.
        with suppress(StoreError), history_of(self._settings, create=True) as history:
            if history is not None:
                history.fail(self._id, self._clock(), len(plan.changes), str(error))

    def _note_conditions(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        from reconciler.core.model import Action
        from reconciler.core.verification import synced

        revisions = {each.name: each.stamp.revision if each.stamp else plan.revision for each in plan.changes}
        applied = {each.name for each in outcomes if each.status == "applied"}
        lost = (each for each in plan.changes if each.name in applied)
        gone = [each.held_as for each in lost if each.action is Action.DELETE or each.held_as != each.name]
        with journal_of(self._settings, create=True) as journal:
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


def record_verified(settings: Settings, results: Sequence[Verified], now: datetime) -> None:
    """Write down what verification found of the gateways that were looked at; what is known besides is kept."""
    from reconciler.core.verification import verified_conditions
    from reconciler.journal import Sighting

    seen = {each.name: each.observation for each in results if each.observation is not None}
    if not seen:
        return
    with journal_of(settings, create=True) as journal:
        if journal is None:
            return
        known = journal.conditions()
        found = {each.name: verified_conditions(each, now) for each in results if each.name in seen}
        journal.record_conditions({name: _merged(known.get(name, ()), new) for name, new in found.items()})
        journal.record_observations(
            {
                name: Sighting(
                    verified_at=now,
                    ready=observation.ok,
                    tools=len(observation.mcp.tools) if observation.mcp else 0,
                    leaf_not_after=observation.tls.chain[0].not_after
                    if observation.tls and observation.tls.chain
                    else None,
                )
                for name, observation in seen.items()
            }
        )


def _merged(known: Sequence[Condition], new: Sequence[Condition]) -> tuple[Condition, ...]:
    types = {condition.type for condition in new}
    return (*(condition for condition in known if condition.type not in types), *new)
