"""What a change does to the tools behind a gateway, as far as anybody knows them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from reconciler.core.effects import KnownTools, ToolEffect, tool_effect
from reconciler.core.model import (
    Action,
    Change,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    Reason,
    Transport,
)

ON = Gateway("pay", "https://pay.example/mcp", Transport.SSE)
OFF = replace(ON, enabled=False)
RENAMED = replace(ON, name="payments")
PREFIXED = replace(ON, kuadrant=KuadrantOptions(prefix="pay_"))
ODD = replace(ON, enabled=cast("Any", "unknown:2"))
KNOWN = KnownTools(seen={"pay": ["refund", "charge"]}, counts={"pay": 7}, required={"pay": ["charge"]})


def change(before: Gateway | None, after: Gateway | None) -> Change:
    actions = {(False, True): Action.CREATE, (True, False): Action.DELETE, (True, True): Action.UPDATE}
    action = actions[before is not None, after is not None]
    name = next(each.name for each in (after, before) if each)
    held = LiveGateway(before, "", None, "t") if before else None
    return Change(action, name, Reason.MANIFEST_CHANGED, held, after)


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (ON, None, "vanish"),
        (ON, OFF, "vanish"),
        (ON, replace(OFF, name="payments"), "vanish"),
        (None, ON, "appear"),
        (OFF, ON, "appear"),
        (ODD, ON, "appear"),
        (ON, RENAMED, "rename"),
        (ON, PREFIXED, "rename"),
        (ON, replace(ON, description="other"), None),
        (OFF, None, None),
        (None, OFF, None),
        (OFF, replace(OFF, name="payments"), None),
    ],
)
def test_what_happens_to_tools_follows_from_what_is_served(
    before: Gateway | None, after: Gateway | None, effect: str | None
) -> None:
    found = tool_effect(change(before, after), KNOWN)
    assert (found and found.effect) == effect
    assert found is None or found == ToolEffect(found.effect, "pay", ("charge", "refund"), 2)


def test_where_only_the_number_is_known_that_is_said() -> None:
    found = tool_effect(change(ON, None), KnownTools(counts={"pay": 7}))
    assert found == ToolEffect("vanish", "pay", (), 7)


def test_of_a_new_gateway_those_are_known_that_its_manifest_requires() -> None:
    found = tool_effect(change(None, ON), KnownTools(required={"pay": ("charge",)}))
    assert found == ToolEffect("appear", "pay", ("charge",), None)


def test_what_a_manifest_requires_says_nothing_of_what_vanishes() -> None:
    assert tool_effect(change(ON, None), KnownTools(required={"pay": ("charge",)})) is None


@pytest.mark.parametrize("known", [KnownTools(), KnownTools(seen={"pay": ()}, counts={"pay": 0}, required={"pay": ()})])
def test_where_nothing_is_known_nothing_is_said(known: KnownTools) -> None:
    for pair in ((ON, None), (None, ON), (ON, RENAMED)):
        assert tool_effect(change(*pair), known) is None
