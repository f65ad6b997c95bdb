"""Leases as rows, in SQLite and PostgreSQL alike.

Whoever wants the row reads it, decides, and writes it only if it is still as it was read: of two who ask at once, one
finds that it is not. How the time is told, and whether a holder's death can be seen, is the database's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from reconciler.core.lease import LEASE_SECONDS, Fence, Reign, acquired, held, taken

if TYPE_CHECKING:
    from reconciler.tables import Session, Tables

_FIRST: Final = """
INSERT INTO reconciler_leases (name, holder, token, renewed_at, seconds) VALUES (?, '', 0, 0, 0)
ON CONFLICT DO NOTHING
"""
"""Without naming a key: of several that insert at once, two would wait for each other at the other key."""

_REIGN: Final = "SELECT holder, token, renewed_at, seconds FROM reconciler_leases WHERE name = ?"
_ACQUIRE: Final = """
UPDATE reconciler_leases SET holder = ?, token = ?, renewed_at = ?, seconds = ?
WHERE name = ? AND token = ? AND renewed_at = ?
"""
_RENEW: Final = "UPDATE reconciler_leases SET renewed_at = ? WHERE name = ? AND token = ? AND holder <> ''"
_RELEASE: Final = "UPDATE reconciler_leases SET holder = '' WHERE name = ? AND token = ?"


class Presence(Protocol):
    """What a database knows of time, and of those who are connected to it."""

    def now(self, session: Session) -> float:
        """Return the seconds of a clock that all who ask share."""
        ...

    def show(self, session: Session, fence: Fence) -> None:
        """Let the others see that the holder of this fence is there, for as long as its connection lasts."""
        ...

    def gone(self, session: Session, fence: Fence) -> bool:
        """Return whether the connection of the holder of this fence is known to have ended."""
        ...


class SqlLease:
    """A lease in a table of ours. `holder` names this process for people: `host:pid`."""

    def __init__(
        self, tables: Tables, name: str, holder: str, presence: Presence, seconds: float = LEASE_SECONDS
    ) -> None:
        self._tables = tables
        self._name = name
        self._holder = holder
        self._presence = presence
        self._seconds = seconds

    def acquire(self) -> Fence:
        """Take the lease, and return what every write has to carry from now on.

        Raises:
            LeaseHeldError: somebody holds it, this process included.
            StoreError: it could not be asked for.
        """
        with self._tables.writing() as session:
            session.execute(_FIRST, (self._name,))
            (last,) = _reigns(session.execute(_REIGN, (self._name,)).fetchall())
            now = self._presence.now(session)
            gone = self._presence.gone(session, Fence(self._name, last.token))
            new = acquired(last, self._holder, now, self._seconds, gone=gone)
            if new is None or not self._replaced(session, last, new):
                raise held(self._name, last, now)
            fence = Fence(self._name, new.token)
            self._presence.show(session, fence)
            return fence

    def _replaced(self, session: Session, last: Reign, new: Reign) -> bool:
        values = (new.holder, new.token, new.renewed_at, new.seconds, self._name, last.token, last.renewed_at)
        return session.execute(_ACQUIRE, values).rowcount == 1

    def renew(self, fence: Fence) -> None:
        """Prolong the lease.

        Raises:
            LeaseHeldError: it is another's by now.
            StoreError: it could not be asked for; it may still be ours.
        """
        with self._tables.writing() as session:
            now = self._presence.now(session)
            if session.execute(_RENEW, (now, fence.lease, fence.token)).rowcount != 1:
                raise taken(fence)
            self._presence.show(session, fence)

    def release(self, fence: Fence) -> None:
        """Give the lease back. One that is another's by now is left alone.

        Raises:
            StoreError: it could not be given back; it ends by itself.
        """
        with self._tables.writing() as session:
            session.execute(_RELEASE, (fence.lease, fence.token))

    def reign(self) -> Reign | None:
        """Return how the lease stands, or None when nobody ever held it.

        Raises:
            StoreError: it could not be asked for.
        """
        with self._tables.errors():
            return next(iter(_reigns(self._tables.rows(_REIGN, (self._name,)))), None)

    def close(self) -> None:
        """Let go of the connection."""
        self._tables.close()


def _reigns(rows: list[tuple[str, int, float, float]]) -> list[Reign]:
    return [Reign(*row) for row in rows]
