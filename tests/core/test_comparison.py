"""One revision against another, as if the first had been applied."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from strategies import desired_fleets

from reconciler.core.comparison import UNSIGNED, as_live
from reconciler.core.model import Action, DesiredGateway, DesiredState, Reason
from reconciler.core.planning import Terms, plan

TERMS = Terms("us", prune=True)


def state(fleet: list[DesiredGateway], revision: str = "") -> DesiredState:
    return DesiredState({each.gateway.name: each for each in fleet}, revision=revision)


@given(desired_fleets)
def test_a_revision_against_itself_changes_nothing(fleet: list[DesiredGateway]) -> None:
    compared = plan(state(fleet, "now"), as_live(state(fleet, "before"), "us"), UNSIGNED, TERMS)
    assert compared.in_sync
    assert compared.drift == ()


@given(desired_fleets, desired_fleets)
def test_between_two_revisions_is_exactly_what_differs(
    before: list[DesiredGateway], after: list[DesiredGateway]
) -> None:
    kept = [replace(each, protected=False) for each in before]
    compared = plan(state(after), as_live(state(kept), "us"), UNSIGNED, TERMS)
    old, new = state(kept).gateways, state(after).gateways
    changed = {name for name in old.keys() & new.keys() if old[name].gateway != new[name].gateway}
    by_action = {action: {c.name for c in compared.changes if c.action is action} for action in Action}
    assert by_action[Action.CREATE] == new.keys() - old.keys()
    assert by_action[Action.DELETE] == old.keys() - new.keys()
    assert changed <= by_action[Action.UPDATE] <= old.keys() & new.keys()
    assert (compared.drift, compared.conflicts) == ((), ())


@given(desired_fleets, st.text(max_size=20))
def test_no_change_between_revisions_is_called_drift_or_tampering(fleet: list[DesiredGateway], text: str) -> None:
    after = [replace(each, gateway=replace(each.gateway, description=text)) for each in fleet]
    compared = plan(state(after), as_live(state(fleet), "us"), UNSIGNED, TERMS)
    assert {change.reason for change in compared.changes} <= {Reason.MANIFEST_CHANGED}
