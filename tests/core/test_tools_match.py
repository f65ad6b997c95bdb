from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler.core.model import DesiredGateway, DesiredState, Gateway, ToolsLock, Transport, VerifyPolicy
from reconciler.core.observation import McpObservation, Observation, Tool
from reconciler.core.problems import Location
from reconciler.core.verification import Verified, ready, to_disable, verified_conditions, without

NOW = datetime(2026, 11, 21, tzinfo=UTC)
URL = "http://localhost/mcp"
CHARGE = Tool("charge", "1" * 64, '{"description":"Charge a card.","name":"charge"}')
OTHER = Tool("charge", "2" * 64, '{"description":"Charge it twice.","name":"charge"}')
DRAIN = Tool("drain", "3" * 64, '{"name":"drain"}')
LOCK = ToolsLock("a.tools.json", (CHARGE,))


def seen(*tools: Tool, ok: bool = True, reason: str = "Answered", lock: ToolsLock | None = LOCK) -> Verified:
    mcp = McpObservation(ok, reason, "what happened", tools=tools)
    policy = VerifyPolicy(tools_lock=lock, on_tools_change="disable")
    return Verified("a", URL, Observation("a", URL, None, mcp, 0.1), policy=policy)


def tools_match(verified: Verified) -> tuple[str, str] | None:
    found = {each.type: each for each in verified_conditions(verified, NOW)}.get("ToolsMatch")
    return (found.status, found.reason) if found else None


def test_the_reviewed_tools_are_a_match() -> None:
    verified = seen(CHARGE)
    assert (tools_match(verified), verified.ready) == (("True", "ToolsAsReviewed"), True)


@pytest.mark.parametrize("tools", [(OTHER,), (CHARGE, DRAIN), ()])
def test_any_other_tools_are_none_and_the_gateway_is_not_ready(tools: tuple[Tool, ...]) -> None:
    verified = seen(*tools)
    assert (tools_match(verified), verified.ready) == (("False", "ToolsChanged"), False)
    summed = ready(verified_conditions(verified, NOW), NOW)
    assert (summed.status, summed.reason) == ("False", "ToolsChanged")
    assert "the tools are not those of a.tools.json" in summed.message


def test_without_a_lock_nothing_is_said_of_tools() -> None:
    verified = seen(DRAIN, lock=None)
    assert (tools_match(verified), verified.ready, verified.tool_changes) == (None, True, None)


@pytest.mark.parametrize(
    "verified",
    [
        seen(ok=False, reason="EndlessList"),
        replace(seen(), observation=None, why="not looked at"),
        replace(seen(), observation=Observation("a", URL, None, None, 0.1)),
    ],
)
def test_an_upstream_that_did_not_say_is_unknown(verified: Verified) -> None:
    assert tools_match(verified) == ("Unknown", "ToolsNotSeen")
    assert to_disable([verified]) == ()


def test_an_unreadable_lock_is_unknown_and_takes_nothing_off() -> None:
    verified = seen(DRAIN, lock=ToolsLock("a.tools.json", None))
    assert tools_match(verified) == ("Unknown", "ToolsLockUnreadable")
    assert to_disable([verified]) == ()


def test_tools_that_are_required_and_missing_are_compared_as_well() -> None:
    assert tools_match(seen(DRAIN, ok=False, reason="ToolsMissing")) == ("False", "ToolsChanged")


def test_a_gateway_is_taken_off_for_tools_that_nobody_reviewed_and_where_git_says_so() -> None:
    assert to_disable([seen(OTHER)]) == ("a",)
    assert to_disable([seen(CHARGE, DRAIN)]) == ("a",)
    assert to_disable([seen(CHARGE)]) == ()
    assert to_disable([seen()]) == ()
    reporting = replace(seen(OTHER), policy=VerifyPolicy(tools_lock=LOCK))
    assert to_disable([reporting]) == ()


def test_what_is_taken_off_is_disabled_and_nothing_else_changes() -> None:
    gateways = {
        name: DesiredGateway(Gateway(name, URL, Transport.SSE), Location(f"{name}.yaml")) for name in ("a", "b")
    }
    desired = without(DesiredState(gateways), {"a"})
    assert {name: wanted.gateway.enabled for name, wanted in desired.gateways.items()} == {"a": False, "b": True}
    assert desired.gateways["b"] is gateways["b"]
