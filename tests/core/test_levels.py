"""What a repository makes of the rules: levels, and excuses that end."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.levels import Levels, Suppression
from reconciler.core.problems import Location, Problem, Severity

TODAY = date(2026, 11, 21)
HERE = Location("reconciler.yaml", 9)


def problem(code: str, *gateways: str, severity: Severity = Severity.WARNING) -> Problem:
    return Problem(code, severity, "m", Location("a.yaml"), gateways=gateways)


def excuse(rule: str, gateway: str, until: date = TODAY) -> Suppression:
    return Suppression(rule, gateway, "replaced in spring", until, HERE)


@pytest.mark.parametrize("level", Severity)
def test_a_level_replaces_that_of_the_rule(level: Severity) -> None:
    judged = Levels({"x": level}).judge([problem("x"), problem("y")], TODAY)
    assert [(each.code, each.severity) for each in judged.problems if each.code == "x"] == [("x", level)]
    assert problem("y") in judged.problems


def test_a_rule_that_is_off_says_nothing() -> None:
    assert Levels({"x": None}).judge([problem("x"), problem("y")], TODAY).problems == (problem("y"),)


@pytest.mark.parametrize("level", [Severity.WARNING, Severity.INFO, None])
def test_an_error_stays_one_whatever_is_said(level: Severity | None) -> None:
    grave = problem("x", "a", severity=Severity.ERROR)
    assert grave in Levels({"x": level}, [excuse("x", "a")]).judge([grave], TODAY).problems


def test_an_excused_gateway_is_left_out_and_counted() -> None:
    judged = Levels(suppressions=[excuse("x", "a")]).judge([problem("x", "a"), problem("x", "b")], TODAY)
    assert judged.problems == (problem("x", "b"),)
    assert [(each.problem, each.suppressions) for each in judged.suppressed] == [
        (problem("x", "a"), (excuse("x", "a"),))
    ]


def test_a_problem_of_two_gateways_needs_two_excuses() -> None:
    shared = problem("x", "a", "b", "a")
    one, both = [excuse("x", "a")], [excuse("x", "a"), excuse("x", "b")]
    assert Levels(suppressions=one).judge([shared], TODAY).problems == (shared,)
    assert Levels(suppressions=both).judge([shared], TODAY).problems == ()


def test_a_problem_of_no_gateway_cannot_be_excused() -> None:
    assert problem("x") in Levels(suppressions=[excuse("x", "a")]).judge([problem("x")], TODAY).problems


def test_an_excuse_holds_through_its_last_day_and_then_says_that_it_ended() -> None:
    levels = Levels(suppressions=[excuse("x", "a")])
    assert levels.judge([problem("x", "a")], TODAY).problems == ()
    after = levels.judge([problem("x", "a")], TODAY + timedelta(days=1)).problems
    assert [each.code for each in after] == ["x", "suppression-ended"]
    assert after[1].location == HERE
    assert "2026-11-21" in after[1].message


def test_an_excuse_that_nothing_needs_is_named_where_everything_was_looked_at() -> None:
    levels = Levels(suppressions=[excuse("x", "a")])
    assert [each.code for each in levels.judge([], TODAY).problems] == ["suppression-unused"]
    assert levels.judge([], TODAY, whole=False).problems == ()


def test_what_the_excuses_themselves_say_has_a_level_too() -> None:
    levels = Levels({"suppression-unused": Severity.ERROR}, [excuse("x", "a")])
    assert [each.severity for each in levels.judge([], TODAY).problems] == [Severity.ERROR]


names = st.sampled_from("abc")
found = st.lists(
    st.builds(
        lambda code, gateways, severity: problem(code, *gateways, severity=severity),
        st.sampled_from("xyz"),
        st.lists(names, max_size=3),
        st.sampled_from(Severity),
    )
)
excuses = st.lists(
    st.builds(excuse, st.sampled_from("xyz"), names, st.dates(TODAY - timedelta(3), TODAY + timedelta(3))),
    unique_by=lambda each: (each.rule, each.gateway),
)


@given(found, excuses, st.dictionaries(st.sampled_from("xyz"), st.one_of(st.none(), st.sampled_from(Severity))))
def test_no_error_ever_goes_away_and_nothing_is_made_up(
    problems: list[Problem], suppressions: list[Suppression], by_rule: dict[str, Severity | None]
) -> None:
    judged = Levels(by_rule, suppressions).judge(problems, TODAY, whole=False)
    kept = set(judged.problems)
    assert {each for each in problems if each.severity is Severity.ERROR} <= kept
    assert {each.code for each in kept} <= {each.code for each in problems} | {"suppression-ended"}
    assert all(each.problem in problems for each in judged.suppressed)
