"""Real trees, hostile ones too: every file is read once, and nothing from outside the root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.core.snapshot import Failure
from reconciler.errors import InputError
from reconciler.sources.directory import MANIFEST_LIMIT, PEM_LIMIT, Directory, read_named

if TYPE_CHECKING:
    from pathlib import Path


def tree(root: Path, files: dict[str, str]) -> Directory:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Directory(root)


def codes(directory: Directory, *paths: str) -> list[tuple[str, str]]:
    return [(problem.location.file, problem.code) for problem in directory.scan(paths or (".",)).problems]


def test_manifests_are_found_below_the_path_sorted_and_pem_files_are_only_named(tmp_path: Path) -> None:
    source = tree(tmp_path, {"b.yaml": "b", "sub/a.yml": "a", "ca.PEM": "x", "notes.txt": "-", "sub/ca.crt": "y"})
    snapshot = source.scan(["."])
    assert list(snapshot.files.items()) == [("b.yaml", b"b"), ("sub/a.yml", b"a")]
    assert snapshot.pem_files == {"ca.PEM", "sub/ca.crt"}
    assert snapshot.problems == ()


def test_defaults_above_the_path_are_read_too(tmp_path: Path) -> None:
    source = tree(tmp_path, {"defaults.yaml": "top", "a/defaults.yaml": "mid", "a/b/g.yaml": "g", "a/other.yaml": "o"})
    for path in ("a/b", "a/b/g.yaml"):
        assert list(source.scan([path]).files) == ["a/b/g.yaml", "a/defaults.yaml", "defaults.yaml"]


def test_hidden_files_and_directories_are_not_searched(tmp_path: Path) -> None:
    source = tree(tmp_path, {".git/x.yaml": "", ".hidden.yaml": "", "seen.yaml": ""})
    assert list(source.scan(["."]).files) == ["seen.yaml"]


def test_a_mounted_config_map_is_read_by_its_visible_names(tmp_path: Path) -> None:
    tree(tmp_path, {"..2026_11_21/g.yaml": "g"})
    (tmp_path / "..data").symlink_to("..2026_11_21")
    (tmp_path / "g.yaml").symlink_to("..data/g.yaml")
    assert Directory(tmp_path).scan(["."]).files == {"g.yaml": b"g"}


def test_a_link_out_of_the_root_is_a_problem_and_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    tree(outside, {"secret.yaml": "secret", "directory/x.yaml": "secret"})
    source = tree(tmp_path / "repo", {"ok.yaml": "ok"})
    (source.root / "file.yaml").symlink_to(outside / "secret.yaml")
    (source.root / "linked").symlink_to(outside / "directory")
    assert list(source.scan(["."]).files) == ["ok.yaml"]
    assert sorted(codes(source)) == [("file.yaml", "path-leaves-root"), ("linked", "path-leaves-root")]


def test_a_link_to_a_directory_inside_is_not_followed_and_said(tmp_path: Path) -> None:
    source = tree(tmp_path, {"a/g.yaml": "g"})
    (tmp_path / "again").symlink_to("a")
    (tmp_path / "a" / "loop").symlink_to("..")
    assert list(source.scan(["."]).files) == ["a/g.yaml"]
    assert sorted(codes(source)) == [("a/loop", "linked-directory"), ("again", "linked-directory")]


def test_a_dangling_link_and_a_pipe_are_unreadable_and_nothing_hangs(tmp_path: Path) -> None:
    source = tree(tmp_path, {})
    (tmp_path / "gone.yaml").symlink_to("nowhere.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert sorted(codes(source)) == [("gone.yaml", "unreadable-file"), ("pipe.yaml", "unreadable-file")]


def test_a_name_that_is_not_unicode_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.yaml")).write_text("x")
    (problem,) = Directory(tmp_path).scan(["."]).problems
    assert "not UTF-8" in problem.message


@pytest.mark.parametrize(("size", "expected"), [(MANIFEST_LIMIT, []), (MANIFEST_LIMIT + 1, ["file-too-large"])])
def test_a_manifest_may_be_one_mebibyte(tmp_path: Path, size: int, expected: list[str]) -> None:
    source = tree(tmp_path, {"big.yaml": "x" * size})
    assert [code for _, code in codes(source)] == expected


def test_referenced_files_are_read_and_failures_are_told_apart(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    tree(outside, {"ca.pem": "secret"})
    source = tree(tmp_path / "repo", {"ca.pem": "CA", "big.pem": "x" * (PEM_LIMIT + 1), "dir.pem/x": ""})
    (source.root / "out.pem").symlink_to(outside / "ca.pem")
    (source.root / "through").symlink_to(outside)
    names = ["ca.pem", "missing.pem", "out.pem", "through/ca.pem", "big.pem", "dir.pem"]
    files = source.read(names)
    assert files.data == {"ca.pem": b"CA"}
    assert files.failures == {
        "missing.pem": Failure.MISSING,
        "out.pem": Failure.LEAVES_ROOT,
        "through/ca.pem": Failure.LEAVES_ROOT,
        "big.pem": Failure.TOO_LARGE,
        "dir.pem": Failure.NOT_A_FILE,
    }


def test_a_path_that_does_not_exist_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nope does not exist"):
        Directory(tmp_path).scan(["nope"])
    with pytest.raises(InputError, match="outside of the repository"):
        Directory(tmp_path).relative(tmp_path.parent)


def test_a_file_named_by_a_person_is_read_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("CA")
    assert read_named(tmp_path / "ca.pem") == b"CA"
    with pytest.raises(InputError, match="no such file"):
        read_named(tmp_path / "none.pem")
