"""What peers say is made harmless before anybody sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.hostile import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CN=Payments Root CA", "CN=Payments Root CA"),
        ("Zahlungen für Zoë 支払い", "Zahlungen für Zoë 支払い"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("gpj\u202etxt", "gpj\\u202etxt"),
        ("a\u200bb\ufeffc\u2028d\x00", "a\\u200bb\\ufeffc\\u2028d\\x00"),
        ("\ud800", "\\ud800"),
        ("", ""),
    ],
)
def test_everything_unprintable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(10, 250))
def test_it_is_printable_bounded_and_encodable_whatever_comes(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    shown.encode()


def test_a_cut_is_shown() -> None:
    assert printable("x" * 11, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("\n" * 6, 10) == "\\n\\n\\n\\n\\…"
