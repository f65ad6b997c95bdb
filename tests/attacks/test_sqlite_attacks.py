"""What only a file makes possible: somebody puts the whole of yesterday's back, or rewrites what was written down."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from terminal import Terminal

STORE = ("--store", "sqlite:///x.db")


def sql(*statements: str) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        for statement in statements:
            database.execute(statement)
    with closing(sqlite3.connect("x.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def rows(column: str) -> list[str]:
    with closing(sqlite3.connect("x.db")) as database:
        return [value for (value,) in database.execute(f"SELECT {column} FROM gateways ORDER BY name")]  # noqa: S608


@pytest.fixture
def twice(terminal: Terminal) -> Terminal:
    """Two revisions were applied; `old.db` is the store after the first."""
    terminal.gateway("a", url="https://old.example/mcp")
    terminal.gateway("b")
    terminal("apply", "gateways", *STORE)
    sql()
    shutil.copy("x.db", "old.db")
    terminal.gateway("a", url="https://new.example/mcp")
    terminal("apply", "gateways", *STORE, "--max-update-percent", "100")
    sql()
    return terminal


def restore() -> None:
    for leftover in ("x.db-wal", "x.db-shm"):
        Path(leftover).unlink(missing_ok=True)
    shutil.copy("old.db", "x.db")


def test_a_file_put_back_as_a_whole_is_found_and_healed(twice: Terminal) -> None:
    restore()
    (drift,) = twice("plan", "gateways", *STORE, "-o", "json").document["resource_drift"]
    assert (drift["name"], drift["evidence"]) == ("a", "replayed")
    twice("apply", "gateways", *STORE)
    assert rows("url") == ["https://new.example/mcp", "https://b.example/mcp"]
    assert "No changes" in twice("plan", "gateways", *STORE).out


def test_a_row_put_back_is_found_by_the_ledger_beside_it(twice: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_CACHE_DIR", str(twice.directory / "another machine"))
    sql(
        "ATTACH 'old.db' AS old",
        "DELETE FROM gateways WHERE name = 'a'",
        "INSERT INTO gateways SELECT * FROM old.gateways WHERE name = 'a'",
        "INSERT INTO reconciler_stamps SELECT * FROM old.reconciler_stamps WHERE gateway_id NOT IN "
        "(SELECT gateway_id FROM reconciler_stamps)",
    )
    assert "an older row was put back" in twice("plan", "gateways", *STORE).out
    assert "! tampering a  an older row was put back" in twice("drift", *STORE).out


LOST: dict[str, Callable[[], None]] = {
    "emptied": lambda: sql("DELETE FROM reconciler_ledger"),
    "dropped": lambda: sql("DROP TABLE reconciler_ledger"),
    "cut off": lambda: sql("DELETE FROM reconciler_ledger WHERE seq > 3"),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_a_ledger_that_was_cut_off_proves_nothing_any_more(twice: Terminal, lose: Callable[[], None]) -> None:
    head = twice("history", "--head", *STORE).out.strip()
    sql(
        "ATTACH 'old.db' AS old",
        "DELETE FROM gateways WHERE name = 'a'",
        "INSERT INTO gateways SELECT * FROM old.gateways WHERE name = 'a'",
        "INSERT INTO reconciler_stamps SELECT * FROM old.reconciler_stamps WHERE gateway_id NOT IN "
        "(SELECT gateway_id FROM reconciler_stamps)",
    )
    lose()
    assert "an older row was put back" in twice("plan", "gateways", *STORE).out
    twice("history", "--verify", *STORE)
    assert "does not go on from" in twice("history", "--verify", "--since", head, *STORE, expect=1).err


FORGED = {
    "another digest": "UPDATE reconciler_ledger SET digest = 'sha256:0' WHERE seq = 2",
    "another commit": "UPDATE reconciler_ledger SET revision = 'main@sha1:0' WHERE seq = 1",
    "one taken out": "DELETE FROM reconciler_ledger WHERE seq = 2",
    "one put in": "INSERT INTO reconciler_ledger "
    "SELECT 99, at, apply, store, kind, name, revision, digest, key_id, hash FROM reconciler_ledger WHERE seq = 1",
}


@pytest.mark.parametrize("statement", FORGED.values(), ids=FORGED)
def test_a_ledger_that_was_rewritten_is_broken(twice: Terminal, statement: str) -> None:
    assert "The ledger is whole: 5 entries" in twice("history", "--verify", *STORE).out
    sql(statement)
    assert "of the ledger is missing, or is not as it was written" in twice("history", "--verify", *STORE, expect=1).err


def test_a_ledger_that_went_on_goes_on_from_every_earlier_head(twice: Terminal) -> None:
    head = twice("history", "--head", *STORE).out.strip()
    twice.gateway("c")
    twice("apply", "gateways", *STORE)
    twice("history", "--verify", "--since", head, *STORE)
    document = twice("history", "--verify", "-o", "json", *STORE).document
    assert (document["verified"], document["entries"]) == (True, 7)
    assert "is not a head" in twice("history", "--verify", "--since", "yesterday", *STORE, expect=3).err
    assert "--since" in twice("history", "--since", head, *STORE, expect=64).err
