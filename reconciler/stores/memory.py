"""The store that forgets: live state in this process, under the same contract as the others. For trying things out."""

from __future__ import annotations

from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

from reconciler.core.model import Feature, LiveGateway, LiveState
from reconciler.errors import InputError
from reconciler.stores.obstacles import obstacles, outcomes
from reconciler.stores.rows import slug

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import Audit, Change, Gateway, Outcome
    from reconciler.stores.access import Access


class MemoryStore:
    """Live state in a dictionary. Tokens count the writes."""

    features: ClassVar = frozenset(Feature)

    def __init__(self) -> None:
        self._gateways: dict[str, LiveGateway] = {}
        self._writes = count(1)
        self._lock = Lock()

    def read(self) -> LiveState:
        """Return everything, by name, in the order of the names."""
        with self._lock:
            return LiveState(dict(sorted(self._gateways.items())))

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:  # noqa: ARG002 - no audit columns here
        """Carry all of the changes out, or none of them."""
        with self._lock:
            tokens = {name: live.token for name, live in self._gateways.items()}
            reasons = list(obstacles(changes, tokens, {slug(name): name for name in self._gateways}))
            for change in changes if not any(reasons) else ():
                self._write(change)
        return outcomes(changes, reasons)

    def _write(self, change: Change) -> None:
        if change.before is not None:
            del self._gateways[change.held_as]
        if change.after is not None:
            self._gateways[change.name] = LiveGateway(
                change.after, change.signature, change.stamp, str(next(self._writes)), change.record
            )

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return the gateway: every canonical one comes back as it is."""
        return gateway

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def open_memory(
    url: str,
    *,
    create: bool,  # noqa: ARG001 - it is always new, and always empty
    access: Access | None = None,  # noqa: ARG001 - there is nothing to be let into
) -> MemoryStore:
    """Return a new and empty store.

    Raises:
        InputError: the URL is not `memory:`; a name would promise that something is kept under it.
    """
    if url != "memory:":
        raise InputError("a memory store has no name", fix="write memory:")
    return MemoryStore()
