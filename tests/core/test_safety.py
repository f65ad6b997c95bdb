"""Guards: each refuses with its figures, and only what its message says gets past it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model import Action, Change, Reason
from reconciler.core.planning import Plan
from reconciler.core.safety import Limits, judge


def a_plan(*, deletes: int = 0, updates: int = 0, healed: int = 0, existing: int = 20, desired: int = 5) -> Plan:
    changes = [
        *(Change(Action.DELETE, f"d{i}", Reason.REMOVED_FROM_GIT) for i in range(deletes)),
        *(Change(Action.UPDATE, f"u{i}", Reason.MANIFEST_CHANGED) for i in range(updates)),
        *(Change(Action.UPDATE, f"h{i}", Reason.TAMPERING) for i in range(healed)),
    ]
    return Plan(tuple(changes), (), (), (), (), 0, existing, desired, "", dirty=False, checksum="")


def refusals(plan: Plan, limits: Limits = Limits()) -> list[str]:
    return [verdict.guard for verdict in judge(plan, limits) if not verdict.passed]


@pytest.mark.parametrize(("deletes", "refused"), [(6, False), (7, True)])
def test_more_than_thirty_percent_of_deletions_are_refused(deletes: int, *, refused: bool) -> None:
    assert ("max_delete_percent" in refusals(a_plan(deletes=deletes))) is refused


def test_percentages_count_from_ten_gateways_on() -> None:
    assert refusals(a_plan(deletes=9, existing=9)) == []
    assert refusals(a_plan(deletes=10, existing=10)) == ["max_delete_percent"]


def test_an_empty_tree_deletes_nothing_unless_that_is_said() -> None:
    emptied = a_plan(deletes=3, existing=3, desired=0)
    assert refusals(emptied) == ["empty_set"]
    assert refusals(emptied, Limits(allow_empty=True)) == []


def test_healing_is_never_held_up_by_its_amount() -> None:
    assert refusals(a_plan(healed=20)) == []
    assert refusals(a_plan(updates=20)) == ["max_update_percent"]


def test_an_absolute_cap_counts_deletions() -> None:
    assert refusals(a_plan(deletes=3, existing=100), Limits(max_deletes=2)) == ["max_deletes"]


@given(
    deletes=st.integers(0, 60),
    updates=st.integers(0, 60),
    existing=st.integers(10, 60),
    cap=st.none() | st.integers(0, 10),
)
def test_doing_what_the_message_says_gets_past_a_guard_and_nothing_less_does(
    deletes: int, updates: int, existing: int, cap: int | None
) -> None:
    planned = a_plan(deletes=min(deletes, existing), updates=min(updates, existing), existing=existing)
    limits = Limits(max_deletes=cap)
    for verdict in judge(planned, limits):
        if verdict.passed:
            continue
        match = re.search(r"--(max-[a-z-]+) (\d+)$", verdict.fix)
        assert match is not None
        option, figure = match[1].replace("-", "_"), int(match[2])
        fields = {"max_delete_percent": 30, "max_update_percent": 30, "max_deletes": cap}
        assert verdict.guard not in refusals(planned, Limits(**{**fields, option: figure}))  # type: ignore[arg-type]
        assert verdict.guard in refusals(planned, Limits(**{**fields, option: figure - 1}))  # type: ignore[arg-type]
