"""Killed at any moment, an apply has happened or it has not; the next one completes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from terminal import Terminal

KILLING = Path(__file__).parent.parent / "killing.py"
TREES = {"a": (0, 24), "b": (12, 36)}


@pytest.mark.timeout(600)
def test_of_a_hundred_killed_applies_each_has_happened_or_has_not(terminal: Terminal) -> None:
    for tree, (first, last) in TREES.items():
        for number in range(first, last):
            terminal.gateway(f"g{number:02}", description=tree)
        (terminal.directory / "gateways").rename(terminal.directory / tree)
    ended = subprocess.run([sys.executable, KILLING, "20261121"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    left = [json.loads(line) for line in ended.stdout.splitlines()]
    whole = {
        tree: [[f"g{number:02}", tree, "reconciler"] for number in range(first, last)]
        for tree, (first, last) in TREES.items()
    }
    assert len(left) == 100
    assert all(rows in whole.values() for rows in left)
    assert all(rows in left for rows in whole.values()), "every kill fell before the work, or behind it"

    store = ("--store", "sqlite:///x.db", "--prune", "--max-delete-percent", "100", "--max-update-percent", "100")
    terminal("apply", "b", *store)
    assert "No changes" in terminal("plan", "b", *store).out
