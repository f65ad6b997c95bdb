from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.books import Books, open_books
from reconciler.core.conditions import Condition, carried_over
from reconciler.core.model import Action, Audit, Change, Gateway, Reason, Transport
from reconciler.database import SqliteTables, open_database
from reconciler.errors import StoreBusyError, StoreError
from reconciler.journal import Journal, Sighting
from reconciler.stores import open_store, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MONDAY = datetime(2026, 3, 2, 9, 0, 0, 1, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
READY = Condition("Ready", "True", "Verified", "all is well", "main@sha1:1111", MONDAY)
STALLED = Condition("Stalled", "True", "GuardRefused", "too many deletes: 40 %", "main@sha1:1111", MONDAY)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    with closing(open_books(file, create=True)) as books:
        journal = books.journal
        yield journal


def test_since_is_kept_as_long_as_the_status_does_not_flip() -> None:
    later = replace(READY, reason="Probed", message="still", since=TUESDAY)
    assert carried_over(None, later) == later
    assert carried_over(READY, later) == replace(later, since=MONDAY)
    assert carried_over(READY, replace(later, status="Unknown")).since == TUESDAY


def test_a_new_journal_is_empty_and_readable_by_its_owner_alone(journal: Journal, file: Path) -> None:
    assert (journal.conditions(), journal.observations()) == ({}, {})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_conditions_come_back_by_gateway_in_the_order_of_their_types(journal: Journal) -> None:
    journal.record_conditions({"two": [STALLED, READY], "one": [READY]})
    assert journal.conditions() == {"one": (READY,), "two": (READY, STALLED)}


def test_a_recorded_condition_keeps_its_since_until_it_flips(journal: Journal) -> None:
    journal.record_conditions({"one": [READY]})
    journal.record_conditions({"one": [replace(READY, message="still well", since=TUESDAY)]})
    assert journal.conditions()["one"] == (replace(READY, message="still well"),)
    journal.record_conditions({"one": [replace(READY, status="False", since=TUESDAY)]})
    assert journal.conditions()["one"][0].since == TUESDAY


def test_a_condition_that_holds_no_more_is_gone_and_other_gateways_keep_theirs(journal: Journal) -> None:
    journal.record_conditions({"one": [READY, STALLED], "two": [STALLED]})
    journal.record_conditions({"one": [READY]})
    assert journal.conditions() == {"one": (READY,), "two": (STALLED,)}


def test_what_was_seen_last_replaces_what_was_seen_before(journal: Journal) -> None:
    seen = Sighting(MONDAY, ready=True, tools=7, leaf_not_after=TUESDAY)
    journal.record_observations({"one": seen, "two": seen})
    journal.record_observations({"two": replace(seen, ready=False, leaf_not_after=None)})
    assert journal.observations() == {"one": seen, "two": replace(seen, ready=False, leaf_not_after=None)}


def test_a_gateway_is_forgotten(journal: Journal) -> None:
    journal.record_conditions({"one": [READY], "two": [READY]})
    journal.record_observations({"one": Sighting(MONDAY, ready=True, tools=1, leaf_not_after=None)})
    journal.forget(["one", "never known"])
    assert (list(journal.conditions()), journal.observations()) == (["two"], {})


def test_what_is_recorded_survives_closing(file: Path) -> None:
    with closing(open_books(file, create=True)) as books:
        journal = books.journal
        journal.record_conditions({"one": [READY]})
    with closing(open_books(file, create=False)) as books:
        journal = books.journal
        assert journal.conditions() == {"one": (READY,)}


def test_ten_thousand_gateways_are_recorded_at_once(journal: Journal) -> None:
    conditions = {f"gw-{number:05}": (READY, STALLED) for number in range(10_000)}
    journal.record_conditions(conditions)
    assert journal.conditions() == conditions


def test_a_journal_that_does_not_exist_reads_as_empty_and_stays_away(file: Path) -> None:
    with closing(open_books(file, create=False)) as books:
        journal = books.journal
        assert (journal.conditions(), journal.observations()) == ({}, {})
        with pytest.raises(StoreError, match="does not exist"):
            journal.record_conditions({"one": [READY]})
    assert not file.exists()


@pytest.mark.parametrize("journal_first", [True, False])
def test_a_journal_lives_in_the_file_of_an_sqlite_store(file: Path, journal_first: bool) -> None:
    url = f"sqlite:///{file}"
    assert sqlite_path(url) == file
    gateway = Gateway("one", "https://one.example/mcp", Transport.SSE)
    if journal_first:
        open_books(file, create=True).close()
    else:
        open_store(url, create=True).close()
    with closing(open_books(file, create=True)) as books, closing(open_store(url, create=True)) as store:
        journal = books.journal
        store.apply([Change(Action.CREATE, "one", Reason.ADDED, after=gateway)], Audit("alice", "cli", MONDAY))
        journal.record_conditions({"one": [READY]})
        assert store.read().gateways["one"].gateway == gateway
        assert journal.conditions() == {"one": (READY,)}


def test_a_store_reads_as_empty_from_a_file_that_only_has_a_journal(file: Path) -> None:
    open_books(file, create=True).close()
    with closing(open_store(f"sqlite:///{file}", create=False)) as store:
        assert store.read().gateways == {}


def test_a_file_that_is_no_database_is_explained(file: Path) -> None:
    file.write_text("not a database, " * 100)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        open_books(file, create=True)


def test_an_entry_that_no_version_wrote_is_explained(journal: Journal, file: Path) -> None:
    journal.record_conditions({"one": [READY]})
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("UPDATE reconciler_conditions SET since = 'yesterday'")
    with pytest.raises(StoreError, match="what no version of it wrote"):
        journal.conditions()


def test_a_failed_record_leaves_everything_as_it_was(journal: Journal) -> None:
    journal.record_conditions({"one": [READY]})
    with pytest.raises(StoreError):
        journal.record_conditions({"one": [STALLED], "two": [READY, READY]})
    assert journal.conditions() == {"one": (READY,)}


def test_another_writer_makes_the_journal_busy(file: Path) -> None:
    open_books(file, create=True).close()
    impatient = open_database(file, lambda opened: opened.execute("PRAGMA busy_timeout = 1"), create=False)
    with closing(Books(SqliteTables(file, impatient))) as books, closing(sqlite3.connect(file)) as other:
        journal = books.journal
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            journal.record_conditions({"one": [READY]})
        assert journal.conditions() == {}
