"""The store where several reconcilers meet: a PostgreSQL schema, one transaction per apply, durable when it returns.

It does not decide what to change. Tables, rows and tokens are those of the SQLite store. Rows that are about to change
are locked before their tokens are compared, so that of two writers with one plan the second finds what the first wrote;
rows that nobody plans to change are never waited for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from reconciler.core.model import ContextForgeOptions, Feature, LiveState
from reconciler.errors import StoreBusyError, StoreError
from reconciler.postgresql.address import address_of
from reconciler.postgresql.session import LENGTH_LIMIT, UnsendableError, without_nul
from reconciler.postgresql.tables import open_tables
from reconciler.stores.obstacles import failures, obstacles, outcomes
from reconciler.stores.rows import live_gateway, slug, token
from reconciler.stores.schema import STEPS
from reconciler.stores.writing import NAME, READ, write

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.core.model import Audit, Change, Gateway, LiveGateway, Outcome
    from reconciler.postgresql.session import Session
    from reconciler.postgresql.tables import PostgresqlTables
    from reconciler.stores.access import Access
    from reconciler.stores.rows import Row

_CURSOR: Final = "reconciler_rows"
_AT_ONCE: Final = 1000
_ATTEMPTS: Final = 5
"""How often an apply begins anew because another one wrote the same rows, or had locked them the other way round."""

_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_READ_NAMED: Final = f"{READ} WHERE name = ANY(?)"
_LOCK: Final = "SELECT 1 FROM gateways WHERE name = ANY(?) ORDER BY name FOR UPDATE"
_LOCK_STAMPS: Final = """
SELECT 1 FROM reconciler_stamps WHERE gateway_id IN (SELECT id FROM gateways WHERE name = ANY(?))
ORDER BY gateway_id FOR UPDATE
"""
_HOLDERS_OF_SLUGS: Final = "SELECT slug, name FROM gateways WHERE slug = ANY(?)"
_TOO_LONG: Final = f"""
SELECT name FROM gateways WHERE
    coalesce(octet_length(description), 0) + coalesce(octet_length(ca_certificate), 0)
    + coalesce(octet_length(client_cert), 0) + coalesce(octet_length(tags::text), 0)
    + coalesce(octet_length(auth_reference::text), 0) + octet_length(url) > {LENGTH_LIMIT}
LIMIT 1
"""  # noqa: S608 - a number of ours
_VERSION: Final = """
SELECT count(*), sum(xmin::text::bigint) FROM gateways UNION ALL
SELECT count(*), sum(xmin::text::bigint) FROM reconciler_stamps
"""
"""Every row carries the transaction that wrote it, and transactions are numbered upwards: no write leaves both figures
as they were (https://www.postgresql.org/docs/current/ddl-system-columns.html)."""


class PostgresqlStore:
    """Live state in a schema of a PostgreSQL database."""

    features: ClassVar = frozenset(Feature)

    def __init__(self, tables: PostgresqlTables) -> None:
        self._tables = tables

    def read(self) -> LiveState:
        """Return everything the schema holds, by name, in the order of the names."""
        with self._tables.errors():
            session = self._tables.session()
            if session is None:
                return LiveState({})
            with session.connection.transaction():
                session.execute(_SNAPSHOT)
                _refuse_too_long(session)
                found = _read_all(session)
        found.sort(key=lambda live: live.gateway.name)
        return LiveState({live.gateway.name: live for live in found})

    def read_named(self, names: Collection[str]) -> LiveState:
        """Return the rows of these names, and nothing of those that are not there."""
        shared: dict[str, str] = {}
        with self._tables.errors():
            found = [live_gateway(row, shared) for row in self._tables.rows(_READ_NAMED, (sorted(names),))]
        return LiveState({live.gateway.name: live for live in found})

    def version(self) -> str:
        """Return what tells whether anybody wrote since, with whatever program.

        Raises:
            StoreError: the database cannot be reached.
        """
        with self._tables.errors():
            return ".".join(f"{count}.{total or 0}" for count, total in self._tables.rows(_VERSION))

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        """Carry all of the changes out, or none of them, in one transaction.

        What cannot be sent makes its change a failed one, and the others are skipped.

        Raises:
            LeaseHeldError: the lease of the audit's fence is another's by now.
            StoreBusyError: others kept us waiting for too long.
            StoreError: the database failed; nothing was written.
        """
        for _ in range(_ATTEMPTS):
            at_hand: list[Change] = []
            try:
                return outcomes(changes, self._attempt(changes, audit, at_hand))
            except _OvertakenError:
                continue
            except UnsendableError as error:
                if not at_hand:
                    raise
                return failures(changes, at_hand[0].name, error.in_one_line())
        raise StoreBusyError("other writers came first, time and again", fix="try again")

    def _attempt(self, changes: Sequence[Change], audit: Audit, at_hand: list[Change]) -> list[str]:
        """Return what stands in the way of each change; without anything, all of them are made."""
        from psycopg.errors import DeadlockDetected, SerializationFailure, UniqueViolation

        with self._tables.errors():
            try:
                with self._tables.writing(audit.fence) as session:
                    held, reasons = _met(session, changes)
                    if not any(reasons):
                        write(session, changes, held, audit, at_hand)
            except StoreError as error:
                if isinstance(error.__cause__, (UniqueViolation, DeadlockDetected, SerializationFailure)):
                    raise _OvertakenError from error
                raise
        return reasons

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return the gateway as its columns give it back: PostgreSQL's text has no NUL character."""
        options = gateway.contextforge
        texts = (gateway.name, gateway.url, gateway.description, gateway.ca_certificate, gateway.client_certificate)
        if not any("\0" in text for text in (*texts, options.mode, options.team)):
            return gateway
        name, url, description, bundle, certificate = map(without_nul, texts)
        return replace(
            gateway,
            name=name,
            url=url,
            description=description,
            ca_certificate=bundle,
            client_certificate=certificate,
            contextforge=ContextForgeOptions(without_nul(options.mode), without_nul(options.team)),
        )

    def close(self) -> None:
        """Close the connection."""
        self._tables.close()


class _OvertakenError(Exception):
    """Another apply came first; what it wrote decides what becomes of this one."""


def open_postgresql(url: str, *, create: bool, access: Access | None = None) -> PostgresqlStore:
    """Return the store in the schema that `url` names. Without `access`, libpq finds the password in its own ways.

    Raises:
        InputError: the URL is none, or psycopg is not installed.
        StoreError: the database cannot be reached, or its tables are another program's.
    """
    environ = access.environ if access is not None else {}
    return PostgresqlStore(open_tables(address_of(url, environ), "gateways", STEPS, create=create))


def _refuse_too_long(session: Session) -> None:
    for (name,) in session.execute(_TOO_LONG).fetchall():
        raise StoreError(
            f"the row of `{name}` holds more than {LENGTH_LIMIT} bytes", fix="shorten that row, or delete it"
        )


def _read_all(session: Session) -> list[LiveGateway]:
    """Read by a cursor of the server's: the client library would keep all of the answer besides what is made of it."""
    shared: dict[str, str] = {}
    with session.connection.cursor(_CURSOR) as cursor:
        cursor.itersize = _AT_ONCE
        return [live_gateway(row, shared) for row in cursor.execute(READ)]


def _met(session: Session, changes: Sequence[Change]) -> tuple[dict[str, Row], list[str]]:
    """Return the rows that the changes are about, by name, and what stands in the way of each change.

    The locks come first, each in one order for all, and the rows are read by a later statement: only that one sees what
    was committed while the locks were waited for.
    """
    names = sorted({name for change in changes for name in (change.name, change.held_as)})
    session.execute(_LOCK, (names,))
    session.execute(_LOCK_STAMPS, (names,))
    held = {row[NAME]: row for row in session.execute(_READ_NAMED, (names,))}
    slugs = sorted({slug(change.name) for change in changes})
    holders = dict(session.execute(_HOLDERS_OF_SLUGS, (slugs,)).fetchall())
    return held, list(obstacles(changes, {name: token(row) for name, row in held.items()}, holders))
