from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from reconciler.books import open_books
from reconciler.errors import StoreError
from reconciler.journal import Sighting

if TYPE_CHECKING:
    from pathlib import Path

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
SEEN = Sighting(MONDAY, ready=True, tools=2, leaf_not_after=None, names=("charge", "refund"))


def test_the_names_of_tools_come_back(tmp_path: Path) -> None:
    with closing(open_books(tmp_path / "journal.db", create=True)) as books:
        journal = books.journal
        journal.record_observations({"a": SEEN, "b": SEEN})
        journal.forget(["b"])
        assert (journal.observations(), journal.tools()) == ({"a": SEEN}, {"a": ("charge", "refund")})


def test_a_look_that_did_not_learn_the_names_keeps_those_known(tmp_path: Path) -> None:
    with closing(open_books(tmp_path / "journal.db", create=True)) as books:
        journal = books.journal
        journal.record_observations({"a": SEEN})
        journal.record_observations({"a": Sighting(MONDAY, ready=False, tools=0, leaf_not_after=None)})
        assert journal.tools() == {"a": ("charge", "refund")}
        journal.record_observations({"a": Sighting(MONDAY, ready=True, tools=0, leaf_not_after=None, names=())})
        assert journal.tools() == {"a": ()}


def test_a_journal_of_an_older_version_is_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    with closing(open_books(file, create=True)) as books:
        journal = books.journal
        journal.record_observations({"a": Sighting(MONDAY, ready=True, tools=2, leaf_not_after=None)})
    with closing(sqlite3.connect(file)) as older, older:
        older.execute("DROP TABLE reconciler_tools")
    with closing(open_books(file, create=False)) as books:
        journal = books.journal
        assert (journal.observations()["a"].names, journal.tools()) == (None, {})
        journal.record_observations({"a": SEEN})
        assert journal.observations() == {"a": SEEN}


@pytest.mark.parametrize("names", ["'{'", "x'ff'", "'7'"])
def test_names_that_no_version_wrote_are_an_error_of_ours(tmp_path: Path, names: str) -> None:
    file = tmp_path / "journal.db"
    with closing(open_books(file, create=True)) as books:
        journal = books.journal
        journal.record_observations({"a": SEEN})
        with closing(sqlite3.connect(file)) as other, other:
            other.execute(f"UPDATE reconciler_tools SET names = {names}")  # noqa: S608 - the values above
        with pytest.raises(StoreError):
            journal.tools()
