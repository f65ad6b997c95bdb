"""What is known of every gateway of a target: its row, its conditions, and what a change of it waits for.

It begins with what the journal kept, so that a restart neither forgets since when something is wrong nor tells of it
again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.core.conditions import Condition, carried_over
from reconciler.core.verification import OBSERVED, ready, verified_conditions
from reconciler.daemon.board import Row
from reconciler.daemon.events import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from reconciler.core.model import DesiredState, LiveGateway
    from reconciler.core.verification import Standing, Verified
    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Notices
    from reconciler.engine import Engine
    from reconciler.journal import Sighting

_READY = "Ready"


class Register:
    """The gateways of one target. Used by its worker alone; others read the board."""

    def __init__(self, target: str, owner: str, board: Board, notices: Notices, clock: Callable[[], datetime]) -> None:
        self._target = target
        self._owner = owner
        self._board = board
        self._notices = notices
        self._clock = clock
        self._live: dict[str, LiveGateway] = {}
        self._rows: dict[str, Row] = {}
        self._conditions: dict[str, dict[str, Condition]] = {}
        self._sightings: dict[str, Sighting] = {}
        self._held: dict[str, str] = {}
        self._owned: set[str] = set()

    def remember(self, conditions: Mapping[str, Iterable[Condition]], sightings: Mapping[str, Sighting]) -> None:
        """Begin with what was known before a restart."""
        self._conditions = {name: {each.type: each for each in known} for name, known in conditions.items()}
        self._sightings = dict(sightings)
        for name, known in self._conditions.items():
            observed = next((known[kind] for kind in OBSERVED if kind in known and known[kind].status == "False"), None)
            if observed is not None:
                self._notices.told_before(Subject(self._target, name), _READY, observed.reason)

    @property
    def names(self) -> list[str]:
        """The names of the gateways that the store held at the last look."""
        return list(self._live)

    @property
    def with_other_tools(self) -> set[str]:
        """The names of the gateways whose tools were not the reviewed ones when they were looked at last."""
        return {
            name
            for name, known in self._conditions.items()
            if "ToolsMatch" in known and known["ToolsMatch"].status == "False"
        }

    @property
    def owned(self) -> int:
        """How many of them are ours: what the guards take their shares of."""
        return len(self._owned)

    def live(self, name: str) -> LiveGateway | None:
        """Return the row of a name as it was read last."""
        return self._live.get(name)

    def verified_at(self, name: str) -> datetime | None:
        """Return when the upstream of a gateway was looked at last."""
        sighting = self._sightings.get(name)
        return sighting.verified_at if sighting is not None else None

    @property
    def held(self) -> Mapping[str, str]:
        """Why changes of gateways wait, by name."""
        return self._held

    def hold(self, name: str, why: str) -> None:
        """Take notice that a change waits, or with an empty `why` that none does.

        It shows with the row when that is read again; where there is no row yet, it is told here.
        """
        subject = Subject(self._target, name)
        if not why:
            self._held.pop(name, None)
            self._notices.over(subject, "Change", "the change was made")
            return
        self._held[name] = why
        if name not in self._live:
            self._notices.problem(subject, "Change", "Held", why)

    def read(
        self, engine: Engine, live: Mapping[str, LiveGateway], desired: DesiredState, *, asked: Iterable[str] | None
    ) -> None:
        """Take notice of rows: those that were `asked` for by name, or all that there are."""
        gone = (set(self._live) if asked is None else set(asked) & self._live.keys()) - live.keys()
        rows = {}
        for name, found in live.items():
            row = self._row(engine, name, found, desired)
            if row is not self._rows.get(name):
                rows[name] = row
        self._live.update(live)
        ours = {name for name, found in live.items() if found.stamp is not None and found.stamp.owner == self._owner}
        self._owned = (self._owned - live.keys()) | ours
        self._show(rows)
        self._forget(gone)

    def observed(self, engine: Engine, results: Iterable[Verified], sightings: Mapping[str, Sighting]) -> None:
        """Take notice of what was seen of upstreams."""
        now = self._clock()
        rows = {}
        for verified in results:
            known = self._conditions.setdefault(verified.name, {})
            if verified.policy.tools_lock is None:
                known.pop("ToolsMatch", None)
            for condition in verified_conditions(verified, now):
                known[condition.type] = carried_over(known.get(condition.type), condition)
            if verified.name in sightings:
                self._sightings[verified.name] = sightings[verified.name]
            if (found := self._live.get(verified.name)) is not None:
                row = self._rows[verified.name]
                rows[verified.name] = replace(row, standing=self._standing(engine, found))
        self._show(rows)

    def _row(self, engine: Engine, name: str, found: LiveGateway, desired: DesiredState) -> Row:
        wanted, held = desired.gateways.get(name), self._held.get(name, "")
        suspension = wanted.suspended(self._clock()) if wanted is not None else None
        known, before = self._rows.get(name), self._live.get(name)
        same_row = known is not None and before is not None and before.token == found.token
        if known is not None and same_row and (known.suspension, known.held) == (suspension, held):
            return known
        return Row(self._standing(engine, found), suspension, held)

    def _standing(self, engine: Engine, found: LiveGateway) -> Standing:
        name, now = found.gateway.name, self._clock()
        known = self._conditions.setdefault(name, {})
        standing = engine.examiner.standing(found, list(known.values()), self._sightings.get(name), now)
        conditions = [condition for condition in standing.conditions if condition.type != _READY]
        if (why := self._held.get(name)) and (synced := conditions[0]).type == "Synced":
            held = Condition("Synced", "False", "Held", why, synced.observed_revision, now)
            conditions[0] = carried_over(known.get("Synced"), held)
        known.update((condition.type, condition) for condition in conditions)
        return replace(standing, conditions=(ready(conditions, now), *conditions))

    def _show(self, rows: Mapping[str, Row]) -> None:
        if not rows:
            return
        self._rows.update(rows)
        self._board.put_rows(self._target, rows)
        for name, row in rows.items():
            condition, subject = row.standing.conditions[0], Subject(self._target, name)
            if condition.status == "False" and row.suspension is None and row.standing.enabled:
                self._notices.problem(subject, _READY, condition.reason, condition.message, condition.observed_revision)
            elif condition.status == "True":
                self._notices.over(subject, _READY, "ready again", condition.observed_revision)

    def _forget(self, names: set[str]) -> None:
        if not names:
            return
        for name in names:
            for kept in (self._live, self._rows, self._conditions, self._sightings, self._held):
                kept.pop(name, None)
            self._owned.discard(name)
            self._notices.over(Subject(self._target, name), _READY, "the gateway is no more")
        self._board.remove_rows(self._target, names)
