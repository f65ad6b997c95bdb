"""Documentation that is true: generated pages are what the code says, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from reconciler.cli import run

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_generated_pages_are_up_to_date() -> None:
    pages = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    stale = [name for name, text in pages.items() if (ROOT / "docs" / name).read_text() != text]
    assert stale == [], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = set(re.findall(r"^(?:    |\$ )reconciler ((?:ca |keys )?[a-z]+)", page.read_text(), re.MULTILINE))
    for command in sorted(typed):
        assert run([*command.split(), "--help"]) == 0, command
    capsys.readouterr()
