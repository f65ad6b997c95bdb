"""The security page claims nothing that no test shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
CLAIMS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(("file", "test"), CLAIMS, ids=lambda part: part or "file")
def test_a_claim_points_to_a_test_that_there_is(file: str, test: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"\ndef {test}(" in text if test else "\ndef test_" in text


def test_every_row_of_who_can_do_what_points_to_a_test_or_says_why_not() -> None:
    assert len(CLAIMS) > 15
    table = PAGE.read_text(encoding="utf-8").partition("## Who can do what")[2].partition("**Prevented**")[0]
    assert len([line for line in table.splitlines() if "`tests/" in line]) >= 7
