"""The ledger: what was signed, in the order in which it was, each entry bound to the one before it by its hash.

An entry cannot be changed, taken out or put in without every later hash being another; cutting off the end is seen by
whoever kept the head of an earlier day. Values only: `reconciler.ledger` keeps them.

    signed      a row was signed, and is about to be written
    gone        a row is about to be deleted, or to get another name
    withdrawn   that row was not written after all
    finished    all others of that apply were
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple

from reconciler.core.canonical import canonical_json
from reconciler.core.model import Action
from reconciler.core.records import Head, payload_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.core.model import Change, Outcome

Kind = Literal["signed", "gone", "withdrawn", "finished"]


class LedgerEntry(NamedTuple):
    """One line. `apply` is the id in the history, `digest` that of the signed payload, `at` ISO 8601 in UTC.

    `store` is empty where the ledger lies in the store itself, and can be of no other.
    """

    seq: int
    at: str
    apply: int
    store: str
    kind: Kind
    name: str = ""
    revision: str = ""
    digest: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What an entry says of one name: `finished` tells whether its apply came to its end."""

    kind: Kind
    apply: int
    digest: str
    finished: bool


def link(previous: str, entry: LedgerEntry) -> str:
    """Return the hash of an entry after the one whose hash is `previous`: 64 lower-case hex digits."""
    return sha256(f"{previous}\n{canonical_json(entry._asdict())}".encode(errors="surrogatepass")).hexdigest()


def chained(head: Head, entries: Iterable[LedgerEntry]) -> Iterator[tuple[LedgerEntry, str]]:
    """Yield the entries with their hashes, the first one bound to `head`."""
    previous = head.hash
    for entry in entries:
        previous = link(previous, entry)
        yield entry, previous


def broken_at(lines: Iterable[tuple[LedgerEntry, str]]) -> int:
    """Return the number of the first entry that is missing or not as it was written; 0 where all are."""
    previous = Head().hash
    for seq, (entry, held) in enumerate(lines, start=1):
        if entry.seq != seq or link(previous, entry) != held:
            return seq
        previous = held
    return 0


def begun(first: LedgerEntry, changes: Sequence[Change], key_id: str) -> Iterator[LedgerEntry]:
    """Yield what there is to write down before these changes are made, numbered from `first`, which says the rest."""
    seq = count(first.seq)
    for change in changes:
        if change.action is Action.DELETE or change.held_as != change.name:
            yield first._replace(seq=next(seq), kind="gone", name=change.held_as)
        if change.after is not None and change.stamp is not None and change.record:
            digest, revision = payload_digest(change.after, change.stamp), change.stamp.revision
            yield first._replace(
                seq=next(seq), kind="signed", name=change.name, revision=revision, digest=digest, key_id=key_id
            )


def ended(first: LedgerEntry, changes: Sequence[Change], outcomes: Sequence[Outcome]) -> Iterator[LedgerEntry]:
    """Yield what there is to write down once these changes were made, or were not, numbered from `first`."""
    seq = count(first.seq)
    for change, outcome in zip(changes, outcomes, strict=True):
        for name in sorted({change.name, change.held_as}) if outcome.status != "applied" else ():
            yield first._replace(seq=next(seq), kind="withdrawn", name=name)
    yield first._replace(seq=next(seq), kind="finished")


def is_superseded(past: Sequence[Past], digest: str) -> bool:
    """Return whether the row of these entries, in their order, was written again since it had this digest.

    What became of an apply without an end nobody knows: the row may be what it would have left, or what was before.
    """
    withdrawn = {entry.apply for entry in past if entry.kind == "withdrawn"}
    written: set[str] = set()
    current: set[str] = set()
    for entry in past:
        if entry.kind not in ("signed", "gone") or entry.apply in withdrawn:
            continue
        if entry.finished:
            current.clear()
            written.add(entry.digest)
        current.add(entry.digest)
    return digest in written and digest not in current
