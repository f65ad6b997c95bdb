"""What happened, told once: problems that begin, change their reason and end, and things that just happen.

A problem has a key that stays the same for as long as it lasts and whenever it comes back, so that whoever is told can
put what belongs together together; and it is told when it is over. What was told before a restart is not told again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

State = Literal["firing", "resolved", "happened"]

CONTROLLER: Final = "mcp-gateway-reconciler"
_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about: a gateway of a target, the target (no gateway), or the tree (neither)."""

    target: str = ""
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing to tell. `key` is the same for everything told of one problem; `reason` is a CamelCase word."""

    at: datetime
    state: State
    reason: str
    message: str
    subject: Subject
    key: str
    revision: str = ""

    @property
    def severity(self) -> str:
        """How much it matters, in the words of Flux."""
        return "error" if self.state == "firing" else "info"


def as_document(event: Event) -> dict[str, Any]:
    """Return the event as JSON values, shaped as those of Flux's notification controller."""
    kind = "Gateway" if event.subject.gateway else "Target" if event.subject.target else "Tree"
    return {
        "format_version": "1.0",
        "timestamp": event.at.isoformat(),
        "severity": event.severity,
        "state": event.state,
        "reason": event.reason,
        "message": event.message,
        "key": event.key,
        "involvedObject": {"kind": kind, "name": event.subject.gateway or event.subject.target or "tree"},
        "target": event.subject.target,
        "metadata": {"revision": event.revision},
        "reportingController": CONTROLLER,
    }


class Notices:
    """Knows which problems there are, and tells the sinks what is new. May be used by any thread."""

    def __init__(self, clock: Callable[[], datetime], sinks: Sequence[Callable[[Event], None]] = ()) -> None:
        self._clock = clock
        self._sinks = sinks
        self._open: dict[str, str] = {}
        self._lock = threading.Lock()

    def problem(self, subject: Subject, about: str, reason: str, message: str, revision: str = "") -> None:
        """Tell that something is wrong with `about`, unless that was told with the same reason."""
        key = _key(subject, about)
        with self._lock:
            known = self._open.get(key)
            self._open[key] = reason
        if known != reason:
            self._tell(Event(self._clock(), "firing", reason, message[:_LONGEST], subject, key, revision))

    def over(self, subject: Subject, about: str, message: str, revision: str = "") -> None:
        """Tell that nothing is wrong with `about` any more, if something was."""
        key = _key(subject, about)
        with self._lock:
            reason = self._open.pop(key, None)
        if reason is not None:
            self._tell(Event(self._clock(), "resolved", reason, message[:_LONGEST], subject, key, revision))

    def happened(self, subject: Subject, reason: str, message: str, revision: str = "") -> None:
        """Tell what happened. The key names the revision, so that whoever hears of it twice can see that."""
        key = _key(subject, f"{reason}@{revision}" if revision else reason)
        self._tell(Event(self._clock(), "happened", reason, message[:_LONGEST], subject, key, revision))

    def told_before(self, subject: Subject, about: str, reason: str) -> None:
        """Take a problem for told: it was, before a restart."""
        with self._lock:
            self._open.setdefault(_key(subject, about), reason)

    def forget(self, subject: Subject, about: str) -> None:
        """Drop a problem whose subject is no more."""
        with self._lock:
            self._open.pop(_key(subject, about), None)

    @property
    def open(self) -> dict[str, str]:
        """The reasons of the problems there are, by key."""
        with self._lock:
            return dict(self._open)

    def _tell(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)


def _key(subject: Subject, about: str) -> str:
    return "/".join(part or "-" for part in (subject.target, subject.gateway, about))
