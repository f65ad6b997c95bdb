"""The file that keeps every apply: what is begun, what it ended with, for how long, and whatever others did to it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.books import Books, open_books
from reconciler.core.history import Commit, Entry, mark_written
from reconciler.core.model import Action, Change, Gateway, LiveGateway, Outcome, Reason, Stamp, Transport
from reconciler.database import LENGTH_LIMIT, SqliteTables, open_database
from reconciler.errors import StoreBusyError, StoreError
from reconciler.history import History, this_process
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 3, 2, 9, 0, 0, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
COMMIT = Commit("main@sha1:1111", dirty=True, author="Bob <bob@example.com>", signature="good")
ENTRY = Entry(NOW, "alice", "reconciler/1", this_process(), COMMIT, "sqlite:///x.db", rollback_of=7)
KEEP = 1000


def row(name: str, **fields: Any) -> LiveGateway:
    gateway = replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **fields)
    return LiveGateway(gateway, "5f", Stamp("us", f"{name}.yaml", "main@sha1:0000", "sha256:0", protected=True), "t")


def create(name: str) -> Change:
    return Change(Action.CREATE, name, Reason.ADDED, after=row(name).gateway, stamp=row(name).stamp)


def update(before: LiveGateway, name: str) -> Change:
    fields = ("name", "description")
    return Change(Action.UPDATE, name, Reason.RENAMED, before, row(name).gateway, "5f", before.stamp, fields)


def delete(before: LiveGateway) -> Change:
    return Change(Action.DELETE, before.gateway.name, Reason.REMOVED_FROM_GIT, before)


def applied(*changes: Change) -> list[Outcome]:
    return [Outcome(change.name, change.action, "applied") for change in changes]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def history(file: Path) -> Iterator[History]:
    with closing(open_books(file, create=True)) as books:
        history = books.history
        yield history


def texts_in(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as other:
        return {text for (text,) in other.execute("SELECT text FROM reconciler_texts")}


def tamper(file: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(file)) as other, other:
        other.execute(statement, values)


def test_a_new_history_is_empty_and_readable_by_its_owner_alone(history: History, file: Path) -> None:
    assert (history.entries(9), history.entry(1), history.last_apply()) == ([], None, None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_was_begun_and_finished_is_told_with_its_outcomes_and_preimages(history: History) -> None:
    before = row("a", ca_certificate="CA", client_certificate="CLIENT")
    changes = [update(before, "b"), create("c"), delete(row("d", ca_certificate="CA")), create("held")]
    number, interrupted = history.begin(ENTRY, changes[:3], KEEP)
    outcomes = [*applied(*changes[:2]), Outcome("d", Action.DELETE, "failed", "the disk"),
                Outcome("held", Action.CREATE, "refused", "no answer")]  # fmt: skip
    history.finish(number, LATER, changes, outcomes)
    found = history.entry(number)
    assert found is not None
    assert interrupted == ()
    ended = replace(ENTRY, id=number, state="finished", finished_at=LATER, planned=4, applied=2, refused=1, failed=1)
    assert replace(found, steps=()) == ended == history.last_apply() == history.entries(9)[0]
    b, c, d, held = found.steps
    assert (b.name, b.held_as, b.action, b.reason, b.fields) == (
        "b", "a", Action.UPDATE, "renamed", ("name", "description"),
    )  # fmt: skip
    assert (b.before, b.status, b.why, b.written) == (before, "applied", "", mark_written(changes[0]))
    assert (c.before, c.status) == (None, "applied")
    assert (d.status, d.why, d.written, d.before) == ("failed", "the disk", "", changes[2].before)
    assert (held.status, held.why) == ("refused", "no answer")


def test_the_newest_come_first_and_no_more_than_asked_for(history: History) -> None:
    numbers = [history.begin(ENTRY, [create("a")], KEEP)[0] for _ in range(3)]
    assert [entry.id for entry in history.entries(2)] == [numbers[2], numbers[1]] == [3, 2]


def test_an_apply_that_the_store_gave_up_knows_no_outcomes(history: History) -> None:
    number, _ = history.begin(ENTRY, [create("a")], KEEP)
    history.fail(number, LATER, 1, "no connection")
    found = history.entry(number)
    assert found is not None
    assert (found.state, found.problem, found.planned, found.finished_at) == ("failed", "no connection", 1, LATER)
    assert [step.status for step in found.steps] == [""]
    assert history.last_apply() is None


def test_what_is_finished_does_not_fail_afterwards(history: History) -> None:
    number, _ = history.begin(ENTRY, [create("a")], KEEP)
    history.finish(number, LATER, [create("a")], applied(create("a")))
    history.fail(number, LATER, 1, "too late")
    assert [(entry.state, entry.problem) for entry in history.entries(1)] == [("finished", "")]


def test_an_apply_without_an_end_is_running_as_long_as_its_process_is(history: History) -> None:
    number, _ = history.begin(ENTRY, [create("a")], KEEP)
    assert [(entry.state, entry.finished_at) for entry in history.entries(1)] == [("running", None)]
    assert history.begin(ENTRY, [create("a")], KEEP) == (2, ())
    history.finish(number, LATER, [create("a")], applied(create("a")))
    assert [entry.state for entry in history.entries(2)] == ["running", "finished"]


BEGIN_AND_DIE = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from reconciler.core.history import Commit, Entry
from reconciler.core.model import Action, Change, Gateway, Reason, Transport
from reconciler.books import Books, open_books
from reconciler.history import this_process
change = Change(Action.CREATE, "a", Reason.ADDED, after=Gateway("a", "https://a.example/mcp", Transport.SSE))
entry = Entry(datetime(2026, 3, 1, tzinfo=UTC), "alice", "cli", this_process(), Commit(), "sqlite:///x.db")
open_books(Path(sys.argv[1]), create=True).history.begin(entry, [change], 1000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_apply_is_interrupted_and_the_next_one_notes_it_once(file: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", BEGIN_AND_DIE, str(file)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with closing(open_books(file, create=True)) as books:
        history = books.history
        found = history.entry(1)
        assert found is not None
        assert (found.state, found.planned, [step.status for step in found.steps]) == ("interrupted", 1, [""])
        assert history.begin(ENTRY, [create("a")], KEEP) == (2, (1,))
        assert history.begin(ENTRY, [create("a")], KEEP) == (3, ())
        assert [entry.state for entry in history.entries(9)] == ["running", "running", "interrupted"]


def test_of_another_machine_it_is_not_known_until_the_next_apply_begins(history: History) -> None:
    elsewhere = replace(ENTRY, process="somewhere.example:1")
    history.begin(elsewhere, [create("a")], KEEP)
    assert history.entries(1)[0].state == "started"
    assert history.begin(ENTRY, [create("a")], KEEP) == (2, (1,))
    assert history.entries(2)[1].state == "interrupted"


@pytest.mark.parametrize("pid", ["", "x", "-x", "9" * 40])
def test_a_process_that_is_none_does_not_run(history: History, pid: str) -> None:
    history.begin(replace(ENTRY, process=f"{os.uname().nodename}:{pid}"), [create("a")], KEEP)
    assert history.entries(1)[0].state == "interrupted"


def test_equal_texts_are_kept_once_and_only_as_long_as_an_apply_names_them(history: History, file: Path) -> None:
    for name in ("FIRST", "SECOND", "SECOND"):
        rows = [row("a", ca_certificate=name, client_certificate="CLIENT"), row("b", ca_certificate=name)]
        history.begin(ENTRY, [update(each, each.gateway.name) for each in rows], keep=2)
    assert texts_in(file) == {"SECOND", "CLIENT"}
    assert [entry.id for entry in history.entries(9)] == [3, 2]
    history.begin(ENTRY, [create("c")], keep=1)
    assert texts_in(file) == set()
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT apply_id, name FROM reconciler_changes").fetchall() == [(4, "c")]


def test_no_preimage_is_kept_of_a_row_that_is_longer_than_a_row_of_ours_can_be(history: History, file: Path) -> None:
    long = "\x01" * (LENGTH_LIMIT // 4)
    rows = [row("a", description=long), row("b", ca_certificate="x" * (LENGTH_LIMIT - 1000)), row("c")]
    number, _ = history.begin(ENTRY, [update(each, each.gateway.name) for each in rows], KEEP)
    found = history.entry(number)
    assert found is not None
    assert [step.before is None for step in found.steps] == [True, True, False]
    assert texts_in(file) == set()


LARGE = "x" * (LENGTH_LIMIT // 2)


def test_a_large_bundle_is_kept_whole(history: History) -> None:
    number, _ = history.begin(ENTRY, [delete(row("a", ca_certificate=LARGE))], KEEP)
    found = history.entry(number)
    assert found is not None
    assert found.steps[0].before == row("a", ca_certificate=LARGE)


TAMPERED = {
    "another bundle": "UPDATE reconciler_texts SET text = 'EVIL'",
    "a bundle that is no text": "UPDATE reconciler_texts SET text = x'ff'",
    "no bundle": "DELETE FROM reconciler_texts",
    "no JSON": "UPDATE reconciler_changes SET before = '{'",
    "deep JSON": "UPDATE reconciler_changes SET before = '" + "[" * 100_000 + "'",
    "other JSON": "UPDATE reconciler_changes SET before = '[]'",
    "bytes": "UPDATE reconciler_changes SET before = x'00ff'",
}


@pytest.mark.parametrize("statement", TAMPERED.values(), ids=TAMPERED)
def test_a_preimage_that_was_tampered_with_is_none_and_the_rest_is_told(
    history: History, file: Path, statement: str
) -> None:
    number, _ = history.begin(ENTRY, [delete(row("a", ca_certificate="CA"))], KEEP)
    tamper(file, statement)
    found = history.entry(number)
    assert found is not None
    assert [(step.name, step.before) for step in found.steps] == [("a", None)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE reconciler_applies SET started_at = 'yesterday'",
        "UPDATE reconciler_applies SET applied = 'many'",
        "UPDATE reconciler_applies SET state = 'asleep'",
        "UPDATE reconciler_changes SET action = 'explode'",
    ],
)
def test_an_entry_that_no_version_wrote_is_explained(history: History, file: Path, statement: str) -> None:
    history.begin(ENTRY, [create("a")], KEEP)
    tamper(file, statement)
    with pytest.raises(StoreError, match="what no version of it wrote"):
        history.entry(1)


def test_an_older_file_gains_what_it_lacks_and_keeps_what_it_has(file: Path) -> None:
    open_store(f"sqlite:///{file}", create=True).close()
    columns = "started_at, finished_at, actor, revision, dirty, store, applied, refused, failed, skipped"
    tamper(
        file,
        "CREATE TABLE reconciler_applies (id INTEGER PRIMARY KEY AUTOINCREMENT, started_at TEXT NOT NULL,"
        " finished_at TEXT NOT NULL, actor TEXT NOT NULL, revision TEXT NOT NULL, dirty INTEGER NOT NULL,"
        " store TEXT NOT NULL, applied INTEGER NOT NULL, refused INTEGER NOT NULL, failed INTEGER NOT NULL,"
        " skipped INTEGER NOT NULL)",
    )
    insert = f"INSERT INTO reconciler_applies ({columns}) VALUES (?, ?, 'bob', 'main@sha1:1', 0, 's', 3, 0, 0, 0)"  # noqa: S608
    tamper(file, insert, NOW.isoformat(), LATER.isoformat())
    for _ in range(2):
        with closing(open_books(file, create=False)) as books:
            history = books.history
            found = history.last_apply()
    assert found is not None
    assert (found.id, found.state, found.actor, found.applied, found.steps) == (1, "finished", "bob", 3, ())
    with closing(open_books(file, create=True)) as books:
        history = books.history
        assert history.begin(ENTRY, [create("a")], KEEP) == (2, ())


def test_a_history_that_does_not_exist_reads_as_empty_and_stays_away(file: Path) -> None:
    with closing(open_books(file, create=False)) as books:
        history = books.history
        assert (history.entries(9), history.entry(1), history.last_apply()) == ([], None, None)
        with pytest.raises(StoreError, match="does not exist"):
            history.begin(ENTRY, [create("a")], KEEP)
    assert not file.exists()


def test_another_writer_makes_the_history_busy_and_nothing_is_begun(file: Path) -> None:
    open_books(file, create=True).close()
    impatient = open_database(file, lambda opened: opened.execute("PRAGMA busy_timeout = 1"), create=False)
    with closing(Books(SqliteTables(file, impatient))) as books, closing(sqlite3.connect(file)) as other:
        history = books.history
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError):
            history.begin(ENTRY, [create("a")], KEEP)
        assert history.entries(9) == []


def test_a_beginning_that_cannot_be_recorded_whole_is_not_recorded(history: History, file: Path) -> None:
    with pytest.raises(StoreError):
        history.begin(ENTRY, [delete(row("a", ca_certificate="CA")), create("a")], KEEP)
    assert (history.entries(9), texts_in(file)) == ([], set())
