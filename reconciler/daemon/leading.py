"""Keeps a lease for one target: asks for it, renews it, and says when it is won and when it is lost.

It runs in a thread of its own, because a pass may take longer than a heartbeat may be late. Whoever could not renew for
as long as the lease lasts takes himself for replaced; that nothing is written wrongly is the fencing token's doing.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from reconciler.core.lease import HEARTBEAT_SECONDS, LEASE_SECONDS, RETRY_SECONDS
from reconciler.daemon.news import Led
from reconciler.errors import LeaseHeldError, ReconcilerError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.lease import Fence
    from reconciler.leases import Lease


class Leadership:
    """Seeks the lease that `open_lease` opens, and tells when it was won and lost. Without one, this process leads."""

    def __init__(self, open_lease: Callable[[], Lease | None], tell: Callable[[Led], None]) -> None:
        self._open_lease = open_lease
        self._tell = tell
        self._lease: Lease | None = None
        self._fence: Fence | None = None
        self._renewed = 0.0
        self._said = ""
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._anew = False
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def reopen(self) -> None:
        """Look for the lease anew: the store may be another one by now, in which nobody leads."""
        self._anew = True
        self._wake.set()

    def stop(self) -> None:
        """Give the lease back, so that the next one need not wait, and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(RETRY_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            self._beat()
            self._wake.wait(HEARTBEAT_SECONDS if self._fence else RETRY_SECONDS)
        self._give_back()

    def _beat(self) -> None:
        begin = monotonic()
        if self._anew:
            self._anew = False
            self._close()
        try:
            lease = self._lease = self._lease or self._open_lease()
            if lease is None:
                self._tell(Led(leads=True))
                self._stopping.wait()
            elif self._fence is None:
                self._win(lease.acquire(), begin)
            else:
                lease.renew(self._fence)
                self._renewed = begin
        except ReconcilerError as error:
            self._trouble(error)

    def _win(self, fence: Fence, begin: float) -> None:
        self._fence, self._renewed, self._said = fence, begin, ""
        self._tell(Led(leads=True, fence=fence))

    def _trouble(self, error: ReconcilerError) -> None:
        """Go on through trouble with the store for as long as the lease lasts; another holder ends it at once."""
        held = isinstance(error, LeaseHeldError)
        if not held and isinstance(error, StoreError):
            self._close()
        if self._fence is not None and not held and monotonic() - self._renewed < LEASE_SECONDS:
            return
        if self._fence is not None or str(error) != self._said:
            led, self._fence, self._said = self._fence is not None, None, str(error)
            self._tell(Led(leads=False, who=str(error)))
            if led:
                self._wake.set()

    def _give_back(self) -> None:
        try:
            if self._lease is not None and self._fence is not None:
                self._lease.release(self._fence)
        except ReconcilerError:
            return  # it ends by itself
        finally:
            self._close()

    def _close(self) -> None:
        if self._lease is not None:
            self._lease.close()
        self._lease = None
