"""Looks at upstreams beside the passes: none waits for another that hangs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from watching import PATIENCE, eventually

from reconciler.daemon.probes import ProbePool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def pool(**limits: int) -> Iterator[ProbePool]:
    made = ProbePool(**limits)
    try:
        yield made
    finally:
        made.close()


class Answers:
    """Collects answers; work may be told to hang."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.begun: list[str] = []
        self.release = threading.Event()

    def work(self, name: str, *, hangs: bool = False) -> Callable[[], Callable[[], None]]:
        def look() -> Callable[[], None]:
            self.begun.append(name)
            if hangs:
                self.release.wait(PATIENCE)
            return lambda: self.heard.append(name)

        return look


def test_every_answer_is_heard() -> None:
    answers = Answers()
    with pool(young=3) as looks:
        for number in range(50):
            looks.submit(str(number), answers.work(str(number)))
        eventually(lambda: len(answers.heard) == 50)
        assert looks.backlog == (0, 0)


def test_those_that_hang_are_soon_not_counted_among_those_that_work() -> None:
    answers = Answers()
    with pool(young=2, threads=20) as looks:
        for number in range(6):
            looks.submit(f"dead {number}", answers.work("dead", hangs=True))
        for number in range(20):
            looks.submit(f"healthy {number}", answers.work("healthy"))
        eventually(lambda: answers.heard.count("healthy") == 20)
        assert "dead" not in answers.heard
        answers.release.set()
        eventually(lambda: answers.heard.count("dead") == 6)


def test_there_are_never_more_threads_than_allowed() -> None:
    answers = Answers()
    with pool(young=50, threads=4) as looks:
        for number in range(10):
            looks.submit(str(number), answers.work(str(number), hangs=True))
        eventually(lambda: len(answers.begun) == 4)
        assert looks.backlog == (6, 4)
        answers.release.set()
        eventually(lambda: len(answers.heard) == 10)


def test_what_failed_before_goes_last() -> None:
    answers = Answers()
    with pool(young=1, threads=1) as looks:
        looks.submit("first", answers.work("first", hangs=True))
        eventually(lambda: answers.begun == ["first"])
        looks.submit("failed", answers.work("failed"), failed=True)
        looks.submit("fresh", answers.work("fresh"))
        answers.release.set()
        eventually(lambda: len(answers.heard) == 3)
        assert answers.heard == ["first", "fresh", "failed"]


def test_what_was_replaced_or_dropped_is_not_heard() -> None:
    answers = Answers()
    with pool() as looks:
        looks.submit("a", answers.work("old", hangs=True))
        looks.submit("b", answers.work("dropped", hangs=True))
        eventually(lambda: len(answers.begun) == 2)
        looks.submit("a", answers.work("new"))
        looks.drop("b")
        eventually(lambda: answers.heard == ["new"])
        assert not looks.busy("a")
        answers.release.set()
        eventually(lambda: looks.backlog == (0, 0))
        assert answers.heard == ["new"]


def test_a_pool_that_is_closed_begins_nothing_and_tells_nothing() -> None:
    answers = Answers()
    with pool() as looks:
        looks.submit("a", answers.work("a", hangs=True))
        eventually(lambda: answers.begun == ["a"])
    answers.release.set()
    looks.submit("b", answers.work("b"))
    eventually(lambda: looks.backlog[1] == 0)
    assert answers.heard == []
