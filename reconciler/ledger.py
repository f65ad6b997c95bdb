"""The ledger of a store, kept beside its history: appended to and never changed, whatever the history forgets.

It lies where the store's other tables do, so whoever can write those can cut it off or put an older one in its place.
That is found by the machine that keeps the head (`reconciler.remembering`), and by whoever printed it elsewhere.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.ledger import (
    LedgerEntry,
    Past,
    begun,
    broken_at,
    chained,
    ended,
    is_superseded,
)
from reconciler.core.records import Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from reconciler.core.lease import Fence
    from reconciler.core.model import Change, Outcome
    from reconciler.tables import Session, Tables

TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS reconciler_ledger (
        seq      BIGINT NOT NULL PRIMARY KEY,
        at       TEXT NOT NULL,
        apply    BIGINT NOT NULL,
        store    TEXT NOT NULL,
        kind     TEXT NOT NULL,
        name     TEXT NOT NULL,
        revision TEXT NOT NULL,
        digest   TEXT NOT NULL,
        key_id   TEXT NOT NULL,
        hash     TEXT NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS reconciler_ledger_name ON reconciler_ledger (name, apply)",
)
STEPS: Final = (TABLES,)
"""How PostgreSQL came to the tables of today."""

_PAGE: Final = 10_000
_APPEND: Final = "INSERT INTO reconciler_ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ANY: Final = "SELECT 1 FROM reconciler_ledger WHERE store = ? LIMIT 1"
_HEAD: Final = "SELECT seq, hash FROM reconciler_ledger ORDER BY seq DESC LIMIT 1"
_AT: Final = "SELECT hash FROM reconciler_ledger WHERE seq = ?"
_READ: Final = "SELECT seq, at, apply, store, kind, name, revision, digest, key_id, hash FROM reconciler_ledger"
_NEXT: Final = f"{_READ} WHERE seq > ? ORDER BY seq LIMIT {_PAGE}"
_PAST: Final = """
SELECT kind, apply, digest,
    EXISTS (
        SELECT 1 FROM reconciler_ledger AS ended
        WHERE ended.name = '' AND ended.apply = entry.apply AND ended.kind = 'finished'
    )
FROM reconciler_ledger AS entry WHERE name = ? AND store = ? ORDER BY seq
"""


class Ledger:
    """The ledger in a database; in one that does not exist yet it is empty.

    `store` names the store where the ledger lies outside of it, and may have entries of others.

    Every method raises StoreBusyError when another writer holds the database, and StoreError when it cannot be used.
    """

    def __init__(self, tables: Tables, store: str, fence: Fence | None = None) -> None:
        self._tables = tables
        self._store = store
        self._fence = fence

    def begin(self, apply: int, at: datetime, changes: Sequence[Change], key_id: str) -> None:
        """Write down what was signed, before any of it is written."""
        with self._tables.writing(self._fence) as session:
            head = _head(session)
            first = LedgerEntry(head.seq + 1, at.isoformat(), apply, self._store, "signed")
            _append(session, head, begun(first, changes, key_id))

    def finish(self, apply: int, at: datetime, changes: Sequence[Change], outcomes: Sequence[Outcome]) -> None:
        """Write down what of it was written."""
        with self._tables.writing(self._fence) as session:
            head = _head(session)
            first = LedgerEntry(head.seq + 1, at.isoformat(), apply, self._store, "finished")
            _append(session, head, ended(first, changes, outcomes))

    def head(self) -> Head:
        """Return the number and the hash of the last entry."""
        with self._tables.errors():
            return next((Head(int(seq), str(held)) for seq, held in self._tables.rows(_HEAD)), Head())

    def has(self, head: Head) -> bool:
        """Return whether the ledger goes on from `head`."""
        with self._tables.errors():
            return not head.seq or self._tables.rows(_AT, (head.seq,)) == [(head.hash,)]

    def is_cut_off(self, head: Head) -> bool:
        """Return whether the ledger does not go on from `head`, and should.

        One that lies outside of the store may be missing as a whole: on another machine, or in a new checkout.
        """
        return not self.has(head) and (not self._store or self.has_entries())

    def has_entries(self) -> bool:
        """Return whether anything was ever signed."""
        with self._tables.errors():
            return bool(self._tables.rows(_ANY, (self._store,)))

    def is_superseded(self, name: str, digest: str) -> bool:
        """Return whether the row of this name was written again since its payload had this digest."""
        with self._tables.errors():
            past = [_past(*row) for row in self._tables.rows(_PAST, (name, self._store))]
        return is_superseded(past, digest)

    def broken_at(self) -> int:
        """Return the number of the first entry that is missing or not as it was written; 0 where all are."""
        with self._tables.errors():
            return broken_at(self.lines())

    def lines(self) -> Iterator[tuple[LedgerEntry, str]]:
        """Yield every entry with its hash, whatever the store."""
        last = 0
        while page := self._tables.rows(_NEXT, (last,)):
            for *entry, held in page:
                yield LedgerEntry(*entry), str(held)
            last = page[-1][0]


def _head(session: Session) -> Head:
    return next((Head(int(seq), str(held)) for seq, held in session.execute(_HEAD)), Head())


def _append(session: Session, head: Head, entries: Iterable[LedgerEntry]) -> None:
    rows = ((*each, held) for each, held in chained(head, entries))
    if (first := next(rows, None)) is not None:
        session.executemany(_APPEND, chain((first,), rows))


def _past(kind: Any, apply: Any, digest: Any, finished: Any) -> Past:  # noqa: ANN401 - columns as found
    return Past(cast("Any", str(kind)), int(apply), str(digest), bool(finished))
