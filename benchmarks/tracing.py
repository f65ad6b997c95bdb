"""Where the time of a program with many threads goes: cProfile in each of them, by the clock of its own processor time.

Waiting costs nothing by that clock. Tracing makes small functions look dearer than they are, so that programs with one
thread are only looked at instead (`benchmarks.profiling`). SIGUSR1 forgets what was seen until then. What is written in
C stands under its own name.
"""

from __future__ import annotations

import cProfile
import json
import runpy
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.profiling import Place, Seen, room_and_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

_profiles: list[cProfile.Profile] = []
_forgotten = Seen(float)


def _trace(*_: object) -> None:
    """Begin to trace the thread that this is called in."""
    profile = cProfile.Profile(time.thread_time)
    _profiles.append(profile)
    profile.enable()


def _seen() -> Seen:
    seen = Seen(float)
    for profile in _profiles.copy():  # other threads may begin meanwhile
        for entry in profile.getstats():
            seen[_place(entry.code)] += entry.inlinetime
    return seen


def _place(code: CodeType | str) -> Place:
    if isinstance(code, str):
        return Place("C", code.strip("<>").removesuffix(" objects"), "", 0)
    return Place(*room_and_name(code), code.co_filename, code.co_firstlineno)


def _forget(*_: Any) -> None:  # noqa: ANN401 - what a signal brings is of no interest
    _profiles[0].disable()
    _forgotten.update(_seen())
    _profiles[0].enable()


def main(arguments: Sequence[str]) -> None:
    """Run a module under observation, as `benchmarks.profiling` does."""
    file, module, *rest = arguments
    sys.argv = [module, *rest]
    signal.signal(signal.SIGUSR1, _forget)
    threading.setprofile(_trace)
    _trace()
    with suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    _profiles[0].disable()
    seen = [(where, taken - _forgotten[where]) for where, taken in _seen().items()]
    Path(file).write_text(json.dumps([[*where, taken] for where, taken in seen if taken > 0]))


if __name__ == "__main__":
    main(sys.argv[1:])
