"""Of a lease only one at a time is the holder, whatever the order of asking, and tokens never go back."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lease import HEARTBEAT_SECONDS, LEASE_SECONDS, RETRY_SECONDS, Reign, acquired

REIGN = Reign("host:1", 7, 1000.0, 10.0)


def test_the_first_to_ask_has_it() -> None:
    assert acquired(None, "host:1", 5.0, 10.0) == Reign("host:1", 1, 5.0, 10.0)


def test_nobody_has_it_while_it_lasts_and_its_holder_renews_instead() -> None:
    for holder in ("host:1", "host:2"):
        assert acquired(REIGN, holder, 1010.0, 10.0) is None


def test_it_is_free_once_it_ran_out_or_was_given_back() -> None:
    assert acquired(REIGN, "host:2", 1010.1, 10.0) == Reign("host:2", 8, 1010.1, 10.0)
    assert acquired(replace(REIGN, holder=""), "host:2", 1000.1, 10.0) == Reign("host:2", 8, 1000.1, 10.0)


def test_a_clock_that_began_anew_does_not_keep_it_for_ever() -> None:
    assert acquired(REIGN, "host:2", 3.0, 10.0) == Reign("host:2", 8, 3.0, 10.0)


def test_a_holder_that_is_gone_is_followed_once_its_heartbeat_is_overdue_as_well() -> None:
    assert acquired(REIGN, "host:2", 1000 + HEARTBEAT_SECONDS, 10.0, gone=True) is None
    assert acquired(REIGN, "host:2", 1004.6, 10.0, gone=True) == Reign("host:2", 8, 1004.6, 10.0)


def test_whoever_is_killed_is_followed_within_fifteen_seconds() -> None:
    assert LEASE_SECONDS + RETRY_SECONDS < 15
    assert 3 * HEARTBEAT_SECONDS < LEASE_SECONDS


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(-20, 20), st.booleans()), max_size=40))
def test_tokens_only_grow_and_change_with_every_reign(attempts: list[tuple[str, float, bool]]) -> None:
    last, now = None, 1000.0
    for holder, later, gone in attempts:
        now += later
        new = acquired(last, holder, now, gone=gone)
        if new is not None:
            assert new.token == (last.token + 1 if last else 1)
            assert not new.over(now)
            last = new
