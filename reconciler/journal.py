"""How things stand, kept beside the gateways of an SQL store or in a file: conditions, and what was last seen.

It records and decides nothing, and losing it loses no gateway. Its tables only ever gain columns that have defaults; a
table whose meaning changes gets another name, so that older and newer versions can share a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.conditions import Condition, carried_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.core.lease import Fence
    from reconciler.tables import Tables

_FIRST: Final = (
    """
    CREATE TABLE IF NOT EXISTS reconciler_conditions (
        gateway           TEXT NOT NULL,
        type              TEXT NOT NULL,
        status            TEXT NOT NULL CHECK (status IN ('True', 'False', 'Unknown')),
        reason            TEXT NOT NULL,
        message           TEXT NOT NULL,
        observed_revision TEXT NOT NULL,
        since             TEXT NOT NULL,
        PRIMARY KEY (gateway, type)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reconciler_observations (
        gateway        TEXT NOT NULL PRIMARY KEY,
        verified_at    TEXT NOT NULL,
        ready          INTEGER NOT NULL,
        tools          INTEGER NOT NULL,
        leaf_not_after TEXT
    ) WITHOUT ROWID
    """,
)
_TOOLS_CAME: Final = (
    """
    CREATE TABLE IF NOT EXISTS reconciler_tools (
        gateway TEXT NOT NULL PRIMARY KEY,
        names   TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)
STEPS: Final = (_FIRST, _TOOLS_CAME)
"""How PostgreSQL came to the tables of today."""

TABLES: Final = (*_FIRST, *_TOOLS_CAME)
_ASKED_AT_ONCE: Final = 500

_CONDITION: Final = "type, status, reason, message, observed_revision, since"
_OBSERVATION: Final = "gateway, verified_at, ready, tools, leaf_not_after"

_CONDITIONS_OF: Final = f"SELECT gateway, {_CONDITION} FROM reconciler_conditions WHERE gateway IN"  # noqa: S608 - columns
_CONDITIONS: Final = f"SELECT gateway, {_CONDITION} FROM reconciler_conditions ORDER BY gateway, type"  # noqa: S608 - as above
_ADD_CONDITION: Final = f"INSERT INTO reconciler_conditions (gateway, {_CONDITION}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - as above
_OBSERVATIONS: Final = f"SELECT {_OBSERVATION} FROM reconciler_observations ORDER BY gateway"  # noqa: S608 - as above
_SET_OBSERVATION: Final = f"INSERT INTO reconciler_observations ({_OBSERVATION}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 - as above
_FORGET_CONDITIONS: Final = "DELETE FROM reconciler_conditions WHERE gateway = ?"
_FORGET_OBSERVATIONS: Final = "DELETE FROM reconciler_observations WHERE gateway = ?"
_TOOLS: Final = "SELECT gateway, names FROM reconciler_tools"
_SET_TOOLS: Final = "INSERT INTO reconciler_tools (gateway, names) VALUES (?, ?)"
_FORGET_TOOLS: Final = "DELETE FROM reconciler_tools WHERE gateway = ?"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the last look at an upstream found. `tools` counts them; without TLS there is no `leaf_not_after`.

    `names` are those of the tools; where a look did not learn them, it is None, and those known before are kept.
    """

    verified_at: datetime
    ready: bool
    tools: int
    leaf_not_after: datetime | None
    names: tuple[str, ...] | None = None


class Journal:
    """The journal in tables of ours. With a `fence`, nothing is written once its lease is another's.

    Every method raises StoreBusyError when another writer holds them, and StoreError when they cannot be used.
    """

    def __init__(self, tables: Tables, fence: Fence | None = None) -> None:
        self._tables = tables
        self._fence = fence

    def record_conditions(self, conditions: Mapping[str, Sequence[Condition]]) -> None:
        """Replace the conditions of the named gateways; each keeps its `since` unless its status flipped."""
        with self._tables.writing(self._fence) as connection:
            known = _known(connection.execute, list(conditions))
            rows = [row for name, new in conditions.items() for row in _carried(name, known.get(name, ()), new)]
            connection.executemany(_FORGET_CONDITIONS, ((name,) for name in conditions))
            connection.executemany(_ADD_CONDITION, rows)

    def conditions_of(self, names: Iterable[str]) -> dict[str, tuple[Condition, ...]]:
        """Return the conditions of these gateways, by name, as far as any are kept."""
        with self._tables.errors():
            found = _known(self._tables.rows, list(names))
            return {name: tuple(conditions) for name, conditions in found.items()}

    def conditions(self) -> dict[str, tuple[Condition, ...]]:
        """Return the conditions of every gateway, by name, each gateway's in the order of their types."""
        found: dict[str, list[Condition]] = {}
        with self._tables.errors():
            for name, *row in self._tables.rows(_CONDITIONS):
                found.setdefault(name, []).append(_condition(row))
        return {name: tuple(conditions) for name, conditions in found.items()}

    def record_observations(self, sightings: Mapping[str, Sighting]) -> None:
        """Replace what was last seen of the named gateways."""
        with self._tables.writing(self._fence) as connection:
            connection.executemany(_FORGET_OBSERVATIONS, ((name,) for name in sightings))
            connection.executemany(_SET_OBSERVATION, (_sighting_row(name, seen) for name, seen in sightings.items()))
            learnt = {name: seen.names for name, seen in sightings.items() if seen.names is not None}
            connection.executemany(_FORGET_TOOLS, ((name,) for name in learnt))
            connection.executemany(_SET_TOOLS, ((name, json.dumps(names)) for name, names in learnt.items()))

    def observations(self) -> dict[str, Sighting]:
        """Return what was last seen of each gateway, by name."""
        with self._tables.errors():
            tools = {name: _names(text) for name, text in self._tables.rows(_TOOLS)}
            found = {name: _sighting(*row) for name, *row in self._tables.rows(_OBSERVATIONS)}
            return {name: replace(seen, names=tools.get(name)) for name, seen in found.items()}

    def tools(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the tools that were last seen behind each gateway, by its name."""
        with self._tables.errors():
            return {name: _names(text) for name, text in self._tables.rows(_TOOLS)}

    def forget(self, names: Iterable[str]) -> None:
        """Drop what is kept of gateways that are no more."""
        gone = [(name,) for name in names]
        with self._tables.writing(self._fence) as connection:
            connection.executemany(_FORGET_CONDITIONS, gone)
            connection.executemany(_FORGET_OBSERVATIONS, gone)
            connection.executemany(_FORGET_TOOLS, gone)


def _known(rows: Callable[[str, Sequence[str]], Iterable[Any]], names: Sequence[str]) -> dict[str, list[Condition]]:
    """Return the conditions of these gateways, by name, asking for many at once."""
    found: dict[str, list[Condition]] = {}
    for start in range(0, len(names), _ASKED_AT_ONCE):
        some = names[start : start + _ASKED_AT_ONCE]
        for name, *row in rows(f"{_CONDITIONS_OF} ({', '.join('?' * len(some))})", some):
            found.setdefault(name, []).append(_condition(row))
    return found


def _carried(name: str, known: Iterable[Condition], new: Sequence[Condition]) -> Iterator[tuple[str, ...]]:
    previous = {condition.type: condition for condition in known}
    for condition in new:
        kept = carried_over(previous.get(condition.type), condition)
        yield name, kept.type, kept.status, kept.reason, kept.message, kept.observed_revision, kept.since.isoformat()


def _condition(row: Sequence[Any]) -> Condition:
    kind, status, reason, message, revision, since = row
    return Condition(kind, status, reason, message, revision, datetime.fromisoformat(since))


def _sighting_row(name: str, seen: Sighting) -> tuple[object, ...]:
    leaf = seen.leaf_not_after.isoformat() if seen.leaf_not_after else None
    return name, seen.verified_at.isoformat(), int(seen.ready), seen.tools, leaf


def _sighting(verified_at: str, ready: int, tools: int, leaf_not_after: str | None) -> Sighting:
    leaf = datetime.fromisoformat(leaf_not_after) if leaf_not_after else None
    return Sighting(datetime.fromisoformat(verified_at), bool(ready), tools, leaf)


def _names(text: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(text)))
