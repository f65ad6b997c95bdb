"""Plan today, review, apply tomorrow: exactly that, or nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from terminal import Terminal

STORE = ("--store", "sqlite:///x.db")


def rows() -> dict[str, Any]:
    with closing(sqlite3.connect("x.db")) as database:
        return dict(database.execute("SELECT name, description FROM gateways").fetchall())


@pytest.fixture
def planned(terminal: Terminal) -> Terminal:
    """A store with `a` and `b`, and a saved plan that updates `a`, creates `c` and deletes `b`."""
    terminal.gateway("a", description="old")
    terminal.gateway("b")
    terminal("apply", "gateways", *STORE)
    terminal.gateway("a", description="new")
    terminal.gateway("c")
    terminal.remove("b")
    limits = ("--max-delete-percent", "100", "--max-update-percent", "100")
    said = terminal("plan", "gateways", *STORE, "--prune", *limits, "--out", "plan.json")
    assert "Next: reconciler apply plan.json --store sqlite:///x.db" in said.err
    return terminal


def test_what_was_planned_is_applied_with_the_scope_it_was_planned_with(planned: Terminal) -> None:
    applied = planned("apply", "plan.json", *STORE)
    assert "Apply: 3 applied." in applied.out
    assert rows() == {"a": "new", "c": ""}
    assert "No changes." in planned("plan", "gateways", *STORE).out


def test_applying_it_twice_is_refused_for_there_is_nothing_left_of_it(planned: Terminal) -> None:
    planned("apply", "plan.json", *STORE)
    again = planned("apply", "plan.json", *STORE, expect=4)
    assert "`c` was to be created, and there is nothing to do for it any more" in again.err


def edit_the_row(_terminal: Terminal) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute("UPDATE gateways SET description = 'by hand' WHERE name = 'a'")


def edit_the_manifest(terminal: Terminal) -> None:
    terminal.gateway("a", description="newer")


def add_a_manifest(terminal: Terminal) -> None:
    terminal.gateway("d")


def bring_one_back(terminal: Terminal) -> None:
    terminal.gateway("b")


def create_it_already(terminal: Terminal) -> None:
    terminal("apply", "gateways/c.yaml", *STORE)


MOVES: dict[Callable[[Any], None], str] = {
    edit_the_row: "`a` was changed in the store since",
    edit_the_manifest: "the manifest of `a`, or what it refers to, changed since",
    add_a_manifest: "`d` would be created now, and was not in the plan",
    bring_one_back: "`b` was to be deleted, and there is nothing to do for it any more",
    create_it_already: "`c` was to be created, and there is nothing to do for it any more",
}


@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__)
def test_whatever_moved_is_named_and_nothing_is_written(planned: Terminal, move: Callable[[Terminal], None]) -> None:
    move(planned)
    before = rows()
    refused = planned("apply", "plan.json", *STORE, expect=4)
    assert MOVES[move] in refused.err
    assert "run `reconciler plan --out` again" in refused.err
    assert rows() == before


def test_another_store_is_refused(planned: Terminal) -> None:
    refused = planned("apply", "plan.json", "--store", "sqlite:///y.db", expect=4)
    assert "the plan is for the store sqlite:///x.db, and this is sqlite:///y.db" in refused.err


def test_an_edited_plan_is_refused(planned: Terminal) -> None:
    content = json.loads((planned.directory / "plan.json").read_text())
    content["scope"]["allow_empty"] = True
    planned.write("plan.json", json.dumps(content))
    assert "not as it was saved" in planned("apply", "plan.json", *STORE, expect=3).err


@pytest.mark.parametrize("words", [("--prune",), ("--target", "x"), ("gateways",), ("--max-deletes", "9")])
def test_a_saved_plan_says_itself_how_far_to_go(planned: Terminal, words: tuple[str, ...]) -> None:
    assert "a saved plan says itself" in planned("apply", "plan.json", *STORE, *words, expect=64).err


def test_a_plan_can_be_read_by_people_and_programs_and_holds_no_secret(planned: Terminal) -> None:
    content = json.loads((planned.directory / "plan.json").read_text())
    (target,) = content["targets"]
    assert target["plan"]["summary"]["delete"] == 1
    assert {row["name"]: row["action"] for row in target["rows"]} == {"a": "update", "b": "delete", "c": "create"}
    assert "PRIVATE" not in json.dumps(content)
