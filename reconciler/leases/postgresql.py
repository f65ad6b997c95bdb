"""Leases in a PostgreSQL database: a row, by the server's clock, and an advisory lock that shows who is still there.

The row decides. The lock is the holder's session's, under a key of its own for each reign: once the server has seen
that session end, nobody needs to wait until the row has run out. Behind a pooler that lends a session for one
transaction only, the lock shows nothing, and the row still decides.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from reconciler.core.lease import LEASE_SECONDS
from reconciler.leases.sql import SqlLease
from reconciler.postgresql.address import address_of
from reconciler.postgresql.tables import open_tables
from reconciler.tables import LEASES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.lease import Fence
    from reconciler.tables import Session

_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"
_SHOWN: Final = """
SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = ? AND objid = ?
"""
_LOCK: Final = f"SELECT pg_try_advisory_lock(?, ?) WHERE NOT EXISTS ({_SHOWN})"
_LARGEST: Final = 0x7FFF_FFFF


class _Sessions:
    """Shows presence by advisory locks, in a key space of ours."""

    def __init__(self, schema: str) -> None:
        self._schema = schema

    def now(self, session: Session) -> float:
        ((seconds,),) = session.execute(_NOW).fetchall()
        return float(seconds)

    def show(self, session: Session, fence: Fence) -> None:
        key = self._key(fence)
        session.execute(_LOCK, (*key, *key))

    def gone(self, session: Session, fence: Fence) -> bool:
        return not session.execute(_SHOWN, self._key(fence)).fetchall()

    def _key(self, fence: Fence) -> tuple[int, int]:
        """Return the two numbers of the lock: one for the lease, and one for the reign."""
        named = sha256(f"{self._schema}/{fence.lease}".encode()).digest()
        return int.from_bytes(named[:4], "big") & _LARGEST, fence.token & _LARGEST


def open_postgresql_lease(
    url: str, environ: Mapping[str, str], name: str, holder: str, seconds: float = LEASE_SECONDS
) -> SqlLease:
    """Return a lease in the database of a store's URL.

    Raises:
        InputError: the URL is none.
        StoreError: the database cannot be reached.
    """
    address = address_of(url, environ)
    tables = open_tables(address, "leases", ((LEASES,),), create=True)
    return SqlLease(tables, name, holder, _Sessions(address.schema), seconds)
