"""Leases: which of several reconcilers may write to a target. They exclude; they neither elect nor wait.

A lease lies where the store can compare its token in the transaction that writes: in the database itself for SQLite and
PostgreSQL, else in the journal's file; for Kubernetes, which has none, in the cluster, where a look at it precedes each
write. How it is used:

    lease = books.lease_of(settings)    # under the name of the target's stamps: each shard has its own
    fence = lease.acquire()                 # LeaseHeldError (exit code 75): ask again in RETRY_SECONDS
    audit = replace(audit, fence=fence)     # every write carries it, and is refused once the lease is another's
    lease.renew(fence)                      # every HEARTBEAT_SECONDS; LeaseHeldError: stop, and ask again
    lease.release(fence)                    # at the end, so that the next need not wait

Whoever could not renew for `LEASE_SECONDS` by his own monotonic clock has to take himself for replaced, whatever
the reason. That saves work; that nothing is written wrongly is the token's doing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.core.lease import Fence, Reign


class Lease(Protocol):
    """One lease of one store, as seen by one process. Every method may be called from any one thread at a time."""

    def acquire(self) -> Fence:
        """Take the lease, and return what every write has to carry from now on.

        Raises:
            LeaseHeldError: somebody holds it, this process included. The message says who, and for how long still.
            StoreError: it could not be asked for.
        """
        ...

    def renew(self, fence: Fence) -> None:
        """Prolong the lease by another `LEASE_SECONDS` from now.

        Raises:
            LeaseHeldError: it is another's by now, and nothing that carries this fence will be written.
            StoreError: it could not be asked for; it may still be ours.
        """
        ...

    def release(self, fence: Fence) -> None:
        """Give the lease back. One that is another's by now is left alone.

        Raises:
            StoreError: it could not be given back; it ends by itself.
        """
        ...

    def reign(self) -> Reign | None:
        """Return how the lease stands, for people to see, or None when nobody ever held it.

        Raises:
            StoreError: it could not be asked for.
        """
        ...

    def close(self) -> None:
        """Let go of the connection. A lease that is held then ends by itself."""
        ...
