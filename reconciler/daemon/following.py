"""Tells a worker what its tree wants, and again when a CA certificate that the platform keeps (`tls.caFrom`) changes.

What such a certificate is now is read by the pass that comes of it. While the watch is broken off, the search for drift
sees what changed, as it does for a platform that cannot be watched.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from reconciler.composition import access
from reconciler.core.ca_references import references
from reconciler.core.ports import CaWatcher
from reconciler.daemon.events import Subject
from reconciler.daemon.news import Revised
from reconciler.errors import ReconcilerError
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.model import CaReference, DesiredState
    from reconciler.daemon.worker import Surroundings
    from reconciler.settings import Settings


class CaFollower:
    """Stands before the worker of one target. `changed` and `broke_off` are for the watch to call, from its threads."""

    def __init__(self, settings: Settings, around: Surroundings, tell: Callable[[Revised], None]) -> None:
        self._store = settings.target.store
        self._around = around
        self._tell = tell
        self._subject = Subject(settings.target.name)
        self._desired: DesiredState | None = None
        self._order = threading.Lock()
        self._followed: frozenset[CaReference] = frozenset()
        self._end: Callable[[], None] | None = None

    def tell(self, news: Revised) -> None:
        """Hand over what the tree wants, and watch what it refers to, and nothing else any more."""
        with self._order:  # so that what was told before is never told after this
            self._desired = news.desired
            self._tell(news)
        self._follow(frozenset(references(news.desired)))

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._end is not None:
            self._end()
        self._end, self._followed = None, frozenset()

    def changed(self, references: frozenset[CaReference]) -> None:
        """Have the gateways looked at that refer to these, though their manifests are the same."""
        self._around.notices.over(self._subject, "CaWatch", "changes of CA certificates are heard of again")
        with self._order:
            if self._desired is not None:
                wanted = self._desired.gateways
                names = frozenset(name for name, each in wanted.items() if each.ca_from in references)
                self._tell(Revised(self._desired, names))

    def broke_off(self, error: ReconcilerError) -> None:
        """Say that changes are not heard of."""
        message = f"a change of a CA under `tls.caFrom` is only seen when drift is looked for: {error.in_one_line()}"
        self._around.notices.problem(self._subject, "CaWatch", "CaWatchBroken", message)

    def _follow(self, wanted: frozenset[CaReference]) -> None:
        if wanted == self._followed:
            return
        self.stop()
        try:
            self._end = self._watch(wanted) if wanted else None
            self._followed = wanted
        except ReconcilerError as error:
            self.broke_off(error)

    def _watch(self, wanted: frozenset[CaReference]) -> Callable[[], None] | None:
        store = open_store(self._store, create=False, access=access(self._around.environ, None))
        try:
            return store.watch_ca_certificates(wanted, self) if isinstance(store, CaWatcher) else None
        finally:
            store.close()
