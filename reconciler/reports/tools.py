"""Tools that are not as they were reviewed: names, what changed in each, and what wants a second look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.tooltext import FIXES
from reconciler.reports import markup
from reconciler.reports.style import NAME_LIMIT, PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.toolchanges import Part, Risk, ToolChange, ToolsDelta
    from reconciler.core.tooltext import Flag

SHOWN: Final = 50
"""How many changes of one gateway people are shown; machines get all of them."""

_MARKS: Final[Mapping[str, tuple[str, str]]] = {"appeared": ("+", "green"), "vanished": ("-", "red")}
_CHANGED: Final = ("~", "yellow")
_LOOKS: Final[Mapping[Risk, tuple[str, ...]]] = {"high": ("red", "bold"), "medium": ("yellow",), "low": ("dim",)}


def as_lines(changes: Sequence[ToolChange], style: Style = PLAIN) -> Iterator[str]:
    """Yield a line for each change with its risk, and below it each place that differs and each flag."""
    for change in changes[:SHOWN]:
        mark, colour = _MARKS.get(change.kind, _CHANGED)
        name = printable(change.tool, NAME_LIMIT)
        risk = style(f"{change.risk} risk", *_LOOKS[change.risk])
        yield f"{style(f'{mark} {name}', colour, 'bold')}  {change.says}  {risk}"
        for part in change.parts:
            yield f"    {_part(part, style)}"
        for flag in change.flags:
            yield f"    {flag_line(flag, style)}"
    if len(changes) > SHOWN:
        yield f"and {len(changes) - SHOWN:,} more"


def flag_line(flag: Flag, style: Style = PLAIN) -> str:
    """Return what a flag says, and of which place."""
    place = printable(flag.pointer, NAME_LIMIT) or "/"
    return f"{style('flag:', 'red')} {place}: {printable(flag.what, TEXT_LIMIT)} [{flag.rule.code}]"


def deltas_as_text(deltas: Sequence[ToolsDelta], style: Style = PLAIN) -> Iterator[str]:
    """Yield what becomes of the tools of each gateway, for a plan."""
    for delta in deltas:
        heading = f"tools of {printable(delta.gateway, NAME_LIMIT)}"
        yield f"{style(heading, 'bold')}  {style(sentence(delta), 'dim')}"
        yield from (f"    {line}" for line in as_lines(delta.changes, style))


def sentence(delta: ToolsDelta) -> str:
    """Return what the changes of a gateway's tools are between."""
    return f"{delta.says} ({printable(delta.file, NAME_LIMIT)})"


def delta_as_html(delta: ToolsDelta) -> tuple[str, str]:
    """Return a line of HTML that names the changes, and one that shows them."""
    gained = sum(change.kind == "appeared" for change in delta.changes)
    lost = sum(change.kind == "vanished" for change in delta.changes)
    changed = len({change.tool for change in delta.changes}) - gained - lost
    said = ((gained, "gained"), (lost, "lost"), (changed, "changed"))
    counts = ", ".join(f"{number} {word}" for number, word in said if number)
    name = f"tools of <code>{markup.as_html(printable(delta.gateway, NAME_LIMIT))}</code>"
    title = f"{name}: {counts or 'none known'}; {markup.as_html(sentence(delta))}"
    lines = "\n".join(markup.as_html(line) for line in as_lines(delta.changes))
    whole = f"<details><summary>{title}</summary><pre>{lines}</pre></details>" if lines else f"<p>{title}</p>"
    return f"<p>{title}</p>", whole


def documents(changes: Sequence[ToolChange]) -> list[dict[str, Any]]:
    """Return the changes in the published JSON shape."""
    return [
        {
            "tool": change.tool,
            "change": change.kind,
            "risk": change.risk,
            "parts": [{"path": part.pointer, "before": part.before, "after": part.after} for part in change.parts],
            "flags": flag_documents(change.flags),
        }
        for change in changes
    ]


def flag_documents(flags: Sequence[Flag]) -> list[dict[str, str]]:
    """Return flags in the published JSON shape."""
    return [
        {"code": flag.rule.code, "path": flag.pointer, "message": flag.what, "fix": FIXES[flag.rule.code]}
        for flag in flags
    ]


def delta_documents(deltas: Sequence[ToolsDelta]) -> list[dict[str, Any]]:
    """Return what becomes of tools in the published JSON shape of `plan`."""
    return [
        {"gateway": each.gateway, "file": each.file, "says": each.says, "changes": documents(each.changes)}
        for each in deltas
    ]


def counted_flags(number: int) -> str:
    """Return `2 texts of tools want a look`."""
    return f"{counted(number, 'text')} of tools {'wants' if number == 1 else 'want'} a look"


def _part(part: Part, style: Style) -> str:
    sides = [style(side, look) for side, look in ((part.before, "red"), (part.after, "green")) if side]
    added = "" if part.before else "added "
    removed = "" if part.after else "removed "
    return f"{part.pointer}: {added}{removed}{' -> '.join(sides)}"
