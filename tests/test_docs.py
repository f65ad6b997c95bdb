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
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    pages = runpy.run_path(str(ROOT / "docs/generate.py"))["pages"]()
    kept = {f"problems/{page.name}" for page in ROOT.glob("docs/problems/*")}
    stale = [name for name in sorted(kept | pages.keys()) if _page(name) != pages.get(name)]
    assert stale == [], "run `make docs`"


def _page(name: str) -> str | None:
    path = ROOT / "docs" / name
    return path.read_text() if path.exists() else None


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


def test_the_pre_commit_hooks_run_commands_that_there_are() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    commands = {hook["entry"].removeprefix("reconciler ") for hook in hooks}
    assert commands == {"validate", "fmt"} <= set(cli.list_commands(click.Context(cli)))
