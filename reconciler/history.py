"""Every apply, kept beside the gateways of an SQL store or in a file: begun before the store is written, ended after.

What has a beginning and no end was interrupted. It records and decides nothing, and losing it loses no gateway. Its
tables only ever gain columns that have defaults; a table whose meaning changes gets another name.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from reconciler.core.canonical import text_digest
from reconciler.core.history import Commit, Entry, State, Step, mark_written, preimage, preimage_document
from reconciler.core.model import Action
from reconciler.database import LENGTH_LIMIT, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.lease import Fence
    from reconciler.core.model import Change, LiveGateway, Outcome
    from reconciler.tables import Session, Tables

TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS reconciler_applies (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        started_at  TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        actor       TEXT NOT NULL,
        revision    TEXT NOT NULL,
        dirty       INTEGER NOT NULL,
        store       TEXT NOT NULL,
        applied     INTEGER NOT NULL,
        refused     INTEGER NOT NULL,
        failed      INTEGER NOT NULL,
        skipped     INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reconciler_changes (
        apply_id INTEGER NOT NULL REFERENCES reconciler_applies (id) ON DELETE CASCADE,
        name     TEXT NOT NULL,
        action   TEXT NOT NULL,
        reason   TEXT NOT NULL,
        held_as  TEXT NOT NULL,
        fields   TEXT NOT NULL,
        written  TEXT NOT NULL,
        before   TEXT,
        bundle   TEXT,
        client   TEXT,
        status   TEXT NOT NULL DEFAULT '',
        why      TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (apply_id, name)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX IF NOT EXISTS reconciler_changes_bundle ON reconciler_changes (bundle) WHERE bundle IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS reconciler_changes_client ON reconciler_changes (client) WHERE client IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS reconciler_texts (digest TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL)",
)
_GAINED: Final = {
    "state": "TEXT NOT NULL DEFAULT 'finished'",
    "via": "TEXT NOT NULL DEFAULT ''",
    "process": "TEXT NOT NULL DEFAULT ''",
    "author": "TEXT NOT NULL DEFAULT ''",
    "commit_signature": "TEXT NOT NULL DEFAULT ''",
    "rollback_of": "INTEGER NOT NULL DEFAULT 0",
    "planned": "INTEGER NOT NULL DEFAULT 0",
    "problem": "TEXT NOT NULL DEFAULT ''",
}
"""The columns that `reconciler_applies` gained since its first version, in that order."""

STEPS: Final = (
    TABLES,
    *((f"ALTER TABLE reconciler_applies ADD COLUMN {name} {kind}",) for name, kind in _GAINED.items()),
)
"""How PostgreSQL came to the tables of today."""

_BEGINNING: Final = (
    "started_at", "finished_at", "actor", "via", "process", "revision", "dirty", "author", "commit_signature", "store",
    "rollback_of", "planned", "state", "applied", "refused", "failed", "skipped",
)  # fmt: skip
_CHANGE: Final = ("name", "action", "reason", "held_as", "fields", "written", "before", "bundle", "client")
_ENTRY: Final = """id, started_at, finished_at,
    actor, via, process, revision, author, commit_signature, store, state, problem,
    rollback_of, planned, applied, refused, failed, skipped, dirty"""
_ENDED: Final = ("finished", "failed")

# Words between the quotes below are names of columns; values are always bound.
_COLUMNS: Final = "SELECT name FROM pragma_table_info('reconciler_applies')"
_BEGIN: Final = f"""
INSERT INTO reconciler_applies ({", ".join(_BEGINNING)}) VALUES ({", ".join("?" * len(_BEGINNING))}) RETURNING id
"""  # noqa: S608
_ADD_CHANGE: Final = f"""
INSERT INTO reconciler_changes (apply_id, {", ".join(_CHANGE)}) VALUES ({", ".join("?" * (len(_CHANGE) + 1))})
"""  # noqa: S608
_ADD_TEXT: Final = "INSERT INTO reconciler_texts (digest, text) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"
_END: Final = """
UPDATE reconciler_applies
SET state = ?, finished_at = ?, problem = ?, planned = ?, applied = ?, refused = ?, failed = ?, skipped = ?
WHERE id = ? AND state <> 'finished'
"""
_SET_OUTCOME: Final = """
INSERT INTO reconciler_changes (apply_id, name, action, reason, held_as, fields, written, status, why)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (apply_id, name) DO UPDATE SET status = excluded.status, why = excluded.why
"""
_UNENDED: Final = "SELECT id, process FROM reconciler_applies WHERE state = 'started'"
_INTERRUPTED: Final = "UPDATE reconciler_applies SET state = 'interrupted' WHERE id = ?"
_NEWEST: Final = f"SELECT {_ENTRY} FROM reconciler_applies ORDER BY id DESC LIMIT ?"  # noqa: S608
_ONE: Final = f"SELECT {_ENTRY} FROM reconciler_applies WHERE id = ?"  # noqa: S608
_LAST: Final = f"SELECT {_ENTRY} FROM reconciler_applies WHERE state = 'finished' ORDER BY id DESC LIMIT 1"  # noqa: S608
_STEPS: Final = """
SELECT name, action, reason, held_as, fields, written, status, why, before
FROM reconciler_changes WHERE apply_id = ? ORDER BY name
"""
_TEXTS: Final = """
SELECT digest, text FROM reconciler_texts WHERE digest IN (
    SELECT bundle FROM reconciler_changes WHERE apply_id = ? UNION
    SELECT client FROM reconciler_changes WHERE apply_id = ?
)
"""
_NAMED_BY_OLD: Final = """
SELECT bundle FROM reconciler_changes WHERE apply_id <= ? AND bundle IS NOT NULL UNION
SELECT client FROM reconciler_changes WHERE apply_id <= ? AND client IS NOT NULL
"""
_DROP_APPLIES: Final = "DELETE FROM reconciler_applies WHERE id <= ?"
_DROP_TEXT: Final = """
DELETE FROM reconciler_texts WHERE digest = ?
AND NOT EXISTS (SELECT 1 FROM reconciler_changes WHERE bundle = digest)
AND NOT EXISTS (SELECT 1 FROM reconciler_changes WHERE client = digest)
"""

_LONGEST: Final = LENGTH_LIMIT - 4096
"""Bytes of the longest text that is kept; a row can hold one that has no room in a row of ours."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class History:
    """The applies in tables of ours. With a `fence`, nothing is written once its lease is another's.

    Every method raises StoreBusyError when another writer holds them, and StoreError when they cannot be used.
    """

    def __init__(self, tables: Tables, fence: Fence | None = None) -> None:
        self._tables = tables
        self._fence = fence

    def begin(self, entry: Entry, changes: Sequence[Change], keep: int) -> tuple[int, tuple[int, ...]]:
        """Record that these changes are about to be made; the last `keep` applies are kept, this one included.

        Returns its id, and the ids of those that were found to have been interrupted.
        """
        started = entry.started_at.isoformat()
        commit = entry.commit
        values = (
            started, started, entry.actor, entry.via, entry.process, commit.revision, int(commit.dirty), commit.author,
            commit.signature, entry.store, entry.rollback_of, len(changes), "started", 0, 0, 0, 0,
        )  # fmt: skip
        with self._tables.writing(self._fence) as connection:
            interrupted = tuple(_interrupted(connection))
            connection.executemany(_INTERRUPTED, ((number,) for number in interrupted))
            ((number,),) = connection.execute(_BEGIN, values).fetchall()
            connection.executemany(_ADD_TEXT, _texts(changes).items())
            connection.executemany(_ADD_CHANGE, ((number, *_change_row(change)) for change in changes))
            _drop_old(connection, number - keep)
        return number, interrupted

    def finish(
        self, number: int, finished_at: datetime, changes: Sequence[Change], outcomes: Sequence[Outcome]
    ) -> None:
        """Record what became of each change, those included that were held before the apply began."""
        counts = Counter(outcome.status for outcome in outcomes)
        figures = (len(changes), *(counts[status] for status in ("applied", "refused", "failed", "skipped")))
        troubled = (
            (number, *_change_row(change, keep=False)[:6], outcome.status, outcome.reason)
            for change, outcome in zip(changes, outcomes, strict=True)
            if outcome.status != "applied" or outcome.reason
        )
        with self._tables.writing(self._fence) as connection:
            connection.execute(_END, ("finished", finished_at.isoformat(), "", *figures, number))
            connection.executemany(_SET_OUTCOME, troubled)

    def fail(self, number: int, finished_at: datetime, planned: int, problem: str) -> None:
        """Record that an apply ended without an outcome for each change, and why."""
        with self._tables.writing(self._fence) as connection:
            connection.execute(_END, ("failed", finished_at.isoformat(), problem, planned, 0, 0, 0, 0, number))

    def entries(self, limit: int) -> list[Entry]:
        """Return the newest applies, the newest first, without their steps."""
        with self._tables.errors():
            return [_entry(row) for row in self._tables.rows(_NEWEST, (limit,))]

    def entry(self, number: int) -> Entry | None:
        """Return one apply with its steps, or None when there is none of that id."""
        with self._tables.errors():
            for row in self._tables.rows(_ONE, (number,)):
                entry = _entry(row)
                texts = {name: text for name, text in self._tables.rows(_TEXTS, (number, number)) if _is_of(name, text)}
                rows = self._tables.rows(_STEPS, (number,))
                return replace(entry, steps=tuple(_step(row, entry.state, texts) for row in rows))
        return None

    def last_apply(self) -> Entry | None:
        """Return the last apply that came to its end, or None before the first."""
        with self._tables.errors():
            return next(map(_entry, self._tables.rows(_LAST)), None)


def this_process() -> str:
    """Return what names this process among all machines: `host:pid`."""
    return f"{os.uname().nodename}:{os.getpid()}"


def bring_forward(connection: sqlite3.Connection) -> None:
    """Give the tables in an SQLite file the columns that they gained."""
    if _lacking(connection):
        with transaction(connection):
            for column in _lacking(connection):
                connection.execute(f"ALTER TABLE reconciler_applies ADD COLUMN {column} {_GAINED[column]}")


def _lacking(connection: sqlite3.Connection) -> list[str]:
    present = {name for (name,) in connection.execute(_COLUMNS)}
    return [column for column in _GAINED if column not in present]


def _interrupted(connection: Session) -> Iterator[int]:
    """Yield the ids of applies that have no end, and whose process is not known to run."""
    for number, process in connection.execute(_UNENDED).fetchall():
        if _state_of("started", process) != "running":
            yield number


def _state_of(state: State, process: str) -> State:
    """Return the state as it can be told from here: a process of this machine runs, or it does not."""
    host, _, pid = process.rpartition(":")
    if state != "started" or host != os.uname().nodename:
        return state
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return "interrupted"
    except PermissionError:
        pass
    return "running"


def _change_row(change: Change, *, keep: bool = True) -> tuple[object, ...]:
    before = change.before if keep else None
    kept = _kept(before) if before is not None else (None, None, None)
    fields = " ".join(change.fields)
    return change.name, change.action, change.reason, change.held_as, fields, mark_written(change), *kept


def _kept(before: LiveGateway) -> tuple[str | None, str | None, str | None]:
    """Return the pre-image and the digests of its texts; nothing of a row that is too long to be kept."""
    bundle, client = before.gateway.ca_certificate, before.gateway.client_certificate
    content = _encode(preimage_document(before))
    if not all(map(_fits, (content, bundle, client))):
        return None, None, None
    return content, text_digest(bundle) or None, text_digest(client) or None


def _fits(text: str) -> bool:
    return len(text) * 4 <= _LONGEST or len(text.encode()) <= _LONGEST


def _texts(changes: Iterable[Change]) -> dict[str, str]:
    """Return the PEM texts of the pre-images, by digest."""
    rows = [change.before.gateway for change in changes if change.before is not None]
    distinct = {text for row in rows for text in (row.ca_certificate, row.client_certificate) if text}
    return {text_digest(text): text for text in distinct if _fits(text)}


def _drop_old(connection: Session, last: int) -> None:
    """Drop the applies up to `last`, and the texts that nothing names any more."""
    if last <= 0:
        return
    named = connection.execute(_NAMED_BY_OLD, (last, last)).fetchall()
    connection.execute(_DROP_APPLIES, (last,))
    connection.executemany(_DROP_TEXT, ((name,) for (name,) in named))


def _entry(row: Sequence[Any]) -> Entry:
    number, started, finished, *texts, rollback_of, planned, applied, refused, failed, skipped, dirty = row
    actor, via, process, revision, author, signature, store, state, problem = map(str, texts)
    if state not in get_args(State):
        raise ValueError(f"the state {state[:20]!r}")
    return Entry(
        started_at=datetime.fromisoformat(started),
        actor=actor,
        via=via,
        process=process,
        commit=Commit(revision, bool(dirty), author, signature),
        store=store,
        rollback_of=int(rollback_of),
        id=number,
        state=_state_of(cast("State", state), process),
        finished_at=datetime.fromisoformat(finished) if state in _ENDED else None,
        planned=int(planned),
        applied=int(applied),
        refused=int(refused),
        failed=int(failed),
        skipped=int(skipped),
        problem=problem,
    )


def _step(row: Sequence[Any], state: State, texts: Mapping[str, str]) -> Step:
    *words, before = row
    name, action, reason, held_as, fields, written, status, why = map(str, words)
    return Step(
        name=name,
        action=Action(action),
        reason=reason,
        held_as=held_as,
        fields=tuple(fields.split()),
        written=written,
        before=_preimage(before, texts),
        status=status or ("applied" if state == "finished" else ""),
        why=why,
    )


def _preimage(content: str | None, texts: Mapping[str, str]) -> LiveGateway | None:
    """Return the pre-image, or None where there is none that can be read: one bad row must not hide the others."""
    if content is None:
        return None
    try:
        return preimage(json.loads(content), texts)
    except (ValueError, RecursionError):
        return None


def _is_of(name: str, text: object) -> bool:
    return isinstance(text, str) and text_digest(text) == name
