"""What an apply did: one line per change, then the sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import Outcome

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "applied": ("✓", "green"),
    "refused": ("✗", "red"),
    "failed": ("✗", "red"),
    "skipped": ("·", "yellow"),
}
_SHOWN: Final = 50


def as_text(outcomes: Sequence[Outcome], style: Style = PLAIN) -> str:
    """Return every outcome that needs reading, the first fifty that went well, and the sum."""
    well = [outcome for outcome in outcomes if outcome.status == "applied"]
    badly = [outcome for outcome in outcomes if outcome.status != "applied"]
    lines = [_line(outcome, style) for outcome in (*well[:_SHOWN], *badly)]
    if len(well) > _SHOWN:
        lines.insert(_SHOWN, style(f"  … and {len(well) - _SHOWN:,} more", "dim"))
    return "\n".join((*lines, style(summary(outcomes), "bold")))


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the counts in one sentence."""
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in _MARKS}
    parts = [f"{number:,} {status}" for status, number in counts.items() if number]
    return f"Apply: {', '.join(parts)}." if parts else f"Nothing to apply: {counted(0, 'change')}."


def documents(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the outcomes as plain JSON values."""
    return {
        "format_version": FORMAT_VERSION,
        "outcomes": [
            {"name": outcome.name, "action": outcome.action.value, "status": outcome.status, "reason": outcome.reason}
            for outcome in outcomes
        ],
    }


def _line(outcome: Outcome, style: Style) -> str:
    mark, colour = _MARKS[outcome.status]
    reason = f": {printable(outcome.reason, TEXT_LIMIT)}" if outcome.reason else ""
    return f"  {style(mark, colour)} {outcome.action} {printable(outcome.name)} {style(outcome.status, colour)}{reason}"
