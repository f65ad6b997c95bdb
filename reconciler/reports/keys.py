"""Trusted keys, what the rows of a store are signed with, and how far a rotation has come: text and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.tampering import SAYINGS
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import NAME_LIMIT, PLAIN, Style, counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.core.auditing import Audited
    from reconciler.core.signing import TrustedKey
    from reconciler.core.tampering import Finding

_STATES: Final[Mapping[str, str]] = {"active": "green", "not yet": "yellow", "ended": "red"}


def state(key: TrustedKey, now: datetime) -> str:
    """Return whether a key is `active`, `not yet`, or has `ended`."""
    if key.is_in_force(now):
        return "active"
    return "not yet" if key.not_before is not None and now < key.not_before else "ended"


def keys_as_text(keys: Sequence[TrustedKey], now: datetime, own: str, style: Style = PLAIN) -> str:
    """Return a line for each key; `own` is the id of the key that signs here, or empty."""
    if not keys:
        return "No key is trusted: keys/trusted.yaml is missing, and the key that signs is the only one that counts."
    return "\n".join(_key_line(key, now, own, style) for key in keys)


def keys_as_document(keys: Sequence[TrustedKey], now: datetime, own: str) -> dict[str, Any]:
    """Return the published JSON shape of `keys list`."""
    return {"format_version": FORMAT_VERSION, "keys": [_key_document(key, now, own) for key in keys]}


def audit_as_text(store: str, rows: Sequence[Audited], style: Style = PLAIN) -> str:
    """Return a line for each row, and the sum."""
    bad = sum(not row.genuine for row in rows)
    total = counted(len(rows), "row")
    said = f"{total} in {store}, {bad:,} not genuine." if bad else f"{total} in {store}, each of them genuine."
    return "\n".join((*(_row_line(row, style) for row in rows), style(said, "bold")))


def audit_as_document(store: str, rows: Sequence[Audited], carried: Mapping[str, int]) -> dict[str, Any]:
    """Return the published JSON shape of `keys verify`."""
    return {
        "format_version": FORMAT_VERSION,
        "store": store,
        "genuine": all(row.genuine for row in rows),
        "carried": dict(sorted(carried.items())),
        "gateways": [_row_document(row) for row in rows],
    }


def carried_as_text(carried: Mapping[str, int], keys: Sequence[TrustedKey]) -> str:
    """Return how many rows still carry the signature of each key."""
    lines = [f"  {printable(key.name)} ({key.id}): {counted(carried.get(key.name, 0), 'row')}" for key in keys]
    return "\n".join(("Rows that carry a signature of", *lines))


def refused_as_text(refused: Sequence[tuple[str, Finding]], style: Style = PLAIN) -> str:
    """Return a line for each row that may not be signed."""
    return "\n".join(f"{style(f'! {printable(name)}', 'red', 'bold')}  {SAYINGS[found]}" for name, found in refused)


def _key_line(key: TrustedKey, now: datetime, own: str, style: Style) -> str:
    said = state(key, now)
    ends = (("from", key.not_before), ("until", key.not_after))
    window = " ".join(f"{word} {moment:%Y-%m-%d %H:%M}" for word, moment in ends if moment)
    words = [printable(key.name), key.id, style(said, _STATES[said]), "+".join(sorted(key.roles)), window]
    return "  ".join((*filter(None, words), *(["signs here"] if key.id == own else [])))


def _key_document(key: TrustedKey, now: datetime, own: str) -> dict[str, Any]:
    return {
        "name": key.name,
        "key_id": key.id,
        "state": state(key, now),
        "roles": sorted(role.value for role in key.roles),
        "not_before": key.not_before.isoformat() if key.not_before is not None else None,
        "not_after": key.not_after.isoformat() if key.not_after is not None else None,
        "signs": key.id == own,
    }


def _row_line(row: Audited, style: Style) -> str:
    mark, colour = ("✓", "green") if row.genuine else ("✗", "red")
    bundle = f"bundle {row.bundle.status}{_by(row.bundle.key_name)}" if row.bundle is not None else "no bundle"
    record = f"row {row.record.status}{_by(row.record.key_name)}"
    whose = f"owner {printable(row.owner, NAME_LIMIT)}" if row.owner else "nobody's"
    revision = printable(short_revision(row.revision), NAME_LIMIT)
    words = (f"{style(mark, colour)} {printable(row.name, NAME_LIMIT)}", record, bundle, whose, revision)
    return "  ".join(word for word in words if word)


def _by(key: str) -> str:
    return f" ({printable(key)})" if key else ""


def _row_document(row: Audited) -> dict[str, Any]:
    bundle = row.bundle
    return {
        "name": row.name,
        "owner": row.owner,
        "revision": row.revision,
        "genuine": row.genuine,
        "bundle": {"status": bundle.status.value, "key_id": bundle.key_id} if bundle is not None else None,
        "record": {"status": row.record.status.value, "key_id": row.record.key_id},
    }
