"""What cannot be beaten: the same bytes read and hashed, scanned by libyaml, signed; each in a process of its own.

`python -m benchmarks.floors NAME TREE` does one and prints what it took, without what starting took.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Candidate, Sample, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

READ = "read and hash the files (floor)"
SCAN = "libyaml's events (floor)"
SIGN = "Ed25519, one signature for each manifest (floor)"
VERIFY = "Ed25519, one verification for each manifest (floor)"


def candidates(tree: Path, environment: Mapping[str, str]) -> list[Candidate]:
    """Return the floors of a tree."""

    def of(name: str) -> Callable[[], Sample]:
        words = [sys.executable, "-m", "benchmarks.floors", name, str(tree)]
        return lambda: Sample(*json.loads(command(words, environment)[1]))

    return [
        Candidate(job, of(name)) for name, job in (("read", READ), ("scan", SCAN), ("sign", SIGN), ("verify", VERIFY))
    ]


def calibrate(rounds: int = 5) -> dict[str, float]:
    """Return what this machine takes for two things that never change: pure Python, and OpenSSL's Ed25519."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))

    def count() -> None:
        total = 0
        for number in range(1_000_000):
            total += number & 7

    def sign() -> None:
        for _ in range(1000):
            key.sign(b"calibration")

    return {"python_ms": _least(count, rounds), "ed25519_sign_us": _least(sign, rounds)}


def _least(function: Callable[[], None], rounds: int) -> float:
    """Return the least milliseconds of processor time: what the machine can do when it is left alone."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        times.append((time.process_time() - start) * 1000)
    return round(min(times), 2)


def _read(tree: Path) -> None:
    for directory, _, names in os.walk(tree):
        for name in names:
            hashlib.sha256(_bytes(f"{directory}/{name}")).digest()


def _scan(tree: Path) -> None:
    from yaml._yaml import CParser

    for file in _manifests(tree):
        parser = CParser(_bytes(file))
        while parser.get_event() is not None:
            pass


def _sign(tree: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    for file in _manifests(tree):
        key.sign(hashlib.sha256(file.encode()).digest())


def _verify(tree: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key(), key.sign(b"floor")
    for _ in _manifests(tree):
        public.verify(signature, b"floor")


def _manifests(tree: Path) -> Iterator[str]:
    for directory in sorted(tree.glob("0*")):
        yield from (entry.path for entry in os.scandir(directory))


def _bytes(file: str) -> bytes:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


_FLOORS: dict[str, Callable[[Path], None]] = {"read": _read, "scan": _scan, "sign": _sign, "verify": _verify}


def main(arguments: Sequence[str]) -> None:
    """Do one of them and print seconds, seconds of the processor, and megabytes."""
    name, tree = arguments
    import cryptography.hazmat.primitives.asymmetric.ed25519  # noqa: F401 - starting is not part of any floor
    import yaml  # noqa: F401

    start, cpu = time.perf_counter(), time.process_time()
    _FLOORS[name](Path(tree))
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps([wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))


if __name__ == "__main__":
    main(sys.argv[1:])
