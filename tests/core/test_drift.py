"""What was applied and what is there: planning and drift say the same of it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from strategies import fleets

from reconciler.core.canonical import digest, document
from reconciler.core.comparison import UNSIGNED
from reconciler.core.drift import drifted
from reconciler.core.model import DesiredGateway, DesiredState, Gateway, LiveGateway, LiveState, Reason, Stamp
from reconciler.core.planning import Terms, plan
from reconciler.core.problems import Location
from reconciler.core.signatures import Signatures

FORGED = Signatures(lambda _: "", lambda _, signature: signature != "forged", lambda _, __: True)


def row(gateway: Gateway, owner: str = "us") -> LiveGateway:
    return LiveGateway(gateway, "", Stamp(owner, "a.yaml", "main@sha1:1", digest(document(gateway))), "t")


@given(fleets, st.data())
def test_exactly_what_somebody_changed_has_drifted(fleet: list[Gateway], data: st.DataObject) -> None:
    applied = {gateway.name: row(gateway) for gateway in fleet}
    changed = data.draw(st.sets(st.sampled_from(sorted(applied)))) if applied else set()
    live = {
        name: replace(each, gateway=replace(each.gateway, description=each.gateway.description + "!"))
        if name in changed
        else each
        for name, each in applied.items()
    }
    found = drifted(LiveState(live), UNSIGNED, "us")
    assert [each.name for each in found] == sorted(changed)
    desired = DesiredState({gateway.name: DesiredGateway(gateway, Location("a.yaml")) for gateway in fleet})
    planned = plan(desired, LiveState(live), UNSIGNED, Terms("us"))
    assert [(each.name, each.reason) for each in planned.drift] == [(each.name, each.reason) for each in found]


@given(fleets)
def test_what_others_own_or_nobody_does_is_not_ours_to_judge(fleet: list[Gateway]) -> None:
    theirs = {gateway.name: replace(row(gateway, "them"), signature="forged") for gateway in fleet}
    nobodys = {name: replace(each, stamp=None) for name, each in theirs.items()}
    assert drifted(LiveState(theirs), FORGED, "us") == drifted(LiveState(nobodys), FORGED, "us") == ()


@given(fleets)
def test_a_bundle_that_was_not_signed_is_tampering(fleet: list[Gateway]) -> None:
    forged = {gateway.name: replace(row(gateway), signature="forged") for gateway in fleet}
    assert {each.reason for each in drifted(LiveState(forged), FORGED, "us")} <= {Reason.TAMPERING}
    assert len(drifted(LiveState(forged), FORGED, "us")) == len(fleet)
