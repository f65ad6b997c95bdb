"""Work spread over processes or threads, where there is enough of it.

Python runs one thread at a time; processes do not wait, and neither does what lets go of the interpreter's lock.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTHWHILE: Final = 2000
"""Below this many items, starting processes costs more than it brings."""

_CHUNK: Final = 500
_MOST_WORKERS: Final = 8


def spread(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return `function` of every item, in order. Items reach the processes by fork; only results are copied.

    Where processes cannot be had, or one of them dies, the work is done here.
    """
    if len(items) >= WORTHWHILE and (workers := _workers()) > 1:
        from concurrent.futures.process import BrokenProcessPool

        with suppress(OSError, NotImplementedError, BrokenProcessPool):
            return _by_processes(function, items, workers)
    return [function(item) for item in items]


def by_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return `function` of every item, in order, where it lets go of the interpreter's lock, as signing does."""
    workers = min(_processors(), _MOST_WORKERS)
    if len(items) < WORTHWHILE or workers < 2:  # noqa: PLR2004 - one alone shares nothing
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as pool:
        parts = pool.map(lambda part: [function(item) for item in part], _chunks(items))
        return [result for part in parts for result in part]


def _workers() -> int:
    """Return how many processes may share the work: one thread here, or forking could deadlock a child."""
    import threading

    if not hasattr(os, "fork") or threading.active_count() > 1:
        return 1
    return min(_processors(), _MOST_WORKERS)


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _chunks(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]


def _by_processes(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    chunks = _chunks(range(len(items)))
    with ProcessPoolExecutor(workers, get_context("fork"), initializer=_inherit, initargs=(function, items)) as pool:
        return [cast("Result", result) for results in pool.map(_work, chunks) for result in results]


_inherited: list[tuple[Callable[..., object], Sequence[object]]] = []


def _inherit(function: Callable[..., object], items: Sequence[object]) -> None:
    _inherited.append((function, items))


def _work(chunk: Sequence[int]) -> list[object]:
    function, items = _inherited[-1]
    return [function(items[index]) for index in chunk]
