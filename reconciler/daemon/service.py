"""The daemon as a service: it begins, answers signals, is watched over, and ends.

SIGTERM, SIGINT   finish the pass in hand, give the leases back, and leave
SIGHUP            read the settings again and go on with them; those that have errors are not taken
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from reconciler.daemon.session import Session, Watching
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.daemon.session import Ending
    from reconciler.daemon.systemd import Supervisor
    from reconciler.daemon.worker import Rhythm, Surroundings
    from reconciler.settings import Settings

_log: Final = logging.getLogger(__name__)
_STUCK_SECONDS: Final = 120.0
"""A loop that has not come round for so long hangs: no pass, and no wait for a locked store, takes that long."""


class Service:
    """Runs one session after another; `load` reads the settings and how to watch."""

    def __init__(
        self,
        load: Callable[[], tuple[Settings, Watching]],
        rhythm: Rhythm,
        around: Surroundings,
        supervisor: Supervisor,
    ) -> None:
        self._load = load
        self._rhythm = rhythm
        self._around = around
        self._supervisor = supervisor
        self._session: Session | None = None
        self._asked: Ending | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """Watch until a signal ends it. Only the main thread may call this.

        Raises:
            ReconcilerError: the settings or the tree they name cannot be used at the start.
        """
        gc.enable()
        for number, how in ((signal.SIGTERM, "stop"), (signal.SIGINT, "stop"), (signal.SIGHUP, "reload")):
            signal.signal(number, lambda *_, how=how: self.end(how))
        threading.Thread(target=self._feed, name="watchdog", daemon=True).start()
        try:
            self._sessions()
        finally:
            self._over.set()
            self._supervisor.stopping()
            self._around.pool.close()

    def _sessions(self) -> None:
        settings, watching = self._load()
        ending: Ending = "reload"
        while ending != "stop":
            self._session = Session(settings, watching, self._rhythm, self._around)
            if self._asked is not None:
                self._session.end(self._asked)
            self._supervisor.ready(f"watching {settings.root}")
            ending = self._session.run()
            if ending == "reload":
                self._asked = None if self._asked == "reload" else self._asked
                settings, watching = self._again(settings, watching)
        _log.info("asked to stop; the pass in hand is finished")

    def _again(self, settings: Settings, watching: Watching) -> tuple[Settings, Watching]:
        """Return the settings as they are now, or the old ones when those cannot be used."""
        self._supervisor.reloading()
        try:
            new = self._load()
        except ReconcilerError as error:
            _log.error("the settings were read again and are not taken: %s", error)
            return settings, watching
        _log.info("the settings were read again")
        return new

    def end(self, how: Ending) -> None:
        """Have the session end. A signal that comes before there is one is kept."""
        self._asked = how
        if self._session is not None:
            self._session.end(how)

    def pull(self) -> None:
        """Look for news at once."""
        if self._session is not None:
            self._session.pull()

    def alive(self) -> bool:
        """Return whether every loop comes round."""
        session = self._session
        if session is None:
            return True
        turns = [session.turned_at, *(worker.turned_at for worker in session.workers)]
        return min(turns) > monotonic() - _STUCK_SECONDS

    def ready(self) -> bool:
        """Return whether the tree was read, and every target was brought in line with it or is somebody else's."""
        session, board = self._session, self._around.board
        if session is None or (board.tree.read_at is None and board.tree.pulled_at is None):
            return False
        states = board.targets()
        known = [states.get(worker.name) for worker in session.workers]
        return all(state is not None and (state.lease or state.last_success) for state in known)

    def _feed(self) -> None:
        """Feed the watchdog of systemd for as long as the loops come round."""
        every = self._supervisor.watchdog_seconds / 3
        while every and not self._over.wait(every):
            if self.alive():
                self._supervisor.alive()
