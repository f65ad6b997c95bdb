"""Real repositories: the revision, and whether there is something uncommitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from repositories import commit, git

from reconciler.sources.git import WorkingTreeStatus, read_status

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text("a")
    commit(tmp_path)
    return tmp_path


def test_a_clean_tree_has_a_revision(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert WorkingTreeStatus(repository).result() == (f"main@sha1:{head}", False)


@pytest.mark.parametrize("name", ["a.yaml", "new.yaml"])
def test_a_changed_or_untracked_file_makes_it_dirty(repository: Path, name: str) -> None:
    (repository / name).write_text("changed")
    assert WorkingTreeStatus(repository).result()[1]


def test_only_the_given_paths_count(repository: Path) -> None:
    (repository / "elsewhere.txt").write_text("x")
    assert not WorkingTreeStatus(repository, ["a.yaml"]).result()[1]


def test_outside_git_there_is_no_revision(tmp_path: Path) -> None:
    assert WorkingTreeStatus(tmp_path).result() == ("", False)


def test_before_the_first_commit_everything_is_uncommitted(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert WorkingTreeStatus(tmp_path).result() == ("", True)


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    revision, _ = WorkingTreeStatus(repository).result()
    assert revision.startswith("sha1:")


def test_nothing_that_a_repository_configures_is_run(repository: Path) -> None:
    marker = repository / "ran"
    hook = repository / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
    hook.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(hook))
    assert WorkingTreeStatus(repository).result()[1]
    assert not marker.exists()


def test_sha256_repositories_are_named_so() -> None:
    assert read_status(f"# branch.oid {'a' * 64}\n# branch.head main\n") == (f"main@sha256:{'a' * 64}", False)
