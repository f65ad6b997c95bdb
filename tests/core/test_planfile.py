"""A saved plan is an agreement: read back as it was saved, and compared with what would be done now."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import desired_fleets

from reconciler.core.comparison import UNSIGNED
from reconciler.core.model import DesiredGateway, DesiredState, LiveState
from reconciler.core.planfile import Row, SavedPlan, TargetPlan, as_document, moved, read_plan, target_plan
from reconciler.core.planning import Terms, plan
from reconciler.errors import InputError

ROW = Row("a", "update", "t1", "sha256:1", "sig")
TARGET = TargetPlan("default", "sqlite:///x.db", "us", "main@sha1:1", dirty=False, checksum="sha256:c", rows=(ROW,))
SAVED = SavedPlan(("gateways",), "", "", {"prune": True, "adopt": []}, (TARGET,))


def saved(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def test_what_was_saved_is_read_back() -> None:
    assert read_plan(saved(as_document(SAVED, [{"summary": {}}]))) == SAVED


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b'"x"', b"\xff", b"{" * 100_000, b'{"kind": "Plan", "format_version": 1}'],
    ids=["nothing", "object", "list", "null", "text", "bytes", "deep", "version"],
)
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="not a saved plan"):
        read_plan(data)


def test_a_plan_of_another_version_is_refused() -> None:
    with pytest.raises(InputError, match="not a plan of a version that is known"):
        read_plan(saved({**as_document(SAVED, [{}]), "format_version": "2.0"}))


paths_into = st.sampled_from(
    [("paths", 0), ("config",), ("scope", "prune"), ("targets", 0, "store"), ("targets", 0, "rows", 0, "before")]
)


@given(paths_into, st.text())
def test_a_plan_that_somebody_edited_is_refused(where: tuple[Any, ...], text: str) -> None:
    content = as_document(SAVED, [{}])
    inner: Any = content
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = f"edited {text}"
    with pytest.raises(InputError, match="not as it was saved"):
        read_plan(json.dumps(content).encode())


def test_the_same_plan_has_not_moved() -> None:
    assert moved(TARGET, TARGET) == ()


MOVES: list[tuple[TargetPlan, str]] = [
    (replace(TARGET, store="sqlite:///y.db"), "the plan is for the store sqlite:///x.db, and this is sqlite:///y.db"),
    (replace(TARGET, owner="them"), "the plan is for the owner us, and the config file now says them"),
    (replace(TARGET, rows=(replace(ROW, before="t2"),)), "`a` was changed in the store since"),
    (replace(TARGET, rows=(replace(ROW, after="2"),)), "the manifest of `a`, or what it refers to, changed since"),
    (replace(TARGET, rows=(replace(ROW, signature="x"),)), "`a` would be signed with another key"),
    (replace(TARGET, rows=(replace(ROW, action="delete"),)), "`a` was to be updated, and would be deleted now"),
    (replace(TARGET, rows=()), "`a` was to be updated, and there is nothing to do for it any more"),
    (
        replace(TARGET, rows=(ROW, replace(ROW, name="b", action="create"))),
        "`b` would be created now, and was not in the plan",
    ),
    (replace(TARGET, checksum="sha256:d"), "the plan's checksum does not fit its rows"),
]


@pytest.mark.parametrize(("now", "said"), MOVES, ids=[said for _, said in MOVES])
def test_what_moved_is_said(now: TargetPlan, said: str) -> None:
    assert moved(TARGET, now) == (said,)


def test_another_revision_that_does_the_same_is_the_same_plan() -> None:
    assert moved(TARGET, replace(TARGET, revision="main@sha1:2")) == ()
    differing = replace(TARGET, revision="", rows=(replace(ROW, before="t2"),), checksum="d")
    assert moved(TARGET, differing)[0] == "the plan was made from main@sha1:1, and the tree is at no commit"


@given(desired_fleets, desired_fleets)
def test_plans_of_different_trees_never_pass_for_each_other(
    one: list[DesiredGateway], other: list[DesiredGateway]
) -> None:
    plans = [
        plan(DesiredState({each.gateway.name: each for each in fleet}), LiveState({}), UNSIGNED, Terms("us"))
        for fleet in (one, other)
    ]
    first, second = (target_plan("t", "memory:", "us", each) for each in plans)
    same = plans[0].checksum == plans[1].checksum
    assert (moved(first, second) == ()) == same
    rows = [{each.gateway.name: each.gateway for each in fleet} for fleet in (one, other)]
    assert same == (rows[0] == rows[1])
