"""The page about formats is true: its tree, in its formats, gives what it shows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from reconciler.cli.validate import FORMATS

if TYPE_CHECKING:
    from terminal import Terminal

PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text()
TREE = dict(re.findall(r"`([\w/]+\.yaml)`:\n\n```yaml\n(.*?)```", PAGE, re.DOTALL))
SHOWN = dict(re.findall(r"\$ reconciler (validate[^\n]*)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def tree(terminal: Terminal) -> Terminal:
    """The tree of the page."""
    for name, text in TREE.items():
        terminal.write(name, text)
    return terminal


@pytest.mark.parametrize("command", sorted(SHOWN.keys() - {"validate -o sarif"}))
def test_the_page_shows_what_is_printed(tree: Terminal, command: str) -> None:
    assert tree(*command.split(), expect=3).out == SHOWN[command]


def test_the_page_shows_the_first_result_of_the_sarif_log(tree: Terminal) -> None:
    run = tree("validate", "-o", "sarif", expect=3).document["runs"][0]
    assert run["results"][0] == json.loads(SHOWN["validate -o sarif"])
    assert (
        run["results"][-1]["suppressions"][0]["justification"] == "replaced in spring, ticket 4711 (until 2099-03-31)"
    )


def test_the_page_shows_every_format() -> None:
    shown = {command.removeprefix("validate").removeprefix(" -o ") or "text" for command in SHOWN}
    in_the_table = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert shown == in_the_table == {"text", *FORMATS}


def test_the_files_that_platforms_read_are_yaml() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len([yaml.safe_load(block) for block in blocks]) == len(TREE) + 4
