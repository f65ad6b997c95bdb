"""What `lock` wrote down, or would have: each gateway's tools, what is new in them, and what wants a second look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.core.hostile import printable
from reconciler.reports import tools
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import NAME_LIMIT, PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.core.observation import McpObservation, TlsObservation, Tool
    from reconciler.core.toolchanges import ToolChange
    from reconciler.core.tooltext import Flag


@dataclass(frozen=True, slots=True)
class Locked:
    """The tools of a gateway and the file they belong in; None where they could not be had, and `why` not.

    `changes` are against the lock before, and `differs` says whether it is another, or the first.
    """

    name: str
    file: str
    tools: tuple[Tool, ...] | None
    differs: bool = False
    changes: tuple[ToolChange, ...] = ()
    flags: tuple[tuple[str, Flag], ...] = ()
    why: McpObservation | TlsObservation | None = None

    def status(self, *, check: bool) -> str:
        """Return what became of the file, in a word."""
        if self.tools is None:
            return "failed"
        if not self.differs:
            return "unchanged"
        return "differs" if check else "written"


def as_text(results: Sequence[Locked], *, check: bool, style: Style = PLAIN) -> str:
    """Return a line for each gateway, with what changed and what wants a look below it."""
    return "\n".join(line for result in results for line in _gateway(result, check=check, style=style))


def as_document(results: Sequence[Locked], *, check: bool) -> dict[str, Any]:
    """Return the published JSON shape of `lock`."""
    return {"format_version": FORMAT_VERSION, "gateways": [_document(result, check=check) for result in results]}


def _gateway(result: Locked, *, check: bool, style: Style) -> Iterator[str]:
    name, status = style(printable(result.name, NAME_LIMIT), "bold"), result.status(check=check)
    if result.tools is None:
        yield f"{style('✗', 'red')} {name}  not locked: it did not say which tools it has"
        if result.why is not None:
            yield f"    {style(result.why.reason, 'red')}: {printable(result.why.message, TEXT_LIMIT)}"
            yield f"    {style('fix:', 'green')} {printable(result.why.fix, TEXT_LIMIT)}"
        return
    mark = style("✗", "red") if status == "differs" else style("✓", "green")
    yield f"{mark} {name}  {counted(len(result.tools), 'tool')}, {printable(result.file, NAME_LIMIT)} {_SAYS[status]}"
    yield from (f"    {line}" for line in tools.as_lines(result.changes, style))
    if result.flags:
        yield f"    {style('warning', 'yellow')}: {tools.counted_flags(len(result.flags))} before you commit this"
        shown = result.flags[: tools.SHOWN]
        yield from (f"      {printable(tool, NAME_LIMIT)} {tools.flag_line(flag, style)}" for tool, flag in shown)


_SAYS = {"unchanged": "holds them already", "written": "written", "differs": "does not hold these"}


def _document(result: Locked, *, check: bool) -> dict[str, Any]:
    return {
        "name": result.name,
        "file": result.file,
        "status": result.status(check=check),
        "tools": None if result.tools is None else [tool.name for tool in result.tools],
        "reason": result.why.reason if result.why is not None else "",
        "message": result.why.message if result.why is not None else "",
        "fix": result.why.fix if result.why is not None else "",
        "changes": tools.documents(result.changes),
        "flags": [{"tool": name, **each} for name, flag in result.flags for each in tools.flag_documents([flag])],
    }
