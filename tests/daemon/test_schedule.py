"""When what failed is tried again, and which gateway is due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.daemon.schedule import Backoff, Due

SOME = st.floats(0, 1)


@given(failures=st.integers(1, 10_000), chance=SOME)
def test_a_wait_is_never_longer_than_the_longest_nor_shortened_by_more_than_the_jitter(
    failures: int, chance: float
) -> None:
    backoff = Backoff(first=1.0, longest=300.0, jitter=0.25)
    whole = min(300.0, 2.0 ** min(failures - 1, 30))
    assert whole * 0.75 <= backoff.wait(failures, chance) <= whole


def test_waits_double() -> None:
    assert [Backoff(1.0, 10.0).wait(failures, 0.0) for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, 8, 10]


def test_those_that_are_due_are_taken_once_the_longest_due_first() -> None:
    due = Due()
    due.put("late", 3.0)
    due.put("early", 1.0)
    due.put("never", 9.0)
    assert due.next == 1.0
    assert due.take(3.0) == ["early", "late"]
    assert (due.take(3.0), due.next) == ([], 9.0)


def test_the_last_word_about_a_gateway_holds() -> None:
    due = Due()
    due.put("a", 1.0)
    due.put("a", 5.0)
    due.put("b", 2.0)
    due.drop("b")
    assert (due.take(4.0), due.next) == ([], 5.0)
    due.drop("a")
    assert due.next == float("inf")
