"""A commit is read as its checkout would be: the same files, the same failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from repositories import commit, git

from reconciler.core.snapshot import Failure
from reconciler.errors import InputError
from reconciler.sources.directory import MANIFEST_LIMIT, Directory
from reconciler.sources.revision import Revision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.core.snapshot import Snapshot


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            path.symlink_to(text[2:])
        else:
            path.write_text(text)


TREE = {
    "defaults.yaml": "top",
    "gateways/defaults.yaml": "inherited",
    "gateways/team/a.yaml": "a",
    "gateways/team/b.yml": "b",
    "gateways/team/ca.pem": "PEM",
    "gateways/team/notes.txt": "not read",
    "gateways/team/.hidden.yaml": "hidden",
    "gateways/team/.hidden/x.yaml": "hidden",
    "gateways/team/linked.yaml": "->a.yaml",
    "gateways/team/far.pem": "->../../certificates/root.pem",
    "gateways/team/out.yaml": "->../../../outside.yaml",
    "gateways/team/absolute.yaml": "->/etc/passwd",
    "gateways/team/nowhere.yaml": "->gone.yaml",
    "gateways/team/round.yaml": "->round.yaml",
    "gateways/team/more": "->../../certificates",
    "certificates/root.pem": "ROOT",
}
PATHS = [(".",), ("gateways",), ("gateways/team",), ("gateways/team/a.yaml",), ("gateways/team", "certificates")]
NAMES = [
    "gateways/team/ca.pem",
    "gateways/team/far.pem",
    "gateways/team/more/root.pem",
    "gateways/team/gone.pem",
    "gateways/team",
    "gateways/team/out.yaml",
    "certificates/root.pem",
]


@pytest.mark.parametrize("paths", PATHS, ids=" ".join)
def test_a_commit_holds_what_its_checkout_holds(tmp_path: Path, paths: tuple[str, ...]) -> None:
    write(tmp_path, TREE)
    revision = Revision(tmp_path, commit(tmp_path))
    seen, expected = revision.scan(paths), Directory(tmp_path).scan(paths)
    assert (seen.files, seen.pem_files) == (expected.files, expected.pem_files)
    codes = [(each.code, each.location.file) for each in seen.problems]
    assert sorted(codes) == sorted((each.code, each.location.file) for each in expected.problems)


def test_referenced_files_are_read_through_links_that_stay_inside(tmp_path: Path) -> None:
    write(tmp_path, TREE)
    revision = Revision(tmp_path, commit(tmp_path))
    seen, expected = revision.read(NAMES), Directory(tmp_path).read(NAMES)
    assert seen.data == expected.data
    assert seen.failures == expected.failures


def test_what_was_committed_counts_whatever_happened_to_the_checkout(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "old"})
    first = commit(tmp_path)
    write(tmp_path, {"a.yaml": "new", "b.yaml": "more"})
    assert Revision(tmp_path, first).scan(["."]).files == {"a.yaml": b"old"}


def test_the_root_may_be_below_the_top_of_the_repository(tmp_path: Path) -> None:
    write(tmp_path, {"mcp/gateways/a.yaml": "a", "mcp/ca.pem": "->../secret.pem", "secret.pem": "SECRET"})
    revision = Revision(tmp_path / "mcp", commit(tmp_path))
    assert revision.scan(["gateways"]).files == {"gateways/a.yaml": b"a"}
    assert revision.read(["ca.pem", "../secret.pem"]).failures == {
        "ca.pem": Failure.LEAVES_ROOT,
        "../secret.pem": Failure.LEAVES_ROOT,
    }


def test_a_giant_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "a" * (MANIFEST_LIMIT + 1)})
    snapshot = Revision(tmp_path, commit(tmp_path)).scan(["."])
    assert snapshot.files == {}
    assert [each.code for each in snapshot.problems] == ["file-too-large"]


def test_a_path_that_came_later_holds_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "a"})
    assert Revision(tmp_path, commit(tmp_path)).scan(["gateways"]).files == {}


def test_submodules_are_somebody_elses(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "a"})
    head = commit(tmp_path)
    git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{head},module")
    git(tmp_path, "commit", "--quiet", "-m", "module")
    assert Revision(tmp_path, "HEAD").scan(["."]).files == {"a.yaml": b"a"}


def test_a_commit_that_is_none_is_refused(tmp_path: Path) -> None:
    commit(tmp_path)
    with pytest.raises(InputError, match="git ls-tree failed"):
        Revision(tmp_path, "0" * 40)


def unreadable(snapshot: Snapshot) -> set[str]:
    """Return the manifests that could not be read. What a link out of the tree leads to, no commit knows."""
    return {each.location.file for each in snapshot.problems if each.location.file.endswith(".yaml")}


part = st.sampled_from(["a", "b", ".c", "d e", "ü"])
path = st.lists(part, min_size=1, max_size=3).map("/".join)
content = st.sampled_from(["x", "->a", "->../a", "->b/a.yaml", "->../../a.yaml", "->.", "->a/../b", "->/", "->a.yaml"])
names = st.builds("{}{}".format, path, st.sampled_from([".yaml", ".pem", "", ".txt"]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.dictionaries(names, content, max_size=8))
def test_any_tree_reads_the_same(tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]) -> None:
    root = tmp_path_factory.mktemp("tree")
    for name, text in files.items():
        try:
            write(root, {name: text})
        except OSError:  # a file where a directory should be, or a link to nowhere in the way
            continue
    (root / "one.txt").touch()
    revision, directory = Revision(root, commit(root)), Directory(root)
    seen, expected = revision.scan(["."]), directory.scan(["."])
    assert (seen.files, seen.pem_files) == (expected.files, expected.pem_files)
    assert unreadable(seen) == unreadable(expected)
    asked = sorted(files)
    assert revision.read(asked).data == directory.read(asked).data
