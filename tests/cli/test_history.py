"""At three in the morning: what was applied, by whom, and back to what it was before."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from raw_servers import VALID
from repositories import commit

from reconciler.core.canonical import text_digest
from reconciler.demo.pki import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from terminal import Terminal

STORE = ("--store", "sqlite:///x.db")
ANY = ("--max-delete-percent", "100", "--max-update-percent", "100", "--allow-empty", "--no-verify")
EVIL = Authority.root("Evil Root CA", VALID)


def rows(*columns: str) -> list[Any]:
    with closing(sqlite3.connect("x.db")) as database:
        return database.execute(f"SELECT {', '.join(columns)} FROM gateways ORDER BY name").fetchall()  # noqa: S608


def edit(statement: str, *values: object) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(statement, values)


@pytest.fixture
def applied(terminal: Terminal, root: Authority) -> Terminal:
    """A store to which two commits were applied: the second one updated `a`, deleted `b` and created `c`."""
    terminal.write("gateways/root.pem", root.pem)
    terminal.write("gateways/other.pem", Authority.root("Other Root CA", VALID).pem)
    terminal.gateway("a", description="old", tls={"caCertificates": ["root.pem"]})
    terminal.gateway("b")
    commit(terminal.directory)
    terminal("apply", "gateways", *STORE)
    terminal.gateway("a", description="new", tls={"caCertificates": ["other.pem"]})
    terminal.gateway("c")
    terminal.remove("b")
    commit(terminal.directory)
    terminal("apply", "gateways", *STORE, "--prune")
    return terminal


BEFORE = [("a", "old"), ("b", "")]
AFTER = [("a", "new"), ("c", "")]


def test_history_says_who_applied_what_from_which_commit(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    applied.gateway("c", description="mine")
    monkeypatch.setenv("RECONCILER_ACTOR", "deploy-bot")
    applied("apply", "gateways", *STORE)
    header, third, second, first = applied("history", *STORE).out.splitlines()
    assert header.split() == ["ID", "WHEN", "(UTC)", "WHO", "REVISION", "AUTHOR", "SIGNATURE", "RESULT"]
    assert third.startswith("3   2")
    assert "deploy-bot  main@" in third
    assert "+uncommitted" in third
    assert second.endswith("t <t@example.com>  none       3 applied")
    assert first.endswith("t <t@example.com>  none       2 applied")


def test_history_for_machines(applied: Terminal) -> None:
    found = applied("history", *STORE, "-o", "json", "--limit", "1").document
    assert found["format_version"] == "1.0"
    (entry,) = found["applies"]
    assert (entry["id"], entry["state"], entry["rollback_of"]) == (2, "finished", None)
    assert entry["summary"] == {"planned": 3, "applied": 3, "refused": 0, "failed": 0, "skipped": 0}
    assert entry["source"]["revision"].startswith("main@sha1:")
    assert (entry["source"]["dirty"], entry["source"]["author"]) == (False, "t <t@example.com>")


def test_show_says_what_every_row_was_before_and_no_wall_of_base64(applied: Terminal) -> None:
    shown = applied("history", "show", "2", *STORE).out
    assert "~ update a  applied  the manifest changed" in shown
    assert "    description was old\n    ca_certificate was\n      CN=Payments Root CA (Root CA), expires" in shown
    assert "+ create c  applied" in shown
    assert "- delete b  applied  no longer in git\n    url was https://b.example/mcp" in shown
    assert "BEGIN CERTIFICATE" not in shown


def test_show_for_machines(applied: Terminal) -> None:
    found = applied("history", "show", "2", *STORE, "-o", "json").document
    a, b, c = found["changes"]
    assert (found["id"], found["format_version"]) == (2, "1.0")
    assert (a["action"], a["status"], a["paths"]) == ("update", "applied", ["/description", "/ca_certificate"])
    assert (a["before"]["gateway"]["description"], len(a["before"]["signature"])) == ("old", 128)
    assert [each["subject"] for each in a["before"]["certificates"]] == ["CN=Payments Root CA"]
    assert (b["action"], b["before"]["owner"], c["before"]) == ("delete", "reconciler", None)


def test_what_was_applied_last_is_said_by_status(applied: Terminal) -> None:
    assert "Last apply: main@" in applied("status", *STORE).out


def test_a_rollback_is_shown_first_and_brings_everything_back(applied: Terminal) -> None:
    shown = applied("rollback", "2", *STORE, *ANY, "--dry-run").out
    assert "- delete c  rolled back" in shown
    assert "Plan: 1 to create, 1 to update, 1 to delete" in shown
    assert rows("name", "description") == AFTER
    done = applied("rollback", "2", *STORE, *ANY)
    assert "Apply: 3 applied." in done.out
    assert "Git still says otherwise: `git revert " in done.err
    assert rows("name", "description") == BEFORE
    assert applied("history", *STORE).out.splitlines()[1].endswith("3 applied (rollback of 2)")
    assert "Nothing to roll back" in applied("rollback", "2", *STORE, *ANY).out
    applied("rollback", "3", *STORE, *ANY)
    assert rows("name", "description") == AFTER
    assert "No changes." in applied("plan", "gateways", *STORE).out


def test_a_rollback_fills_the_audit_columns_and_counts_the_version(
    applied: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_ACTOR", "night-shift")
    applied("rollback", "2", *STORE, *ANY)
    a, b = rows("created_by", "modified_by", "modified_via", "version")
    assert a[1:] == ("night-shift", a[2], 3)
    assert a[2].startswith("reconciler/")
    assert b[0] == "night-shift"


def test_a_rollback_for_machines(applied: Terminal) -> None:
    found = applied("rollback", "2", *STORE, *ANY, "-o", "json").document
    assert (found["id"], found["rollback_of"], found["left"], found["format_version"]) == (3, 2, [], "1.0")
    assert [each["status"] for each in found["outcomes"]] == ["applied"] * 3
    assert found["plan"]["summary"]["delete"] == 1
    dry = applied("rollback", "3", *STORE, *ANY, "--dry-run", "-o", "json").document
    assert (dry["id"], dry["outcomes"]) == (None, [])


def test_without_uncommitted_changes_nobody_is_told_to_revert_a_commit(applied: Terminal) -> None:
    applied.gateway("c", description="mine")
    applied("apply", "gateways", *STORE)
    assert "Git still says otherwise: change the manifests back" in applied("rollback", "3", *STORE, *ANY).err


def test_what_a_newer_apply_changed_is_left_alone_and_named(applied: Terminal) -> None:
    applied.gateway("a", description="newer", tls={"caCertificates": ["other.pem"]})
    applied("apply", "gateways", *STORE)
    done = applied("rollback", "2", *STORE, *ANY, expect=5)
    assert "! left alone a  a newer apply changed it" in done.out
    assert rows("name", "description") == [("a", "newer"), ("b", "")]
    refused = applied("rollback", "2", *STORE, *ANY, "-o", "json", expect=4).document
    assert [(each["name"], each["why"]) for each in refused["left"]] == [("a", "changed_since")]


def test_guards_hold_a_rollback_as_they_hold_an_apply(applied: Terminal) -> None:
    done = applied("rollback", "2", *STORE, "--max-deletes", "0", expect=4).out
    assert "pass --max-deletes 1" in done
    assert "--max-deletes 1" in applied("rollback", "2", *STORE, "--max-deletes", "0", "--dry-run", expect=4).out
    assert rows("name", "description") == AFTER
    assert len(applied("history", *STORE).out.splitlines()) == 3


def test_everything_is_not_deleted_without_being_asked_for(terminal: Terminal) -> None:
    terminal.gateway("a")
    terminal("apply", "gateways", *STORE)
    assert "--allow-empty" in terminal("rollback", "1", *STORE, expect=4).out
    terminal("rollback", "1", *STORE, "--allow-empty")
    assert rows("name") == []


def test_what_is_protected_is_not_deleted(terminal: Terminal) -> None:
    terminal.gateway("a")
    document = json.loads((terminal.directory / "gateways/a.yaml").read_text())
    document["metadata"]["annotations"] = {"reconciler/prune": "disabled"}
    terminal.write("gateways/a.yaml", json.dumps(document))
    terminal("apply", "gateways", *STORE)
    refused = terminal("rollback", "1", *STORE, *ANY, expect=4).out
    assert "it is protected, so it is not deleted" in refused
    assert rows("name") == [("a",)]


def forge(pem: str) -> None:
    """Put another bundle into the pre-image of `a`, as consistently as whoever can write the file is able to."""
    edit("INSERT INTO reconciler_texts VALUES (?, ?)", text_digest(pem), pem)
    with closing(sqlite3.connect("x.db")) as database, database:
        ((content,),) = database.execute("SELECT before FROM reconciler_changes WHERE apply_id = 2 AND name = 'a'")
        before = json.loads(content)
        before["gateway"]["ca_certificate"] = text_digest(pem)
        database.execute(
            "UPDATE reconciler_changes SET before = ?, bundle = ? WHERE apply_id = 2 AND name = 'a'",
            (json.dumps(before), text_digest(pem)),
        )


def test_a_bundle_that_was_forged_in_the_journal_is_never_signed(applied: Terminal) -> None:
    forge(EVIL.pem.strip())
    done = applied("rollback", "2", *STORE, *ANY, expect=5)
    assert "! left alone a  what it was then was not signed by a key that is trusted" in done.out
    assert rows("name", "description") == [("a", "new"), ("b", "")]
    assert all("Evil" not in str(row) for row in rows("*"))
    only_that = applied("rollback", "2", *STORE, *ANY, expect=4)
    assert "put the right manifest and bundle into git, and apply that" in only_that.out


def test_a_bundle_that_was_exchanged_in_the_journal_is_missed(applied: Terminal) -> None:
    edit("UPDATE reconciler_texts SET text = ?", EVIL.pem.strip())
    assert "what it was before was not kept, or cannot be read" in applied("history", "show", "2", *STORE).out
    done = applied("rollback", "2", *STORE, *ANY, expect=5)
    assert "! left alone a  what it was before was not kept, or cannot be read" in done.out


def test_hostile_rows_and_journals_do_nothing_to_the_terminal(applied: Terminal) -> None:
    edit("UPDATE reconciler_applies SET actor = ?, author = ?, store = ?", "a\x1b[2J", "b\x1b]0;", "c\r\x1b[1A")
    edit("UPDATE reconciler_changes SET why = ?, reason = ?, fields = ?", "d\x1b[2J", "e\x9b", "\u202ef description")
    edit("UPDATE reconciler_changes SET before = replace(before, 'old', ?)", "\x1b[31mold".replace("\x1b", "\\u001b"))
    for command in (("history",), ("history", "show", "2"), ("rollback", "2", "--dry-run")):
        for form in ("text", "json"):
            shown = applied(*command, *STORE, "-o", form).out
            assert all(character.isprintable() or character == "\n" for character in shown)


def test_a_row_that_was_forged_in_the_journal_is_never_signed(applied: Terminal) -> None:
    edit("UPDATE reconciler_changes SET before = replace(before, 'https://a.example', 'https://evil.example')")
    done = applied("rollback", "2", *STORE, *ANY, expect=5)
    assert "! left alone a  what it was then was not signed by a key that is trusted" in done.out
    assert all("evil" not in str(row) for row in rows("*"))


def test_nothing_that_a_row_should_not_hold_is_repeated(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    monkeypatch.setenv("RECONCILER_ALLOW_UNSIGNED", "1")
    edit("UPDATE gateways SET url = 'https://me:hunter2@a.example/mcp?key=hunter2' WHERE name = 'a'")
    applied("apply", "gateways", *STORE)
    for command in (("history", "show", "3"), ("rollback", "3", "--dry-run")):
        for form in ("text", "json"):
            assert "hunter2" not in applied(*command, *STORE, "-o", form).out


BEGIN_AND_DIE = """
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from reconciler.core.history import Commit, Entry
from reconciler.core.model import Action, Change, Gateway, Reason, Transport
from reconciler.books import open_books
from reconciler.history import this_process
change = Change(Action.CREATE, "x", Reason.ADDED, after=Gateway("x", "https://x.example/mcp", Transport.SSE))
entry = Entry(datetime(2026, 3, 1, tzinfo=UTC), "alice", "cli", this_process(), Commit(), "sqlite:///x.db")
open_books(Path("x.db"), create=True).history.begin(entry, [change], 1000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_apply_that_was_killed_is_seen_and_the_next_one_says_so(applied: Terminal) -> None:
    subprocess.run([sys.executable, "-c", BEGIN_AND_DIE], check=False)
    assert applied("history", *STORE).out.splitlines()[1].endswith("interrupted, of 1 change")
    assert "+ create x  outcome not known" in applied("history", "show", "3", *STORE).out
    assert "Nothing to roll back" in applied("rollback", "3", *STORE).out
    applied.gateway("x")
    assert (
        "note: apply 3 was interrupted; `reconciler history show 3 --path gateways"
        in applied("apply", "gateways", *STORE).err
    )
    assert "note:" not in applied("apply", "gateways", *STORE).err


def test_a_store_to_which_nothing_was_applied_has_no_history_and_reading_makes_none(terminal: Terminal) -> None:
    assert terminal("history", *STORE).out == "Nothing was applied yet.\n"
    assert terminal("history", *STORE, "-o", "json").document["applies"] == []
    assert terminal("history", "--store", "memory:").out == "Nothing was applied yet.\n"
    for command in ("history", "show"), ("rollback",):
        said = terminal(*command, "1", *STORE, expect=3).err
        assert "there is no apply 1" in said
    assert list(terminal.directory.iterdir()) == []


def test_options_stand_after_the_word_they_are_for(terminal: Terminal) -> None:
    assert "write options after `show`" in terminal("history", *STORE, "show", "1", expect=64).err


def test_with_several_targets_one_has_to_be_chosen(terminal: Terminal) -> None:
    terminal.write(
        "reconciler.yaml",
        "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\nspec:\n  path: gateways\n  targets:\n"
        "  - {name: one, store: 'sqlite:///x.db'}\n  - {name: two, store: 'sqlite:///y.db'}\n",
    )
    for command in ("history",), ("history", "show", "1"), ("rollback", "1"):
        assert "choose one with --target: one, two" in terminal(*command, expect=3).err
    terminal("history", "--target", "two")


def test_as_many_applies_are_kept_as_the_config_file_says(terminal: Terminal) -> None:
    terminal.write(
        "reconciler.yaml",
        "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\n"
        "spec: {path: gateways, store: 'sqlite:///x.db', history: {keep: 2}}\n",
    )
    for number in range(4):
        terminal.gateway("a", description=f"{number}")
        terminal("apply")
    assert [line.split()[0] for line in terminal("history").out.splitlines()] == ["ID", "4", "3"]


def test_a_rollback_needs_no_tree_that_can_be_read(applied: Terminal) -> None:
    applied.write("gateways/a.yaml", "kind: [")
    applied("rollback", "2", *STORE, *ANY)
    assert rows("name", "description") == BEFORE


def test_what_was_brought_back_is_looked_at_as_it_is_now(terminal: Terminal, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/mcp"
    terminal.gateway("a", url=nobody, verify={"mode": "report", "timeout": "2s"})
    terminal("apply", "gateways", *STORE, "--no-verify")
    terminal.gateway("a", url=nobody, description="new", verify={"mode": "report", "timeout": "2s"})
    terminal("apply", "gateways", *STORE, "--no-verify")
    done = terminal("rollback", "2", *STORE, "--path", "gateways", expect=6)
    assert "Verify: 0 of 1 upstream" in done.out
    terminal("rollback", "3", *STORE, "--no-verify")
    assert not (tmp_path / "work" / ".reconciler").exists()


def test_an_apply_says_where_it_is_written_down(terminal: Terminal) -> None:
    terminal.gateway("a")
    applied = terminal("apply", "gateways", *STORE, "-o", "json")
    assert applied.document["id"] == terminal("history", *STORE, "-o", "json").document["applies"][0]["id"]
    assert "reconciler history show 1" in applied.err
    assert terminal("apply", "gateways", *STORE, "-o", "json").document["id"] is None
