"""Who may write, and until when: a lease as a value, and what each attempt makes of it.

Seconds here are those of a clock that all who ask share (a database server's, one host's), and never compared with any
other. A clock that jumps can end a lease early or late; it cannot let two write, because the fencing token, which the
store compares inside the transaction that writes, does not know the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reconciler.errors import LeaseHeldError

LEASE_SECONDS: Final = 10.0
"""How long a lease lasts without a heartbeat."""

HEARTBEAT_SECONDS: Final = 3.0
"""How often its holder renews it: two heartbeats may be lost."""

RETRY_SECONDS: Final = 2.0
"""How often the others ask: whoever is killed is followed within `LEASE_SECONDS` and once this."""


_OVERDUE: Final = 0.45
"""The part of a lease after which a heartbeat is overdue: one and a half times the time between two."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The right to write that comes with a lease: its name, and the token of the reign.

    The token of a lease grows whenever it is acquired, and never goes back. A write that carries another token than the
    lease has by then comes from somebody who has been replaced without noticing it, and is refused.
    """

    lease: str
    token: int


@dataclass(frozen=True, slots=True)
class Reign:
    """A lease as it is kept. `holder` names a process for people, and is empty once the lease was given back."""

    holder: str
    token: int
    renewed_at: float
    seconds: float

    def over(self, now: float) -> bool:
        """Return whether anybody may take the lease.

        A heartbeat that lies further ahead than a lease lasts is of a clock that has begun anew since (a reboot).
        """
        return not self.holder or abs(now - self.renewed_at) > self.seconds

    def overdue(self, now: float) -> bool:
        """Return whether a heartbeat should have come by now."""
        return abs(now - self.renewed_at) > self.seconds * _OVERDUE


def acquired(
    last: Reign | None, holder: str, now: float, seconds: float = LEASE_SECONDS, *, gone: bool = False
) -> Reign | None:
    """Return the reign that follows `last`, or None while that lasts: also for its own holder, who renews it.

    With `gone`, the holder is known to have lost its connection. One that lives comes back and renews in time, so that
    only once a heartbeat is overdue as well nobody waits for it any longer.
    """
    if last is None:
        return Reign(holder, 1, now, seconds)
    if last.over(now) or (gone and last.overdue(now)):
        return Reign(holder, last.token + 1, now, seconds)
    return None


def held(name: str, last: Reign | None, now: float) -> LeaseHeldError:
    """Return what is said to one who cannot have a lease; without `last`, another one was faster."""
    left = max(0.0, last.renewed_at + last.seconds - now) if last else 0.0
    holder = (last.holder if last else "") or "another process"
    return LeaseHeldError(
        f"the lease `{name}` is held by {holder}, for {left:.0f} more seconds at least",
        fix="let that reconciler do it, or stop it first: it gives the lease back when it ends",
    )


def taken(fence: Fence) -> LeaseHeldError:
    """Return what is said to one whose lease went to another."""
    return LeaseHeldError(f"the lease `{fence.lease}` was taken by another process: no heartbeat reached it")
