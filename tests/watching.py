"""A daemon in this process for tests: real files, a real SQLite store, real threads. Upstreams are given."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.clock import now
from reconciler.core.observation import McpObservation, Observation, Tool
from reconciler.core.signing import generate
from reconciler.daemon.board import Board
from reconciler.daemon.events import Notices
from reconciler.daemon.probes import ProbePool
from reconciler.daemon.schedule import Backoff
from reconciler.daemon.session import Session, Watching
from reconciler.daemon.worker import Rhythm, Surroundings
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from reconciler.core.model import Gateway, VerifyPolicy
    from reconciler.daemon.events import Event
    from reconciler.engine import Prober
    from reconciler.settings import Settings

PATIENCE = 30.0
UP = McpObservation(ok=True, protocol_version="2025-11-25", tools=(Tool("charge", "1" * 64), Tool("refund", "2" * 64)))
DOWN = McpObservation(ok=False, reason="ConnectionRefused", message="nobody there", fix="start it")
QUICK = Rhythm(drift_seconds=0.3, verify_seconds=0, retry=Backoff(first=0.05, longest=0.2))


def manifest(name: str, description: str = "", *, more: str = "", metadata: str = "") -> str:
    return (
        f"apiVersion: reconciler/v1\nkind: Gateway\nmetadata:\n  name: {name}\n{metadata}"
        f"spec:\n  url: https://{name}.example/mcp\n  transport: sse\n  description: '{description}'\n{more}"
    )


@dataclass
class Upstreams:
    """What stands at each URL. Whoever is among `hanging` does not answer until `release` is set."""

    down: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)
    answer: McpObservation = UP
    looks: list[str] = field(default_factory=list)

    def __call__(self, _now: datetime) -> Prober:
        return self._look

    def _look(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        return [self._one(gateway) for gateway, _ in subjects]

    def _one(self, gateway: Gateway) -> Observation:
        self.looks.append(gateway.name)
        if gateway.name in self.hanging:
            self.release.wait(PATIENCE)
        return Observation(gateway.name, gateway.url, None, DOWN if gateway.name in self.down else self.answer, 0.01)


@dataclass
class Watched:
    """A session that runs in a thread, and everything that can be seen of it."""

    root: Path
    store: Path
    session: Session
    board: Board
    events: list[Event]
    upstreams: Upstreams
    ended: list[str] = field(default_factory=list)

    def rows(self) -> dict[str, str]:
        """Return the description of every gateway in the store."""
        return dict(self._ask("SELECT name, description FROM gateways"))

    def change(self, statement: str, *values: object) -> None:
        """Change the store behind the daemon's back."""
        with closing(sqlite3.connect(self.store)) as database, database:
            database.execute(statement, values)

    def write(self, name: str, text: str) -> None:
        """Save a file as editors do, by replacing it."""
        temporary = self.root / f".{name.replace('/', '-')}.swap"
        temporary.write_text(text)
        temporary.replace(self.root / name)

    def told(self, reason: str, state: str = "firing") -> list[Event]:
        """Return the events of a reason."""
        return [event for event in list(self.events) if (event.reason, event.state) == (reason, state)]

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(self.store, timeout=PATIENCE)) as database:
                return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def eventually(holds: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came about"
        threading.Event().wait(0.005)


def settings_for(root: Path, store: Path) -> Settings:
    if not (root / "reconciler.yaml").exists():
        (root / "reconciler.yaml").write_text(
            f"apiVersion: reconciler/v1\nkind: Config\nmetadata: {{name: t}}\nspec: {{store: 'sqlite:///{store}'}}\n"
        )
    return load_settings((root,))


@contextmanager
def watched(
    root: Path,
    *,
    rhythm: Rhythm = QUICK,
    upstreams: Upstreams | None = None,
    environ: Mapping[str, str] | None = None,
    watching: Callable[[Watching], Watching] = lambda given: given,
    clock: Callable[[], datetime] = now,
) -> Iterator[Watched]:
    """Watch a tree until the context ends, which the session then does as well."""
    store = root.parent / "gateways.db"
    settings = settings_for(root, store)
    events: list[Event] = []
    board, looked_at = Board(clock()), upstreams or Upstreams()
    notices = Notices(clock, [events.append, board.add_event])
    pool = ProbePool()
    key = {"RECONCILER_SIGNING_KEY": generate_once(root.parent)}
    around = Surroundings({**key, **(environ or {})}, clock, random.Random(1), board, notices, pool, looked_at)
    session = Session(settings, watching(Watching(root, quiet_seconds=0.02, rescan_seconds=600)), rhythm, around)
    daemon = Watched(root, store, session, board, events, looked_at)
    thread = threading.Thread(target=lambda: daemon.ended.append(session.run()), name="session")
    thread.start()
    try:
        yield daemon
    finally:
        looked_at.release.set()
        session.end("stop")
        thread.join(PATIENCE)
        pool.close()
        assert not thread.is_alive()


def generate_once(directory: Path) -> str:
    """Return the signing key of a test, the same one for all of its daemons."""
    kept = directory / "signing.key"
    if not kept.exists():
        kept.touch(0o600)
        kept.write_bytes(generate().private)
    return kept.read_text()
