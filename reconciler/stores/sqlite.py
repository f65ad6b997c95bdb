"""The embedded store: one SQLite file, one transaction per apply, durable when apply returns.

It does not decide what to change. A row's token is a digest of all of its columns and its stamp's, so that edits made
with other tools are noticed too.
"""

from __future__ import annotations

import marshal
import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from reconciler.core.model import Feature, LiveState
from reconciler.database import errors_of, migrate, open_database, transaction
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.stores import sqlite_path
from reconciler.stores.obstacles import failures, obstacles, outcomes
from reconciler.stores.rows import live_gateway, slug, text_of, token
from reconciler.stores.schema import STEPS
from reconciler.stores.writing import NAME, READ, write
from reconciler.tables import obey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from reconciler.core.model import Audit, Change, Gateway, LiveGateway, Outcome
    from reconciler.stores.access import Access
    from reconciler.stores.rows import Row

T = TypeVar("T")

_ASKED_AT_ONCE: Final = 500

_READ_ALL: Final = f"{READ} ORDER BY name"
_READ_NAMED: Final = f"{READ} WHERE name IN"
_HOLDERS_OF_SLUGS: Final = "SELECT slug, name FROM gateways WHERE slug IN"


class SqliteStore:
    """Live state in an SQLite file; without a connection, in a file that does not exist yet."""

    features: ClassVar = frozenset(Feature)

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self._path = path
        self._connection = connection
        self._identity = _identity(path)
        self._version = (-1, -1), ""

    def read(self) -> LiveState:
        """Return everything the file holds, by name, in the order of the names."""
        if self._connection is None:
            return LiveState({})
        with errors_of(self._path):
            found = _whatever_the_bytes(self._connection, _read_all)
        return LiveState({live.gateway.name: live for live in found})

    def read_named(self, names: Collection[str]) -> LiveState:
        """Return the rows of these names, and nothing of those that are not there."""
        if self._connection is None:
            return LiveState({})
        with errors_of(self._path):
            found = _whatever_the_bytes(self._connection, lambda opened: _where(opened, _READ_NAMED, sorted(names)))
        shared: dict[str, str] = {}
        return LiveState({row[NAME]: live_gateway(row, shared) for row in found})

    def version(self) -> str:
        """Return a digest of all rows, made anew whenever anybody has written to the file, be it to other tables.

        It costs a fraction of `read`, and nothing where SQLite's counts of others' and of our own writes stand still.

        Raises:
            StoreError: the file was taken away, or another one stands in its place.
        """
        if self._connection is None:
            return ""
        with errors_of(self._path):
            if self._identity != _identity(self._path):
                raise StoreError(
                    f"{self._path} was replaced by another file", fix="it is opened again by the next pass"
                )
            (others,) = self._connection.execute("PRAGMA data_version").fetchone()
            writes = others, self._connection.total_changes
            if self._version[0] != writes:
                self._version = writes, _whatever_the_bytes(self._connection, _digest)
            return self._version[1]

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        """Carry all of the changes out, or none of them, in one transaction.

        When the database fails at a change, that one has failed, and the others are skipped.

        Raises:
            LeaseHeldError: the lease of the audit's fence is another's by now.
            StoreBusyError: another writer holds the file.
            StoreError: the database failed before the first change, or after the last.
        """
        if self._connection is None:
            raise StoreError(f"{self._path} does not exist, and was opened for reading")
        at_hand: list[Change] = []
        try:
            with errors_of(self._path), transaction(self._connection):
                obey(self._connection, audit.fence)
                held, reasons = _met(self._connection, changes)
                if not any(reasons):
                    write(self._connection, changes, held, audit, at_hand)
        except StoreBusyError:
            raise
        except StoreError as error:
            if not at_hand:
                raise
            return failures(changes, at_hand[0].name, error.in_one_line())
        return outcomes(changes, reasons)

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return the gateway: every canonical one comes back as it is."""
        return gateway

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with errors_of(self._path):
                self._connection.close()


def open_sqlite(url: str, *, create: bool, access: Access | None = None) -> SqliteStore:  # noqa: ARG001 - it is a file
    """Return the store in the file that `url` names.

    Raises:
        InputError: it names no file.
        StoreError: the file is not a database, not ours, or newer than this program.
    """
    path = sqlite_path(url)
    if path is None:
        raise InputError("the store's URL does not begin with `sqlite:`")
    with errors_of(path):
        connection = open_database(path, lambda opened: migrate(opened, path, STEPS), create=create)
    return SqliteStore(path, connection)


def _digest(connection: sqlite3.Connection) -> str:
    state = sha256()
    for row in connection.execute(_READ_ALL):
        state.update(marshal.dumps(row, 2))  # a fixed format without references: equal rows are equal bytes
    return state.hexdigest()


def _identity(path: Path) -> tuple[int, int]:
    """Return which file a path leads to; another one there, later, is another store."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def _whatever_the_bytes(connection: sqlite3.Connection, read: Callable[[sqlite3.Connection], T]) -> T:
    """Return what `read` returns. Bytes that are not UTF-8 are shown escaped: what others broke can be seen and healed.

    Decoding them here costs a Python call for every text, so it is done only where there are any.
    """
    try:
        return read(connection)
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode to UTF-8"):
            raise
    connection.text_factory = lambda raw: raw.decode(errors="backslashreplace")
    return read(connection)


def _read_all(connection: sqlite3.Connection) -> list[LiveGateway]:
    shared: dict[str, str] = {}
    return [live_gateway(row, shared) for row in connection.execute(_READ_ALL)]


def _met(connection: sqlite3.Connection, changes: Sequence[Change]) -> tuple[dict[str, Row], list[str]]:
    """Return the rows that the changes are about, by name, and what stands in the way of each change."""
    held = _whatever_the_bytes(connection, lambda opened: _rows_of(opened, changes))
    holders = _whatever_the_bytes(connection, lambda opened: _holders(opened, changes))
    return held, list(obstacles(changes, {name: token(row) for name, row in held.items()}, holders))


def _rows_of(connection: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, Row]:
    """Return the rows by the names under which `read` shows them.

    A name that others broke (a blob, bytes that are not UTF-8) equals no text, so it is looked for among all of them.
    """
    names = dict.fromkeys(name for change in changes for name in (change.name, change.held_as))
    held = {row[NAME]: row for row in _where(connection, _READ_NAMED, list(names))}
    lost = {change.held_as for change in changes if change.before is not None} - held.keys()
    if lost:
        held.update((name, row) for row in connection.execute(READ) if (name := text_of(row[NAME])) in lost)
    return held


def _holders(connection: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, str]:
    found = _where(connection, _HOLDERS_OF_SLUGS, [slug(change.name) for change in changes])
    return {taken: text_of(name) for taken, name in found}


def _where(connection: sqlite3.Connection, select: str, values: Sequence[str]) -> Iterator[Row]:
    """Yield what `select` finds for the values, asking for many at once."""
    for start in range(0, len(values), _ASKED_AT_ONCE):
        some = values[start : start + _ASKED_AT_ONCE]
        yield from connection.execute(f"{select} ({', '.join('?' * len(some))})", some)
