"""SQLite files of ours: created, opened, brought to our schema, and their errors translated.

It knows how we use SQLite and nothing of what is stored. A file is ours when its `application_id` says so; one of
another program is refused, never touched. No `sqlite3.Error` leaves `errors_of`.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import StoreBusyError, StoreError
from reconciler.tables import obey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from reconciler.core.lease import Fence

APPLICATION_ID: Final = 0x52434E43
"""`RCNC`: what https://sqlite.org/pragma.html#pragma_application_id is for."""

BUSY_SECONDS: Final = 5.0
LENGTH_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of the longest value, and of the longest row, that is written or read."""

_OPENING = ("PRAGMA foreign_keys = ON", "PRAGMA synchronous = FULL", "PRAGMA trusted_schema = OFF")

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_EXPLAINED: Final = {
    sqlite3.SQLITE_NOTADB: ("is not an SQLite database", "name another file, or restore this one"),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "restore it from a backup; `sqlite3 FILE .recover` saves what it can"),
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "free some space; nothing of this write was kept"),
    sqlite3.SQLITE_READONLY: (
        "may not be written",
        "check who owns the file and its directory; SQLite writes beside the file even to read it",
    ),
    sqlite3.SQLITE_PERM: ("may not be opened", "check who owns the file and its directory"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check that the file and its directory may be read and written"),
    sqlite3.SQLITE_IOERR: ("cannot be read or written: the disk failed", "look at the system's log"),
    sqlite3.SQLITE_TOOBIG: (
        f"holds, or would hold, more than {LENGTH_LIMIT} bytes in one row",
        "shorten that row, or leave it out",
    ),
}


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn what goes wrong with the database at `path` into ours.

    Raises:
        StoreBusyError: another writer kept it locked for longer than `BUSY_SECONDS`.
        StoreError: anything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(path, error) from error
    except UnicodeEncodeError as error:
        raise StoreError(f"{path} cannot hold text that is not Unicode (a lone surrogate)") from error
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror or error}", fix="check the path, and who owns its directory"
        ) from error


def _explained(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        message = f"another process has been writing {path} for more than {BUSY_SECONDS:.0f} seconds"
        return StoreBusyError(message, fix="try again; if it stays so, look for a run that hangs")
    said, fix = _EXPLAINED.get(code, (f"did not do as it was told: {error}", ""))
    return StoreError(f"{path} {said}", fix=fix)


def open_database(
    path: Path, prepare: Callable[[sqlite3.Connection], object], *, create: bool
) -> sqlite3.Connection | None:
    """Return a connection to our database at `path`, or None when there is none there yet and none may be created.

    `prepare` brings the tables that the caller needs. A file that is created can be read by its owner alone. Whoever
    calls this does so inside `errors_of`, and sees to it that one thread at a time uses the connection.

    Raises:
        StoreError: the file is not a database, or another program's.
    """
    if create:
        _create(path)
    elif not path.exists():
        return None
    with ExitStack() as undo:
        connection = _connect(path)
        undo.callback(connection.close)
        _configure(connection)
        if not _is_ours(connection, path):
            if not create:
                return None
            with transaction(connection):
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        if create:
            _prefer_wal(connection)
        prepare(connection)
        undo.pop_all()
        return connection


def _create(path: Path) -> None:
    """Create the file, or what a link at `path` leads to, unless it exists.

    One that exists is not even opened: closing it again would drop the locks that other connections of this process
    hold (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _connect(path: Path) -> sqlite3.Connection:
    """Connect by URI: SQLite then creates no file of its own, with a mode of its own, and no name is special to it."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)


def _configure(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LENGTH_LIMIT)
    for statement in _OPENING:
        connection.execute(statement)


def _prefer_wal(connection: sqlite3.Connection) -> None:
    """Let readers and the writer not wait for each other.

    The switch does not wait for others who use the file just then. It is kept in the file, and without it everything is
    as safe, so that the next one to open the file may make it.
    """
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file carries our mark; an empty file is nobody's.

    The tables are looked at first: whoever creates the file at this moment sets the mark before any table.

    Raises:
        StoreError: it is another program's.
    """
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' LIMIT 4")]
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION_ID:
        return True
    if mark or tables:
        held = f"; it holds the tables {', '.join(tables)}" if tables else ""
        raise StoreError(
            f"{path} is the database of another program{held}",
            fix="name a file of its own; the database of a running ContextForge is reached through its API",
        )
    return False


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the one write lock from the first statement to the last; whatever is raised inside undoes everything."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]]) -> None:
    """Bring the file's schema forward to the last of `steps`, each in a transaction of its own.

    `PRAGMA user_version` counts the steps that were taken. The version is read again under the lock, so that two
    processes that open a new file at once do not both take a step.

    Raises:
        StoreError: the file was written by a newer version.
    """
    while (version := schema_version(connection)) < len(steps):
        with transaction(connection):
            if schema_version(connection) != version:
                continue
            for statement in steps[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
    if version > len(steps):
        raise StoreError(
            f"{path} has schema version {version}; this version of reconciler knows up to {len(steps)}",
            fix="use the newer version of reconciler that wrote it",
        )


def create_missing(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    """Carry out those `CREATE … IF NOT EXISTS NAME` whose name is not there: to look costs one statement for all."""
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for statement in statements:
        if statement.split()[5] not in present:
            connection.execute(statement)


def schema_version(connection: sqlite3.Connection) -> int:
    """Return how many steps the file's schema has taken."""
    with closing(connection.execute("PRAGMA user_version")) as cursor:
        return int(cursor.fetchone()[0])


class SqliteTables:
    """Tables in one of our files; without a connection, in a file that does not exist yet and reads as empty."""

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self._path = path
        self._connection = connection

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all that a statement finds."""
        return [] if self._connection is None else self._connection.execute(statement, values).fetchall()

    @contextmanager
    def writing(self, fence: Fence | None = None) -> Iterator[sqlite3.Connection]:
        """Hold a transaction, or go on with the one that is held; whatever is raised inside undoes everything.

        Raises:
            LeaseHeldError: the lease of the fence is another's by now.
            StoreBusyError: another writer holds the file.
            StoreError: the file cannot be written, or was opened for reading before it was there.
        """
        if self._connection is None:
            raise StoreError(f"{self._path} does not exist, and was opened for reading")
        if self._connection.in_transaction:
            yield self._connection
            return
        with self.errors(), transaction(self._connection):
            obey(self._connection, fence)
            yield self._connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what goes wrong with the file, and what makes no sense in it, into ours."""
        try:
            with errors_of(self._path):
                yield
        except (ValueError, TypeError) as error:
            message = f"{self._path}: the journal holds what no version of it wrote: {error}"
            raise StoreError(message, fix="drop its tables `reconciler_conditions`, …: no gateway is lost") from error

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with errors_of(self._path):
                self._connection.close()
