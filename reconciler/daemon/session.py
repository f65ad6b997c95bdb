"""One run of the daemon under one set of settings: the tree, its watch, and a worker for each target.

Its loop belongs to the tree. It takes notice of what happens to it, reads it when it is quiet, and tells the workers.
A small change is read and compiled while the quiet window still lasts, and told when nothing came after it.
"""

from __future__ import annotations

import gc
import logging
import queue
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal

from reconciler.composition import within
from reconciler.core.keyring import PLACE
from reconciler.core.problems import Severity
from reconciler.daemon.events import Subject
from reconciler.daemon.following import CaFollower
from reconciler.daemon.leading import Leadership
from reconciler.daemon.news import Revised
from reconciler.daemon.pulling import DistrustedError, Puller, Remote
from reconciler.daemon.settling import PATIENCE_SECONDS, Settling
from reconciler.daemon.tree import LiveTree, Look
from reconciler.daemon.worker import Rhythm, Surroundings, Worker
from reconciler.errors import InputError, ReconcilerError
from reconciler.settings import each_target, trusted_keys

if TYPE_CHECKING:
    from reconciler.daemon.settling import Sign
    from reconciler.daemon.watching import DirectoryWatch
    from reconciler.settings import Settings

_log: Final = logging.getLogger(__name__)

Ending = Literal["stop", "reload"]
_EARLY_AT_MOST: Final = 8
"""So many files are read while the quiet window still lasts; of more, others are likely to follow."""
_EARLY_SHARE: Final = 0.0
"""The part of the window that such files are given; what is told still waits for all of it."""
_SETTLE_SECONDS: Final = 0.5
"""How long after a change the warnings across manifests are looked for: the pass comes first."""
_AHEAD_AT_ONCE: Final = 50
"""So many files are parsed between two looks at the inbox, while a checkout is still under way."""
_GIT_AT_WORK_SECONDS: Final = 0.05
_BLIND_SECONDS: Final = 5.0
"""How often the tree is read where the system watches no more directories."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Something happened to a path; an empty name stands for any."""

    name: str
    sign: Sign = "changed"


@dataclass(frozen=True, slots=True)
class Pulled:
    """A commit may be read."""

    commit: str


Message = Touched | Pulled | Ending


@dataclass(frozen=True, slots=True)
class Watching:
    """How the tree is watched. `given` is how its root was named; with a `remote`, its commits are read instead."""

    given: Path
    quiet_seconds: float = 0.05
    rescan_seconds: float = 60.0
    remote: Remote | None = None
    pull_seconds: float = 30.0


class Session:
    """Watches one tree for its targets until it is told to end."""

    def __init__(self, settings: Settings, watching: Watching, rhythm: Rhythm, around: Surroundings) -> None:
        from reconciler.sources.directory import Directory

        self._settings = settings
        self._watching = watching
        self._around = around
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._settling = Settling(watching.quiet_seconds)
        self._tree = LiveTree(settings, Directory(settings.root))
        self._targets = each_target(settings)
        self.workers: list[Worker] = []
        self._leaders: list[Leadership] = []
        self._followers: list[CaFollower] = []
        for each in self._targets:
            self._employ(each, rhythm)
        self._puller = self._make_puller()
        self._lock = _index_lock(settings.root)
        self._rescan_at = 0.0
        self._revision = ("", False)
        self._ready: Look | None = None
        self._settle_at = 0.0
        self._ahead: set[str] = set()
        self.turned_at = monotonic()

    def end(self, how: Ending) -> None:
        """End the session: from any thread, and from a signal's handler."""
        self._inbox.put(how)

    def pull(self) -> None:
        """Look at the remote, or at the whole tree, at once."""
        if self._puller is not None:
            self._puller.now()
        else:
            self._inbox.put(Touched(""))

    def run(self) -> Ending:
        """Watch until the end, and return how it came.

        Raises:
            InputError: the paths of the settings are not there.
        """
        if self._puller is None:
            self._read(None)  # before there are threads, so that processes may share the work
            self._publish()
        gc.collect()
        gc.freeze()  # what lives as long as the session need not be looked through again and again
        watch = self._watch()
        try:
            for worker in self.workers:
                worker.start()
            for leader in self._leaders:
                leader.start()
            if self._puller is not None:
                self._start_pulling(self._puller)
            else:
                self._settling.touched_somewhere(monotonic())  # what happened before the watch began
            return self._loop()
        finally:
            self._end(watch)

    def _employ(self, settings: Settings, rhythm: Rhythm) -> None:
        """Make the worker of a target, who seeks its lease, and who follows what its platform keeps."""
        from reconciler.books import lease_of

        worker = Worker(settings, self._around, rhythm)
        leader = Leadership(lambda: lease_of(settings, environ=self._around.environ), worker.tell)
        worker.when_store_fails = leader.reopen
        self.workers.append(worker)
        self._leaders.append(leader)
        self._followers.append(CaFollower(settings, self._around, worker.tell))

    def _loop(self) -> Ending:
        while True:
            for message in self._receive():
                if message in ("stop", "reload"):
                    return message
                if isinstance(message, Touched):
                    self._take(message)
                elif isinstance(message, Pulled):
                    self._read_commit(message.commit)
            self._advance(monotonic())

    def _receive(self) -> list[Message]:
        """Return the messages there are, after waiting for the first until there is something to do."""
        wait = max(0.0, self._next() - monotonic())
        self.turned_at = monotonic() + wait
        found: list[Message] = []
        try:
            found.append(self._inbox.get(timeout=wait))
            while True:
                found.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        self.turned_at = monotonic()
        return found

    def _next(self) -> float:
        if self._ahead:
            return 0.0
        if self._settling.pending:
            share = _EARLY_SHARE if self._is_small() else 1.0
            return max(self._settling.ready_at(share), self._wait_for_git())
        if self._ready is not None:
            return self._settling.ready_at()
        if self._tree.provisional:
            return self._settle_at
        return self._rescan_at if self._puller is None else monotonic() + self._watching.rescan_seconds

    def _take(self, event: Touched) -> None:
        now = monotonic()
        if event.name:
            self._settling.touched(event.name, now, event.sign)
            if event.sign == "closed" and not self._is_small():
                self._ahead.add(event.name)
        else:
            self._settling.touched_somewhere(now)

    def _advance(self, now: float) -> None:
        """Read what is quiet enough to be read, and tell what has stayed as it was read for the whole window."""
        if self._tree.provisional and self._ready is None and not self._settling.pending and now >= self._settle_at:
            self._ready = self._tree.settle()
            self._publish()
        if self._puller is not None:
            return
        if now >= self._rescan_at:
            self._settling.everything = True
            self._look_at_keys()
        if self._ahead:
            self._tree.read_ahead([self._ahead.pop() for _ in range(min(_AHEAD_AT_ONCE, len(self._ahead)))])
        elif self._settling.pending and now >= self._next():
            self._read(self._settling.taken())
        if self._ready is not None and not self._settling.pending and monotonic() >= self._settling.ready_at():
            self._publish()

    def _is_small(self) -> bool:
        return not self._settling.everything and len(self._settling.names) <= _EARLY_AT_MOST

    def _wait_for_git(self) -> float:
        """Return when to look again whether git is done with a checkout; a lock that a crash left is not waited for."""
        if self._lock is None or not self._lock.exists():
            return 0.0
        now = monotonic()
        return now + _GIT_AT_WORK_SECONDS if now < self._settling.ready_at() + PATIENCE_SECONDS else 0.0

    def _read(self, names: frozenset[str] | None) -> None:
        """Read the tree, and git's word on it meanwhile."""
        from reconciler.sources.git import WorkingTreeStatus

        if names is None:
            self._rescan_at = monotonic() + self._watching.rescan_seconds
        elif PLACE in names:
            self._look_at_keys()
        asked = [name for name in sorted(names or ()) if self._is_below(name)]
        status = WorkingTreeStatus(self._settings.root, asked or self._settings.paths)
        try:
            look = self._tree.look(names, self._around.clock())
        except InputError as error:
            status.result()
            self._unreadable(error)
            return
        self._revision = self._revision_after(status.result()) if asked else status.result()
        touched = "anything" if look.touched is None else f"{len(look.touched)} gateways"
        _log.debug("read %s, touched %s", "everything" if names is None else f"{len(names)} files", touched)
        self._keep(look)

    def _is_below(self, name: str) -> bool:
        return any(path in (".", name) or name.startswith(f"{path}/") for path in self._settings.paths)

    def _revision_after(self, some: tuple[str, bool]) -> tuple[str, bool]:
        """Return the revision, and whether the tree is dirty, where git was asked for `some` files that changed."""
        from reconciler.sources.git import WorkingTreeStatus

        revision, dirty = some
        if dirty or (revision, False) == self._revision:
            return some
        return WorkingTreeStatus(self._settings.root, self._settings.paths).result()

    def _look_at_keys(self) -> None:
        """Begin anew where other keys are trusted than at the start; a file that cannot be used changes nothing."""
        try:
            found = trusted_keys(self._settings.root)
        except ReconcilerError as error:
            said = f"{error}; the keys that were trusted before still are"
            self._around.notices.problem(Subject(), "Keys", "KeyringUnusable", said)
            return
        self._around.notices.over(Subject(), "Keys", "the trusted keys can be read again")
        if found != self._settings.trusted_keys:
            self.end("reload")

    def _keep(self, look: Look) -> None:
        """Keep what was found until it is told, together with what was not told yet."""
        waiting = self._ready
        if waiting is not None and waiting.touched is not None and look.touched is not None:
            look = Look(look.desired, look.touched | waiting.touched)
        elif waiting is not None:
            look = Look(look.desired, None)
        self._ready = look

    def _read_commit(self, commit: str) -> None:
        """Read the tree of a commit, of which nothing is checked out."""
        from reconciler.sources.revision import Revision

        now = self._around.clock()
        self._around.board.note_tree(pulled_at=now, distrusted="", trouble="")
        self._around.notices.over(Subject(), "Commit", f"commit {commit} may be used")
        self._around.notices.over(Subject(), "Pull", "the remote answers again")
        remote = self._watching.remote
        kind = "sha1" if len(commit) == len("0" * 40) else "sha256"
        revision = f"{remote.branch if remote else ''}@{kind}:{commit}"
        if (revision, False) == self._revision and monotonic() < self._rescan_at:
            return
        self._rescan_at = monotonic() + self._watching.rescan_seconds
        try:
            self._tree.source = Revision(self._settings.root, commit)
            self._keep(self._tree.look(None, now))
        except InputError as error:
            self._unreadable(error)
            return
        self._revision = (revision, False)
        self._publish()

    def _pull_failed(self, error: InputError) -> None:
        if isinstance(error, DistrustedError):
            self._around.board.count("reconciler_pulls_total", result="distrusted")
            self._around.board.note_tree(distrusted=str(error))
            self._around.notices.problem(Subject(), "Commit", "CommitNotTrusted", error.in_one_line())
        else:
            self._around.board.count("reconciler_pulls_total", result="failed")
            self._around.notices.problem(Subject(), "Pull", "PullFailed", error.in_one_line())

    def _unreadable(self, error: InputError) -> None:
        said = error.in_one_line()
        self._around.board.note_tree(trouble=said)
        self._around.notices.problem(Subject(), "Source", "TreeUnreadable", said)

    def _publish(self) -> None:
        """Tell every worker what the tree wants now."""
        look, self._ready = self._ready, None
        if look is None:
            return
        self._settle_at = monotonic() + _SETTLE_SECONDS
        now = self._around.clock()
        revision, dirty = self._revision
        desired = replace(look.desired, revision=revision, dirty=dirty)
        problems = self._settings.levels.judge(desired.problems, now.date(), whole=False).problems
        broken = any(problem.severity is Severity.ERROR for problem in problems)
        self._around.notices.over(Subject(), "Source", "the tree can be read again")
        self._around.board.note_tree(
            revision=revision,
            dirty=dirty,
            read_at=now,
            gateways=len(desired.gateways),
            problems=problems,
            broken=broken,
            trouble="",
        )
        if look.touched == frozenset() and not broken:
            return
        for settings, follower in zip(self._targets, self._followers, strict=True):
            follower.tell(Revised(within(desired, settings, settings.target, now), look.touched))

    def _watch(self) -> DirectoryWatch | None:
        from reconciler.daemon.watching import DirectoryWatch
        from reconciler.stores import sqlite_path

        if self._puller is not None:
            return None
        stores = [path for each in self._targets if (path := sqlite_path(each.target.store)) is not None]
        try:
            return DirectoryWatch(
                self._settings.root,
                self._watching.given,
                [path.resolve() for path in stores],
                lambda name, sign: self._inbox.put(Touched(name, sign)),
                lambda: self.end("reload"),
            )
        except ReconcilerError as error:
            _log.warning("%s; %s", error, error.fix)
            self._watching = replace(self._watching, rescan_seconds=_BLIND_SECONDS)
            return None

    def _make_puller(self) -> Puller | None:
        remote = self._watching.remote
        if remote is None:
            return None
        seconds = self._watching.pull_seconds
        return Puller(remote, seconds, lambda commit: self._inbox.put(Pulled(commit)), self._pull_failed)

    def _start_pulling(self, puller: Puller) -> None:
        """Go on from what was verified last, in case the remote cannot be reached."""
        if self._watching.remote is not None and (commit := self._watching.remote.verified()):
            self._read_commit(commit)
        puller.start()

    def _end(self, watch: DirectoryWatch | None) -> None:
        """End what was begun, the passes in hand finished, the leases given back last."""
        if watch is not None:
            watch.close()
        if self._puller is not None:
            self._puller.stop()
        for follower in self._followers:
            follower.stop()
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            worker.join()
        for leader in self._leaders:
            leader.stop()


def _index_lock(root: Path) -> Path | None:
    """Return the file by which git says that it is at work on the working tree."""
    from reconciler.sources.git import ask

    try:
        return Path(ask(root, "rev-parse", "--absolute-git-dir").decode().strip()) / "index.lock"
    except InputError:
        return None
