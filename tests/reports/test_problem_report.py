"""Problems as people and machines read them: the caret stands where the fault is, and nothing hostile gets through."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems

from reconciler.core.problems import Location, Problem, Severity
from reconciler.reports.problems import as_document, as_text, summary
from reconciler.reports.style import Style

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


def test_the_published_document() -> None:
    assert as_document([WRONG, SOON, NOTE]) == {
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
    }


def test_what_has_no_errors_is_valid() -> None:
    for found in ([], [SOON], [NOTE]):
        document = as_document(found)
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
    document: Any = json.loads(json.dumps(as_document(found)))
    assert [(each["code"], each["message"]) for each in document["diagnostics"]] == [
        (problem.code, problem.message) for problem in found
    ]
