"""Killed at any moment, an apply has happened or it has not; the next one completes it."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from terminal import Terminal

GATEWAYS = 300
ROUNDS = 12
APPLY = [sys.executable, "-m", "reconciler", "apply", "gateways", "--store", "sqlite:///x.db", "--no-verify"]


def test_a_killed_apply_loses_and_doubles_nothing_and_the_next_one_completes_it(terminal: Terminal) -> None:
    for number in range(GATEWAYS):
        terminal.gateway(f"g{number}")
    start = time.monotonic()
    subprocess.run([*APPLY[:-3], "--store", "sqlite:///reference.db", "--no-verify"], check=True, capture_output=True)
    whole = time.monotonic() - start
    chance = random.Random(20261121)
    for _ in range(ROUNDS):
        killed_after(chance.uniform(0.3, 1.0) * whole)
        assert stored(terminal.directory) in (0, GATEWAYS)
        if chance.random() < 0.5:
            (terminal.directory / "x.db").unlink(missing_ok=True)
            for name in ("x.db-wal", "x.db-shm"):
                (terminal.directory / name).unlink(missing_ok=True)
    terminal("apply", "gateways", "--store", "sqlite:///x.db")
    assert stored(terminal.directory) == GATEWAYS
    assert "No changes" in terminal("plan", "gateways", "--store", "sqlite:///x.db").out


def killed_after(seconds: float) -> None:
    process = subprocess.Popen(APPLY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def stored(directory: Path) -> int:
    """Return how many gateways the file holds, each with its stamp; a file that is not there yet holds none."""
    if not (directory / "x.db").exists():
        return 0
    with closing(sqlite3.connect(directory / "x.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "gateways" not in tables:
            return 0
        query = "SELECT count(*), count(owner) FROM gateways LEFT JOIN reconciler_stamps ON gateway_id = id"
        gateways, stamps = database.execute(query).fetchone()
    assert gateways == stamps
    return int(gateways)
