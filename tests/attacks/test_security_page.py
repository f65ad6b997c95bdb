"""The pages about signing claim nothing that no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("docs/security.md", "docs/key-rotation.md", "docs/consuming.md")
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
CLAIMS = sorted({claim for page in PAGES for claim in _NAMED.findall((ROOT / page).read_text(encoding="utf-8"))})


@pytest.mark.parametrize(("file", "test"), CLAIMS, ids=lambda part: part or "file")
def test_a_claim_points_to_a_test_that_there_is(file: str, test: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert test in names if test else any(name.startswith("test_") for name in names)


def section(heading: str) -> str:
    return (ROOT / PAGES[0]).read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_every_row_of_who_can_do_what_points_to_a_test_or_says_why_not() -> None:
    assert len(CLAIMS) > 30
    rows = [line for line in section("Who can do what").splitlines() if line.startswith("| ")][2:]
    without = [line for line in rows if "`tests/" not in line]
    assert len(rows) - len(without) >= 10
    assert [line for line in without if "| (" not in line] == []


def test_what_only_one_store_makes_possible_is_shown_or_said_to_be_seen_by_nobody() -> None:
    rows = [line for line in section("What only one store makes possible").splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 10
    assert [line for line in rows if "`tests/" not in line and "nobody here sees it" not in line] == []


def test_every_test_of_an_attack_on_one_store_is_on_the_page() -> None:
    file = "tests/attacks/test_attacks_on_one_store.py"
    names = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in names if (file, name) not in CLAIMS] == []
