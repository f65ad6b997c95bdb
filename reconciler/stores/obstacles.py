"""What stands in a change's way, and what becomes of all changes when anything does: nothing at all is written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from reconciler.core.model import Action, Outcome
from reconciler.stores.rows import slug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.model import Change


def obstacles(changes: Sequence[Change], tokens: Mapping[str, str | None], holders: Mapping[str, str]) -> Iterator[str]:
    """Yield, for each change, why it may not be made, or nothing.

    `tokens` has the token of every name now, None for one that there is not. `holders` tells who has a slug now;
    whoever is changed by the same apply gives its own up first.
    """
    times = Counter(name for change in changes for name in {change.name, change.held_as})
    claims: dict[str, str] = {}
    for change in changes:
        if times[change.name] > 1 or times[change.held_as] > 1:
            yield "it is changed more than once by the same apply"
        else:
            yield _stale(change, tokens) or _taken(change, holders, claims, times)


def _stale(change: Change, tokens: Mapping[str, str | None]) -> str:
    renamed = change.before is not None and change.held_as != change.name
    if (change.before is None or renamed) and tokens.get(change.name) is not None:
        return "a gateway of this name was created since the plan was made: plan again"
    if change.before is None:
        return ""
    token = tokens.get(change.held_as)
    if token is None:
        return "it was deleted since the plan was made: plan again"
    return "" if change.before.token == token else "it was changed since the plan was made: plan again"


def _taken(change: Change, holders: Mapping[str, str], claims: dict[str, str], changed: Mapping[str, int]) -> str:
    if change.action is Action.DELETE:
        return ""
    wanted = slug(change.name)
    rival = claims.setdefault(wanted, change.name)
    if rival == change.name and holders.get(wanted) not in changed:
        rival = holders.get(wanted, change.name)
    if rival == change.name:
        return ""
    if slug(rival) != wanted:
        return f"the row of `{rival}` has its slug, `{wanted}`: correct that row, or delete it"
    return f"`{rival}` has the same slug, `{wanted}`: rename one of the two"


def outcomes(changes: Sequence[Change], obstacles: Sequence[str]) -> list[Outcome]:
    """Return one outcome per change, given the obstacle of each: all applied, or all refused or skipped."""
    refused = [change.name for change, why in zip(changes, obstacles, strict=True) if why]
    if not refused:
        return [Outcome(change.name, change.action, "applied") for change in changes]
    others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    cause = f"nothing was written, because `{refused[0]}`{others} could not be"
    return [
        Outcome(change.name, change.action, "refused", why)
        if why
        else Outcome(change.name, change.action, "skipped", cause)
        for change, why in zip(changes, obstacles, strict=True)
    ]


def failures(changes: Sequence[Change], failing: str, why: str) -> list[Outcome]:
    """Return one outcome per change when the store failed at the one named `failing`, and took all back."""
    cause = f"nothing was written, because `{failing}` could not be"
    return [
        Outcome(change.name, change.action, "failed", why)
        if change.name == failing
        else Outcome(change.name, change.action, "skipped", cause)
        for change in changes
    ]
