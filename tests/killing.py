"""Runs a hundred applies in the current directory, kills each at a random moment, and prints what every one left.

`tests/cli/test_kill.py` reads it. The two trees `a` and `b` are applied in turn; each run is a fork of this process,
which has imported everything, so that the moments fall into the work and not into the start.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from reconciler.cli import run

ROUNDS = 100
STORE = Path("x.db")
GUARDS = ("--max-delete-percent", "100", "--max-update-percent", "100")


def apply(tree: str) -> list[str]:
    return ["apply", tree, "--store", f"sqlite:///{STORE}", "--prune", *GUARDS, "--no-verify", "-q"]


def started(tree: str) -> int:
    """Start an apply in a process of its own."""
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - the process ends with it
        os._exit(run(apply(tree)))
    return child


def held() -> list[list[str]]:
    """Return name, description and owner of every row."""
    if not STORE.exists():
        return []
    with closing(sqlite3.connect(STORE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if "gateways" not in tables:
            return []
        query = "SELECT name, description, owner FROM gateways LEFT JOIN reconciler_stamps ON gateway_id = id"
        return sorted(list(row) for row in database.execute(query))


def main(seed: int) -> None:
    chance = random.Random(seed)
    begin = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(started("a"), 0)[1]) == 0
    whole = time.monotonic() - begin
    for number in range(ROUNDS):
        child = started("ab"[(number + 1) % 2])
        time.sleep(chance.uniform(0, 1.2) * whole)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(json.dumps(held()), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(int(sys.argv[1]))
