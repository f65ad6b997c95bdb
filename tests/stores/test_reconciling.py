"""Plan and apply over real stores, again and again: whatever git says next, the store ends up holding it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.comparison import UNSIGNED
from reconciler.core.model import Audit, DesiredGateway, DesiredState, Gateway, Transport
from reconciler.core.planning import Terms
from reconciler.core.problems import Location
from reconciler.core.safety import Limits
from reconciler.core.signing import Keyring
from reconciler.engine import Engine
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.ports import Store

AUDIT = Audit("alice", "test", datetime(2026, 3, 1, tzinfo=UTC))
ANYTHING = Limits(max_delete_percent=100, max_update_percent=100, allow_empty=True)

gateways = st.builds(
    lambda name, host, text, enabled: Gateway(
        name, f"https://{host}.example/mcp", Transport.SSE, description=text, enabled=enabled
    ),
    st.sampled_from(["a", "b", "c", "d-e", "f"]),
    st.sampled_from(["one", "two", "three", "four"]),
    st.sampled_from(["", "text", "ünï 🚪"]),
    st.booleans(),
)
fleets = st.lists(gateways, max_size=4, unique_by=lambda each: each.name)


def state(fleet: Sequence[Gateway]) -> DesiredState:
    return DesiredState({each.name: DesiredGateway(each, Location(f"{each.name}.yaml")) for each in fleet})


def engine(store: Store, owner: str = "us") -> Engine:
    return Engine(store, "test", UNSIGNED, Keyring.of({}), Terms(owner, prune=True), ANYTHING)


examples = settings(max_examples=25, deadline=None)
stores = pytest.mark.parametrize("url", ["memory:", "sqlite:///{}"])


@examples
@given(steps=st.lists(fleets, min_size=1, max_size=4))
@stores
def test_after_an_apply_the_store_holds_it_and_the_plan_is_empty(
    url: str, steps: list[list[Gateway]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = open_store(url.format(tmp_path_factory.mktemp("store") / "x.db"), create=True)
    over = engine(store)
    for fleet in steps:
        desired = state(fleet)
        result = over.apply(over.plan(desired), desired, AUDIT, None)
        assert {each.status for each in result.outcomes} <= {"applied"}
        rows = {name: found.gateway for name, found in store.read().gateways.items()}
        assert rows == {each.name: each for each in fleet}
        assert over.plan(desired).in_sync
    store.close()


@examples
@given(first=fleets, meanwhile=fleets, then=fleets)
@stores
def test_a_plan_from_before_somebody_elses_apply_writes_nothing_that_moved(
    url: str,
    first: list[Gateway],
    meanwhile: list[Gateway],
    then: list[Gateway],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = open_store(url.format(tmp_path_factory.mktemp("store") / "x.db"), create=True)
    over = engine(store)
    over.apply(over.plan(state(first)), state(first), AUDIT, None)
    stale = over.plan(state(then))
    over.apply(over.plan(state(meanwhile)), state(meanwhile), AUDIT, None)
    before = store.read()
    result = over.apply(stale, state(then), AUDIT, None)
    if any(each.status != "applied" for each in result.outcomes):
        assert {each.status for each in result.outcomes} <= {"refused", "skipped"}
        assert store.read() == before
    for change, outcome in zip(stale.changes, result.outcomes, strict=True):
        held = before.gateways.get(change.held_as)
        moved = (held.token if held else None) != (change.before.token if change.before else None)
        assert outcome.status != "applied" or not moved
    store.close()


@examples
@given(ours=fleets, theirs=fleets)
@stores
def test_two_owners_share_a_store_and_neither_touches_the_other(
    url: str, ours: list[Gateway], theirs: list[Gateway], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = open_store(url.format(tmp_path_factory.mktemp("store") / "x.db"), create=True)
    apart = [replace(each, name=f"their-{each.name}") for each in theirs]
    us, them = engine(store), engine(store, "them")
    them.apply(them.plan(state(apart)), state(apart), AUDIT, None)
    before = store.read().gateways
    us.apply(us.plan(state(ours)), state(ours), AUDIT, None)
    us.apply(us.plan(state([])), state([]), AUDIT, None)
    assert store.read().gateways == before
    store.close()
