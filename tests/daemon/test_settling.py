"""When a tree is quiet enough to be looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.daemon.settling import NAMED_AT_MOST, OVERFLOW_SUSPECTED, PATIENCE_SECONDS, Settling, Sign


def test_nothing_happened_so_nothing_is_pending() -> None:
    assert not Settling(0.05).pending


def test_the_window_begins_anew_with_every_event() -> None:
    settling = Settling(0.05)
    settling.touched("a.yaml", 1.0)
    settling.touched("b.yaml", 1.04)
    assert settling.ready_at() == pytest.approx(1.09)
    assert settling.ready_at(0.2) == pytest.approx(1.05)
    assert settling.taken() == frozenset({"a.yaml", "b.yaml"})
    assert not settling.pending


def test_a_file_that_is_being_written_is_waited_for_until_it_is_closed() -> None:
    settling = Settling(0.05)
    settling.touched("a.yaml", 1.0, "written")
    assert settling.ready_at() == 1.0 + PATIENCE_SECONDS
    settling.touched("a.yaml", 3.0, "changed")
    assert settling.ready_at() == 1.0 + PATIENCE_SECONDS
    settling.touched("a.yaml", 4.0, "closed")
    assert settling.ready_at() == pytest.approx(4.05)


def test_a_writer_that_hangs_is_not_waited_for_for_ever() -> None:
    settling = Settling(0.05)
    settling.touched("a.yaml", 1.0, "written")
    settling.touched("b.yaml", 2.0, "closed")
    assert settling.ready_at() == 1.0 + PATIENCE_SECONDS


def test_of_very_many_paths_none_is_kept_and_everything_is_looked_at() -> None:
    settling = Settling(0.05)
    for number in range(NAMED_AT_MOST + 1):
        settling.touched(f"{number}.yaml", 1.0)
    assert settling.taken() is None
    assert not settling.pending


def test_after_very_many_events_some_may_have_been_lost() -> None:
    settling = Settling(0.05)
    for _ in range(OVERFLOW_SUSPECTED + 1):
        settling.touched("same.yaml", 1.0)
    assert settling.taken() is None


def test_what_happened_somewhere_concerns_everything() -> None:
    settling = Settling(0.05)
    settling.touched("a.yaml", 1.0)
    settling.touched_somewhere(2.0)
    assert settling.ready_at() == pytest.approx(2.05)
    assert settling.taken() is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.sampled_from(["written", "closed", "changed"])),
        min_size=1,
        max_size=30,
    )
)
def test_no_event_is_ever_lost_and_quiet_never_comes_before_the_last(events: list[tuple[str, float, Sign]]) -> None:
    settling, at = Settling(0.05), 0.0
    for name, after, sign in events:
        at += after
        settling.touched(name, at, sign)
    assert at + 0.05 <= settling.ready_at() + 1e-9 <= at + PATIENCE_SECONDS + 0.05 + 1e-6
    assert settling.taken() == frozenset(name for name, _, _ in events)
