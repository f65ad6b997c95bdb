"""Everything that goes wrong, at once and by chance, around several daemons over one repository and one store.

Files are edited, broken, half written, removed and checked out; daemons are killed, stopped and woken up; the store is
locked, tampered with, restored from an old copy, and its disk is full; the clock of one daemon jumps; a fifth of the
upstreams never answers. `python tests/chaos.py SECONDS SEED` runs it by itself.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING, Final

from repositories import commit, git
from watching import QUICK, Upstreams, generate_once, manifest, watched

from reconciler.clock import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

GATEWAYS: Final = 40
UNLIMITED: Final = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
CONFIG: Final = (
    "apiVersion: reconciler/v1\nkind: Config\nmetadata: {{name: chaos}}\nspec:\n"
    "  targets: [{{name: default, store: 'sqlite:///{store}', policy: sync,\n"
    "    limits: {{maxDeletePercent: 100, maxUpdatePercent: 100, allowEmpty: true}}}}]\n"
)


@dataclass
class World:
    """The repository, the store, the daemons in processes of their own, and how far the clock of one is off."""

    tree: Path
    chance: random.Random
    hole: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    offset: timedelta = timedelta()
    done: Counter[str] = field(default_factory=Counter)

    @property
    def store(self) -> Path:
        return self.tree.parent / "gateways.db"

    def clock(self) -> datetime:
        return now() + self.offset

    def write(self, name: str, description: str) -> None:
        text = manifest(name, description)
        if int(name[1:]) % 5 == 0:
            text = text.replace(f"https://{name}.example/mcp", f"http://127.0.0.1:{self.hole}/{name}")
        (self.tree / f"{name}.yaml").write_text(text)

    def some_name(self) -> str:
        return f"g{self.chance.randrange(GATEWAYS)}"

    def start_daemon(self) -> None:
        command = [
            sys.executable, "-m", "reconciler", "watch", str(self.tree), "--listen", "off",
            "--drift-every", "500ms", "--verify-every", "2s", "--quiet-window", "20ms",
        ]  # fmt: skip
        environ = {
            "RECONCILER_SIGNING_KEY_FILE": str(self.tree.parent / "signing.key"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.tree.parent),
            "PYTHONDONTWRITEBYTECODE": "1",  # a file that may not grow would be half a module for whoever comes next
        }
        with (self.tree.parent / "log").open("ab") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=Path(__file__).parents[1])
        self.processes.append(process)

    def rows(self) -> dict[str, str]:
        try:
            with closing(sqlite3.connect(self.store, timeout=0.1)) as database:
                return dict(database.execute("SELECT name, description FROM gateways"))
        except sqlite3.Error:
            return {}

    def wanted(self) -> dict[str, str]:
        """Return what git says: the names and descriptions of the files."""
        found = {}
        for file in self.tree.glob("g*.yaml"):
            text = file.read_text()
            found[file.stem] = text.partition("description: '")[2].partition("'")[0]
        return found


ACTS: list[Callable[[World], None]] = []


def act(function: Callable[[World], None]) -> Callable[[World], None]:
    ACTS.append(function)
    return function


@act
def edit(world: World) -> None:
    for _ in range(world.chance.randint(1, 5)):
        world.write(world.some_name(), str(world.chance.random()))


@act
def remove(world: World) -> None:
    (world.tree / f"{world.some_name()}.yaml").unlink(missing_ok=True)


@act
def break_a_file(world: World) -> None:
    broken = world.chance.choice(["apiVersion: [", "\0", "kind: Gateway\n", manifest("other") * 2])
    (world.tree / f"{world.some_name()}.yaml").write_text(broken)


@act
def write_slowly(world: World) -> None:
    with (world.tree / "g0.yaml").open("w") as file:
        for line in manifest("g0", str(world.chance.random())).splitlines(keepends=True):
            file.write(line)
            file.flush()
            time.sleep(0.02)


@act
def commit_and_check_out(world: World) -> None:
    commit(world.tree, "chaos")
    with suppress(subprocess.CalledProcessError):
        git(world.tree, "checkout", "--quiet", world.chance.choice(["HEAD~1", "HEAD~2", "main"]))


@act
def kill(world: World) -> None:
    process = world.processes.pop(world.chance.randrange(len(world.processes)))
    process.send_signal(signal.SIGKILL)
    process.wait()
    world.start_daemon()


@act
def pause(world: World) -> None:
    """Stop a daemon for longer than its lease lasts, and wake it up while another leads."""
    process = world.chance.choice(world.processes)
    process.send_signal(signal.SIGSTOP)
    Timer(12, process.send_signal, [signal.SIGCONT]).start()


@act
def end_politely(world: World) -> None:
    process = world.processes.pop(0)
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(60)
    world.start_daemon()


@act
def lock(world: World) -> None:
    with suppress(sqlite3.Error), closing(sqlite3.connect(world.store, timeout=1, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(world.chance.uniform(0.1, 2))
        database.execute("ROLLBACK")


@act
def tamper(world: World) -> None:
    statements = [
        "UPDATE gateways SET url = 'https://evil.example/mcp' WHERE name = ?",
        "UPDATE gateways SET description = 'hacked' WHERE name = ?",
        "DELETE FROM gateways WHERE name = ?",
    ]
    with suppress(sqlite3.Error), closing(sqlite3.connect(world.store, timeout=1)) as database, database:
        database.execute(world.chance.choice(statements), (world.some_name(),))


@act
def lose_the_store(world: World) -> None:
    """Take the store away, as a restore from a backup does before it puts another there."""
    if world.chance.random() < 0.3:
        for file in world.store.parent.glob("gateways.db*"):
            file.unlink(missing_ok=True)


@act
def fill_the_disk(world: World) -> None:
    """Let no file of a daemon grow for a while."""
    process = world.chance.choice(world.processes)
    with suppress(ProcessLookupError, FileNotFoundError):
        size = world.store.stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        time.sleep(world.chance.uniform(0.1, 1))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, UNLIMITED)


@act
def jump_the_clock(world: World) -> None:
    world.offset = timedelta(hours=world.chance.randint(-48, 48))


@contextmanager
def black_hole() -> Iterator[int]:
    """Take connections and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener.getsockname()[1]


def chaos(directory: Path, seconds: float, seed: int) -> World:
    """Let everything go wrong for a while, and return the world once it has been quiet long enough to be right again.

    Raises:
        AssertionError: it did not become right.
    """
    tree = directory / "tree"
    tree.mkdir()
    generate_once(directory)
    with black_hole() as hole:
        world = World(tree, random.Random(seed), hole)
        (tree / "reconciler.yaml").write_text(CONFIG.format(store=world.store))
        for _ in range(3):
            for number in range(GATEWAYS):
                world.write(f"g{number}", str(world.chance.random()))
            commit(tree)
        upstreams = Upstreams(hanging={f"g{number}" for number in range(0, GATEWAYS, 5)})
        try:
            with watched(tree, upstreams=upstreams, rhythm=QUICK, clock=world.clock):
                for _ in range(2):
                    world.start_daemon()
                _misbehave(world, seconds)
                _recover(world)
        finally:
            for process in world.processes:
                process.kill()
                process.wait()
    return world


def _misbehave(world: World, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        chosen = world.chance.choice(ACTS)
        chosen(world)
        world.done[chosen.__name__] += 1
        time.sleep(world.chance.uniform(0, 0.3))


def _recover(world: World) -> None:
    """Mend the tree, and wait until the store is what it says and stays so."""
    git(world.tree, "checkout", "--quiet", "--force", "main")
    for number in range(GATEWAYS):
        world.write(f"g{number}", f"final {number}")
    for process in world.processes:
        process.send_signal(signal.SIGCONT)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, UNLIMITED)
    steady, until = 0, time.monotonic() + 60
    while steady < 10:
        steady = steady + 1 if world.rows() == world.wanted() else 0
        assert time.monotonic() < until, f"after {dict(world.done)}: {_difference(world)}"
        Event().wait(0.1)


def _difference(world: World) -> dict[str, tuple[str | None, str | None]]:
    rows, wanted = world.rows(), world.wanted()
    names = sorted(rows.keys() | wanted.keys())
    return {name: (rows.get(name), wanted.get(name)) for name in names if rows.get(name) != wanted.get(name)}


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp())
    survived = chaos(place, float(sys.argv[1]), int(sys.argv[2]))
    print(dict(survived.done))  # noqa: T201 - what it is for
    shutil.rmtree(place)
