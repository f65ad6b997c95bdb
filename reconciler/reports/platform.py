"""What a running platform did besides storing: which tools answered through it, and how much time it took."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.reports.style import PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.model import Served, ToolCall, Waited

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "answered": ("✓", "green"),
    "failed": ("✗", "red"),
    "absent": ("·", "yellow"),
}


def calls_as_text(calls: Sequence[ToolCall], style: Style = PLAIN) -> str:
    """Return every call, and the sum."""
    answered = sum(call.status == "answered" for call in calls)
    last = f"Proof: {answered:,} of {counted(len(calls), 'gateway')} answered through the platform."
    return "\n".join((*(_line(call, style) for call in calls), style(last, "bold")))


def _line(call: ToolCall, style: Style) -> str:
    mark, colour = _MARKS[call.status]
    reason = f": {printable(call.reason, TEXT_LIMIT)}" if call.reason else ""
    what = f"call {printable(call.tool)} of {printable(call.gateway)}"
    return f"  {style(mark, colour)} {what} {style(call.status, colour)}{reason}"


def calls_as_documents(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """Return the calls as plain JSON values."""
    return [
        {"gateway": call.gateway, "tool": call.tool, "status": call.status, "reason": call.reason} for call in calls
    ]


_SERVED: Final[Mapping[str, tuple[str, str, str]]] = {
    "ready": ("✓", "green", "ready"),
    "failed": ("✗", "red", "not ready"),
    "unknown": ("✗", "red", "not taken up"),
}


def served_as_text(served: Sequence[Served], style: Style = PLAIN) -> str:
    """Return what a platform makes of each gateway, and the sum."""
    ready = sum(each.status == "ready" for each in served)
    last = f"Broker: {ready:,} of {counted(len(served), 'gateway')} ready."
    return "\n".join((*(line for each in served for line in _served(each, style)), style(last, "bold")))


def _served(each: Served, style: Style) -> Iterator[str]:
    mark, colour, word = _SERVED[each.status]
    tools = f", {counted(each.tools, 'tool')}" if each.status == "ready" else ""
    reason = f": {printable(each.reason, TEXT_LIMIT)}" if each.reason else ""
    yield f"  {style(mark, colour)} {printable(each.gateway)} {style(word, colour)}{tools}{reason}"
    if each.fix:
        yield f"      fix: {each.fix}"


def served_as_documents(served: Sequence[Served]) -> list[dict[str, Any]]:
    """Return the same as plain JSON values."""
    return [asdict(each) for each in served]


def waited_as_text(waited: Waited, seconds: float) -> str:
    """Return how much of the `seconds` that an apply took the platform was waited for."""
    each = 1000 * waited.seconds / max(waited.calls, 1)
    pauses = f", and {waited.paused:.0f} s were pauses for its rate limit" if waited.paused else ""
    return (
        f"Took {seconds:.1f} s: {waited.seconds:.1f} s of it was the platform's,"
        f" in {counted(waited.calls, 'call')} of {each:.0f} ms{pauses}."
    )


def waited_as_document(waited: Waited) -> dict[str, Any]:
    """Return the same as plain JSON values."""
    return {
        "calls": waited.calls,
        "seconds": round(waited.seconds, 3),
        "paused_seconds": round(waited.paused, 3),
    }
