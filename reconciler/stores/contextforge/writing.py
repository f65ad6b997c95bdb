"""One change, written and looked at again. What must not be written is refused before anything is sent.

The platform answers a write with the row as it has read it from its database after the commit. That is compared with
what was to be written, and so is the row itself where the answer says less, or came before it was done.

Credentials always go along, for the platform wipes what an update leaves out: where the row still has what we put
there, its masks are sent back, which keep them; otherwise the secrets are fetched, just before the call.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from reconciler.core.contextforge_platform import slug
from reconciler.core.hostile import printable
from reconciler.core.model import Action, Gateway, Outcome, Visibility
from reconciler.errors import InputError
from reconciler.stores.contextforge.credentials import masked, resolved, seal, sealed_for
from reconciler.stores.contextforge.failures import (
    CONFLICT,
    NOT_FOUND,
    WIDEN,
    CallError,
    RefusedError,
    column_may_be_narrow,
)
from reconciler.stores.contextforge.marks import sealed_of, tags_of
from reconciler.stores.contextforge.rows import (
    body,
    canonical,
    id_in,
    listed,
    live_gateway,
    team_of,
    token,
    version_of,
)
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.core.model import Change, LiveGateway
    from reconciler.stores.access import Access
    from reconciler.stores.contextforge.credentials import Secrets
    from reconciler.stores.contextforge.marks import Sealed
    from reconciler.stores.contextforge.wire import Wire

    Row = Mapping[str, Any]

_FIELDS: Final = tuple(each.name for each in fields(Gateway))
_SHOWN: Final = 400
_GLANCE_SECONDS: Final = 0.5
_SETTLING_SECONDS: Final = 60.0
_CHANGED: Final = "it was changed since the plan was made: plan again"
_DELETED: Final = "it was deleted since the plan was made: plan again"
_CONNECTING: Final = "accepted; the platform has not connected to the upstream yet"
_DELETING: Final = "accepted; the platform has not finished deleting it"
_UNREACHED: Final = "written; but the platform does not reach the upstream"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a change, and the row that there is now because of it."""

    outcome: Outcome
    row: LiveGateway | None = None


class Writer:
    """Makes changes. What it learns of teams and of the database on the way it keeps."""

    def __init__(self, wire: Wire, access: Access, sleep: Callable[[float], None]) -> None:
        self._wire = wire
        self._access = access
        self._sleep = sleep
        self._teams: list[Row] | None = None
        self._dialect: str | None = None

    def make(self, change: Change) -> Made:
        """Make one change.

        Raises:
            CallError: all further calls would fail alike.
        """
        try:
            return self._made(change)
        except (RefusedError, InputError) as error:
            return Made(Outcome(change.name, change.action, "refused", error.in_one_line()))
        except CallError as error:
            if error.ends:
                raise
            status: Literal["refused", "failed"] = "refused" if error.status in (NOT_FOUND, CONFLICT) else "failed"
            return Made(Outcome(change.name, change.action, status, error.in_one_line()))

    def _made(self, change: Change) -> Made:
        if change.action is Action.DELETE or change.after is None:
            return Made(_applied(change, self._delete(self._fresh(change)["id"])))
        gateway = canonical(change.after)
        if change.action is Action.CREATE:
            row = self._create(change, gateway)
        else:
            row = self._update(change, gateway, self._fresh(change))
        return Made(_applied(change, _note(row)), live_gateway(row, self._access))

    def _create(self, change: Change, gateway: Gateway) -> Row:
        secrets = resolved(gateway, self._access)
        sealed = seal(gateway, 1, secrets, self._access)
        content = self._body(change, gateway, sealed, secrets, {})
        try:
            row = self._wire.create(content)
        except CallError as error:
            if not error.sent:
                raise self._explained(error, change) from None
            row = self._came_through(error, change, gateway)
        row = self._connected(row)
        if not gateway.enabled:
            row = self._switched(row, on=False)
        return self._proved(row, change, gateway, 1)

    def _update(self, change: Change, gateway: Gateway, row: Row) -> Row:
        if _is_pending(row) and _is_pending(row := self._settled(row)):
            return self._instead_of_pending(change, gateway, row)
        version = version_of(row) + 1
        secrets, sealed = self._secrets(gateway, row, version)
        content = self._body(change, gateway, sealed, secrets, row)
        if row.get("enabled") and not gateway.enabled:  # first, for whoever wants it off wants it off now
            self._switched(row, on=False)
        row = self._connected(self._put(change, content, row["id"], version))
        if gateway.enabled and not row.get("enabled"):
            row = self._switched(row, on=True)
        return self._proved(row, change, gateway, version)

    def _put(self, change: Change, content: Mapping[str, Any], identifier: str, version: int) -> Row:
        """Return the row after an update, whether the platform answered it in time or not."""
        try:
            return self._wire.update(identifier, content)
        except CallError as error:
            if not error.sent:
                raise self._explained(error, change) from None
            row = self._wire.gateway(identifier)
            if version_of(row) != version:
                raise
            return row

    def _instead_of_pending(self, change: Change, gateway: Gateway, row: Row) -> Row:
        """Replace a gateway that never worked, and that the platform would not update before it does.

        It ignores updates of a pending gateway without a word. One of ours that it never reached has nothing to lose;
        of any other the tools and what refers to them would be lost.
        """
        if row.get("lastSeen") is not None or change.before is None or change.before.stamp is None:
            raise RefusedError(
                f"the platform ignores updates until it has connected to the upstream{_last_error(row)}",
                fix="let the upstream come back, or delete the gateway there and apply again",
            )
        self._delete(row["id"])
        return self._create(change, gateway)

    def _delete(self, identifier: str) -> str:
        self._wire.delete(identifier)
        deadline = time.monotonic() + _SETTLING_SECONDS
        while time.monotonic() < deadline:
            try:
                self._wire.gateway(identifier)
            except CallError as error:
                if error.status == NOT_FOUND:
                    return ""
                raise
            self._sleep(_GLANCE_SECONDS)
        return _DELETING

    def _fresh(self, change: Change) -> Row:
        """Return the row that a change starts from, as it was when the plan was made."""
        held = change.before.token if change.before is not None else ""
        try:
            row = self._wire.gateway(id_in(held))
        except CallError as error:
            if error.status == NOT_FOUND:
                raise RefusedError(_DELETED) from None
            raise
        if token(row) != held:
            raise RefusedError(_CHANGED)
        return row

    def _secrets(self, gateway: Gateway, row: Row, version: int) -> tuple[Secrets, Sealed | None]:
        """Return the secrets to send, and what is to stand for them.

        Without a seal nobody can tell whether they are still the same, so they are sent.
        """
        live, sealed = live_gateway(row, self._access), sealed_of(listed(row.get("tags")))
        held = live.gateway
        same = (held.name, held.auth, held.client_key) == (gateway.name, gateway.auth, gateway.client_key)
        if same and not live.outdated and sealed is not None and self._access.seal is not None:
            return masked(row), sealed_for(replace(sealed, version=version), gateway.name, self._access)
        secrets = resolved(gateway, self._access)
        return secrets, seal(gateway, version, secrets, self._access)

    def _body(
        self, change: Change, gateway: Gateway, sealed: Sealed | None, secrets: Secrets, row: Row
    ) -> dict[str, Any]:
        tags = tags_of(gateway.tags, change.stamp, change.record, sealed)
        return body(gateway, change.signature, tags, self._team(gateway, row), secrets, row)

    def _settled(self, row: Row) -> Row:
        """Return a row once the platform has connected to the upstream, or has failed to, or took too long."""
        deadline = time.monotonic() + _SETTLING_SECONDS
        while _is_pending(row) and not row.get("lastError") and time.monotonic() < deadline:
            self._sleep(_GLANCE_SECONDS)
            row = self._wire.gateway(row["id"])
        return row

    def _switched(self, row: Row, *, on: bool) -> Row:
        self._wire.switch(row["id"], on=on)
        return self._wire.gateway(row["id"])

    def _connected(self, row: Row) -> Row:
        """Return a row that was written, when the platform has connected to the upstream: it may answer before it has.

        Raises:
            CallError: it could not connect.
        """
        row = self._settled(row)
        if _is_pending(row) and row.get("lastError"):
            raise CallError(f"the platform stored it, and could not connect to the upstream{_last_error(row)}")
        return row

    def _proved(self, row: Row, change: Change, gateway: Gateway, version: int) -> Row:
        """Return a row that is as it was written, which the answer to a write may not show and a look does.

        Raises:
            CallError: it is not.
        """
        if version_of(row) != version or self._differing(row, change, gateway):
            row = self._wire.gateway(row["id"])
        if version_of(row) != version:
            raise CallError("somebody else wrote it at the same moment", fix="plan again")
        if differing := self._differing(row, change, gateway):
            raise CallError(f"ContextForge does not hold what was written: {', '.join(differing)}", fix="plan again")
        return row

    def _differing(self, row: Row, change: Change, gateway: Gateway) -> list[str]:
        """Return the names of the fields of a row that are not as they were written."""
        held = live_gateway(row, self._access)
        differing = [name for name in _FIELDS if getattr(held.gateway, name) != getattr(gateway, name)]
        if held.signature != change.signature:
            differing.append("ca_certificate_sig")
        if held.record != change.record:
            differing.append("record")
        return differing if held.stamp == change.stamp else [*differing, "stamp"]

    def _came_through(self, error: CallError, change: Change, gateway: Gateway) -> Row:
        """Return what a create without an answer created all the same."""
        for row in self._wire.gateways():
            if row.get("name") == gateway.name and not self._differing(row, change, replace(gateway, enabled=True)):
                return row
        raise error

    def _team(self, gateway: Gateway, row: Row) -> str:
        """Return the platform's id of the team that is a gateway's audience, the empty string where none is."""
        if gateway.visibility is not Visibility.TEAM:
            return ""
        if gateway.contextforge.team == team_of(row) != "":
            return text_of(row.get("teamId"))
        if self._teams is None:
            self._teams = self._wire.teams()
        wanted = gateway.contextforge.team
        found = [team["id"] for team in self._teams if wanted and slug(text_of(team.get("name"))) == wanted]
        if len(found) != 1:
            raise RefusedError(
                f"the token sees {len(found) or 'no'} teams called `{wanted}`" if wanted else "it has no team",
                fix="name under contextforge.team a team that the token's user owns",
            )
        return str(found[0])

    def _explained(self, error: CallError, change: Change) -> CallError:
        """Return the error, with its likely cause where the platform names none."""
        if not column_may_be_narrow(error, change.signature):
            return error
        if self._dialect is None:
            self._dialect = self._wire.dialect()
        if self._dialect not in ("", "postgresql"):
            return error
        where = "" if self._dialect else " if its database is PostgreSQL,"
        return CallError(
            f"{error};{where} the column for the signature has room for half of one",
            fix=f"run this once in its database: {WIDEN}",
            status=error.status,
        )


def _applied(change: Change, note: str) -> Outcome:
    return Outcome(change.name, change.action, "applied", note)


def _note(row: Row) -> str:
    """Return what is to be said of a row that was written, mostly nothing."""
    if _is_pending(row):
        return _CONNECTING
    if skipped := listed(row.get("skippedTools")):
        return f"without {len(skipped)} tools that the platform does not take: {_few(skipped)}"
    return _UNREACHED if row.get("enabled") and row.get("reachable") is False else ""


def _few(names: Sequence[Any]) -> str:
    return printable(", ".join(map(str, names)), _SHOWN)


def _is_pending(row: Row) -> bool:
    return row.get("status") == "pending"


def _last_error(row: Row) -> str:
    words = printable(text_of(row.get("lastError")), _SHOWN)
    return f" ({words})" if words else ""
