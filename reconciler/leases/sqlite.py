"""Leases in an SQLite file: for the processes of one host, whose monotonic clock they share.

That clock begins anew with the host, and then nobody holds anything any more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.core.lease import LEASE_SECONDS
from reconciler.database import SqliteTables, errors_of, open_database
from reconciler.leases.sql import SqlLease
from reconciler.tables import LEASES

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.lease import Fence
    from reconciler.tables import Session


class _SameHost:
    def now(self, session: Session) -> float:  # noqa: ARG002 - the kernel tells the time, not the file
        return time.monotonic()

    def show(self, session: Session, fence: Fence) -> None:
        """Do nothing: a file knows nobody who has it open."""

    def gone(self, session: Session, fence: Fence) -> bool:  # noqa: ARG002 - as above
        return False


def open_sqlite_lease(path: Path, name: str, holder: str, seconds: float = LEASE_SECONDS) -> SqlLease:
    """Return a lease in the file at `path`, which may be that of a store or of a journal, and is created if need be.

    Raises:
        StoreError: the file is not a database, or another program's.
    """
    with errors_of(path):
        connection = open_database(path, lambda opened: opened.execute(LEASES), create=True)
    return SqlLease(SqliteTables(path, connection), name, holder, _SameHost(), seconds)
