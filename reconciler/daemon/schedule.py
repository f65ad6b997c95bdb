"""When is what done again? Pure: the time and chance are arguments; seconds are those of any steady clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first` to `longest` seconds, each shortened by up to `jitter` of itself.

    Jitter keeps a thousand upstreams that died together from being looked at together for ever.
    """

    first: float = 1.0
    longest: float = 300.0
    jitter: float = 0.25

    def wait(self, failures: int, chance: float) -> float:
        """Return the seconds to wait after so many failures in a row, at least one. `chance` is from 0 to 1."""
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, _DOUBLINGS))
        return whole * (1.0 - self.jitter * chance)


@dataclass(slots=True)
class Due:
    """When which gateway is to be looked at; the last word holds."""

    at: dict[str, float] = field(default_factory=dict)
    heap: list[tuple[float, str]] = field(default_factory=list)

    def put(self, name: str, at: float) -> None:
        """Say when a gateway is due, whatever was said before."""
        self.at[name] = at
        heapq.heappush(self.heap, (at, name))

    def drop(self, name: str) -> None:
        """Say that a gateway is not due."""
        self.at.pop(name, None)

    @property
    def next(self) -> float:
        """When the first one is due; infinity when none is."""
        while self.heap and self.at.get(self.heap[0][1]) != self.heap[0][0]:
            heapq.heappop(self.heap)
        return self.heap[0][0] if self.heap else float("inf")

    def take(self, now: float) -> list[str]:
        """Return those that are due, the longest due first; they are not due any more."""
        names = []
        while self.next <= now:
            names.append(heapq.heappop(self.heap)[1])
            self.at.pop(names[-1])
        return names
