"""A working tree as a source: every file read once, no link followed out of the root, everything bounded.

Hidden directories and files are not searched: `.git`, and the `..data` machinery of mounted ConfigMaps, whose links are
read by their visible names.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.core.problems import Location
from reconciler.core.snapshot import LINKED_DIRECTORY, TOO_MANY_FILES, Failure, Files, Snapshot, unreadable
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.core.problems import Problem

MANIFEST_LIMIT: Final = 1024 * 1024
PEM_LIMIT: Final = 10 * 1024 * 1024
FILE_COUNT_LIMIT: Final = 250_000
MANIFEST_SUFFIXES: Final = (".yaml", ".yml")
PEM_SUFFIXES: Final = (".pem", ".crt", ".cer", ".cert")
LOCK_SUFFIX: Final = ".tools.json"

_FIRST_READ: Final = 16 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileError(Exception):
    """A file could not be had; `failure` says in which way, the text says why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


class Directory:
    """The tree below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def relative(self, path: Path) -> str:
        """Return `path` relative to the root, in POSIX form; `.` is the root itself.

        Raises:
            InputError: it is not below the root.
        """
        try:
            return path.resolve().relative_to(self.root).as_posix()
        except ValueError:
            raise InputError(
                f"{path} is outside of the repository {self.root}", fix="give a path inside, or another --config"
            ) from None

    def scan(self, paths: Iterable[str], *, whole: bool = True) -> Snapshot:
        """Read every manifest below `paths` (root-relative), and the `defaults.yaml` files above them.

        Raises:
            InputError: one of the paths does not exist.
        """
        walk = _Walk(self.root)
        for path in paths:
            walk.visit(path)
        files = dict(sorted(walk.files.items()))
        return Snapshot(files, frozenset(walk.pem_files), frozenset(walk.lock_files), tuple(walk.problems), whole)

    def read(self, names: Iterable[str]) -> Files:
        """Read the PEM files and tools locks that manifests refer to, each once."""
        data: dict[str, bytes] = {}
        failures: dict[str, Failure] = {}
        inside: dict[str, bool] = {}
        for name in names:
            directory = name.rpartition("/")[0]
            if directory not in inside:
                inside[directory] = _is_inside(self.root, self.root / directory)
            if not inside[directory]:
                failures[name] = Failure.LEAVES_ROOT
                continue
            try:
                data[name] = _read_inside(self.root, name, PEM_LIMIT)
            except FileError as error:
                failures[name] = error.failure
        return Files(data, failures)


class _Walk:
    """One scan in progress."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes] = {}
        self.pem_files: set[str] = set()
        self.lock_files: set[str] = set()
        self.problems: list[Problem] = []
        self.seen = 0

    def visit(self, path: str) -> None:
        target = self.root / path
        if not _is_inside(self.root, target):
            self.problems.append(unreadable(path, Failure.LEAVES_ROOT))
        elif target.is_dir():
            self._inherited(path)
            self._directory(path)
        elif target.is_file() or target.is_symlink():
            self._inherited(path)
            self._manifest(path)
            self._locks_beside(path)
        else:
            raise InputError(f"{target} does not exist", fix="give a directory of manifests, or a manifest")

    def _inherited(self, path: str) -> None:
        """Read the defaults that apply below `path` and stand above it."""
        parents = [parent.as_posix() for parent in Path(path).parents]
        for parent in parents if path != "." else []:
            name = "defaults.yaml" if parent == "." else f"{parent}/defaults.yaml"
            if name not in self.files and (self.root / name).is_file():
                self._manifest(name)

    def _locks_beside(self, path: str) -> None:
        """Find the tools locks of a manifest that is looked at alone."""
        directory = path.rpartition("/")[0]
        names = (entry.name for entry in self._entries(directory or ".") if entry.name.endswith(LOCK_SUFFIX))
        self.lock_files.update(f"{directory}/{name}" if directory else name for name in names)

    def _directory(self, top: str) -> None:
        pending = [top]
        while pending:
            directory = pending.pop()
            for entry in self._entries(directory):
                if entry.name.startswith("."):
                    continue
                path = entry.name if directory == "." else f"{directory}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.name.endswith(MANIFEST_SUFFIXES):
                    self._counted(path)
                elif entry.name.lower().endswith(PEM_SUFFIXES):
                    self.pem_files.add(path)
                elif entry.name.endswith(LOCK_SUFFIX):
                    self.lock_files.add(path)
                elif entry.is_symlink() and os.path.isdir(entry):  # noqa: PTH112 - which raises nothing for a loop
                    self._linked_directory(path)

    def _entries(self, directory: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / directory) as entries:
                yield from entries
        except OSError as error:
            self.problems.append(unreadable(directory, Failure.UNREADABLE, _reason(error)))

    def _counted(self, path: str) -> None:
        self.seen += 1
        if self.seen <= FILE_COUNT_LIMIT:
            self._manifest(path)
        elif self.seen == FILE_COUNT_LIMIT + 1:
            message = f"more than {FILE_COUNT_LIMIT:,} manifests; the rest was not read"
            self.problems.append(TOO_MANY_FILES.at(Location(path), message, fix="split the tree into several targets"))

    def _manifest(self, path: str) -> None:
        if path in self.files:
            return
        try:
            path.encode()
        except UnicodeEncodeError:
            self.problems.append(unreadable(path, Failure.UNREADABLE, "its name is not UTF-8"))
            return
        try:
            self.files[path] = _read_inside(self.root, path, MANIFEST_LIMIT)
        except FileError as error:
            self.problems.append(unreadable(path, error.failure, str(error)))

    def _linked_directory(self, path: str) -> None:
        if _is_inside(self.root, self.root / path):
            problem = LINKED_DIRECTORY.at(
                Location(path),
                "a link to a directory: manifests are read where they are, not through links",
                fix="remove the link, or give the directory it points to as a path of its own",
            )
        else:
            problem = unreadable(path, Failure.LEAVES_ROOT)
        self.problems.append(problem)


def _read_inside(root: Path, name: str, limit: int) -> bytes:
    """Return the bytes of a regular file that lies inside `root`, through links that stay inside.

    Raises:
        FileError: it does not, or is no such file, or is larger than `limit` bytes.
    """
    path = f"{root}/{name}"
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise FileError(_failure(error), _reason(error)) from None
        descriptor = _open_link(root, path)
    try:
        return _read_bounded(descriptor, limit)
    except OSError as error:
        raise FileError(_failure(error), _reason(error)) from None
    finally:
        os.close(descriptor)


def _open_link(root: Path, path: str) -> int:
    resolved = os.path.realpath(path)
    if not _is_inside(root, Path(resolved)):
        raise FileError(Failure.LEAVES_ROOT, "a link out of the repository")
    try:
        return os.open(resolved, _FLAGS)
    except OSError as error:
        raise FileError(_failure(error), _reason(error)) from None


def _is_inside(root: Path, path: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)  # `Path.resolve` raises for a loop of links


def _read_bounded(descriptor: int, limit: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FileError(Failure.NOT_A_FILE, "not a regular file")
    data = os.read(descriptor, _FIRST_READ)
    if len(data) < _FIRST_READ:
        return data
    parts = [data]
    size = len(data)
    while size <= limit and (part := os.read(descriptor, limit + 1 - size)):
        parts.append(part)
        size += len(part)
    if size > limit:
        raise FileError(Failure.TOO_LARGE, larger_than(limit, status.st_size))
    return b"".join(parts)


def larger_than(limit: int, size: int) -> str:
    """Return what to say of a file of `size` bytes where at most `limit` are read."""
    return f"{size:,} bytes, and at most {limit:,} are read"


def _failure(error: OSError) -> Failure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return Failure.MISSING
    return Failure.NOT_A_FILE if error.errno in (errno.EISDIR, errno.EAGAIN, errno.ENXIO) else Failure.UNREADABLE


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def read_config(path: Path) -> bytes:
    """Return the bytes of a config file, which lies in the directory that it makes the root.

    Raises:
        InputError: it cannot be read, is a link out of its directory, or is larger than any manifest.
    """
    try:
        return _read_inside(path.parent.resolve(), path.name, MANIFEST_LIMIT)
    except FileError as error:
        fix = "a config file is a regular file in the repository: check it, or the path given by --config"
        raise InputError(f"{path} cannot be read: {error}", fix=fix) from None


def read_named(path: Path) -> bytes:
    """Return the bytes of a PEM file that a person named, wherever it is.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(PEM_LIMIT + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}", fix="check the path") from None
    if len(data) > PEM_LIMIT:
        raise InputError(f"{path} is larger than {PEM_LIMIT // 1024 // 1024} MiB", fix="is this the right file?")
    return data
