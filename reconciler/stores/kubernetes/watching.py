"""Watches the objects that `tls.caFrom` names, so that a change of one is known at once and not at the next pass.

What is heard only says "look again": nothing here is read out of an event but a name and a version. There is one thread
for each kind of object, so two at the most, however many objects are watched. A watch is bounded, and taken up again
where it ended; after a failure, or when the API server has forgotten that place, it begins anew with all of them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from reconciler.stores.kubernetes.failures import GONE, CallError, failure
from reconciler.stores.kubernetes.marks import mapping
from reconciler.stores.kubernetes.objects import CONFIG_MAP, SECRET
from reconciler.stores.kubernetes.wire import Wire
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.core.model import CaReference
    from reconciler.core.ports import CaListener
    from reconciler.stores.kubernetes.address import Address
    from reconciler.stores.kubernetes.objects import Kind

WATCH_SECONDS: Final = 60.0
"""How long the API server is asked to tell what happens; then it is asked again."""

_GRACE_SECONDS: Final = 10.0
_ENDING_SECONDS: Final = 2.0
"""How long the end of a thread is waited for. One that awaits an answer just then ends by itself, and says nothing."""

_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 60.0


class ReferenceWatch:
    """The watches over CA references in one namespace, from its making until it is closed."""

    def __init__(
        self,
        address: Address,
        references: Collection[CaReference],
        listener: CaListener,
        seconds: float = WATCH_SECONDS,
    ) -> None:
        kinds = {CONFIG_MAP: "configMapKeyRef", SECRET: "secretKeyRef"}
        found = {kind: [each for each in references if each.kind == named] for kind, named in kinds.items()}
        self._watches = [_KindWatch(address, kind, each, listener, seconds) for kind, each in found.items() if each]
        for watch in self._watches:
            watch.start()

    def close(self) -> None:
        """Watch no more. What is just being heard may still be told."""
        for watch in self._watches:
            watch.close()


class _KindWatch:
    """The watch over the objects of one kind."""

    def __init__(
        self, address: Address, kind: Kind, references: Collection[CaReference], listener: CaListener, seconds: float
    ) -> None:
        self._wire = Wire(address, seconds=seconds + _GRACE_SECONDS, tries=1)
        self._kind = kind
        self._references = frozenset(references)
        self._listener = listener
        self._seconds = seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._wire.hang_up()
        self._thread.join(_ENDING_SECONDS)

    def _run(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        version = ""
        while not self._closed.is_set():
            try:
                version = self._follow(version)
                wait = _FIRST_WAIT_SECONDS
            except CallError as error:
                version = ""
                if error.status != GONE and not self._closed.is_set():
                    self._listener.broke_off(error)
                self._closed.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        self._wire.close()

    def _follow(self, since: str) -> str:
        """Tell what happens after a version until the watch ends, and return up to which one that is.

        Without one it begins with the present, and tells all the references, whatever happened to them until then.
        """
        version = since or self._wire.version(self._kind)
        with self._wire.listening(self._kind, version, self._seconds) as events:
            if not since:
                self._listener.changed(self._references)
            for event in events:
                found = mapping(event.get("object"))
                if event.get("type") == "ERROR":
                    raise _lost(found, self._kind)
                version = text_of(mapping(found.get("metadata")).get("resourceVersion")) or version
                name = text_of(mapping(found.get("metadata")).get("name"))
                if named := frozenset(each for each in self._references if each.name == name):
                    self._listener.changed(named)
        return version


def _lost(status: Mapping[str, Any], kind: Kind) -> CallError:
    """Return what is wrong with a watch that the API server ends with a word of its own."""
    code = status.get("code")
    return failure(code if isinstance(code, int) else 0, status, f"watch {kind.plural}", secret=kind is SECRET)
