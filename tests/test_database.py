from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.database import APPLICATION_ID, errors_of, migrate, open_database, schema_version, transaction
from reconciler.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def family(kind: type[sqlite3.Error]) -> Iterator[type[sqlite3.Error]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


ONE = ("CREATE TABLE one (a)", "INSERT INTO one VALUES (1)")
TWO = ("ALTER TABLE one ADD COLUMN b DEFAULT 2",)
BROKEN = ("CREATE TABLE three (a)", "CREATE TABLE three (a)")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "any.db"


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(file, lambda _: None, create=True)
    assert connection is not None
    with closing(connection):
        yield connection


def test_a_new_file_carries_our_mark_and_is_durable(connection: sqlite3.Connection) -> None:
    pragmas = ("application_id", "journal_mode", "synchronous", "foreign_keys")
    values = [connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    assert values == [APPLICATION_ID, "wal", 2, 1]


def test_the_schema_goes_forward_step_by_step_and_keeps_what_there_is(
    connection: sqlite3.Connection, file: Path
) -> None:
    migrate(connection, file, (ONE,))
    assert schema_version(connection) == 1
    migrate(connection, file, (ONE, TWO))
    migrate(connection, file, (ONE, TWO))
    assert schema_version(connection) == 2
    assert connection.execute("SELECT a, b FROM one").fetchall() == [(1, 2)]


def test_a_step_that_fails_is_undone_and_those_before_it_stay(connection: sqlite3.Connection, file: Path) -> None:
    with pytest.raises(StoreError, match="table three already exists"), errors_of(file):
        migrate(connection, file, (ONE, BROKEN))
    assert schema_version(connection) == 1
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("one",)]


def test_a_newer_schema_is_refused(connection: sqlite3.Connection, file: Path) -> None:
    migrate(connection, file, (ONE, TWO))
    with pytest.raises(StoreError, match="schema version 2; this version of reconciler knows up to 1"):
        migrate(connection, file, (ONE,))


def test_whatever_is_raised_in_a_transaction_undoes_it(connection: sqlite3.Connection, file: Path) -> None:
    migrate(connection, file, (ONE,))

    def interrupted() -> None:
        with transaction(connection):
            connection.execute("DELETE FROM one")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert connection.execute("SELECT a FROM one").fetchall() == [(1,)]
    assert not connection.in_transaction


@pytest.mark.parametrize("kind", list(family(sqlite3.Error)))
def test_no_exception_of_the_driver_leaves(file: Path, kind: type[sqlite3.Error]) -> None:
    with pytest.raises(StoreError, match="did not do as it was told: the driver's words"), errors_of(file):
        raise kind("the driver's words")


def test_a_file_is_closed_again_when_it_cannot_be_prepared(file: Path) -> None:
    seen: list[sqlite3.Connection] = []

    def prepare(connection: sqlite3.Connection) -> None:
        seen.append(connection)
        connection.execute("nonsense")

    with pytest.raises(StoreError, match="did not do as it was told"), errors_of(file):
        open_database(file, prepare, create=True)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        seen[0].execute("SELECT 1")
