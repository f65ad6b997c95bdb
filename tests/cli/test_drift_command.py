"""`reconciler drift`: the store against what was last applied to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from terminal import Terminal

STORE = ("--store", "sqlite:///x.db")


@pytest.fixture
def applied(terminal: Terminal) -> Terminal:
    terminal.gateway("a")
    terminal.gateway("b")
    terminal("apply", "gateways", *STORE)
    return terminal


def edit(statement: str) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(statement)


def test_a_store_as_it_was_applied_has_none_whatever_git_says_now(applied: Terminal) -> None:
    applied.gateway("a", description="new")
    assert applied("drift", *STORE, "--detailed-exitcode").out == "No drift: 2 gateways as applied.\n"


def test_what_somebody_changed_is_named_with_where_it_came_from(applied: Terminal) -> None:
    edit("UPDATE gateways SET url = 'https://evil.example/mcp' WHERE name = 'a'")
    found = applied("drift", *STORE, "--detailed-exitcode", expect=2)
    assert "! tampering a  the row is not the one that was signed  (a.yaml" in found.out
    assert "1 of 2 gateways drifted." in found.out
    assert "Next: reconciler plan" in found.err
    document = applied("drift", *STORE, "-o", "json").document
    assert [(each["name"], each["evidence"]) for each in document["drift"]] == [("a", "record_not_genuine")]
    applied("apply", "gateways", *STORE)
    assert "No drift" in applied("drift", *STORE).out


def test_without_a_key_it_is_drift(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    terminal.gateway("a")
    terminal("apply", "gateways", *STORE, "--allow-unsigned")
    edit("UPDATE gateways SET url = 'https://evil.example/mcp'")
    assert "~ drift a  somebody changed the row since it was applied  (a.yaml" in terminal("drift", *STORE).out


def test_a_bundle_that_nobody_signed_is_tampering(applied: Terminal) -> None:
    edit("UPDATE gateways SET ca_certificate = 'mine' WHERE name = 'b'")
    assert "! tampering b  the CA bundle it holds is not the one that was signed" in applied("drift", *STORE).out


def test_a_store_that_is_not_there_holds_nothing(terminal: Terminal) -> None:
    assert terminal("drift", *STORE).out == "No drift: 0 gateways as applied.\n"
    assert not (terminal.directory / "x.db").exists()
