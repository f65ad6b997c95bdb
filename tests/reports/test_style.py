"""Words of the terminal: colour where it is wanted, numbers with their nouns, revisions as people say them."""

from __future__ import annotations

import pytest

from reconciler.reports.style import PLAIN, Style, counted, short_revision


def test_text_is_dressed_only_where_colour_is_wanted() -> None:
    assert PLAIN("x", "red") == "x"
    assert Style(colour=True)("x", "red", "bold") == "\x1b[31;1mx\x1b[0m"
    assert Style(colour=True)("", "red") == ""


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 gateways"), (1, "1 gateway"), (2, "2 gateways"), (12345, "12,345 gateways")]
)
def test_a_number_has_its_noun(number: int, expected: str) -> None:
    assert counted(number, "gateway") == expected


def test_an_irregular_plural_is_given() -> None:
    assert (counted(1, "entry", "entries"), counted(3, "entry", "entries")) == ("1 entry", "3 entries")


@pytest.mark.parametrize(
    ("revision", "expected"),
    [
        ("main@sha1:1a2b3c4d5e6f7890", "main@1a2b3c4d5e"),
        ("release/1.0@sha1:ff", "release/1.0@ff"),
        ("", ""),
        ("odd", "odd"),
    ],
)
def test_a_revision_is_shown_as_people_say_it(revision: str, expected: str) -> None:
    assert short_revision(revision) == expected
