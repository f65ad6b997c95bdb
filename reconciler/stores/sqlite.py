"""The embedded store: one SQLite file, one transaction per apply, durable when apply returns.

It does not decide what to change. A row's token is a digest of all of its columns and its stamp's, so that edits made
with other tools are noticed too.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar
from uuid import uuid4

from reconciler.core.model import Action, Feature, LiveState
from reconciler.database import errors_of, migrate, open_database, transaction
from reconciler.errors import InputError, StoreError
from reconciler.stores import sqlite_path
from reconciler.stores.obstacles import obstacles, outcomes
from reconciler.stores.rows import BOOKKEEPING, CONTENT, STAMP, content, live_gateway, slug, token
from reconciler.stores.schema import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.core.model import Audit, Change, Gateway, LiveGateway, Outcome
    from reconciler.stores.rows import Row

T = TypeVar("T")

_NAME: Final = CONTENT.index("name")
_ID: Final = len(CONTENT) + BOOKKEEPING.index("id")

_READ: Final = f"""
SELECT {", ".join((*CONTENT, *BOOKKEEPING, *STAMP))}
FROM gateways LEFT JOIN reconciler_stamps ON gateway_id = id
"""  # noqa: S608 - names of columns
_READ_ALL: Final = f"{_READ} ORDER BY name"
_READ_ONE: Final = f"{_READ} WHERE name = ?"
_HOLDER_OF_SLUG: Final = "SELECT name FROM gateways WHERE slug = ?"
_CREATE: Final = f"""
INSERT INTO gateways ({", ".join(CONTENT)}, id, created_at, created_by, created_via)
VALUES ({", ".join("?" for _ in CONTENT)}, ?, ?, ?, ?)
"""  # noqa: S608 - as above
_UPDATE: Final = f"""
UPDATE gateways
SET {", ".join(f"{column} = ?" for column in CONTENT)},
    modified_at = ?, modified_by = ?, modified_via = ?, version = version + 1
WHERE id = ?
"""  # noqa: S608 - as above
_DELETE: Final = "DELETE FROM gateways WHERE id = ?"
_UNSTAMP: Final = "DELETE FROM reconciler_stamps WHERE gateway_id = ?"
_STAMP: Final = f"""
INSERT INTO reconciler_stamps (gateway_id, {", ".join(STAMP)}) VALUES (?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - as above


class SqliteStore:
    """Live state in an SQLite file; without a connection, in a file that does not exist yet."""

    features: ClassVar = frozenset(Feature)

    def __init__(self, path: Path, connection: sqlite3.Connection | None) -> None:
        self._path = path
        self._connection = connection

    def read(self) -> LiveState:
        """Return everything the file holds, by name, in the order of the names."""
        if self._connection is None:
            return LiveState({})
        with errors_of(self._path):
            found = _whatever_the_bytes(self._connection, _read_all)
        return LiveState({live.gateway.name: live for live in found})

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        """Carry all of the changes out, or none of them, in one transaction."""
        connection = self._connection
        if connection is None:
            raise StoreError(f"{self._path} does not exist, and was opened for reading")
        with errors_of(self._path), transaction(connection):
            held = _whatever_the_bytes(connection, lambda opened: _rows_of(opened, changes))
            tokens = {name: token(row) for name, row in held.items()}
            reasons = list(obstacles(changes, tokens, _holders(connection, changes)))
            if not any(reasons):
                _write(connection, changes, {name: row[_ID] for name, row in held.items()}, audit)
        return outcomes(changes, reasons)

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return the gateway: every canonical one comes back as it is."""
        return gateway

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            with errors_of(self._path):
                self._connection.close()


def open_sqlite(url: str, *, create: bool) -> SqliteStore:
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


def _rows_of(connection: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, Row]:
    return {row[_NAME]: row for change in changes for row in connection.execute(_READ_ONE, (change.name,))}


def _holders(connection: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, str]:
    slugs = {slug(change.name) for change in changes}
    return {wanted: name for wanted in slugs for (name,) in connection.execute(_HOLDER_OF_SLUG, (wanted,))}


def _write(connection: sqlite3.Connection, changes: Sequence[Change], ids: Mapping[str, str], audit: Audit) -> None:
    """Make the changes, deletes first. `ids` has the ids of the rows that there are."""
    ids = {change.name: ids[change.name] if change.name in ids else uuid4().hex for change in changes}
    creates, updates, deletes = ([each for each in changes if each.action is action] for action in Action)
    at = audit.at.isoformat()
    connection.executemany(_DELETE, ((ids[change.name],) for change in deletes))
    connection.executemany(_UNSTAMP, ((ids[change.name],) for change in updates))
    connection.executemany(_UPDATE, _updates(updates, ids, (at, audit.actor, audit.via)))
    connection.executemany(_CREATE, _creates(creates, ids, (at, audit.actor, audit.via)))
    connection.executemany(_STAMP, _stamps([*updates, *creates], ids, at))


def _creates(changes: Iterable[Change], ids: Mapping[str, str], stamped: Row) -> Iterator[Row]:
    for change in changes:
        if change.after is not None:
            yield (*content(change.after, change.signature), ids[change.name], *stamped)


def _updates(changes: Iterable[Change], ids: Mapping[str, str], stamped: Row) -> Iterator[Row]:
    for change in changes:
        if change.after is not None:
            yield (*content(change.after, change.signature), *stamped, ids[change.name])


def _stamps(changes: Iterable[Change], ids: Mapping[str, str], at: str) -> Iterator[Row]:
    for change in changes:
        if (stamp := change.stamp) is not None:
            yield (ids[change.name], stamp.owner, stamp.manifest, stamp.revision, stamp.digest, stamp.protected, at)
