"""Work spread over processes, where there is enough of it. Python runs one thread at a time; processes do not wait."""

from __future__ import annotations

import os
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
    """Return `function` of every item, in order. Items reach the processes by fork; only results are copied."""
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, _MOST_WORKERS)
    if len(items) < WORTHWHILE or workers == 1 or not _may_fork():
        return [function(item) for item in items]
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    chunks = [range(start, min(start + _CHUNK, len(items))) for start in range(0, len(items), _CHUNK)]
    with ProcessPoolExecutor(workers, get_context("fork"), initializer=_inherit, initargs=(function, items)) as pool:
        return [cast("Result", result) for results in pool.map(_work, chunks) for result in results]


_inherited: list[tuple[Callable[..., object], Sequence[object]]] = []


def _inherit(function: Callable[..., object], items: Sequence[object]) -> None:
    _inherited.append((function, items))


def _work(chunk: range) -> list[object]:
    function, items = _inherited[-1]
    return [function(items[index]) for index in chunk]


def _may_fork() -> bool:
    """Return whether this process has one thread: forking with others running can deadlock the child."""
    import threading

    return hasattr(os, "fork") and threading.active_count() == 1
