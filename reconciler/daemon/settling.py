"""When is a tree quiet? Pure: times are seconds of any steady clock, and nothing is read.

A file event says "look again", never "this changed". The tree is looked at when nothing has happened for half of the
quiet window, and what was found is acted upon when the whole of it has passed. What a program is still writing, or git
is still checking out, is waited for, but not for ever: a writer may hang, and a lock file be left by a crash.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

PATIENCE_SECONDS: Final = 10.0
"""How long nothing may happen to a file that is open for writing, until it is taken as it is."""

NAMED_AT_MOST: Final = 1000
"""More paths than this are not kept apart: the whole tree is looked at."""

OVERFLOW_SUSPECTED: Final = 4000
"""The kernel keeps 16,384 events at the least and drops what comes after; from here on none is trusted to be all."""


Sign = Literal["written", "closed", "changed"]
"""What an event says of a path: somebody who has it open wrote to it, nobody has it open any more, or neither."""


@dataclass(slots=True)
class Settling:
    """What happened since the tree was looked at last, and when.

    `quiet_seconds` is the window. `names` are the paths that events named; `everything` means that they are not known.
    """

    quiet_seconds: float
    names: set[str] = field(default_factory=set)
    everything: bool = False
    _writing: dict[str, float] = field(default_factory=dict)
    _last: float = float("-inf")
    _events: int = 0

    def touched(self, name: str, at: float, sign: Sign = "changed") -> None:
        """Take notice of an event about a path."""
        self._last = at
        self._events += 1
        if sign == "written":
            self._writing[name] = at
        elif sign == "closed":
            self._writing.pop(name, None)
        if self._events > OVERFLOW_SUSPECTED or len(self.names) >= NAMED_AT_MOST:
            self.everything = True
        else:
            self.names.add(name)

    def touched_somewhere(self, at: float) -> None:
        """Take notice that anything may have changed."""
        self._last = at
        self.everything = True

    @property
    def pending(self) -> bool:
        """Whether there is anything to look at."""
        return self.everything or bool(self.names)

    def ready_at(self, share: float = 1.0) -> float:
        """Return the moment from which `share` of the window has passed without events, and nobody is writing."""
        quiet = self._last + self.quiet_seconds * share
        waits = (since + PATIENCE_SECONDS for since in self._writing.values())
        return max(quiet, max(waits, default=quiet))

    def taken(self) -> frozenset[str] | None:
        """Forget what happened and return the paths to look at; None means all of them."""
        names = None if self.everything else frozenset(self.names)
        self.names, self.everything, self._events = set(), False, 0
        self._writing.clear()
        return names
