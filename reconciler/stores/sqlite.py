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
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.stores import sqlite_path
from reconciler.stores.obstacles import failures, obstacles, outcomes
from reconciler.stores.rows import BOOKKEEPING, CONTENT, STAMP, content, live_gateway, slug, text_of, token
from reconciler.stores.schema import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.core.model import Audit, Change, Gateway, LiveGateway, Outcome
    from reconciler.stores.access import Access
    from reconciler.stores.rows import Row

T = TypeVar("T")

_NAME: Final = CONTENT.index("name")
_SLUG: Final = CONTENT.index("slug")
_ID: Final = len(CONTENT) + BOOKKEEPING.index("id")
_ASKED_AT_ONCE: Final = 500

_READ: Final = f"""
SELECT {", ".join((*CONTENT, *BOOKKEEPING, *STAMP))}
FROM gateways LEFT JOIN reconciler_stamps ON gateway_id = id
"""  # noqa: S608 - names of columns
_READ_ALL: Final = f"{_READ} ORDER BY name"
_READ_NAMED: Final = f"{_READ} WHERE name IN"
_HOLDERS_OF_SLUGS: Final = "SELECT slug, name FROM gateways WHERE slug IN"
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
_FREE_SLUG: Final = "UPDATE gateways SET slug = 'given up by ' || id WHERE id = ?"
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
        """Carry all of the changes out, or none of them, in one transaction.

        When the database fails at a change, that one has failed, and the others are skipped.

        Raises:
            StoreBusyError: another writer holds the file.
            StoreError: the database failed before the first change, or after the last.
        """
        if self._connection is None:
            raise StoreError(f"{self._path} does not exist, and was opened for reading")
        at_hand: list[Change] = []
        try:
            with errors_of(self._path), transaction(self._connection):
                held, reasons = _met(self._connection, changes)
                if not any(reasons):
                    _write(self._connection, changes, held, audit, at_hand)
        except StoreBusyError:
            raise
        except StoreError as error:
            if not at_hand:
                raise
            return failures(changes, at_hand[0].name, f"{error}: {error.fix}" if error.fix else str(error))
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
    held = {row[_NAME]: row for row in _where(connection, _READ_NAMED, list(names))}
    lost = {change.held_as for change in changes if change.before is not None} - held.keys()
    if lost:
        held.update((name, row) for row in connection.execute(_READ) if (name := text_of(row[_NAME])) in lost)
    return held


def _holders(connection: sqlite3.Connection, changes: Sequence[Change]) -> dict[str, str]:
    found = _where(connection, _HOLDERS_OF_SLUGS, [slug(change.name) for change in changes])
    return {taken: text_of(name) for taken, name in found}


def _where(connection: sqlite3.Connection, select: str, values: Sequence[str]) -> Iterator[Row]:
    """Yield what `select` finds for the values, asking for many at once."""
    for start in range(0, len(values), _ASKED_AT_ONCE):
        some = values[start : start + _ASKED_AT_ONCE]
        yield from connection.execute(f"{select} ({', '.join('?' * len(some))})", some)


def _write(
    connection: sqlite3.Connection,
    changes: Sequence[Change],
    held: Mapping[str, Row],
    audit: Audit,
    at_hand: list[Change],
) -> None:
    """Make the changes, deletes first. `held` has the rows there are; `at_hand` tells which change is being made."""
    ids = {change.name: held[change.held_as][_ID] if change.held_as in held else uuid4().hex for change in changes}
    creates, updates, deletes = ([each for each in changes if each.action is action] for action in Action)
    at = audit.at.isoformat()
    who = (at, audit.actor, audit.via)
    renamed = {change.held_as for change in updates if change.held_as != change.name}
    connection.executemany(
        _FREE_SLUG, [(row[_ID],) for name, row in held.items() if name in renamed or row[_SLUG] != slug(name)]
    )
    connection.executemany(_DELETE, ((ids[change.name],) for change in _noted(deletes, at_hand)))
    connection.executemany(_UNSTAMP, ((ids[change.name],) for change in _noted(updates, at_hand)))
    connection.executemany(_UPDATE, _updates(_noted(updates, at_hand), ids, who))
    connection.executemany(_CREATE, _creates(_noted(creates, at_hand), ids, who))
    connection.executemany(_STAMP, _stamps(_noted([*updates, *creates], at_hand), ids, at))


def _noted(changes: Iterable[Change], at_hand: list[Change]) -> Iterator[Change]:
    """Yield the changes; `at_hand` holds the one that was yielded last, and nothing once all of them are made."""
    for change in changes:
        at_hand[:] = [change]
        yield change
    at_hand.clear()


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
