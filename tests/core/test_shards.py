"""Targets that share a store: whatever each of them knows and does, the rows of the others stay as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.model import (
    Action,
    DesiredGateway,
    DesiredState,
    Gateway,
    LiveGateway,
    LiveState,
    Reason,
    Stamp,
    Transport,
)
from reconciler.core.planning import Plan, Terms, plan
from reconciler.core.problems import Location
from reconciler.core.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNSIGNED: Final = Signatures(lambda _: "", lambda *_: True, lambda *_: True)
TARGETS: Final = ("blue", "green")


def gateway(name: str) -> Gateway:
    return Gateway(name, f"https://{name}.example/mcp", Transport.SSE)


def wanted(names: Iterable[str], elsewhere: Iterable[str] = ()) -> DesiredState:
    fleet = {name: DesiredGateway(gateway(name), Location(f"{name}.yaml")) for name in sorted(names)}
    return DesiredState(fleet, elsewhere=frozenset(elsewhere))


def held(owners: Mapping[str, str]) -> LiveState:
    stamps = {name: Stamp(owner, f"{name}.yaml", "", "sha256:x") if owner else None for name, owner in owners.items()}
    return LiveState({name: LiveGateway(gateway(name), "", stamp, name) for name, stamp in stamps.items()})


def planned(target: str, desired: DesiredState, live: LiveState) -> Plan:
    return plan(desired, live, UNSIGNED, Terms(f"us/{target}" if target else "us", prune=True))


def applied(live: LiveState, planned: Plan) -> LiveState:
    rows = dict(live.gateways)
    for change in planned.changes:
        rows.pop(change.held_as, None)
        if change.after is not None:
            rows[change.name] = LiveGateway(change.after, change.signature, change.stamp, change.name)
    return LiveState(rows)


def owner(found: LiveGateway) -> str:
    return found.stamp.owner if found.stamp else ""


names = st.sets(st.sampled_from("abcdef"))


@given(names, names, st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(("us/blue", "us/green", "them", ""))))
def test_a_target_deletes_only_what_it_wrote_itself(blue: set[str], green: set[str], owners: dict[str, str]) -> None:
    live = held(owners)
    for change in planned("blue", wanted(blue, green), live).changes:
        if change.before is not None and change.action is Action.DELETE:
            assert owner(change.before) == "us/blue"
            assert change.name not in green
        if change.before is not None:
            assert owner(change.before) in {"us/blue", "us/green"}


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(TARGETS)), min_size=1, max_size=5), st.data()
)
def test_in_whatever_order_the_targets_run_the_store_ends_as_git_says(
    revisions: list[dict[str, str]], data: st.DataObject
) -> None:
    live = LiveState({})
    for revision in revisions:
        for target in data.draw(st.lists(st.sampled_from(TARGETS), max_size=4)):
            live = applied(live, planned(target, split(revision, target), live))
    last = revisions[-1]
    for target in data.draw(st.permutations(TARGETS)) * 2:
        live = applied(live, planned(target, split(last, target), live))
    assert {name: owner(found) for name, found in live.gateways.items()} == {
        name: f"us/{target}" for name, target in last.items()
    }


def split(revision: dict[str, str], target: str) -> DesiredState:
    mine = [name for name, taker in revision.items() if taker == target]
    return wanted(mine, revision.keys() - set(mine))


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(TARGETS)))
def test_what_moves_is_never_gone_meanwhile(before: dict[str, str]) -> None:
    after = dict.fromkeys(before, "green")
    live = held({name: f"us/{target}" for name, target in before.items()})
    for target in (*TARGETS, *TARGETS):
        live = applied(live, planned(target, split(after, target), live))
        assert live.gateways.keys() == before.keys()


def test_a_row_that_two_targets_want_stays_with_the_one_that_has_it() -> None:
    live = held({"a": "us/blue"})
    for target, conflicts in (("blue", 0), ("green", 1)):
        found = planned(target, wanted("a", "a"), live)
        assert (found.changes, len(found.conflicts)) == ((), conflicts)


def test_the_rows_of_the_only_target_are_taken_over_and_not_pruned_when_it_gets_a_sibling() -> None:
    live = held({"a": "us", "b": "us", "c": "us"})
    found = planned("blue", wanted("a", "b"), live)
    assert [(change.name, change.action, change.reason) for change in found.changes] == [
        ("a", Action.UPDATE, Reason.ADOPTED)
    ]
    assert found.existing == 0


def test_another_repositorys_rows_are_none_of_the_family() -> None:
    found = planned("blue", wanted("ab"), held({"a": "user/blue", "b": "them"}))
    assert (found.changes, [each.name for each in found.conflicts]) == ((), ["a", "b"])


def test_what_was_protected_stays_protected_when_it_is_handed_over() -> None:
    live = held({"a": "us/blue"})
    desired = wanted("a")
    protected = replace(desired, gateways={"a": replace(desired.gateways["a"], protected=True)})
    (change,) = planned("green", protected, live).changes
    assert change.stamp is not None
    assert (change.stamp.owner, change.stamp.protected) == ("us/green", True)
