"""What a pull request changes: two revisions, no store, no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from repositories import commit, git

if TYPE_CHECKING:
    from terminal import Terminal


@pytest.fixture
def branch(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A branch that changes `a`, adds `c` and removes `b`; main goes on meanwhile."""
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    terminal.gateway("a", description="old")
    terminal.gateway("b")
    commit(terminal.directory)
    git(terminal.directory, "switch", "--quiet", "--create", "topic")
    terminal.gateway("a", description="new")
    terminal.gateway("c")
    terminal.remove("b")
    commit(terminal.directory)
    git(terminal.directory, "switch", "--quiet", "main")
    terminal.gateway("later")
    commit(terminal.directory)
    git(terminal.directory, "switch", "--quiet", "topic")
    return terminal


def test_only_what_the_branch_changes_is_shown(branch: Terminal) -> None:
    planned = branch("plan", "--base", "main", "gateways", "-o", "json").document
    changes = {each["name"]: (each["actions"], each["reason"]) for each in planned["resource_changes"]}
    assert changes == {
        "a": (["update"], "manifest_changed"),
        "b": (["delete"], "removed_from_git"),
        "c": (["create"], "added"),
    }
    assert planned["target"] == "main"
    assert not list(branch.directory.glob("*.db"))


def test_uncommitted_changes_count(branch: Terminal) -> None:
    branch.gateway("d")
    planned = branch("plan", "--base", "main", "gateways", "-o", "json", "--detailed-exitcode", expect=2).document
    assert "d" in {each["name"] for each in planned["resource_changes"]}
    assert planned["source"]["dirty"] is True


def test_nothing_is_checked_out_and_nothing_is_written(branch: Terminal) -> None:
    before = git(branch.directory, "status", "--porcelain", "--branch")
    branch("plan", "--base", "main", "gateways")
    assert git(branch.directory, "status", "--porcelain", "--branch") == before


def test_a_base_with_errors_is_compared_as_far_as_it_goes(branch: Terminal) -> None:
    git(branch.directory, "switch", "--quiet", "main")
    branch.gateway("a", trasnport="sse")
    commit(branch.directory)
    git(branch.directory, "switch", "--quiet", "--create", "mended")
    branch.gateway("a")
    planned = branch("plan", "--base", "main", "gateways")
    assert "main has errors of its own" in planned.err
    assert "+ create a" in planned.out


def test_a_branch_with_errors_is_refused_with_all_of_them(branch: Terminal) -> None:
    branch.gateway("a", trasnport="sse")
    assert "did you mean `transport`?" in branch("plan", "--base", "main", "gateways", expect=3).err


def test_a_revision_that_is_not_there_is_named(branch: Terminal) -> None:
    refused = branch("plan", "--base", "origin/main", "gateways", expect=3)
    assert "git knows no revision `origin/main`" in refused.err
    assert "fetch it first" in refused.err


@pytest.mark.parametrize("words", [("--store", "sqlite:///x.db"), ("--out", "plan.json")])
def test_a_comparison_has_no_store_and_cannot_be_applied(branch: Terminal, words: tuple[str, ...]) -> None:
    assert "--base compares two revisions" in branch("plan", "--base", "main", "gateways", *words, expect=64).err


def test_the_guards_speak_up_in_the_pull_request_already(branch: Terminal) -> None:
    for number in range(10):
        branch.gateway(f"g{number}")
    commit(branch.directory)
    git(branch.directory, "switch", "--quiet", "--create", "cleaning")
    for number in range(10):
        branch.remove(f"g{number}")
    planned = branch("plan", "--base", "topic", "gateways")
    assert "10 of 12 gateways would be deleted" in planned.out


def test_a_branch_that_is_not_checked_out_is_compared_as_if_it_were(branch: Terminal) -> None:
    checked_out = branch("plan", "--base", "main", "gateways", "-o", "json").document
    topic = git(branch.directory, "rev-parse", "topic")
    git(branch.directory, "switch", "--quiet", "main")
    by_name, by_commit = (
        branch("plan", "--base", "main", "--head", head, "gateways", "-o", "json").document for head in ("topic", topic)
    )
    assert by_name["resource_changes"] == by_commit["resource_changes"] == checked_out["resource_changes"]
    assert by_name["source"] == {"revision": f"topic@sha1:{topic}", "dirty": False}
    assert by_commit["source"]["revision"] == f"sha1:{topic}"


def test_a_head_needs_a_base(branch: Terminal) -> None:
    assert "give both" in branch("plan", "--head", "topic", "gateways", expect=64).err
