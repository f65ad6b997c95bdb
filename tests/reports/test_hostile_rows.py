"""A row that somebody wrote past us is shown, and moves no cursor and reverses no line, whatever stands in it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import run
from reconciler.stores.rows import CONTENT

if TYPE_CHECKING:
    from terminal import Terminal

STORE = ("--store", "sqlite:///x.db")
EVIL = "\x1b[2J\x07\u202egpj\u2066\x9b31m\n::error::\r\u2028"
STAMPED = ("owner", "manifest", "revision", "digest")
VALUES = {
    "text": EVIL,
    "list": json.dumps([EVIL]),
    "reference": json.dumps({"env": EVIL}),
    "auth": json.dumps({"settings": {EVIL: EVIL}, "secrets": {EVIL: {"file": EVIL}}}),
    "kuadrant": json.dumps({"prefix": EVIL, "route": EVIL, "category": [EVIL], "hint": EVIL}),
}


def written(column: str, value: str) -> None:
    """Write past us, as somebody with another tool would."""
    table = "reconciler_stamps" if column in STAMPED else "gateways"
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608 - our own columns


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("column", [*CONTENT, *STAMPED])
def test_whatever_stands_in_a_row_every_command_shows_it_and_the_terminal_stays_whole(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], column: str, value: str
) -> None:
    terminal.gateway("a", url="https://localhost:9/mcp")
    terminal("apply", "gateways", *STORE)
    written(column, VALUES[value])
    commands = (
        ["plan", "gateways", *STORE, "--prune"],
        ["status", *STORE],
        ["status", "a", *STORE],
        ["verify", *STORE],
        ["apply", "gateways", *STORE, "--prune"],
        ["status", *STORE],
    )
    for command in commands:
        code = run(command)
        shown = capsys.readouterr()
        assert code in (0, 3, 4, 5, 6), shown.err
        for line in f"{shown.out}\n{shown.err}".split("\n"):
            assert line.isprintable(), f"{command}: {line!r}"
