"""Problems: with a caret for people, as JSON for machines."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.reports.style import NAME_LIMIT, PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.problems import Location, Problem

FORMAT_VERSION: Final = "1.0"


_LOOKS: Final[Mapping[Severity, tuple[str, ...]]] = {
    Severity.ERROR: ("red", "bold"),
    Severity.WARNING: ("yellow", "bold"),
    Severity.INFO: ("cyan",),
}


def as_text(problems: Sequence[Problem], style: Style = PLAIN) -> str:
    """Return each problem as `file:line:col: severity: message [code]`, the line with a caret, and the fix."""
    return "\n".join(_paragraph(problem, style) for problem in problems)


def summary(problems: Sequence[Problem]) -> str:
    """Return `2 errors, 1 warning`, or `no problems`."""
    counts = [(severity, sum(p.severity is severity for p in problems)) for severity in Severity]
    nouns = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    return ", ".join(counted(number, nouns[severity]) for severity, number in counts if number) or "no problems"


def diagnostics(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return the problems in the published JSON shape."""
    return [
        {
            "code": problem.code,
            "severity": problem.severity.value,
            "message": problem.message,
            "file": problem.location.file,
            "line": problem.location.line,
            "column": problem.location.column,
            "pointer": problem.location.pointer,
            "fix": problem.fix,
        }
        for problem in problems
    ]


def as_document(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the published JSON shape of `validate`."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    warnings = sum(problem.severity is Severity.WARNING for problem in problems)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": warnings,
        "diagnostics": diagnostics(problems),
    }


def _paragraph(problem: Problem, style: Style) -> str:
    where = problem.location
    file = printable(where.file, NAME_LIMIT)
    severity = style(problem.severity.value, *_LOOKS[problem.severity])
    place = style(f"{file}:{where.line}:{where.column}:", "bold")
    message = printable(problem.message, TEXT_LIMIT)
    lines = [f"{place} {severity}: {message} {style(f'[{problem.code}]', 'dim')}"]
    if where.snippet and where.column <= len(where.snippet) + 1:
        lines.extend(_caret(where, style))
    if problem.fix:
        lines.append(f"    {style('fix:', 'green')} {printable(problem.fix, TEXT_LIMIT)}")
    return "\n".join(lines)


def _caret(where: Location, style: Style) -> list[str]:
    number = str(where.line)
    margin = " " * len(number)
    shown = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in where.snippet)
    start = where.column - 1
    indent = "".join("\t" if character == "\t" else " " * _width(character) for character in shown[:start])
    marked = sum(_width(character) for character in shown[start : start + where.length])
    mark = style("^" + "~" * (marked - 1), "green")
    return [f"  {style(f'{number} |', 'dim')} {shown}", f"  {style(f'{margin} |', 'dim')} {indent}{mark}"]


def _width(character: str) -> int:
    """Return the columns that a character takes on a terminal (UAX 11; marks stand on the character before them)."""
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
