"""`python -m benchmarks.postgresql`: what a hundred thousand gateways in PostgreSQL cost, in seconds and in memory.

Each command is a process of its own, as a user runs it, against a server of its own that waits for the disk at every
commit. The server runs on the same machine, so that what it computes is part of the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generate import generate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RECONCILER = Path(sys.executable).parent / "reconciler"
_GUARDS = ("--max-update-percent", "100")


@dataclass(frozen=True, slots=True)
class Measurement:
    """The best of the rounds, in seconds by the clock and of the process's own work, and its peak resident memory."""

    job: str
    gateways: int
    seconds: float
    own_seconds: float
    megabytes: int


def main() -> None:
    """Generate, measure, print."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from live_postgresql import running_postgresql

    arguments = _arguments()
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory) / "tree"
        generate(tree, arguments.size)
        with running_postgresql(Path(directory) / "server", durable=True) as server:
            environ = {**os.environ, "PGPASSWORD": server.password, "RECONCILER_CACHE_DIR": f"{directory}/cache"}
            found = _measure(tree, server.url(), arguments.size, arguments.rounds, environ)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgresql", description=__doc__)
    parser.add_argument("--size", type=int, default=100_000, help="number of gateways")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


def _measure(tree: Path, store: str, size: int, rounds: int, environ: Mapping[str, str]) -> list[Measurement]:
    key = str(tree / "signing.key")
    subprocess.run([_RECONCILER, "keys", "generate", key, "-q"], check=True, capture_output=True)
    signing = {**environ, "RECONCILER_SIGNING_KEY_FILE": key}
    common = [str(tree), "--store", store]
    apply = ["apply", "--no-verify", *_GUARDS, *common]
    one = next(tree.glob("0000/*.yaml"))
    found = [_shown(_best("first apply, signed", size, apply, 1, signing))]
    found.append(_shown(_best("plan, nothing changed", size, ["plan", *common], rounds, signing)))
    text = one.read_text()
    times = []
    for number in range(rounds):
        one.write_text(text.replace("description: ", f"description: {number} "))
        times.append(_best("apply, one file changed", size, apply, 1, signing))
    found.append(_shown(min(times, key=lambda each: each.seconds)))
    return found


def _best(job: str, size: int, command: Sequence[str], rounds: int, environ: Mapping[str, str]) -> Measurement:
    runs = [_run(job, command, environ) for _ in range(rounds)]
    clock, own, peaks = zip(*runs, strict=True)
    return Measurement(job, size, min(clock), min(own), max(peaks))


def _run(job: str, command: Sequence[str], environ: Mapping[str, str]) -> tuple[float, float, int]:
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([_RECONCILER, *command], env=environ, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{job} ended with {process.returncode}:\n{said.read().decode()}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024


def _shown(each: Measurement) -> Measurement:
    seconds = f"{each.seconds:8.2f} s  {each.own_seconds:8.2f} s of its own"
    print(f"  {each.job:26} {each.gateways:9,}  {seconds}  {each.megabytes:5d} MB", flush=True)
    return each


if __name__ == "__main__":
    main()
