"""ContextForge as a store: everything is read at once, and written one gateway after the other, each for itself.

The platform has no transactions and no conditional requests, so each write is preceded by a look at the row and
followed by another: what was not stored as it was written is a failure, whatever the platform answered. A gateway that
could not be written leaves the others alone, except where every further call would fail alike.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from reconciler.core.contextforge_platform import CONTEXTFORGE, audience, slug
from reconciler.core.model import Action, LiveGateway, LiveState, Outcome, Stamp, ToolCall
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.stores.contextforge.address import address_of
from reconciler.stores.contextforge.calling import call_tool
from reconciler.stores.contextforge.failures import TOO_MANY, CallError
from reconciler.stores.contextforge.rows import canonical, id_in, live_gateway
from reconciler.stores.contextforge.wire import Wire
from reconciler.stores.contextforge.writing import Writer
from reconciler.stores.obstacles import obstacles

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.core.model import Audit, Change, Gateway, Waited
    from reconciler.stores.access import Access

_ORDER: Final = (Action.DELETE, Action.UPDATE, Action.CREATE)
"""Names and URLs are free for a create once those before have given them up."""


class ContextForgeStore:
    """Live state in a ContextForge installation, as far as the token may see it.

    The rows of the last look are kept, and kept up with what is written, so that a change costs one call and not two.
    They are never the reason to refuse anything: the platform is asked again before.
    """

    features: ClassVar = CONTEXTFORGE.features

    def __init__(self, wire: Wire, access: Access) -> None:
        self._wire = wire
        self._access = access
        self._writer = Writer(wire, access, time.sleep)
        self._known: dict[str, LiveGateway] | None = None
        self._ended = ""

    def read(self) -> LiveState:
        """Return all gateways, those that are switched off too, by name and in the order of the names.

        Raises:
            StoreBusyError: the platform's rate limit is used up.
            StoreError: they could not be read.
        """
        self._ended = ""
        self._writer = Writer(self._wire, self._access, time.sleep)
        return LiveState(_by_name(self._look().values()))

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:  # noqa: ARG002 - the token says who
        """Make the changes one by one, deletions first, whatever becomes of the others.

        After an answer that every further call would get too, the rest are skipped until the platform is read again.

        Raises:
            StoreBusyError: the platform's rate limit is used up before the first change.
            StoreError: the platform cannot be reached, or does not let us in.
        """
        reasons = self._obstacles(changes) if changes and not self._ended else [""] * len(changes)
        made: dict[int, Outcome] = {}
        for index in sorted(range(len(changes)), key=lambda each: _ORDER.index(changes[each].action)):
            change = changes[index]
            if self._ended:
                made[index] = Outcome(change.name, change.action, "skipped", self._ended)
            elif reasons[index]:
                made[index] = Outcome(change.name, change.action, "refused", reasons[index])
            else:
                made[index] = self._make(change)
        return [made[index] for index in range(len(changes))]

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return what the platform shows after it was given `gateway`."""
        return canonical(gateway)

    @property
    def waited(self) -> Waited:
        """What the platform took so far."""
        return self._wire.waited

    def call_tool(self, gateway: str, tool: str) -> ToolCall:
        """Call a tool of the gateway of this name through the platform, and return what came of it."""
        try:
            rows = self._known or self._look()
        except StoreError as error:
            return ToolCall(gateway, tool, "failed", error.in_one_line())
        row = _by_name(rows.values()).get(gateway)
        if row is None:
            return ToolCall(gateway, tool, "absent", "the platform has no such gateway")
        return call_tool(self._wire, id_in(row.token), gateway, tool)

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _look(self) -> dict[str, LiveGateway]:
        """Return all rows by their ids, and keep them."""
        self._known = None
        try:
            rows = [live_gateway(row, self._access) for row in self._wire.gateways()]
        except CallError as error:
            if error.status == TOO_MANY:
                raise StoreBusyError(str(error), fix=error.fix) from None
            raise
        self._known = {id_in(row.token): row for row in rows}
        return self._known

    def _obstacles(self, changes: Sequence[Change]) -> list[str]:
        """Return what stands in the way of each change, as the platform says now."""
        if self._known is not None and not any(_obstacles(changes, self._known.values())):
            return [""] * len(changes)
        return _obstacles(changes, self._look().values())

    def _make(self, change: Change) -> Outcome:
        known, self._known = self._known or {}, None
        try:
            made = self._writer.make(change)
        except CallError as error:
            self._ended = f"not tried, because of `{change.name}`: {error}"
            return Outcome(change.name, change.action, "failed", error.in_one_line())
        if made.outcome.status == "applied":
            if change.before is not None:
                known.pop(id_in(change.before.token), None)
            if made.row is not None:
                known[id_in(made.row.token)] = made.row
            self._known = known
        return made.outcome


def open_contextforge(url: str, *, create: bool, access: Access | None = None) -> ContextForgeStore:  # noqa: ARG001
    """Return the installation that `url` names; it exists already, whatever `create` says. Nothing is sent yet.

    Raises:
        InputError: the URL is none, or there is no token for it.
    """
    if access is None:
        raise InputError("a ContextForge store is opened without access to the environment, where its token is")
    return ContextForgeStore(Wire(address_of(url, access), sleep=time.sleep), access)


def _obstacles(changes: Sequence[Change], rows: Collection[LiveGateway]) -> list[str]:
    tokens = {name: found.token for name, found in _by_name(rows).items()}
    return list(obstacles(changes, tokens, _holders(changes, rows)))


def _by_name(rows: Iterable[LiveGateway]) -> dict[str, LiveGateway]:
    """Return the rows by name.

    Names are unique within an audience only, and not even there when two are created at once. Of several rows the one
    with a stamp is meant; where that does not decide, the name is given to an owner that nobody is, so that it plans as
    a conflict and nothing is written.
    """
    same: dict[str, list[LiveGateway]] = {}
    for row in rows:
        same.setdefault(row.gateway.name, []).append(row)
    return {name: _the_one(same[name]) for name in sorted(same)}


def _the_one(rows: Sequence[LiveGateway]) -> LiveGateway:
    stamped = rows if len(rows) == 1 else [row for row in rows if row.stamp is not None]
    if len(stamped) == 1:
        return stamped[0]
    ids = ", ".join(sorted(id_in(row.token) for row in rows))
    return replace(rows[0], stamp=Stamp(f"{len(rows)} rows of this name: {ids}", "", "", "", protected=True))


def _holders(changes: Sequence[Change], rows: Collection[LiveGateway]) -> Mapping[str, str]:
    """Return who has a slug, among those who may not share it with the gateway that a change gives it to."""
    wanted = {slug(change.name): audience(change.after) for change in changes if change.after is not None}
    return {
        taken: row.gateway.name
        for row in rows
        if (taken := slug(row.gateway.name)) in wanted and audience(row.gateway) == wanted[taken]
    }
