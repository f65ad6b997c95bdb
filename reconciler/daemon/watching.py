"""Watches a directory for changes, and the links that lead to it. It reads nothing and decides nothing.

An event says "look again", never "this changed". The parents of every link on the way to the directory are watched as
well: when such a link is made to point elsewhere, nothing would ever be heard again from where it pointed before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchdog import events
from watchdog.observers import Observer

from reconciler.errors import ReconcilerError
from reconciler.sources.directory import MANIFEST_SUFFIXES, PEM_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from watchdog.events import FileSystemEvent

    from reconciler.daemon.settling import Sign

_NEVER: Final = (".git", ".reconciler")
"""Directories whose events say nothing about manifests."""


_SUFFIXES: Final = (*MANIFEST_SUFFIXES, *PEM_SUFFIXES, ".json")
_KINDS: Final = [
    events.FileCreatedEvent,
    events.FileModifiedEvent,
    events.FileDeletedEvent,
    events.FileMovedEvent,
    events.FileClosedEvent,
    events.DirCreatedEvent,
    events.DirDeletedEvent,
    events.DirMovedEvent,
]
"""Opening and reading are no news: whoever heard of them would wake himself by looking."""


class _Handler(events.FileSystemEventHandler):
    """Hands every event over."""

    def __init__(self, handle: Callable[[FileSystemEvent], None]) -> None:
        self._handle = handle

    def dispatch(self, event: FileSystemEvent) -> None:
        self._handle(event)


class DirectoryWatch:
    """Calls `touched(name, sign)` for every event below `root`, and `relinked()` when a link on the way to it moved.

    `name` is root-relative, in POSIX form, and empty where it could be anything. `given` is the root as it was named,
    with its links. `ignored` are files that are none of the tree's though they lie in it, such as the store. Both are
    called in a thread of the watch.

    Raises:
        ReconcilerError: the system watches no more directories.
    """

    def __init__(
        self,
        root: Path,
        given: Path,
        ignored: Collection[Path],
        touched: Callable[[str, Sign], None],
        relinked: Callable[[], None],
    ) -> None:
        self._root = os.fspath(root)
        self._ignored = tuple(os.fspath(path) for path in ignored)
        self._touched = touched
        self._relinked = relinked
        self._links = {os.fspath(link) for link in links_to(given)}
        self._observer = Observer()
        try:
            self._schedule(self._root, self._changed, recursive=True)
            for parent in {os.path.dirname(link) for link in self._links} - {self._root}:  # noqa: PTH120 - as bytes go
                self._schedule(parent, self._moved, recursive=False)
            self._observer.start()
        except OSError as error:
            raise ReconcilerError(
                f"{root} cannot be watched: {error.strerror}",
                fix="raise fs.inotify.max_user_watches; meanwhile the tree is read again every few seconds",
            ) from error

    def close(self) -> None:
        """Watch no more."""
        self._observer.stop()
        self._observer.join()

    def _schedule(self, path: str, handle: Callable[[FileSystemEvent], None], *, recursive: bool) -> None:
        self._observer.schedule(_Handler(handle), path, recursive=recursive, event_filter=_KINDS)

    def _changed(self, event: FileSystemEvent) -> None:
        for path in filter(None, (os.fsdecode(event.src_path), os.fsdecode(event.dest_path))):
            if path in self._links:
                self._relinked()
            name = self._name(path, directory=event.is_directory)
            if name is not None:
                self._touched(name, _sign(event, path))

    def _moved(self, event: FileSystemEvent) -> None:
        if not self._links.isdisjoint((os.fsdecode(event.src_path), os.fsdecode(event.dest_path))):
            self._relinked()

    def _name(self, path: str, *, directory: bool) -> str | None:
        """Return the root-relative name that an event is about, empty where that says too little, None for nothing.

        Names that begin with two dots are how Kubernetes swaps what is mounted. Other hidden names are not searched,
        and what has no name of a manifest or certificate is none, unless a link says so: the next rescan sees that.
        """
        relative = path.removeprefix(self._root).lstrip("/")
        parts = relative.split("/")
        if parts[0] in _NEVER or path.startswith(self._ignored):
            return None
        if any(part.startswith("..") for part in parts):
            return ""
        if any(part.startswith(".") for part in parts):
            return None
        if directory:
            return ""
        return relative if relative.lower().endswith(_SUFFIXES) else None


def links_to(path: Path) -> Iterator[Path]:
    """Yield the symbolic links on the way to a path, as absolute paths; those that they lead through as well."""
    pending, seen = [Path(os.path.abspath(path))], set()  # noqa: PTH100 - which does not follow links
    while pending:
        each = pending.pop()
        for step in (each, *each.parents):
            if step in seen or not step.is_symlink():
                continue
            seen.add(step)
            yield step
            pending.append(Path(os.path.normpath(step.parent / os.readlink(step))))  # noqa: PTH115 - a text


def _sign(event: FileSystemEvent, path: str) -> Sign:
    """Return what an event says of a path.

    Writing sets the time of the content and that of the status to one value; a new mode or owner only the latter. The
    two come as the same event, and only the first is followed by a close.
    """
    if event.event_type in ("closed", "deleted", "moved"):
        return "closed"
    if event.event_type != "modified" or event.is_directory:
        return "changed"
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - once for every event
    except OSError:
        return "closed"
    return "written" if found.st_mtime_ns == found.st_ctime_ns else "changed"
