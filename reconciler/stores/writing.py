"""The statements that SQL stores share, and the order in which changes are written.

Values go where a `?` stands. It opens nothing, checks nothing and knows no driver: a session carries them out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from reconciler.core.model import Action
from reconciler.stores.rows import BOOKKEEPING, CONTENT, STAMP, content, slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.model import Audit, Change
    from reconciler.stores.rows import Row
    from reconciler.tables import Session

NAME: Final = CONTENT.index("name")
_SLUG: Final = CONTENT.index("slug")
_ID: Final = len(CONTENT) + BOOKKEEPING.index("id")

READ: Final = f"""
SELECT {", ".join((*CONTENT, *BOOKKEEPING, *STAMP))}
FROM gateways LEFT JOIN reconciler_stamps ON gateway_id = id
"""  # noqa: S608 - names of columns
_CREATE: Final = f"""
INSERT INTO gateways ({", ".join(CONTENT)}, id, created_at, created_by, created_via)
VALUES ({", ".join("?" for _ in CONTENT)}, ?, ?, ?, ?)
"""  # noqa: S608 - as above
_UPDATE: Final = f"""
UPDATE gateways
SET {", ".join(f"{column} = ?" for column in CONTENT)},
    modified_at = ?, modified_by = ?, modified_via = ?, version = version + 1
WHERE id = ?
"""  # noqa: S608 - as above
_FREE_SLUG: Final = "UPDATE gateways SET slug = 'given up by ' || id WHERE id = ?"
_DELETE: Final = "DELETE FROM gateways WHERE id = ?"
_UNSTAMP: Final = "DELETE FROM reconciler_stamps WHERE gateway_id = ?"
_STAMP: Final = f"""
INSERT INTO reconciler_stamps (gateway_id, {", ".join(STAMP)}) VALUES (?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608 - as above


def write(
    session: Session,
    changes: Sequence[Change],
    held: Mapping[str, Row],
    audit: Audit,
    at_hand: list[Change],
) -> None:
    """Make the changes, deletes first. `held` has the rows there are; `at_hand` tells which change is being made."""
    ids = {change.name: held[change.held_as][_ID] if change.held_as in held else uuid4().hex for change in changes}
    creates, updates, deletes = ([each for each in changes if each.action is action] for action in Action)
    at = audit.at.isoformat()
    who = (at, audit.actor, audit.via)
    renamed = {change.held_as for change in updates if change.held_as != change.name}
    session.executemany(
        _FREE_SLUG, [(row[_ID],) for name, row in held.items() if name in renamed or row[_SLUG] != slug(name)]
    )
    session.executemany(_DELETE, ((ids[change.name],) for change in _noted(deletes, at_hand)))
    session.executemany(_UNSTAMP, ((ids[change.name],) for change in _noted(updates, at_hand)))
    session.executemany(_UPDATE, _updates(_noted(updates, at_hand), ids, who))
    session.executemany(_CREATE, _creates(_noted(creates, at_hand), ids, who))
    session.executemany(_STAMP, _stamps(_noted([*updates, *creates], at_hand), ids, at))


def _noted(changes: Iterable[Change], at_hand: list[Change]) -> Iterator[Change]:
    """Yield the changes; `at_hand` holds the one that was yielded last, and nothing once all of them are made."""
    for change in changes:
        at_hand[:] = [change]
        yield change
    at_hand.clear()


def _creates(changes: Iterable[Change], ids: Mapping[str, str], stamped: Row) -> Iterator[Row]:
    for change in changes:
        if change.after is not None:
            yield (*content(change.after, change.signature, change.record), ids[change.name], *stamped)


def _updates(changes: Iterable[Change], ids: Mapping[str, str], stamped: Row) -> Iterator[Row]:
    for change in changes:
        if change.after is not None:
            yield (*content(change.after, change.signature, change.record), *stamped, ids[change.name])


def _stamps(changes: Iterable[Change], ids: Mapping[str, str], at: str) -> Iterator[Row]:
    for change in changes:
        if (stamp := change.stamp) is not None:
            yield (ids[change.name], stamp.owner, stamp.manifest, stamp.revision, stamp.digest, stamp.protected, at)
