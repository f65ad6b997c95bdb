"""How things stand, for whoever asks: written by the workers, read by the HTTP server.

Rows are values that are replaced and never changed, so that a reader needs the lock only to copy a mapping.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.core.model import Suspension
    from reconciler.core.problems import Problem
    from reconciler.core.verification import Standing
    from reconciler.daemon.events import Event

_EVENTS_KEPT: Final = 200
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the duration histograms, in seconds."""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway. `standing` is as `reconciler status` has it; `held` says what a change of it waits for."""

    standing: Standing
    suspension: Suspension | None = None
    held: str = ""


@dataclass(frozen=True, slots=True)
class TargetState:
    """One target. `role` is `leader`, `follower` or `alone`; `trouble` says why the last pass failed, or is empty.

    `held` names changes that wait for their upstream, and why; `waiting` counts them and those that are tried again.
    """

    name: str
    store: str
    role: str = "follower"
    lease: str = ""
    passes: int = 0
    last_pass: datetime | None = None
    last_success: datetime | None = None
    last_read: datetime | None = None
    revision: str = ""
    trouble: str = ""
    refused: str = ""
    waiting: int = 0
    held: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TreeState:
    """What was read last: `revision` is empty outside of git; `trouble` says why it could not be read."""

    revision: str = ""
    dirty: bool = False
    read_at: datetime | None = None
    gateways: int = 0
    problems: tuple[Problem, ...] = ()
    broken: bool = False
    trouble: str = ""
    pulled_at: datetime | None = None
    distrusted: str = ""


@dataclass(slots=True)
class _Duration:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0


class Board:
    """Everything that is shown."""

    def __init__(self, started_at: datetime) -> None:
        self.started_at = started_at
        self._lock = threading.Lock()
        self._tree = TreeState()
        self._targets: dict[str, TargetState] = {}
        self._rows: dict[str, dict[str, Row]] = {}
        self._events: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._counts: Counter[tuple[str, Labels]] = Counter()
        self._durations: dict[tuple[str, Labels], _Duration] = {}

    @property
    def tree(self) -> TreeState:
        """What was read last."""
        return self._tree

    def note_tree(self, **changed: object) -> None:
        """Change what is known of the tree."""
        with self._lock:
            self._tree = replace(self._tree, **changed)  # type: ignore[arg-type]

    def targets(self) -> dict[str, TargetState]:
        """Return every target by name."""
        with self._lock:
            return dict(self._targets)

    def put_target(self, state: TargetState) -> None:
        """Replace a target."""
        with self._lock:
            self._targets[state.name] = state

    def rows(self, target: str) -> dict[str, Row]:
        """Return the gateways of a target by name."""
        with self._lock:
            return dict(self._rows.get(target, {}))

    def put_rows(self, target: str, rows: Mapping[str, Row], *, whole: bool = False) -> None:
        """Replace some gateways of a target, or all of them."""
        with self._lock:
            self._rows[target] = {**({} if whole else self._rows.get(target, {})), **rows}

    def remove_rows(self, target: str, names: set[str]) -> None:
        """Remove the gateways that are no more."""
        with self._lock:
            kept = self._rows.get(target, {})
            self._rows[target] = {name: row for name, row in kept.items() if name not in names}

    def events(self) -> list[Event]:
        """Return the last events, the newest first."""
        with self._lock:
            return list(reversed(self._events))

    def add_event(self, event: Event) -> None:
        """Take notice of an event."""
        with self._lock:
            self._events.append(event)
            self._counts["reconciler_events_total", (("reason", event.reason), ("state", event.state))] += 1

    def count(self, metric: str, amount: int = 1, **labels: str) -> None:
        """Add to one of the counters of `reconciler.daemon.metrics`."""
        with self._lock:
            self._counts[metric, tuple(sorted(labels.items()))] += amount

    def observe(self, metric: str, seconds: float, **labels: str) -> None:
        """Add a duration to one of the histograms."""
        with self._lock:
            kept = self._durations.setdefault((metric, tuple(sorted(labels.items()))), _Duration())
            kept.buckets[next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))] += 1
            kept.total += seconds

    def counts(self) -> dict[tuple[str, Labels], int]:
        """Return every counter."""
        with self._lock:
            return dict(self._counts)

    def durations(self) -> dict[tuple[str, Labels], tuple[list[int], float]]:
        """Return every histogram: how many fell into each bucket, and the sum of the seconds."""
        with self._lock:
            return {key: (list(kept.buckets), kept.total) for key, kept in self._durations.items()}
