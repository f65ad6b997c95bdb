"""What rooms with tables of their own need of a database, SQLite or PostgreSQL, and the fence around what is written.

Statements are written once, with `?` where values go. SQLite takes them as they are; `reconciler.postgresql` says them
in its own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from reconciler.errors import LeaseHeldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from reconciler.core.lease import Fence

LEASES: Final = """
CREATE TABLE IF NOT EXISTS reconciler_leases (
    name       TEXT NOT NULL PRIMARY KEY,
    holder     TEXT NOT NULL,
    token      INTEGER NOT NULL,
    renewed_at DOUBLE PRECISION NOT NULL,
    seconds    DOUBLE PRECISION NOT NULL,
    UNIQUE (name, token)
)
"""
"""Leases by name. `token` stands in a key so that PostgreSQL lets nobody change it while a write relies on it, and yet
takes heartbeats meanwhile (https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-ROWS, FOR KEY SHARE).
"""

_TOKEN: Final = "SELECT token, holder FROM reconciler_leases WHERE name = ?"  # noqa: S105 - a fencing token is no secret


class Cursor(Protocol):
    """What a statement found. `rowcount` is how many rows it changed."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows."""
        ...


class Session(Protocol):
    """Carries statements out; an `sqlite3.Connection` is one."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Cursor:
        """Carry out one statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Carry out one statement for each row."""
        ...


class Tables(Protocol):
    """Tables in one of our databases; in one that does not exist yet they read as empty."""

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """Return all that a statement finds."""
        ...

    def writing(self, fence: Fence | None = None) -> AbstractContextManager[Session]:
        """Hold a transaction; whatever is raised inside undoes everything.

        Raises:
            LeaseHeldError: the lease of the fence is another's by now.
            StoreBusyError: another writer was in the way for too long.
            StoreError: the database cannot be written, or was opened for reading before it was there.
        """
        ...

    def errors(self) -> AbstractContextManager[None]:
        """Turn what goes wrong with the database, and what makes no sense in it, into ours."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


def obey(session: Session, fence: Fence | None, lock: str = "") -> None:
    """See to it that the fence holds until the transaction ends, by `lock` where others could write meanwhile.

    Raises:
        LeaseHeldError: the lease is another's by now.
    """
    if fence is None:
        return
    found = session.execute(f"{_TOKEN} {lock}", (fence.lease,)).fetchall()
    if not found or found[0][0] != fence.token or not found[0][1]:
        holder = f"`{found[0][1]}`" if found and found[0][1] else "nobody"
        raise LeaseHeldError(
            f"the lease `{fence.lease}` is no longer ours: {holder} has it, and nothing was written",
            fix="nothing needs to be done: whoever has it reconciles",
        )
