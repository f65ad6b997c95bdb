"""Trees that nobody means well with: odd names, links that loop or lead out, pipes, and manifests that refer to them.

Outside of the root stands a canary. Whatever the tree looks like, nothing of the canary may be in what comes out.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from reconciler.composition import read_tree
from reconciler.core.problems import has_errors
from reconciler.demo.pki import Authority, Lifetime
from reconciler.errors import InputError
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CANARY: Final = "canary-7f3a"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link; `{outside}` in it is the absolute path of the directory with the canary."""

    to: str


class Special(Enum):
    """What is no regular file, directory or link."""

    PIPE = "pipe"
    SOCKET = "socket"


Entry = bytes | Link | Special
Tree = dict[str, "Entry | Tree"]


@cache
def _certificate(name: str) -> str:
    return Authority.root(name, Lifetime.around(NOW)).pem


def gateway(name: str, references: list[str]) -> bytes:
    """Return a manifest that names certificate files, if any."""
    return (
        f"apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n"
        f"  url: https://{name}.example/\n  transport: sse\n"
        + (f"  tls: {{caCertificates: {references}}}\n" if references else "")
    ).encode()


def config(path: str) -> bytes:
    """Return a config file for the manifests below a path."""
    return f"apiVersion: reconciler/v1\nkind: Config\nmetadata: {{name: x}}\nspec: {{path: {path}}}\n".encode()


_manifest_names = st.sampled_from(
    (
        *("a.yaml", "b.yml", "defaults.yaml", ".hidden.yaml", "odd name.yaml", "new\nline.yaml", "\u202eltr.yaml"),
        *("not-utf-8-\udcff.yaml", "x" * 250 + ".yaml"),
    )
)
_pem_names = st.sampled_from(("ca.pem", "root.crt", "名.pem", "new\nline.pem", "not-utf-8-\udcff.pem"))
_directory_names = st.sampled_from(
    ("team", "gateways", "d", "d.yaml", "d.pem", ".git", "not-utf-8-\udcff", "notes.txt")
)
_targets = st.sampled_from(
    (
        *("ca.pem", "../ca.pem", "a.yaml", "team", "gateways", ".", "..", "missing.yaml", "d", "d/ca.pem", "/dev/zero"),
        *("../outside", "../../outside", "../outside/ca.pem", "../outside/a.yaml", "{outside}", "{outside}/a.yaml"),
        *("{outside}/ca.pem", "{outside}/defaults.yaml", "../outside/../root/a.yaml", "/proc/self/environ"),
    )
)
_inside = ("ca.pem", "root.crt", "名.pem", "team/ca.pem", "d/ca.pem")
_outside_references = (
    "../outside/ca.pem",
    "../../outside/ca.pem",
    "d/outside/ca.pem",
    "{outside}/ca.pem",
    "a.yaml/ca.pem",
)
_references = st.lists(
    st.sampled_from((*_inside, "../ca.pem", "d/../ca.pem", *_outside_references)), max_size=2, unique=True
)
_odd: st.SearchStrategy[Entry | Tree] = st.one_of(
    [st.builds(Link, _targets), st.sampled_from(Special), st.just({}), st.sampled_from((b"", b"a: ["))]
)
_manifests = st.builds(gateway, st.sampled_from(("a", "b", "payments")), _references)
_certificates = st.sampled_from(("Inside", "Inside too")).map(lambda name: _certificate(name).encode())


def _level(below: st.SearchStrategy[Entry | Tree]) -> st.SearchStrategy[Tree]:
    return st.builds(
        lambda *parts: {name: entry for part in parts for name, entry in part.items()},
        st.dictionaries(_manifest_names, _manifests | _odd, max_size=2),
        st.dictionaries(_pem_names, _certificates | _odd, max_size=2),
        st.dictionaries(_directory_names, below, max_size=2),
    )


_configs: st.SearchStrategy[Entry | Tree] = st.one_of(
    [
        st.sampled_from(("gateways", "d", "d/gateways", "team/d")).map(config),
        st.builds(Link, st.sampled_from(("../outside/reconciler.yaml", "{outside}/defaults.yaml", "/dev/zero", "d"))),
        st.sampled_from(Special),
    ]
)
trees = st.builds(
    lambda tree, configured: {**tree, **configured},
    _level(_odd | _level(_odd | _level(_odd))),
    st.just({}) | st.fixed_dictionaries({"reconciler.yaml": _configs}),
)


def check_tree(top: Path, tree: Tree) -> None:
    """Check that a tree is compiled without a byte from outside of its root, and that what is unread is reported."""
    root, outside = top / "root", top / "outside"
    _write(root, tree, str(outside))
    _write(outside, _outside(), str(outside))
    try:
        desired = read_tree(load_settings((root,)), NOW, with_revision=False)
    except InputError as error:
        assert "reconciler.yaml" in tree, "only a config file may stop a run"
        _check_no_canary(vars(error))
        return
    _check_no_canary(desired)
    reported = {problem.location.file for problem in desired.problems}
    for path in [] if "reconciler.yaml" in tree else _unread_manifests(root):
        assert path in reported, f"{path!r} was not read, and nothing is said about it"
        assert not desired.complete, f"{path!r} was not read, and what is absent would be pruned"
    assert desired.complete != has_errors(desired.problems), "errors and completeness disagree"
    assert desired == read_tree(load_settings((root,)), NOW, with_revision=False), "it was read differently"


def _check_no_canary(found: object) -> None:
    said = repr(found)
    for secret in (CANARY, *_certificate(CANARY).splitlines()[1:-1]):
        assert secret not in said, "something from outside of the root was read"


def _unread_manifests(root: Path) -> Iterator[str]:
    """Yield the paths that are called like manifests and cannot be read as such. A scan enters no link."""
    for directory, directories, files in os.walk(root):
        directories[:] = [name for name in directories if not name.startswith(".")]
        for name in (*directories, *files):
            path = Path(directory) / name
            if name.endswith((".yaml", ".yml")) and not name.startswith(".") and not _may_be_read(path, root):
                yield path.relative_to(root).as_posix()


def _may_be_read(path: Path, root: Path) -> bool:
    target = Path(os.path.realpath(path))
    return (path.is_dir() and not path.is_symlink()) or (target.is_file() and target.is_relative_to(root.resolve()))


def _outside() -> Tree:
    readable = gateway(CANARY, ["ca.pem"])
    return {
        "a.yaml": readable,
        "defaults.yaml": f"{CANARY}: [".encode(),
        "reconciler.yaml": config(CANARY),
        "ca.pem": _certificate(CANARY).encode(),
        "gateways": {"a.yaml": readable},
    }


def _write(directory: Path, tree: Mapping[str, Entry | Tree], outside: str) -> None:
    directory.mkdir()
    for name, entry in tree.items():
        path = directory / name
        match entry:
            case bytes():
                path.write_bytes(entry.replace(b"{outside}", outside.encode()))
            case Link(to):
                path.symlink_to(to.replace("{outside}", outside))
            case Special.PIPE:
                os.mkfifo(path)
            case Special.SOCKET:
                _bind(path)
            case _:
                _write(path, entry, outside)


def _bind(path: Path) -> None:
    """Leave a socket behind. Its address is short, whatever the path: one of the directory by its descriptor."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{directory}/s")
        os.rename("s", path.name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(directory)
