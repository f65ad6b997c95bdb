"""What a store offers besides, so that looking after it costs in proportion to what changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.core.model import Action, Audit, Change, Gateway, Reason, Stamp, Transport
from reconciler.core.ports import Incremental
from reconciler.errors import StoreError
from reconciler.stores import open_store
from reconciler.stores.memory import MemoryStore
from reconciler.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AUDIT = Audit("me", "test", datetime(2026, 11, 21, tzinfo=UTC))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateways.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with closing(open_store(f"sqlite:///{path}", create=True)) as opened:
        assert isinstance(opened, SqliteStore)
        opened.apply([create(name) for name in ("a", "b", "c'd")], AUDIT)
        yield opened


def create(name: str) -> Change:
    gateway = Gateway(name, f"https://{name.replace(chr(39), '')}.example/mcp", Transport.SSE)
    return Change(Action.CREATE, name, Reason.ADDED, after=gateway, stamp=Stamp("me", f"{name}.yaml", "r", "sha256:1"))


def outside(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def test_rows_that_are_asked_for_by_name_are_as_among_all_of_them(store: SqliteStore) -> None:
    rows = store.read().gateways
    assert store.read_named(["c'd", "a", "not there"]).gateways == {name: rows[name] for name in ("a", "c'd")}
    assert store.read_named([]).gateways == {}
    assert len(store.read_named([f"x{number}" for number in range(5000)] + ["b"]).gateways) == 1


def test_the_version_stays_while_the_rows_do_whatever_else_is_written(store: SqliteStore, path: Path) -> None:
    before = store.version()
    assert store.version() == before != ""
    outside(path, "CREATE TABLE of_others (x)")
    outside(path, "INSERT INTO of_others VALUES (1)")
    assert store.version() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE gateways SET description = 'theirs' WHERE name = 'a'",
        "UPDATE reconciler_stamps SET owner = 'they'",
        "DELETE FROM gateways WHERE name = 'b'",
        "UPDATE gateways SET description = CAST(X'ff' AS TEXT) WHERE name = 'a'",
    ],
)
def test_the_version_changes_with_any_row(store: SqliteStore, path: Path, statement: str) -> None:
    before = store.version()
    outside(path, statement)
    assert store.version() != before


def test_the_version_changes_with_writes_of_our_own(store: SqliteStore) -> None:
    before = store.version()
    store.apply([create("e")], AUDIT)
    assert store.version() != before


def test_a_file_that_was_taken_away_or_replaced_is_noticed(store: SqliteStore, path: Path) -> None:
    store.version()
    path.unlink()
    with pytest.raises(StoreError, match="replaced"):
        store.version()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="replaced"):
        store.version()


def test_a_store_that_is_not_there_yet_has_no_version(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/none.db", create=False)) as store:
        assert isinstance(store, Incremental)
        assert (store.version(), store.read_named(["a"]).gateways) == ("", {})


def test_a_store_need_not_offer_it() -> None:
    assert not isinstance(MemoryStore(), Incremental)
