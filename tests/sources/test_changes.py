"""Which lines a change touches, in real repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import commit, git

from reconciler.errors import InputError
from reconciler.sources.changes import changed_lines

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "gateways").mkdir()
    (tmp_path / "gateways/a.yaml").write_text("".join(f"line {number}\n" for number in range(1, 11)))
    (tmp_path / "gateways/gone.yaml").write_text("x\n")
    commit(tmp_path)
    return tmp_path


def touched(root: Path, reference: str = "main") -> dict[str, set[int]]:
    """Return the lines that a change touches, as far as the hundredth."""
    changed = changed_lines(root, reference)
    return {
        file: {number for lines in ranges for number in range(1, 100) if number in lines}
        for file, ranges in changed.items()
    }


def test_nothing_changed_is_nothing(repository: Path) -> None:
    assert changed_lines(repository, "main") == {}


def test_changed_added_and_removed_lines_are_told(repository: Path) -> None:
    lines = (repository / "gateways/a.yaml").read_text().splitlines(keepends=True)
    lines[1] = "other\n"
    lines[4:6] = []
    (repository / "gateways/a.yaml").write_text("".join([*lines, "more\n", "and more"]))
    assert touched(repository) == {"gateways/a.yaml": {2, 4, 9, 10}}


def test_new_files_count_as_a_whole_committed_or_not(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "topic")
    (repository / "gateways/new.yaml").write_text("1\n2\n3\n")
    commit(repository)
    (repository / "gateways/unseen.yaml").write_text("1\n")
    assert touched(repository) == {"gateways/new.yaml": {1, 2, 3}, "gateways/unseen.yaml": set(range(1, 100))}


def test_only_our_side_of_a_fork_counts(repository: Path) -> None:
    git(repository, "switch", "--quiet", "--create", "topic")
    git(repository, "switch", "--quiet", "main")
    (repository / "gateways/theirs.yaml").write_text("1\n")
    commit(repository)
    git(repository, "switch", "--quiet", "topic")
    assert changed_lines(repository, "main") == {}


def test_paths_are_relative_to_the_root_that_is_asked_for(repository: Path) -> None:
    (repository / "gateways/a.yaml").write_text("one\n")
    (repository / "outside.yaml").write_text("one\n")
    assert changed_lines(repository / "gateways", "main").keys() == {"a.yaml"}


def test_a_removed_file_has_no_lines(repository: Path) -> None:
    (repository / "gateways/gone.yaml").unlink()
    assert changed_lines(repository, "main") == {}


def test_names_with_spaces_and_letters_of_any_language_are_kept(repository: Path) -> None:
    (repository / "gateways/zürich east.yaml").write_text("1\n")
    commit(repository)
    (repository / "gateways/zürich east.yaml").write_text("2\n")
    assert touched(repository, "HEAD") == {"gateways/zürich east.yaml": {1}}


@pytest.mark.parametrize("reference", ["nowhere", "--upload-pack=touch x", "-h", "", "HEAD:gateways"])
def test_a_revision_that_is_none_is_named(repository: Path, reference: str) -> None:
    with pytest.raises(InputError, match="git knows no revision") as raised:
        changed_lines(repository, reference)
    assert "fetch it first" in raised.value.fix


def test_outside_of_git_there_is_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="git knows no revision"):
        changed_lines(tmp_path, "main")


hostile_line = st.sampled_from(
    [
        "+++ b/evil.yaml",
        "++ b/evil.yaml",
        "@@ -1 +1,9 @@",
        "diff --git a/x b/evil.yaml",
        "-- a/x",
        "a\rb",
        "\\ No newline",
        "x",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(hostile_line, max_size=6), st.lists(hostile_line, max_size=6))
def test_content_that_looks_like_a_patch_names_no_other_file(
    repository: Path, before: list[str], after: list[str]
) -> None:
    (repository / "gateways/a.yaml").write_bytes("\n".join(before).encode())
    commit(repository)
    (repository / "gateways/a.yaml").write_bytes("\n".join(after).encode())
    assert changed_lines(repository, "HEAD").keys() <= {"gateways/a.yaml"}
