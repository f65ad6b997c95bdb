"""Rows that are not as they were applied, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.model import Reason
from reconciler.core.tampering import SAYINGS
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import NAME_LIMIT, PLAIN, Style, counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.drift import Drifted

_DRIFT: Final = "somebody changed the row since it was applied"
_MARKS: Final[Mapping[Reason, str]] = {Reason.DRIFT: "~ drift", Reason.TAMPERING: "! tampering"}


def as_text(found: Sequence[Drifted], applied: int, style: Style = PLAIN) -> str:
    """Return a line for each row that drifted, and the sum; `applied` counts all rows of ours."""
    lines = [_line(each, style) for each in found]
    if not found:
        return f"No drift: {counted(applied, 'gateway')} as applied."
    return "\n".join((*lines, style(f"{len(found)} of {counted(applied, 'gateway')} drifted.", "bold")))


def as_document(found: Sequence[Drifted], applied: int) -> dict[str, Any]:
    """Return the published JSON shape of `drift`."""
    return {
        "format_version": FORMAT_VERSION,
        "applied": applied,
        "drift": [
            {
                "name": each.name,
                "reason": each.reason.value,
                "evidence": each.evidence.value if each.evidence is not None else None,
                "manifest": each.manifest,
                "revision": each.revision,
            }
            for each in found
        ],
    }


def _line(each: Drifted, style: Style) -> str:
    mark, why = _MARKS[each.reason], SAYINGS[each.evidence] if each.evidence is not None else _DRIFT
    colour = "red" if each.reason is Reason.TAMPERING else "yellow"
    place = " at ".join(printable(word, NAME_LIMIT) for word in (each.manifest, short_revision(each.revision)) if word)
    return f"{style(f'{mark} {printable(each.name)}', colour, 'bold')}  {why}" + (f"  ({place})" if place else "")
