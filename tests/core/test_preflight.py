"""Which changes wait for a look at their upstream, and what is made of what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.model import (
    Action,
    Change,
    DesiredGateway,
    DesiredState,
    Gateway,
    LiveGateway,
    Reason,
    ToolsLock,
    Transport,
    VerifyPolicy,
)
from reconciler.core.observation import McpObservation, Observation, TlsObservation, Tool
from reconciler.core.preflight import is_required, looked_at_least, objection, proviso, puts_back_on
from reconciler.core.problems import Location

ON = Gateway("a", "https://a.example/mcp", Transport.SSE)
OFF = replace(ON, enabled=False)
CHARGE, DRAIN = Tool("charge", "c" * 64), Tool("drain", "d" * 64)
LOCK = ToolsLock("a.tools.json", (CHARGE,))
GUARDED = VerifyPolicy(tools_lock=LOCK, on_tools_change="disable")


def change(before: Gateway | None, after: Gateway | None, fields: tuple[str, ...] = ("url",)) -> Change:
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    found = LiveGateway(before, "", None, "t") if before else None
    return Change(action, "a", Reason.MANIFEST_CHANGED, found, after, fields=fields)


def seen(*tools: Tool, ok: bool = True, reason: str = "Answered", **more: Any) -> Observation:
    mcp = McpObservation(ok, reason, f"{reason} it is.", "Mend it.", tools=tools)
    return Observation("a", ON.url, more.get("tls", TlsObservation(True)), more.get("mcp", mcp), 0.1)


DOWN = seen(ok=False, reason="AnswerTimeout")
UNTRUSTED = seen(tls=TlsObservation(False, "20", "CaUnknown", "Unknown.", "Add it."), mcp=None)


@pytest.mark.parametrize(
    ("before", "after", "policy", "back_on"),
    [
        (OFF, ON, GUARDED, True),
        (OFF, ON, replace(GUARDED, mode="required"), True),
        (OFF, ON, replace(GUARDED, mode="off"), False),
        (OFF, ON, replace(GUARDED, on_tools_change="report"), False),
        (OFF, ON, replace(GUARDED, tools_lock=None), False),
        (OFF, OFF, GUARDED, False),
        (ON, ON, GUARDED, False),
        (ON, OFF, GUARDED, False),
        (None, ON, GUARDED, False),
        (OFF, None, GUARDED, False),
    ],
)
def test_what_puts_a_gateway_back_on_and_has_to_be_seen_first(
    before: Gateway | None, after: Gateway | None, policy: VerifyPolicy, back_on: bool
) -> None:
    made = change(before, after)
    assert puts_back_on(made, policy) is back_on
    assert is_required(made, policy) is (back_on or (policy.mode == "required"))


@pytest.mark.parametrize(
    ("before", "after", "fields", "required"),
    [(None, ON, (), True), (ON, ON, ("url",), True), (ON, ON, (), False), (ON, OFF, ("enabled",), False)],
)
def test_what_waits_for_a_look_where_git_requires_one(
    before: Gateway | None, after: Gateway, fields: tuple[str, ...], required: bool
) -> None:
    assert is_required(change(before, after, fields), VerifyPolicy("required")) is required
    assert not is_required(change(before, after, fields), VerifyPolicy())


@pytest.mark.parametrize(
    ("observation", "why"),
    [
        (seen(CHARGE), None),
        (seen(), None),
        (seen(CHARGE, ok=False, reason="ToolsMissing"), None),
        (seen(CHARGE, DRAIN), "left off, because its tools are not those of a.tools.json: drain appeared"),
        (seen(replace(CHARGE, digest="e" * 64)), "left off, because its tools are not those of a.tools.json: charge"),
        (DOWN, "left off, because its upstream did not say which tools it has (AnswerTimeout)"),
        (UNTRUSTED, "left off, because its upstream did not say which tools it has (CaUnknown)"),
    ],
)
def test_a_gateway_goes_back_on_only_with_reviewed_tools(observation: Observation, why: str | None) -> None:
    held = objection(change(OFF, ON), GUARDED, observation)
    assert (held is None) is (why is None)
    if held is not None and why is not None:
        assert held.why.startswith(why)
        assert held.fix
        assert held.observation is observation


def test_a_lock_that_cannot_be_read_reviews_nothing() -> None:
    unreadable = replace(GUARDED, tools_lock=ToolsLock("a.tools.json", None))
    held = objection(change(OFF, ON), unreadable, seen(CHARGE))
    assert held is not None
    assert held.why == "left off, because a.tools.json cannot be read"


@pytest.mark.parametrize(("observation", "reason"), [(DOWN, "AnswerTimeout"), (UNTRUSTED, "CaUnknown")])
def test_what_git_requires_to_work_is_held_while_it_does_not(observation: Observation, reason: str) -> None:
    held = objection(change(ON, ON), VerifyPolicy("required"), observation)
    assert held is not None
    assert held.why == f"held, because the upstream would not work with it ({reason})"
    assert objection(change(ON, ON), VerifyPolicy("required"), seen(CHARGE)) is None
    assert objection(change(ON, ON), GUARDED, observation) is None


def test_who_wants_nothing_looked_at_still_sees_what_is_put_back_on() -> None:
    wanted = {"a": DesiredGateway(ON, Location("a.yaml"), (), replace(GUARDED, mode="required"))}
    desired = DesiredState(wanted)
    (policy,) = [each.verify for each in looked_at_least(desired, [change(OFF, ON)]).gateways.values()]
    assert policy == GUARDED
    (policy,) = [each.verify for each in looked_at_least(desired, [change(ON, ON)]).gateways.values()]
    assert policy.mode == "off"
    assert looked_at_least(DesiredState({}), [change(OFF, ON)]).gateways == {}


def test_a_plan_says_what_was_seen_last_as_far_as_that_is_known() -> None:
    assert proviso() == "stays off unless its tools are the reviewed ones when this is applied"
    assert proviso("drain appeared").endswith("; last seen: drain appeared")
