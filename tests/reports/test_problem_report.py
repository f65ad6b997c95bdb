"""Problems as people and machines read them: the caret stands where the fault is, and nothing hostile gets through."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems

from reconciler.core.hostile import printable
from reconciler.core.levels import Suppressed, Suppression
from reconciler.core.problems import Location, Problem, Severity
from reconciler.reports.problems import as_document, as_text, diagnostics, summary, tally
from reconciler.reports.style import Style
from reconciler.reports.validation import Validation

HERE = Location("gateways/a.yaml", 3, 9, "/spec/url", "    url: nonsense", 8)
WRONG = Problem("wrong-value", Severity.ERROR, "`nonsense` does not fit", HERE, "write https://")
SOON = Problem("certificate-expires-soon", Severity.WARNING, "CN=Root expires", Location("ca.pem", 12))
NOTE = Problem("bundle-duplicate", Severity.INFO, "given twice", Location("ca.pem", 40))


def test_a_problem_is_a_line_the_source_with_a_caret_and_the_fix() -> None:
    assert as_text([WRONG]).splitlines() == [
        "gateways/a.yaml:3:9: error: `nonsense` does not fit [wrong-value]",
        "  3 |     url: nonsense",
        "    |         ^~~~~~~~",
        "    fix: write https://",
    ]


def test_without_a_snippet_or_a_fix_the_line_is_all() -> None:
    assert as_text([SOON]) == "ca.pem:12:1: warning: CN=Root expires [certificate-expires-soon]"


def test_the_margin_is_as_wide_as_the_number_of_the_line() -> None:
    where = Location("a.yaml", 1234, 1, snippet="x: y")
    source, caret = as_text([Problem("c", Severity.ERROR, "m", where)]).splitlines()[1:]
    assert (source, caret) == ("  1234 | x: y", "       | ^")


def caret(snippet: str, column: int, length: int = 1) -> str:
    """Return the line below the snippet, without its margin."""
    where = Location("a.yaml", 1, column, snippet=snippet, length=length)
    shown, mark = as_text([Problem("c", Severity.ERROR, "m", where)]).splitlines()[1:]
    assert shown.startswith("  1 | ")
    return mark.removeprefix("    | ")


@pytest.mark.parametrize(
    ("snippet", "column", "length", "expected"),
    [
        ("url: x", 1, 3, "^~~"),
        ("url: x", 6, 1, "     ^"),
        ("\turl: x", 2, 3, "\t^~~"),
        ("a\tb: x", 3, 1, " \t^"),
        ("名前: x", 5, 1, "      ^"),
        ("名前: x", 1, 2, "^~~~"),
        ("\uff55rl: x", 2, 2, "  ^~"),
        ("e\u0301te\u0301: x", 8, 1, "     ^"),
        ("\U0001f600: x", 4, 1, "    ^"),
        ("\u202ea: x", 2, 1, " ^"),
        ("url:", 5, 1, "    ^"),
        ("url: x", 6, 99, "     ^"),
    ],
    ids=[
        "the first word", "one character", "after a tab", "after a tab inside", "after wide characters",
        "below wide characters", "after a full-width letter", "after combining marks", "after an emoji",
        "after what is replaced", "at the end", "longer than the line",
    ],
)  # fmt: skip
def test_the_caret_stands_below_the_fault(snippet: str, column: int, length: int, expected: str) -> None:
    assert caret(snippet, column, length) == expected


def test_a_caret_beyond_what_is_shown_is_not_drawn() -> None:
    where = Location("a.yaml", 1, 900, snippet="x" * 400)
    assert len(as_text([Problem("c", Severity.ERROR, "m", where)]).splitlines()) == 1


def test_the_counts_are_words() -> None:
    assert summary([]) == "no problems"
    assert summary([WRONG]) == "1 error"
    assert summary([WRONG, WRONG, SOON, NOTE]) == "2 errors, 1 warning, 1 note"


def test_what_was_looked_at_is_one_line() -> None:
    excuse = Suppression(NOTE.code, "a", "known", date(2027, 3, 31), Location("reconciler.yaml"))
    assert tally(Validation([], gateways=1)) == "1 valid gateway, no problems."
    assert tally(Validation([WRONG, SOON], gateways=1_000, suppressed=[Suppressed(NOTE, (excuse,))] * 2)) == (
        "1,000 valid gateways, 1 error, 1 warning, 2 suppressed."
    )


def test_the_published_document() -> None:
    assert as_document(Validation([WRONG, SOON, NOTE])) == {
        "format_version": "1.0",
        "valid": False,
        "error_count": 1,
        "warning_count": 1,
        "diagnostics": [
            {
                "code": "wrong-value",
                "severity": "error",
                "message": "`nonsense` does not fit",
                "file": "gateways/a.yaml",
                "line": 3,
                "column": 9,
                "pointer": "/spec/url",
                "fix": "write https://",
            },
            {
                "code": "certificate-expires-soon",
                "severity": "warning",
                "message": "CN=Root expires",
                "file": "ca.pem",
                "line": 12,
                "column": 1,
                "pointer": "",
                "fix": "",
            },
            {
                "code": "bundle-duplicate",
                "severity": "info",
                "message": "given twice",
                "file": "ca.pem",
                "line": 40,
                "column": 1,
                "pointer": "",
                "fix": "",
            },
        ],
        "suppressed": [],
    }


def test_a_suppressed_problem_stands_apart_with_why_and_until_when() -> None:
    excuses = tuple(
        Suppression(NOTE.code, gateway, reason, until, Location("reconciler.yaml"))
        for gateway, reason, until in (("a", "known", date(2027, 3, 31)), ("b", "ticket 4711", date(2027, 1, 1)))
    )
    document = as_document(Validation([SOON], suppressed=[Suppressed(NOTE, excuses)]))
    assert [each["code"] for each in document["diagnostics"]] == [SOON.code]
    (published,) = diagnostics([NOTE])
    assert document["suppressed"] == [published | {"reason": "known; ticket 4711", "until": "2027-01-01"}]


def test_who_asks_about_a_change_is_told_what_it_touches() -> None:
    document = as_document(Validation([WRONG, SOON], changed={HERE.file: [range(1, 4)], SOON.location.file: []}))
    assert [each["changed"] for each in document["diagnostics"]] == [True, False]
    assert all("changed" not in each for each in as_document(Validation([WRONG, SOON]))["diagnostics"])


def test_what_has_no_errors_is_valid() -> None:
    for found in ([], [SOON], [NOTE]):
        document = as_document(Validation(found))
        assert (document["valid"], document["error_count"]) == (True, 0)


def test_colour_adds_nothing_but_colour() -> None:
    coloured = as_text([WRONG, SOON, NOTE], Style(colour=True))
    assert re.sub(r"\x1b\[[0-9;]+m", "", coloured) == as_text([WRONG, SOON, NOTE]) != coloured


hostile = st.text(st.sampled_from("a \t\n\r\x1b[2J\x07\x9b\x7f\u202e\u2066\u200b\u2028\udcff名"), max_size=12)
hostile_problems = st.builds(
    Problem,
    st.just("code"),
    st.sampled_from(Severity),
    hostile,
    st.builds(Location, hostile, st.integers(1, 999), st.integers(1, 15), st.just(""), hostile, st.integers(1, 20)),
    hostile,
)


@given(st.lists(hostile_problems, max_size=3))
def test_nothing_that_moves_a_cursor_or_reverses_a_line_reaches_the_text(found: list[Problem]) -> None:
    for line in as_text(found).split("\n"):
        assert line.replace("\t", "").isprintable()


@given(st.lists(hostile_problems, max_size=3))
def test_nothing_in_a_problem_makes_a_line_of_its_own(found: list[Problem]) -> None:
    expected = sum(
        1
        + 2 * (each.location.column <= len(each.location.snippet) + 1 and each.location.snippet != "")
        + (each.fix != "")
        for each in found
    )
    assert len(as_text(found).split("\n")) == max(expected, 1)


@given(st.lists(problems, max_size=3))
def test_the_document_is_json_and_holds_every_problem(found: list[Problem]) -> None:
    document: Any = json.loads(json.dumps(as_document(Validation(found))))
    assert [(each["code"], each["message"]) for each in document["diagnostics"]] == [
        (problem.code, problem.message) for problem in found
    ]


MATCHERS = json.loads((Path(__file__).parents[2] / ".github/problem-matchers/reconciler.json").read_text())


def matched(line: str) -> tuple[str, ...] | None:
    """Return what GitHub's runner takes out of a line: file, line, column, severity, message, code."""
    for matcher in MATCHERS["problemMatcher"]:
        (pattern,) = matcher["pattern"]
        if found := re.search(pattern["regexp"], line, re.ASCII):
            severity = found[pattern["severity"]] if "severity" in pattern else matcher["severity"]
            around = [found[pattern[name]] for name in ("file", "line", "column", "message", "code")]
            return (*around[:3], severity, *around[3:])
    return None


@given(hostile_problems.map(lambda each: replace(each, location=replace(each.location, file="gateways/a b.yaml"))))
def test_the_problem_matcher_reads_the_first_line_of_every_problem_and_no_other(problem: Problem) -> None:
    first, *others = as_text([problem]).split("\n")
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
    assert matched(first) == (
        "gateways/a b.yaml",
        str(problem.location.line),
        str(problem.location.column),
        words[problem.severity],
        printable(problem.message, 4096),
        problem.code,
    )
    assert [line for line in others if matched(line)] == []


@pytest.mark.parametrize("message", ["b.yaml:1:1: error: no [wrong-value]", "a: b: c [x] [y]", "", "[x]", " "])
def test_the_problem_matcher_is_not_taken_in_by_a_message(message: str) -> None:
    line = as_text([replace(SOON, message=message)])
    assert matched(line) == ("ca.pem", "12", "1", "warning", message, SOON.code)


@pytest.mark.parametrize("file", ["::stop-commands::x.yaml", "  ::error::.yaml", ":a.yaml"])
def test_no_name_of_a_file_is_a_command_to_github(file: str) -> None:
    line = as_text([replace(SOON, location=Location(file))])
    assert line.startswith(f"./{file}:1:1: warning: ")
