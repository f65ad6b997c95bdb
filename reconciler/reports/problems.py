"""Problems: with a caret for people, as JSON for machines."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.reports.style import NAME_LIMIT, PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.levels import Suppressed
    from reconciler.core.problems import Location, Problem
    from reconciler.reports.validation import Validation

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


def tally(validation: Validation) -> str:
    """Return `9 valid gateways, 2 errors, 1 warning, 1 suppressed.`."""
    suppressed = f", {len(validation.suppressed):,} suppressed" if validation.suppressed else ""
    return f"{counted(validation.gateways, 'valid gateway')}, {summary(validation.problems)}{suppressed}."


def sentences(problem: Problem) -> list[str]:
    """Return the message, and the fix where there is one, each fit to be a line."""
    message = printable(problem.message, TEXT_LIMIT)
    return [message, f"fix: {printable(problem.fix, TEXT_LIMIT)}"] if problem.fix else [message]


def excuse(suppressed: Suppressed) -> tuple[str, str]:
    """Return why a problem does not count, and the day after which it counts again, as `2027-03-31`."""
    reasons = dict.fromkeys(each.reason for each in suppressed.suppressions)
    return "; ".join(reasons), min(each.until for each in suppressed.suppressions).isoformat()


def diagnostics(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return the problems in the published JSON shape."""
    return [_diagnostic(problem) for problem in problems]


def as_document(validation: Validation) -> dict[str, Any]:
    """Return the published JSON shape of `validate`. Diagnostics have `changed` where a change was asked about."""
    problems = validation.problems
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    warnings = sum(problem.severity is Severity.WARNING for problem in problems)
    return {
        "format_version": FORMAT_VERSION,
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": warnings,
        "diagnostics": [_diagnostic(problem) | _changed(problem, validation) for problem in problems],
        "suppressed": [
            _diagnostic(each.problem) | _changed(each.problem, validation) | _excuse(each)
            for each in validation.suppressed
        ],
    }


def _diagnostic(problem: Problem) -> dict[str, Any]:
    return {
        "code": problem.code,
        "severity": problem.severity.value,
        "message": problem.message,
        "file": problem.location.file,
        "line": problem.location.line,
        "column": problem.location.column,
        "pointer": problem.location.pointer,
        "fix": problem.fix,
    }


def _changed(problem: Problem, validation: Validation) -> dict[str, bool]:
    return {} if validation.changed is None else {"changed": validation.touches(problem)}


def _excuse(suppressed: Suppressed) -> dict[str, str]:
    reason, until = excuse(suppressed)
    return {"reason": reason, "until": until}


def _paragraph(problem: Problem, style: Style) -> str:
    where = problem.location
    file = _named(where.file)
    severity = style(problem.severity.value, *_LOOKS[problem.severity])
    place = style(f"{file}:{where.line}:{where.column}:", "bold")
    message = printable(problem.message, TEXT_LIMIT)
    lines = [f"{place} {severity}: {message} {style(f'[{problem.code}]', 'dim')}"]
    if where.snippet and where.column <= len(where.snippet) + 1:
        lines.extend(_caret(where, style))
    if problem.fix:
        lines.append(f"    {style('fix:', 'green')} {printable(problem.fix, TEXT_LIMIT)}")
    return "\n".join(lines)


def _named(file: str) -> str:
    """Return the path. GitHub would take a line that begins with a colon, behind white space or not, for a command."""
    shown = printable(file, NAME_LIMIT)
    return f"./{shown}" if shown.lstrip().startswith(":") else shown


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
