"""Run the fuzzer for a while: `python tests/fuzz/run.py yaml --seconds 300`. It needs atheris.

What was learnt stays in `build/fuzz`, and the next run begins there. Ends with 1 if the oracle failed, or if the reader
crashed, took longer than ten seconds or more than a gibibyte for one input.
"""

from __future__ import annotations

import argparse
import binascii
import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
BUILD: Final = ROOT / "build" / "fuzz"
SUFFIXES: Final = {
    "yaml": (".yaml",),
    "pem": (".pem", ".crt"),
    "certificate": (".pem", ".crt"),
    "lock": (".tools.json",),
    "tool": (".tools.json",),
}
LONGEST: Final = {"yaml": 4096, "pem": 8192, "certificate": 2048, "lock": 4096, "tool": 2048}
LIMITS: Final = ("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1")


def main() -> int:
    """Fuzz one reader and return the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz a reader.")
    parser.add_argument("reader", choices=sorted(SUFFIXES))
    parser.add_argument("--seconds", type=int, default=300)
    arguments = parser.parse_args()
    return fuzz(arguments.reader, arguments.seconds)


def fuzz(reader: str, seconds: int) -> int:
    """Run libFuzzer on the reader, and say what was run and what came of it."""
    corpus, seeds = BUILD / reader / "corpus", BUILD / reader / "seeds"
    for directory in (corpus, seeds):
        directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_seeds(reader)):
        (seeds / f"{number:04}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST[reader]}", f"-artifact_prefix={BUILD / reader}/"]
    options += [f"-dict={path}" for path in HERE.glob(f"{reader}.dict")]
    command = [sys.executable, str(HERE / "target.py"), reader, *options, *LIMITS, str(corpus), str(seeds)]
    _say(f"$ {shlex.join(command)}")
    code = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
    _say(f"{reader}: {'nothing found' if code == 0 else 'FAILED'}, {len(list(corpus.iterdir()))} inputs in {corpus}")
    return int(code != 0)


def _seeds(reader: str) -> Iterator[bytes]:
    """Yield the inputs to begin with: our own, those that once failed, and every example."""
    for directory in (HERE / "seeds" / reader, HERE / "regressions" / reader):
        yield from (path.read_bytes() for path in sorted(directory.glob("*")))
    for directory in (ROOT / "tests" / "examples", ROOT / "examples"):
        for path in sorted(directory.rglob("*")):
            if path.name.endswith(SUFFIXES[reader]) and path.is_file():
                yield from _PARTS.get(reader, _whole)(path.read_bytes())


def _whole(data: bytes) -> Iterator[bytes]:
    yield data


def _tools(data: bytes) -> Iterator[bytes]:
    with suppress(ValueError, TypeError, KeyError):
        for tool in json.loads(data)["tools"]:
            yield json.dumps(tool["definition"]).encode()


def _certificates(data: bytes) -> Iterator[bytes]:
    for block in re.findall(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END", data):
        with suppress(binascii.Error):
            yield binascii.a2b_base64(block)


_PARTS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {"certificate": _certificates, "tool": _tools}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
