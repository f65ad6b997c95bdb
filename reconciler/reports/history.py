"""What was applied: by whom, when, of which revision, what became of it, and what every row was before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.differences import differences, shown_document, shown_signature
from reconciler.core.hostile import printable
from reconciler.core.model import Action, Reason
from reconciler.reports.certificates import certificate_document, one_line
from reconciler.reports.changes import REASONS, value
from reconciler.reports.plan import BUNDLES, MARKS, UNREADABLE
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import NAME_LIMIT, PLAIN, TEXT_LIMIT, Style, counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.history import Entry, State, Step
    from reconciler.core.model import Certificate, Gateway, LiveGateway
    from reconciler.core.records import Head
    from reconciler.core.rollback import Left

_STATES: Final[Mapping[State, tuple[str, str]]] = {
    "started": ("no end is known, on {host}", "yellow"),
    "running": ("under way", "cyan"),
    "finished": ("", "green"),
    "failed": ("failed: {problem}", "red"),
    "interrupted": ("interrupted", "red"),
}
_STATUSES: Final[Mapping[str, str]] = {"applied": "green", "refused": "red", "failed": "red", "skipped": "yellow"}
_HEADER: Final = ("ID", "WHEN (UTC)", "WHO", "REVISION", "AUTHOR", "SIGNATURE", "RESULT")
_COLUMN: Final = 40
"""How wide a column of the table may become; `history show` says the rest."""


def ledger_document(head: Head, *, verified: bool) -> dict[str, Any]:
    """Return the published JSON shape of `history --head` and `history --verify`."""
    return {"format_version": FORMAT_VERSION, "entries": head.seq, "head": str(head), "verified": verified}


def as_text(entries: Sequence[Entry], style: Style = PLAIN) -> str:
    """Return a line per apply, the newest first."""
    if not entries:
        return "Nothing was applied yet."
    rows = [_HEADER, *(_row(entry) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER) - 1)]
    lines = [[f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)] for row in rows]
    heading = style("  ".join((*lines[0], _HEADER[-1])), "bold")
    body = (
        "  ".join((*cells, style(_result(entry), _STATES[entry.state][1])))
        for cells, entry in zip(lines[1:], entries, strict=True)
    )
    return "\n".join((heading, *body))


def details(
    entry: Entry, certificates: Mapping[str, Sequence[Certificate]], now: datetime, style: Style = PLAIN
) -> str:
    """Return everything about one apply; `certificates` has those of every PEM text of its pre-images."""
    host, _, pid = entry.process.rpartition(":")
    where = f" on {printable(host)} (process {printable(pid)})" if host else ""
    lines = [
        style(f"Apply {entry.id}", "bold"),
        f"  when       {_times(entry)}",
        f"  who        {printable(entry.actor, NAME_LIMIT)}, with {printable(entry.via)}{where}",
        f"  revision   {_revision(entry) or '(not from git)'}",
        f"  author     {printable(entry.commit.author, NAME_LIMIT) or '-'}",
        f"  signature  {printable(entry.commit.signature) or '-'}",
        f"  store      {printable(entry.store, NAME_LIMIT)}",
        f"  result     {style(_result(entry), _STATES[entry.state][1])}",
    ]
    if entry.steps:
        lines.append("")
    for step in entry.steps:
        lines.extend(_step(step, certificates, now, style))
    return "\n".join(lines)


def as_document(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the published JSON shape of `history`."""
    return {"format_version": FORMAT_VERSION, "applies": [_entry_document(entry) for entry in entries]}


def details_document(entry: Entry, certificates: Mapping[str, Sequence[Certificate]]) -> dict[str, Any]:
    """Return the published JSON shape of `history show`."""
    return {
        "format_version": FORMAT_VERSION,
        **_entry_document(entry),
        "changes": [_step_document(step, certificates) for step in entry.steps],
    }


def left_as_text(left: Sequence[Left], style: Style = PLAIN) -> str:
    """Return the rows that a rollback leaves alone, why, and what to do."""
    lines = []
    for each in left:
        lines.append(f"{style(f'! left alone {printable(each.name)}', 'red', 'bold')}  {each.message}")
        lines.append(f"    {style('fix:', 'green')} {each.fix}")
    return "\n".join(lines)


def left_documents(left: Iterable[Left]) -> list[dict[str, str]]:
    """Return the rows that a rollback leaves alone as plain JSON values."""
    return [{"name": each.name, "why": each.why.value, "message": each.message, "fix": each.fix} for each in left]


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        str(entry.id),
        f"{entry.started_at:%Y-%m-%d %H:%M}",
        printable(entry.actor, _COLUMN),
        printable(_revision(entry), _COLUMN) or "-",
        printable(entry.commit.author, _COLUMN) or "-",
        printable(entry.commit.signature, _COLUMN) or "-",
        "",
    )


def _revision(entry: Entry) -> str:
    dirty = " +uncommitted" if entry.commit.dirty else ""
    return printable(short_revision(entry.commit.revision), NAME_LIMIT) + dirty if entry.commit.revision else dirty[1:]


def _times(entry: Entry) -> str:
    start = f"{entry.started_at:%Y-%m-%d %H:%M:%S} UTC"
    return f"{start}, ended {entry.finished_at:%H:%M:%S}" if entry.finished_at else start


def _result(entry: Entry) -> str:
    counts = {status: getattr(entry, status) for status in _STATUSES}
    parts = [f"{number:,} {status}" for status, number in counts.items() if number]
    host = printable(entry.process.rpartition(":")[0])
    said = _STATES[entry.state][0].format(host=host, problem=printable(entry.problem, TEXT_LIMIT))
    if said:
        parts = [f"{said}, of {counted(entry.planned, 'change')}"]
    back = f" (rollback of {entry.rollback_of})" if entry.rollback_of else ""
    return f"{', '.join(parts)}{back}"


def _step(step: Step, certificates: Mapping[str, Sequence[Certificate]], now: datetime, style: Style) -> Iterator[str]:
    mark, colour = MARKS[step.action]
    status = step.status or "outcome not known"
    why = f"{status}: {printable(step.why, TEXT_LIMIT)}" if step.why else status
    words = [style(f"{mark} {step.action} {printable(step.name)}", colour, "bold")]
    words += [style(why, _STATUSES.get(step.status, "yellow"))]
    words += [style(word, "dim") for word in (_reason(step),) if word]
    yield "  ".join(words)
    if step.before is not None:
        yield from _before(step, step.before.gateway, certificates, now)
    elif step.action is not Action.CREATE and step.status in ("applied", ""):
        yield "    what it was before was not kept, or cannot be read"


def _reason(step: Step) -> str:
    if step.reason not in set(Reason):
        return printable(step.reason)
    return REASONS[Reason(step.reason)].format(held_as=printable(step.held_as))


def _before(
    step: Step, row: Gateway, certificates: Mapping[str, Sequence[Certificate]], now: datetime
) -> Iterator[str]:
    """Yield what the row was: of an update the fields that it touched, of a delete all that said something."""
    said = {each.path: each.before for each in differences(row, None)}
    fields = step.fields if step.action is Action.UPDATE else dict.fromkeys(path.partition(".")[0] for path in said)
    for name in fields:
        paths = [path for path in said if path == name or path.startswith(f"{name}.")]
        if name in BUNDLES and paths:
            yield f"    {name} was"
            found = certificates.get(getattr(row, name), ())
            yield from (f"      {one_line(each, now)}" for each in found)
            yield from () if found else (f"      {UNREADABLE}",)
        else:
            yield from (f"    {printable(path)} was {value(said[path])}" for path in paths)
            yield from () if paths else (f"    {printable(name)} was empty",)


def _entry_document(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "state": entry.state,
        "started_at": entry.started_at.isoformat(),
        "finished_at": entry.finished_at.isoformat() if entry.finished_at else None,
        "actor": entry.actor,
        "via": entry.via,
        "process": entry.process,
        "source": {
            "revision": entry.commit.revision,
            "dirty": entry.commit.dirty,
            "author": entry.commit.author,
            "signature": entry.commit.signature,
        },
        "store": entry.store,
        "rollback_of": entry.rollback_of or None,
        "problem": entry.problem,
        "summary": {"planned": entry.planned, **{status: getattr(entry, status) for status in _STATUSES}},
    }


def _step_document(step: Step, certificates: Mapping[str, Sequence[Certificate]]) -> dict[str, Any]:
    return {
        "name": step.name,
        "held_as": step.held_as,
        "action": step.action.value,
        "reason": step.reason,
        "status": step.status,
        "why": step.why,
        "paths": [f"/{name}" for name in step.fields],
        "before": _before_document(step.before, certificates) if step.before is not None else None,
    }


def _before_document(before: LiveGateway, certificates: Mapping[str, Sequence[Certificate]]) -> dict[str, Any]:
    stamp = before.stamp
    bundle = certificates.get(before.gateway.ca_certificate, ())
    return {
        "gateway": shown_document(before.gateway, None),
        "signature": shown_signature(before.signature),
        "owner": stamp.owner if stamp else "",
        "revision": stamp.revision if stamp else "",
        "protected": stamp is not None and stamp.protected is True,
        "certificates": [certificate_document(each) for each in bundle],
    }
