"""`make bench`: what the jobs cost, as ratios against floors and peers measured in the same run.

Seconds differ between machines; ratios hardly do. Each command is a process of its own, as a user runs it; the median
of several runs is printed with the spread, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import upstreams
from benchmarks.generate import generate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCHEMA = Path(__file__).parents[1] / "schemas" / "gateway.v1.schema.json"
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Measurement:
    """Median and spread in seconds, peak resident memory in MB (0: not a process of its own)."""

    job: str
    files: int
    seconds: float
    spread: float
    megabytes: int


def main() -> None:
    """Generate, measure, print."""
    arguments = _arguments()
    environment = {**os.environ, "RECONCILER_CACHE_DIR": tempfile.mkdtemp()}
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory() as directory:
        _start_up(measurements, arguments.rounds, environment)
        for size in arguments.sizes:
            tree = Path(directory) / str(size)
            generate(tree, size)
            _jobs(tree, size, measurements, arguments.rounds, environment)
    upstreams.show(upstreams.measure(arguments.rounds))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(each) for each in measurements], indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000], help="numbers of manifests")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file")
    return parser.parse_args()


def _start_up(measurements: list[Measurement], rounds: int, environment: dict[str, str]) -> None:
    print("start-up")
    floor = _command("python -c pass", 0, [sys.executable, "-c", "pass"], rounds, environment)
    ours = _command("reconciler --help", 0, [str(BIN / "reconciler"), "--help"], rounds, environment)
    measurements += [floor, ours]
    _show([floor, ours], floor)


def _jobs(tree: Path, size: int, measurements: list[Measurement], rounds: int, environment: dict[str, str]) -> None:
    reconciler = str(BIN / "reconciler")
    store = f"sqlite:///{tree}/bench.db"
    common = [str(tree), "--store", store]
    unsigned = {**environment, "RECONCILER_SIGNING_KEY_FILE": str(tree / "signing.key")}
    subprocess.run([reconciler, "keys", "generate", str(tree / "signing.key"), "-q"], check=True, capture_output=True)

    def fresh() -> None:
        for path in tree.glob("bench.db*"):
            path.unlink()

    print(f"\n{size:,} manifests, 200 CA files")
    floor = _function("read and hash the files (floor)", size, lambda: _read_and_hash(tree), rounds)
    one = next(tree.glob("0000/*.yaml"))
    jobs = [
        floor,
        _command("validate, cold", size, [reconciler, "validate", str(tree)], rounds, unsigned),
        _command("validate one file", size, [reconciler, "validate", str(one)], rounds, unsigned),
        _command("first apply, signed", size, [reconciler, "apply", "--no-verify", *common], rounds, unsigned, fresh),
        _command("plan, nothing changed", size, [reconciler, "plan", *common], rounds, unsigned),
    ]
    measurements += jobs
    peer = BIN / "check-jsonschema"
    if peer.exists():
        files = [str(path) for path in sorted(tree.glob("0*/*.yaml"))]
        command = [str(peer), "--schemafile", str(SCHEMA), *files]
        jobs.append(_command("check-jsonschema (schema only)", size, command, 1, environment))
        measurements.append(jobs[-1])
    _show(jobs, floor)
    if peer.exists():
        print(f"validate is {jobs[-1].seconds / jobs[1].seconds:.1f} times as fast as check-jsonschema")


def _read_and_hash(tree: Path) -> None:
    for directory, _, names in os.walk(tree):
        for name in names:
            descriptor = os.open(f"{directory}/{name}", os.O_RDONLY)
            hashlib.sha256(os.read(descriptor, 1 << 16)).digest()
            os.close(descriptor)


def _function(job: str, files: int, function: Callable[[], None], rounds: int) -> Measurement:
    function()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return Measurement(job, files, statistics.median(times), max(times) - min(times), 0)


def _command(
    job: str,
    files: int,
    command: Sequence[str],
    rounds: int,
    environment: dict[str, str],
    before: Callable[[], None] = lambda: None,
) -> Measurement:
    times, peaks = [], []
    for round_number in range(rounds + (rounds > 1)):
        before()
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if code := os.waitstatus_to_exitcode(status):
            said = process.stderr.read().decode() if process.stderr else ""
            raise SystemExit(f"{job} ended with {code}:\n{said}")
        if process.stderr:
            process.stderr.close()
        process.returncode = 0
        if round_number or rounds == 1:  # the first one warms the caches
            times.append(seconds)
            peaks.append(usage.ru_maxrss // 1024)
    return Measurement(job, files, statistics.median(times), max(times) - min(times), max(peaks))


def _show(measurements: Sequence[Measurement], floor: Measurement) -> None:
    for each in measurements:
        ratio = each.seconds / floor.seconds
        memory = f"{each.megabytes:5d} MB" if each.megabytes else " " * 8
        print(f"  {each.job:34} {each.seconds:8.3f} s  ±{each.spread / 2:.3f}  {memory}  {ratio:7.1f} x floor")


main()
