"""What happened, kept beside an SQLite store or in a file of its own: conditions, what was last seen, and applies.

It records and decides nothing, and losing it loses no gateway. Its tables only ever gain columns that have defaults; a
table whose meaning changes gets another name, so that older and newer versions can share a file.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.conditions import Condition, carried_over
from reconciler.database import errors_of, open_database, transaction
from reconciler.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS reconciler_conditions (
        gateway           TEXT NOT NULL,
        type              TEXT NOT NULL,
        status            TEXT NOT NULL CHECK (status IN ('True', 'False', 'Unknown')),
        reason            TEXT NOT NULL,
        message           TEXT NOT NULL,
        observed_revision TEXT NOT NULL,
        since             TEXT NOT NULL,
        PRIMARY KEY (gateway, type)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reconciler_observations (
        gateway        TEXT NOT NULL PRIMARY KEY,
        verified_at    TEXT NOT NULL,
        ready          INTEGER NOT NULL,
        tools          INTEGER NOT NULL,
        leaf_not_after TEXT
    ) WITHOUT ROWID
    """,
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
)

_CONDITION: Final = "type, status, reason, message, observed_revision, since"
_OBSERVATION: Final = "gateway, verified_at, ready, tools, leaf_not_after"
_APPLY: Final = "started_at, finished_at, actor, revision, dirty, store, applied, refused, failed, skipped"

_CONDITIONS_OF: Final = f"SELECT {_CONDITION} FROM reconciler_conditions WHERE gateway = ?"  # noqa: S608 - columns
_CONDITIONS: Final = f"SELECT gateway, {_CONDITION} FROM reconciler_conditions ORDER BY gateway, type"  # noqa: S608 - as above
_ADD_CONDITION: Final = f"INSERT INTO reconciler_conditions (gateway, {_CONDITION}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - as above
_OBSERVATIONS: Final = f"SELECT {_OBSERVATION} FROM reconciler_observations ORDER BY gateway"  # noqa: S608 - as above
_SET_OBSERVATION: Final = f"INSERT OR REPLACE INTO reconciler_observations ({_OBSERVATION}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - as above
_ADD_APPLY: Final = f"INSERT INTO reconciler_applies ({_APPLY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - as above
_LAST_APPLY: Final = f"SELECT {_APPLY} FROM reconciler_applies ORDER BY id DESC LIMIT 1"  # noqa: S608 - as above
_OLD_APPLIES: Final = "DELETE FROM reconciler_applies WHERE id <= (SELECT max(id) FROM reconciler_applies) - ?"
_FORGET_CONDITIONS: Final = "DELETE FROM reconciler_conditions WHERE gateway = ?"
_FORGET_OBSERVATIONS: Final = "DELETE FROM reconciler_observations WHERE gateway = ?"

KEPT_APPLIES: Final = 1000


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the last look at an upstream found. `tools` counts them; without TLS there is no `leaf_not_after`."""

    verified_at: datetime
    ready: bool
    tools: int
    leaf_not_after: datetime | None


@dataclass(frozen=True, slots=True)
class ApplyRecord:
    """One apply: who, when, of which revision, to which store, and how many outcomes of each kind.

    `store` is the URL as it may be shown, without credentials.
    """

    started_at: datetime
    finished_at: datetime
    actor: str
    revision: str
    dirty: bool
    store: str
    applied: int = 0
    refused: int = 0
    failed: int = 0
    skipped: int = 0


class Journal:
    """The journal in an SQLite file; without a connection, in a file that does not exist yet and reads as empty.

    Every method raises StoreBusyError when another writer holds the file, and StoreError when it cannot be used.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self._path = path
        self._connection = connection

    def record_conditions(self, conditions: Mapping[str, Sequence[Condition]]) -> None:
        """Replace the conditions of the named gateways; each keeps its `since` unless its status flipped."""
        with self._writing() as connection:
            rows = [row for name, new in conditions.items() for row in _carried(connection, name, new)]
            connection.executemany(_FORGET_CONDITIONS, ((name,) for name in conditions))
            connection.executemany(_ADD_CONDITION, rows)

    def conditions(self) -> dict[str, tuple[Condition, ...]]:
        """Return the conditions of every gateway, by name, each gateway's in the order of their types."""
        found: dict[str, list[Condition]] = {}
        with self._errors():
            for name, *row in self._rows(_CONDITIONS):
                found.setdefault(name, []).append(_condition(row))
        return {name: tuple(conditions) for name, conditions in found.items()}

    def record_observations(self, sightings: Mapping[str, Sighting]) -> None:
        """Replace what was last seen of the named gateways."""
        with self._writing() as connection:
            connection.executemany(_SET_OBSERVATION, (_sighting_row(name, seen) for name, seen in sightings.items()))

    def observations(self) -> dict[str, Sighting]:
        """Return what was last seen of each gateway, by name."""
        with self._errors():
            return {name: _sighting(*row) for name, *row in self._rows(_OBSERVATIONS)}

    def record_apply(self, record: ApplyRecord) -> None:
        """Add an apply; the last `KEPT_APPLIES` are kept."""
        started, finished, *rest = astuple(record)
        with self._writing() as connection:
            connection.execute(_ADD_APPLY, (started.isoformat(), finished.isoformat(), *rest))
            connection.execute(_OLD_APPLIES, (KEPT_APPLIES,))

    def last_apply(self) -> ApplyRecord | None:
        """Return the last apply, or None before the first."""
        with self._errors():
            for started, finished, actor, revision, dirty, *rest in self._rows(_LAST_APPLY):
                times = datetime.fromisoformat(started), datetime.fromisoformat(finished)
                return ApplyRecord(*times, actor, revision, bool(dirty), *rest)
        return None

    def forget(self, names: Iterable[str]) -> None:
        """Drop what is kept of gateways that are no more."""
        gone = [(name,) for name in names]
        with self._writing() as connection:
            connection.executemany(_FORGET_CONDITIONS, gone)
            connection.executemany(_FORGET_OBSERVATIONS, gone)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with errors_of(self._path):
                self._connection.close()

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        return [] if self._connection is None else self._connection.execute(statement).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            raise StoreError(f"{self._path} does not exist, and was opened for reading")
        with self._errors(), transaction(self._connection):
            yield self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with errors_of(self._path):
                yield
        except (ValueError, TypeError) as error:
            message = f"{self._path}: the journal holds what no version of it wrote: {error}"
            raise StoreError(message, fix="drop its tables `reconciler_conditions`, …: no gateway is lost") from error


def open_journal(path: Path, *, create: bool) -> Journal:
    """Return the journal in the file at `path`, which may be that of an SQLite store.

    Without `create`, a file that does not exist reads as empty, and stays away.

    Raises:
        StoreError: the file is not a database, or another program's.
    """
    with errors_of(path):
        return Journal(path, open_database(path, _create_tables, create=create))


def _create_tables(connection: sqlite3.Connection) -> None:
    for statement in _TABLES:
        connection.execute(statement)


def _carried(connection: sqlite3.Connection, name: str, new: Sequence[Condition]) -> Iterator[tuple[str, ...]]:
    previous = {row[0]: _condition(row) for row in connection.execute(_CONDITIONS_OF, (name,))}
    for condition in new:
        kept = carried_over(previous.get(condition.type), condition)
        yield name, kept.type, kept.status, kept.reason, kept.message, kept.observed_revision, kept.since.isoformat()


def _condition(row: Sequence[Any]) -> Condition:
    kind, status, reason, message, revision, since = row
    return Condition(kind, status, reason, message, revision, datetime.fromisoformat(since))


def _sighting_row(name: str, seen: Sighting) -> tuple[object, ...]:
    leaf = seen.leaf_not_after.isoformat() if seen.leaf_not_after else None
    return name, seen.verified_at.isoformat(), seen.ready, seen.tools, leaf


def _sighting(verified_at: str, ready: int, tools: int, leaf_not_after: str | None) -> Sighting:
    leaf = datetime.fromisoformat(leaf_not_after) if leaf_not_after else None
    return Sighting(datetime.fromisoformat(verified_at), bool(ready), tools, leaf)
