"""Upstreams looked at beside the passes: a dead one delays nobody, and a newer revision takes back what it replaces.

Probes run in threads of their own. At most `young` of them are younger than a moment at a time, which is what bounds
the work of the processor; those that wait longer for an answer only wait, and do not count, up to `threads` in all.
What has failed before goes last. A probe that is running cannot be called back; when it was replaced its answer is
dropped, and the gateway is looked at again at once.
"""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_YOUNG_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, order=True)
class _Waiting:
    failed: bool
    number: int
    key: str = field(compare=False)
    work: Callable[[], Callable[[], None]] = field(compare=False)


class ProbePool:
    """Runs looks at upstreams, one at a time for each key."""

    def __init__(self, young: int = 50, threads: int = 300) -> None:
        self._young = young
        self._threads = threads
        self._waiting: list[_Waiting] = []
        self._wanted: dict[str, int] = {}
        self._started: dict[int, float] = {}
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._dispatch, name="probe-dispatch", daemon=True).start()

    def submit(self, key: str, work: Callable[[], Callable[[], None]], *, failed: bool = False) -> None:
        """Do `work` in a thread, and then what it returns, unless the key was submitted again or dropped by then.

        `failed` is for what did not answer the last time: it waits until nothing else does.
        """
        with self._changed:
            self._count += 1
            self._wanted[key] = self._count
            heapq.heappush(self._waiting, _Waiting(failed, self._count, key, work))
            self._changed.notify_all()

    def drop(self, key: str) -> None:
        """Take back what was submitted under a key."""
        with self._changed:
            self._wanted.pop(key, None)

    def busy(self, key: str) -> bool:
        """Return whether an answer under this key is still to come."""
        with self._changed:
            return key in self._wanted

    @property
    def backlog(self) -> tuple[int, int]:
        """Return how many wait, and how many run."""
        with self._changed:
            return sum(self._wanted.get(each.key) == each.number for each in self._waiting), len(self._started)

    def close(self) -> None:
        """Begin nothing more, and drop the answers of what runs."""
        with self._changed:
            self._closed = True
            self._wanted.clear()
            self._waiting.clear()
            self._changed.notify_all()

    def _dispatch(self) -> None:
        with self._changed:
            while not self._closed:
                while self._waiting and self._has_room():
                    each = heapq.heappop(self._waiting)
                    if self._wanted.get(each.key) == each.number:
                        self._started[each.number] = monotonic()
                        threading.Thread(target=self._run, args=(each,), name="probe", daemon=True).start()
                self._changed.wait(_YOUNG_SECONDS / 5 if self._waiting else None)

    def _has_room(self) -> bool:
        limit = monotonic() - _YOUNG_SECONDS
        young = sum(start > limit for start in self._started.values())
        return young < self._young and len(self._started) < self._threads

    def _run(self, each: _Waiting) -> None:
        tell = None
        try:
            tell = each.work()
        finally:
            with self._changed:
                del self._started[each.number]
                current = self._wanted.get(each.key) == each.number
                if current:
                    del self._wanted[each.key]
                self._changed.notify_all()
        if current:
            tell()
