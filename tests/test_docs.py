"""Documentation that is true: generated pages are what the code says, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import click
import pytest
import yaml

from reconciler.cli import cli, run

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md", ".github/**/*.md")
    for page in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PICTURES = sorted(ROOT.glob("docs/pictures/*"))
LARGEST_PICTURE_BYTES = 150_000


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    pages = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    kept = {f"problems/{page.name}" for page in ROOT.glob("docs/problems/*")}
    stale = [name for name in sorted(kept | pages.keys()) if _page(name) != pages.get(name)]
    assert stale == [], "run `make docs`"


def _page(name: str) -> str | None:
    path = ROOT / "docs" / name
    return path.read_text() if path.exists() else None


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    words = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in words}


def broken(page: Path) -> list[str]:
    """Return the links of a page that lead to no file, or to no heading of one."""
    found = []
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", FENCE.sub("", page.read_text())):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    other = tmp_path / "other.md"
    other.write_text("# A `word`, and more\n```text\n# none\n```\n")
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](other.md#a-word-and-more) [b](other.md#none) [c](#here) [d](#there) [e](gone.md)\n")
    assert broken(page) == ["other.md#none", "#there", "gone.md"]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def test_every_picture_is_small_and_shown() -> None:
    shown = " ".join(page.read_text() for page in PAGES)
    assert PICTURES
    for picture in PICTURES:
        assert picture.stat().st_size < LARGEST_PICTURE_BYTES, picture.name
        assert f"pictures/{picture.name})" in shown or f'pictures/{picture.name}"' in shown, picture.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_text_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = set(re.findall(r"^(?:    |\$ )reconciler ((?:ca |keys )?[a-z]+)", page.read_text(), re.MULTILINE))
    for command in sorted(typed):
        assert run([*command.split(), "--help"]) == 0, command
    capsys.readouterr()


def test_the_pre_commit_hooks_run_commands_that_there_are() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    commands = {hook["entry"].removeprefix("reconciler ") for hook in hooks}
    assert commands == {"validate", "fmt"} <= set(cli.list_commands(click.Context(cli)))
