"""Where the time of a program goes: it is looked at every few milliseconds of processor time that it takes.

`python -m benchmarks.profiling FILE MODULE ARGUMENTS` runs a module and writes what was seen. Each look gives the
processor time since the last one to the line where the program stands. Nothing is added to calls, as a tracing profiler
does, so that small functions look no dearer than they are; a library written in C counts for the line that calls it.
The program has one processor, so that it spreads no work over processes that would not be seen.
"""

from __future__ import annotations

import json
import linecache
import os
import runpy
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import CodeType, FrameType

LOOK_SECONDS: Final = 0.001
_PACKAGE: Final = f"{os.sep}reconciler{os.sep}"
_SHOWN: Final = 8
_LONGEST_LINE: Final = 72


class Place(NamedTuple):
    """Where a program stood: the room, the function, and the line of it (0 where none says anything)."""

    room: str
    function: str
    file: str
    line: int


Seen = defaultdict[Place, float]
"""Seconds of processor time by place."""


class Looks:
    """The processor time seen at each place."""

    def __init__(self) -> None:
        self.seen: Seen = defaultdict(float)
        self._taken = time.process_time()

    def start(self) -> None:
        """Look from now on."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, LOOK_SECONDS, LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        before, self._taken = self._taken, time.process_time()
        if frame:
            self.seen[place(frame)] += self._taken - before


def place(frame: FrameType) -> Place:
    """Return where a program stands, as a reader of our code would say it."""
    stack = list(_outwards(frame))
    files = [each.f_code.co_filename for each in stack]
    if imported := next((each.f_locals["name"] for each in stack if each.f_code.co_name == "_find_and_load"), None):
        return Place("importing", f"importing {imported.partition('.')[0]}", "", 0)
    library = _package(files[0])
    for each in stack:
        room, name = room_and_name(each.f_code)
        if _ours(each.f_code.co_filename):
            name = name if library == "reconciler" else f"{name} -> {library}"
            return Place(room, name, each.f_code.co_filename, each.f_lineno)
    return Place(library, f"{library}: {frame.f_code.co_name}", files[0], frame.f_lineno)


def room_and_name(code: CodeType) -> tuple[str, str]:
    """Return the room that a function stands in, and its name with its file; of a library, the package is the room."""
    if not _ours(code.co_filename):
        package = _package(code.co_filename)
        return package, f"{package}: {code.co_name}"
    inside = code.co_filename.rpartition(_PACKAGE)[2]
    return inside.partition(os.sep)[0].removesuffix(".py"), f"{inside}: {code.co_name}"


def _ours(file: str) -> bool:
    return _PACKAGE in file and "site-packages" not in file


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame:
        yield frame
        frame = frame.f_back


def _package(file: str) -> str:
    """Return the package that a file belongs to; the standard library's modules are packages of their own."""
    if _ours(file):
        return "reconciler"
    if file.startswith("<"):
        return _UNWRITTEN.get(file, file.strip("<>").removeprefix("frozen "))
    _, installed, inside = file.rpartition(f"site-packages{os.sep}")
    if not installed:
        inside = Path(file).name if Path(file).parent == _STANDARD else Path(file).parent.name
    return inside.partition(os.sep)[0].removesuffix(".py") or file


_UNWRITTEN: Final = {"<string>": "dataclasses"}
"""What makes code that stands in no file."""

_STANDARD: Final = Path(json.__file__).parents[1]


def read(file: Path, seen: Seen) -> None:
    """Add what an observed program has written."""
    for *where, taken in json.loads(file.read_text()):
        seen[Place(*where)] += taken


def summary(seen: Seen) -> dict[str, Any]:
    """Return shares in percent: `rooms` as pairs, and the first `functions` with the line of each that takes most."""
    total = sum(seen.values()) or 1.0
    rooms: defaultdict[str, float] = defaultdict(float)
    functions: defaultdict[str, float] = defaultdict(float)
    for where, taken in seen.items():
        rooms[where.room] += taken
        functions[where.function] += taken
    return {
        "seconds": round(total, 3),
        "rooms": [[room, _percent(taken, total)] for room, taken in _largest(rooms)],
        "functions": [
            [_percent(taken, total), function, _line(seen, function)] for function, taken in _largest(functions)
        ],
    }


def _largest(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(shares.items(), key=lambda each: -each[1])[:_SHOWN]


def _percent(taken: float, total: float) -> float:
    return round(100 * taken / total, 1)


def _line(seen: Seen, function: str) -> str:
    where = max((each for each in seen if each.function == function), key=lambda each: seen[each])
    line = linecache.getline(where.file, where.line).strip()
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def main(arguments: Sequence[str]) -> None:
    """Run a module under observation."""
    file, module, *rest = arguments
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.argv = [module, *rest]
    looks = Looks()
    looks.start()
    try:
        with suppress(SystemExit):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        looks.stop()
        Path(file).write_text(json.dumps([[*where, taken] for where, taken in looks.seen.items()]))


if __name__ == "__main__":
    main(sys.argv[1:])
