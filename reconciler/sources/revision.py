"""A tree as it stood at a commit, read from git's object database. Nothing is checked out, and nothing runs.

It hands over what `reconciler.sources.directory` would of the same files: hidden names are not searched, links are
followed inside of the root only, and everything is bounded.
"""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.problems import Location
from reconciler.core.snapshot import LINKED_DIRECTORY, Failure, Files, Snapshot, unreadable
from reconciler.errors import InputError
from reconciler.sources.directory import (
    FILE_COUNT_LIMIT,
    LOCK_SUFFIX,
    MANIFEST_LIMIT,
    MANIFEST_SUFFIXES,
    PEM_LIMIT,
    PEM_SUFFIXES,
    FileError,
    larger_than,
)
from reconciler.sources.git import ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.core.problems import Problem

_LINK: Final = b"120000"
_MAX_LINKS: Final = 40
_LONGEST_LINK: Final = 4096


@dataclass(frozen=True, slots=True)
class _Entry:
    """A blob: its object id, its size in bytes, and whether it is a symbolic link."""

    oid: str
    size: int
    link: bool


class Revision:
    """The tree of `commit` below `root`, a directory of a git working tree.

    Raises:
        InputError: git does not know the commit, or it holds more files than are read in a run.
    """

    def __init__(self, root: Path, commit: str) -> None:
        self.root = root.resolve()
        self.commit = commit
        listing = ask(self.root, "ls-tree", "-r", "-l", "-z", commit, "--", ".")
        self._entries = dict(_read_listing(listing))
        self._directories = {"", *(parent for name in self._entries for parent in _parents(name))}
        if len(self._entries) > 4 * FILE_COUNT_LIMIT:
            raise InputError(f"{commit} holds {len(self._entries):,} files", fix="split the tree into several targets")

    def scan(self, paths: Iterable[str], *, whole: bool = True) -> Snapshot:
        """Read every manifest below `paths` (root-relative), and the `defaults.yaml` files above them.

        A path that is not there holds nothing: it may have come later.
        """
        paths = list(paths)
        problems: list[Problem] = []
        wanted: dict[str, _Entry] = {}
        pem_files, lock_files = set(), self._locks_beside(paths)
        for name in self._below(paths):
            entry = self._entries[name]
            if name.endswith(MANIFEST_SUFFIXES):
                self._want(name, MANIFEST_LIMIT, wanted, problems)
            elif name.lower().endswith(PEM_SUFFIXES):
                pem_files.add(name)
            elif name.endswith(LOCK_SUFFIX):
                lock_files.add(name)
            elif entry.link:
                problems.extend(self._linked_directory(name))
        data = self._blobs({entry.oid for entry in wanted.values()})
        files = {name: data[entry.oid] for name, entry in sorted(wanted.items())}
        return Snapshot(files, frozenset(pem_files), frozenset(lock_files), tuple(problems), whole)

    def read(self, names: Iterable[str]) -> Files:
        """Read the PEM files and tools locks that manifests refer to, each once."""
        found: dict[str, _Entry] = {}
        failures: dict[str, Failure] = {}
        for name in names:
            try:
                found[name] = self._file(name, PEM_LIMIT)
            except FileError as error:
                failures[name] = error.failure
        data = self._blobs({entry.oid for entry in found.values()})
        return Files({name: data[entry.oid] for name, entry in found.items()}, failures)

    def _below(self, paths: list[str]) -> Iterator[str]:
        inherited = {
            posixpath.join(parent, "defaults.yaml") for path in paths if path != "." for parent in (*_parents(path), "")
        }
        for name in self._entries:
            inside = any(path in (".", name) or name.startswith(f"{path}/") for path in paths)
            if (inside and not _is_hidden(name, paths)) or name in inherited:
                yield name

    def _locks_beside(self, paths: list[str]) -> set[str]:
        """Return the tools locks beside manifests that are looked at alone."""
        directories = {posixpath.dirname(path) for path in paths if path in self._entries}
        return {name for name in self._entries if name.endswith(LOCK_SUFFIX) and posixpath.dirname(name) in directories}

    def _linked_directory(self, name: str) -> Iterator[Problem]:
        with suppress(FileError):
            if self._resolved(name) in self._directories:
                message = "a link to a directory: manifests are read where they are, not through links"
                yield LINKED_DIRECTORY.at(Location(name), message, fix="remove the link")

    def _want(self, name: str, limit: int, wanted: dict[str, _Entry], problems: list[Problem]) -> None:
        try:
            wanted[name] = self._file(name, limit)
        except FileError as error:
            problems.append(unreadable(name, error.failure, str(error)))

    def _file(self, name: str, limit: int) -> _Entry:
        """Return the blob that a name leads to.

        Raises:
            FileError: it leads nowhere, out of the root, to a directory, or to more than `limit` bytes.
        """
        resolved = self._resolved(name)
        entry = self._entries.get(resolved)
        if entry is None:
            failure = Failure.NOT_A_FILE if resolved in self._directories else Failure.MISSING
            raise FileError(failure, "no such file or directory")
        if entry.size > limit:
            raise FileError(Failure.TOO_LARGE, larger_than(limit, entry.size))
        return entry

    def _resolved(self, name: str) -> str:
        """Return where a name leads through links.

        Raises:
            FileError: it leads out of the root, or round and round.
        """
        if name in self._entries and not self._entries[name].link:
            return name
        todo, done, links = name.split("/")[::-1], "", 0
        while todo:
            part = todo.pop()
            if part == "..":
                if not done:
                    raise FileError(Failure.LEAVES_ROOT, "a link out of the repository")
                done = posixpath.dirname(done)
                continue
            path = posixpath.join(done, part) if part not in ("", ".") else done
            entry = self._entries.get(path)
            if entry is None or not entry.link:
                done = path
                continue
            links += 1
            target = self._target(entry)
            if links > _MAX_LINKS:
                raise FileError(Failure.UNREADABLE, "too many levels of symbolic links")
            if target.startswith("/"):
                raise FileError(Failure.LEAVES_ROOT, "a link out of the repository")
            todo.extend(target.split("/")[::-1])
        return done

    def _target(self, link: _Entry) -> str:
        if link.size > _LONGEST_LINK:
            return "/"
        return os.fsdecode(self._blobs({link.oid})[link.oid])

    def _blobs(self, oids: set[str]) -> dict[str, bytes]:
        """Return the content of blobs, all of them with one question to git."""
        if not oids:
            return {}
        answer = ask(self.root, "cat-file", "--batch", given="".join(f"{oid}\n" for oid in sorted(oids)).encode())
        blobs, position = {}, 0
        while position < len(answer):
            end = answer.index(b"\n", position)
            oid, _, size = answer[position:end].split(b" ")
            start = end + 1
            blobs[oid.decode()] = answer[start : start + int(size)]
            position = start + int(size) + 1
        return blobs


def _read_listing(listing: bytes) -> Iterator[tuple[str, _Entry]]:
    """Read `git ls-tree -r -l -z`: mode, type, object and size, a tab, and the name. Submodules are left out."""
    for line in filter(None, listing.split(b"\0")):
        head, _, name = line.partition(b"\t")
        mode, kind, oid, size = head.split()
        if kind == b"blob":
            yield os.fsdecode(name), _Entry(oid.decode(), int(size), mode == _LINK)


def _parents(name: str) -> Iterator[str]:
    while name := posixpath.dirname(name):
        yield name


def _is_hidden(name: str, paths: Iterable[str]) -> bool:
    """Return whether a part of the name below the path that was asked for begins with a dot."""
    tops = (path for path in paths if path == "." or name.startswith(f"{path}/"))
    return any(
        part.startswith(".") for top in tops for part in name.removeprefix("" if top == "." else top).split("/") if part
    )
