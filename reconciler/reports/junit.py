"""Problems as JUnit XML, as Jenkins and GitLab read it: a test per file, which fails where the file has errors.

Both platforms read one failure of a test, so all errors of a file stand in one. Warnings, notes and what is suppressed
are output of the test: they are seen, and fail nothing. There are no times in it, so the same tree gives the same text.
"""

from __future__ import annotations

import html
from collections import defaultdict
from typing import TYPE_CHECKING

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.reports.problems import excuse, sentences
from reconciler.reports.style import NAME_LIMIT, TEXT_LIMIT, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.core.problems import Problem
    from reconciler.reports.validation import Validation

_SUITE = "reconciler validate"


def as_junit(validation: Validation) -> str:
    """Return one test suite with a test for each file that was looked at."""
    errors: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in validation.problems:
        if problem.severity is Severity.ERROR:
            errors[problem.location.file].append(problem)
    said = _said(validation)
    files = sorted({*validation.files, *errors, *said})
    counts = f'tests="{len(files)}" failures="{len(errors)}" errors="0" skipped="0"'
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites name="{_SUITE}" {counts}>',
            f'  <testsuite name="{_SUITE}" {counts}>',
            *(line for file in files for line in _case(file, errors.get(file, ()), said.get(file, ()))),
            "  </testsuite>",
            "</testsuites>",
        ]
    )


def _said(validation: Validation) -> dict[str, list[str]]:
    """Return what is said of each file beside its errors."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    for problem in validation.problems:
        if problem.severity is not Severity.ERROR:
            said[problem.location.file].extend(_lines(problem, problem.severity.value))
    for each in validation.suppressed:
        reason, until = excuse(each)
        lines = _lines(each.problem, f"suppressed until {until} ({printable(reason, TEXT_LIMIT)})")
        said[each.problem.location.file].extend(lines)
    return dict(said)


def _case(file: str, errors: Sequence[Problem], said: Iterable[str]) -> Iterator[str]:
    name = html.escape(printable(file, NAME_LIMIT))
    line = f' line="{errors[0].location.line}"' if errors else ""
    yield f'    <testcase classname="reconciler.validate" name="{name}" file="{name}"{line}>'
    if errors:
        message = html.escape(sentences(errors[0])[0])
        if len(errors) > 1:
            message = f"{counted(len(errors), 'error')}, the first: {message}"
        yield f'      <failure type="{html.escape(printable(errors[0].code))}" message="{message}">'
        yield from (html.escape(line) for error in errors for line in _lines(error, "error"))
        yield "      </failure>"
    if text := "\n".join(map(html.escape, said)):
        yield f"      <system-out>\n{text}\n      </system-out>"
    yield "    </testcase>"


def _lines(problem: Problem, label: str) -> list[str]:
    where = problem.location
    first, *rest = sentences(problem)
    file = printable(where.file, NAME_LIMIT)
    return [f"{file}:{where.line}:{where.column}: {label}: {first} [{printable(problem.code)}]", *rest]
