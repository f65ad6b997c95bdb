"""A file is rewritten whole, in place, with its mode, and never outside of the root."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import InputError, ReconcilerError
from reconciler.sources.rewrite import rewrite

if TYPE_CHECKING:
    from pathlib import Path


def test_the_contents_change_and_the_mode_does_not(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"before")
    file.chmod(0o640)
    rewrite(tmp_path, "a.yaml", b"after")
    assert file.read_bytes() == b"after"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_inside_the_root_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_bytes(b"before")
    (tmp_path / "a.yaml").symlink_to("real.yaml")
    rewrite(tmp_path, "a.yaml", b"after")
    assert (tmp_path / "a.yaml").is_symlink()
    assert (tmp_path / "real.yaml").read_bytes() == b"after"


def test_nothing_is_written_through_a_link_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.yaml"
    root.mkdir()
    outside.write_bytes(b"before")
    (root / "a.yaml").symlink_to(outside)
    (root / "below").symlink_to(tmp_path)
    for name in ("a.yaml", "below/outside.yaml", "../outside.yaml"):
        with pytest.raises(InputError, match="leads out of the repository"):
            rewrite(root, name, b"after")
    assert outside.read_bytes() == b"before"


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(ReconcilerError, match=r"a\.yaml cannot be written: is a directory"):
        rewrite(tmp_path, "a.yaml", b"after")
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]
