"""`python -m benchmarks.daemon`: what the daemon takes for its jobs, measured from outside of its process.

Latency is from the end of saving one file to the row as another connection sees it. Idle CPU and memory are those of
the process as the kernel counts them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generate import generate
from benchmarks.measuring import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RECONCILER = str(Path(sys.executable).parent / "reconciler")
TICKS = os.sysconf("SC_CLK_TCK")
MEMORY_PAGE = os.sysconf("SC_PAGE_SIZE")
GUARDS = ("--max-update-percent", "100", "--max-delete-percent", "100")


class Daemon:
    """A daemon in a process of its own, over a tree with a store beside it."""

    def __init__(
        self,
        tree: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        program: Sequence[str] = (RECONCILER,),
    ) -> None:
        self.tree = tree
        self.store = tree.parent / "bench.db"
        self.port = _free_port()
        self.log = tree.parent / "daemon.log"
        command = [
            *program, "watch", str(tree), "--store", f"sqlite:///{self.store}",
            "--listen", f"127.0.0.1:{self.port}", *GUARDS, *options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **(environment or {})})

    def wait_until(self, holds: Callable[[], bool], what: str, seconds: float = 120.0, every: float = 0.001) -> float:
        """Wait for a condition, looked at so often, and return how long that took."""
        begin = time.monotonic()
        while not holds():
            if time.monotonic() - begin > seconds or self.process.poll() is not None:
                raise SystemExit(f"{what} did not come about:\n{self.log.read_text()[-3000:]}")
            time.sleep(every)
        return time.monotonic() - begin

    def ready(self) -> bool:
        """Return whether the daemon says so."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self) -> float:
        """Return the memory that the process holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * MEMORY_PAGE / 1_000_000

    def stop(self) -> None:
        """End it as systemd would."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


@contextmanager
def running(tree: Path, *options: str, program: Sequence[str] = (RECONCILER,)) -> Iterator[Daemon]:
    """Run a daemon that has brought its store in line."""
    environment = {
        "RECONCILER_SIGNING_KEY_FILE": str(tree.parent / "signing.key"),
        "RECONCILER_CACHE_DIR": str(tree.parent / "cache"),
    }
    daemon = Daemon(tree, *options, environment=environment, program=program)
    try:
        daemon.wait_until(daemon.ready, "the first pass")
        yield daemon
    finally:
        daemon.stop()


def main() -> None:
    """Measure, print, and write the figures down."""
    arguments = _arguments()
    figures: dict[str, object] = {"gateways": arguments.gateways}
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        prepare(tree, arguments.gateways)
        with running(tree, "--no-verify") as daemon:
            _show(figures, "latency", _latency(daemon, arguments.rounds))
            _show(figures, "idle", _idle(daemon, arguments.idle_seconds))
            _show(figures, "checkout", _checkout(daemon))
            _show(figures, "memory", _memory(daemon, arguments.rounds * 5))
        _show(figures, "black holes", _black_holes(Path(directory) / "holes", arguments.upstreams))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gateways", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=60, help="saves of one file")
    parser.add_argument("--idle-seconds", type=float, default=65.0)
    parser.add_argument("--upstreams", type=int, default=300)
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


def _show(figures: dict[str, object], job: str, found: dict[str, float]) -> None:
    figures[job] = found
    print(f"{job:12}", ", ".join(f"{name} {value:g}" for name, value in found.items()), flush=True)


def prepare(tree: Path, gateways: int) -> None:
    """Write a tree, commit it, and make the key that `running` gives to its daemon."""
    generate(tree, gateways)
    make_key(tree.parent)
    _git(tree, "init", "--quiet", "--initial-branch=main")
    _commit(tree)


def make_key(directory: Path) -> None:
    """Make the signing key that `running` gives to a daemon whose tree lies in this directory."""
    command = [RECONCILER, "keys", "generate", str(directory / "signing.key"), "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _git(tree: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=bench", "-c", "user.email=b@example.com", *words], cwd=tree, check=True)


def _commit(tree: Path) -> None:
    _git(tree, "add", "--all")
    _git(tree, "commit", "--quiet", "-m", "bench")


def _latency(daemon: Daemon, rounds: int) -> dict[str, float]:
    taken = sorted(each.wall * 1000 for each in saves(daemon, rounds))
    return {"median ms": round(statistics.median(taken), 1), "p95 ms": round(taken[int(len(taken) * 0.95)], 1)}


def saves(daemon: Daemon, rounds: int) -> list[Sample]:
    """Save one file after another by atomic replacement, as editors do, and wait for its row each time.

    Processor time is the daemon's own, and is known only for all of them together: each has its share of it.
    """
    files = sorted(daemon.tree.glob("0*/gateway-*.yaml"))
    before = daemon.cpu_seconds()
    taken = []
    with closing(sqlite3.connect(daemon.store, isolation_level=None)) as database:
        for number in range(rounds):
            file = files[(number * 7919) % len(files)]
            text = f"round {number} of {daemon.process.pid}"
            _describe(file, text)
            begin = time.monotonic()
            daemon.wait_until(lambda: _held(database, file.stem) == text, "the row")  # noqa: B023 - at once
            taken.append(time.monotonic() - begin)
            time.sleep(0.2)
    share = (daemon.cpu_seconds() - before) / rounds
    return [Sample(each, share, round(daemon.megabytes())) for each in taken]


def _describe(file: Path, description: str) -> None:
    lines = file.read_text().splitlines(keepends=True)
    changed = [f"  description: {description}\n" if line.startswith("  description:") else line for line in lines]
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text("".join(changed))
    temporary.replace(file)


def _held(database: sqlite3.Connection, name: str) -> str:
    row = database.execute("SELECT description FROM gateways WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def _idle(daemon: Daemon, seconds: float) -> dict[str, float]:
    """Return what is taken while nothing happens, once a search for drift has seen the last changes."""
    time.sleep(seconds)
    before = daemon.cpu_seconds()
    time.sleep(seconds)
    return {
        "cpu %": round((daemon.cpu_seconds() - before) / seconds * 100, 2),
        "memory MB": round(daemon.megabytes()),
    }


def _checkout(daemon: Daemon) -> dict[str, float]:
    """Check out a branch in which every manifest differs, and wait until all rows do."""
    tree = daemon.tree
    for file in tree.glob("0*/gateway-*.yaml"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join("  description: other\n" if x.startswith("  description:") else x for x in lines))
    count = len(list(tree.glob("0*/gateway-*.yaml")))
    _commit(tree)
    with closing(sqlite3.connect(daemon.store, isolation_level=None)) as database:
        query = "SELECT count(*) FROM gateways WHERE description = 'other'"

        def others() -> int:
            return int(database.execute(query).fetchone()[0])

        daemon.wait_until(lambda: others() == count, "the second tree", every=0.05)
        time.sleep(5)
        begin = time.monotonic()
        _git(tree, "checkout", "--quiet", "HEAD~1")
        end = time.monotonic()
        daemon.wait_until(lambda: others() == 0, "the first tree again", every=0.05)
        return {"files": count, "git s": round(end - begin, 2), "after git s": round(time.monotonic() - end, 2)}


def _memory(daemon: Daemon, rounds: int) -> dict[str, float]:
    """Return how the memory grows over many changes: the slope of a line through samples, in KB a change."""
    files = sorted(daemon.tree.glob("0*/gateway-*.yaml"))
    samples = []
    with closing(sqlite3.connect(daemon.store, isolation_level=None)) as database:
        for number in range(rounds):
            file = files[(number * 104_729) % len(files)]
            _describe(file, f"memory {number}")
            daemon.wait_until(lambda: _held(database, file.stem) == f"memory {number}", "the row")  # noqa: B023 - at once
            samples.append(daemon.megabytes())
    later = samples[len(samples) // 4 :]
    slope = statistics.linear_regression(range(len(later)), later).slope
    return {"changes": rounds, "MB at the end": round(samples[-1]), "KB per change": round(slope * 1000, 2)}


def _black_holes(directory: Path, upstreams: int) -> dict[str, float]:
    """Compare how fast the healthy ones are seen, with and without a tenth that takes connections and never answers."""
    with ExitStack() as servers:
        good, hole = servers.enter_context(_answering()), servers.enter_context(_black_hole())
        times = [_seen_after(directory / str(share), upstreams, share, good, hole) for share in (0, 10)]
    return {"healthy": times[0], "with holes": times[1], "ratio": round(times[1] / times[0], 2)}


def _seen_after(directory: Path, upstreams: int, share: int, good: int, hole: int) -> float:
    """Return the seconds until every healthy gateway has been looked at."""
    tree = directory / "tree"
    tree.mkdir(parents=True)
    healthy = upstreams - upstreams * share // 100
    for number in range(upstreams):
        port = good if number < healthy else hole
        (tree / f"gateway-{number:05d}.yaml").write_text(
            "apiVersion: reconciler/v1\nkind: Gateway\nmetadata:\n"
            f"  name: gateway-{number:05d}\nspec:\n  url: http://127.0.0.1:{port}/{number}\n"
            "  transport: streamable-http\n"
        )
    make_key(directory)
    with running(tree) as daemon, closing(sqlite3.connect(daemon.store, isolation_level=None)) as database:
        query = "SELECT count(*) FROM reconciler_observations WHERE gateway < ?"

        def seen() -> bool:
            try:
                return int(database.execute(query, (f"gateway-{healthy:05d}",)).fetchone()[0]) == healthy
            except sqlite3.OperationalError:
                return False

        return round(daemon.wait_until(seen, "a look at every healthy upstream"), 2)


@contextmanager
def _answering() -> Iterator[int]:
    """Serve something that is no MCP, quickly: what a look costs is all the same."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@contextmanager
def _black_hole() -> Iterator[int]:
    """Take connections, and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        kept: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    kept.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield listener.getsockname()[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
