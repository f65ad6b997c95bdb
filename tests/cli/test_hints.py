"""The next command that is printed works as it stands, wherever the manifests and the store are."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from terminal import Ended, Terminal

STORE = ("--store", "sqlite:///our store.db", "--allow-unsigned")
TARGETS = """apiVersion: reconciler/v1
kind: Config
metadata: {name: gateways}
spec:
  path: gateways
  targets:
    - {name: first, store: "sqlite:///first.db"}
    - {name: second, store: "sqlite:///second.db"}
"""


def hints(ended: Ended) -> list[list[str]]:
    """Return the commands that are named on standard error, as a shell splits them."""
    found = re.findall(r"^(?:Next: |  )reconciler (.*)$|`reconciler (history show .*?)`", ended.err, re.MULTILINE)
    return [shlex.split(one or other) for one, other in found]


@pytest.fixture
def fleet(terminal: Terminal) -> Terminal:
    """Manifests in a directory with a space in its name."""
    terminal.gateway("payments")
    (terminal.directory / "gateways").rename(terminal.directory / "our gateways")
    return terminal


def test_each_step_names_the_next_one(fleet: Terminal) -> None:
    (plan,) = hints(fleet("validate", "our gateways", *STORE[:2]))
    assert plan == ["plan", "our gateways", *STORE[:2]]
    (apply,) = hints(fleet(*plan, "--allow-unsigned", "--max-deletes", "3"))
    assert apply == ["apply", "our gateways", *STORE, "--max-deletes", "3"]
    show, status = hints(fleet(*apply, "--no-verify"))
    assert "create payments" in fleet(*show).out
    assert "payments" in fleet(*status).out


def test_a_saved_plan_is_applied_as_it_says(fleet: Terminal) -> None:
    (apply,) = hints(fleet("plan", "our gateways", *STORE, "--out", "our plan.json"))
    show, status = hints(fleet(*apply, "--no-verify"))
    assert "create payments" in fleet(*show).out
    assert "payments" in fleet(*status).out


def test_what_was_dumped_is_planned_and_adopted_as_it_says(fleet: Terminal) -> None:
    fleet("apply", "our gateways", *STORE, "--no-verify")
    with closing(sqlite3.connect("our store.db")) as database, database:
        database.execute("DELETE FROM reconciler_stamps")
        database.execute("UPDATE gateways SET record_sig = NULL")
    plan, adopt = hints(fleet("dump", "our copy", *STORE[:2]))
    assert "exists and nobody owns it" in fleet(*plan).out
    assert "adopted" in fleet(*adopt, "--no-verify").out
    with closing(sqlite3.connect("our store.db")) as database, database:
        database.execute("UPDATE gateways SET enabled = 0")
    (heal,) = hints(fleet("drift", "--path", "our copy", *STORE[:2]))
    assert "enabled: false -> true" in fleet(*heal).out


def test_of_several_targets_the_one_that_was_applied_is_shown(terminal: Terminal) -> None:
    terminal.gateway("payments")
    terminal.write("reconciler.yaml", TARGETS)
    *shown, _ = hints(terminal("apply", "--allow-unsigned", "--no-verify"))
    assert [words[-2:] for words in shown] == [["--target", "first"], ["--target", "second"]]
    for words in shown:
        assert "create payments" in terminal(*words).out
