"""Problems for GitHub Actions: annotations in the log of a step, and everything in the summary of the job."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity, in_order
from reconciler.reports.markup import as_html, marker
from reconciler.reports.problems import excuse, sentences, summary, tally
from reconciler.reports.style import NAME_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.problems import Problem
    from reconciler.reports.validation import Validation

_COMMANDS: Final[Mapping[Severity, str]] = {
    Severity.ERROR: "error",
    Severity.WARNING: "warning",
    Severity.INFO: "notice",
}
_EACH: Final = 10
"""How many annotations of a kind GitHub shows for one step."""

_BUDGET: Final = 899_000
"""Bytes for the rows of the summary: GitHub refuses one of more than 1 MiB, which other tools of the step share."""

_COMMENT_BUDGET: Final = 59_000


def as_annotations(validation: Validation) -> str:
    """Return workflow commands for the worst problems, ten of each kind, and a last line for those who read the log."""
    lines = []
    found: Counter[Severity] = Counter()
    for problem in validation.worst_first():
        found[problem.severity] += 1
        if found[problem.severity] <= _EACH:
            lines.append(_annotation(problem))
    lines.append(tally(validation))
    if left := found.total() - sum(min(number, _EACH) for number in found.values()):
        lines[-1] += (
            f" GitHub shows {_EACH} annotations of a kind, which leaves {left:,} out; the summary of the job has them."
        )
    return "\n".join(lines)


def as_step_summary(validation: Validation) -> str:
    """Return Markdown with every problem by file, and the suppressed ones folded away, of 900,000 bytes at the most.

    Where they do not all fit, the worst are there and the others are counted. The tables are HTML: in such a block no
    Markdown is read, so nothing that a file says can be any.
    """
    rows = {problem: _row(problem, validation, problem.severity.value) for problem in validation.worst_first()}
    table = _table(rows, _BUDGET)
    lines = [f"### reconciler validate: {summary(validation.problems)}", "", tally(validation)]
    lines += ["", *table] if table else []
    return "\n".join(lines + _suppressed(validation, _BUDGET - sum(map(_size, table))))


def as_comment(validation: Validation, target: str) -> str:
    """Return the comment that stands where the plan for a target would, of 60,000 bytes at the most."""
    rows = {problem: _row(problem, validation, problem.severity.value) for problem in validation.worst_first()}
    title = f"### Nothing can be planned: {summary(validation.problems)}"
    return "\n".join([marker(target), title, "", *_table(rows, _COMMENT_BUDGET)])


def _annotation(problem: Problem) -> str:
    where = problem.location
    properties = {
        "file": printable(where.file, NAME_LIMIT),
        "line": str(where.line),
        "col": str(where.column),
        "endColumn": str(where.column + where.length - 1),
        "title": printable(problem.code),
    }
    named = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    said = _data("\n".join(sentences(problem)))
    return f"::{_COMMANDS[problem.severity]} {named}::{said}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _suppressed(validation: Validation, room: int) -> list[str]:
    if not validation.suppressed:
        return []
    rows = {}
    for each in validation.suppressed:
        reason, until = excuse(each)
        rows[each.problem] = _row(each.problem, validation, f"until {until}: {reason}")
    title = f"<summary>{len(validation.suppressed):,} suppressed</summary>"
    return ["", "<details>", title, *_table(rows, room), "</details>"]


def _table(rows: Mapping[Problem, str], room: int) -> list[str]:
    """Return the first rows that fit in a table, by file, and the number of the others."""
    fitting = _fitting(rows, room)
    lines = []
    file = None
    for problem in in_order(fitting):
        if problem.location.file != file:
            file = problem.location.file
            lines.append(_heading(file))
        lines.append(fitting[problem])
    if left := len(rows) - len(fitting):
        lines.append(f'<tr><td colspan="4">{left:,} more did not fit here.</td></tr>')
    return ["<table>", *lines, "</table>"] if lines else []


def _fitting(rows: Mapping[Problem, str], room: int) -> dict[Problem, str]:
    fitting: dict[Problem, str] = {}
    files: set[str] = set()
    for problem, row in rows.items():
        file = problem.location.file
        room -= _size(row) + (0 if file in files else _size(_heading(file)))
        if room < 0:
            break
        files.add(file)
        fitting[problem] = row
    return fitting


def _heading(file: str) -> str:
    return f'<tr><th colspan="4" align="left">{as_html(file)}</th></tr>'


def _row(problem: Problem, validation: Validation, label: str) -> str:
    where = problem.location
    place = f"{where.line}:{where.column}{' (changed)' if validation.touches(problem) else ''}"
    said = "<br>".join(map(as_html, sentences(problem)))
    code = f"<code>{as_html(problem.code)}</code>"
    return f"<tr><td>{place}</td><td>{as_html(label)}</td><td>{said}</td><td>{code}</td></tr>"


def _size(line: str) -> int:
    """Return the bytes of a line with its end."""
    return len(line.encode()) + 1
