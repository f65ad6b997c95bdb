"""What stores promise. A store's test file subclasses one of the contracts with a fixture that opens the store.

`PortContract` is what the port promises, wherever the rows are. `StoreContract` is what stores of our own promise on
top: any text whatever, and all of an apply or none of it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import LARGE_BUNDLE, fleets, gateways

from reconciler.core.model import Action, Audit, Change, Gateway, Reason, Stamp, Transport
from reconciler.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.core.model import LiveGateway, Outcome
    from reconciler.core.ports import Store

examples = settings(
    max_examples=60,
    deadline=None,
    # Each example empties the store itself, and each subclass is one more executor of the same promise.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
AUDIT = Audit("alice", "cli", NOW)
SIGNATURE = "5f" * 64
RECORD = "0123456789abcdef" * 8


def a_gateway(name: str, **fields: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.example/mcp", Transport.STREAMABLE_HTTP), **fields)


def a_stamp(name: str, revision: str = "main@sha1:1111") -> Stamp:
    return Stamp("platform-team", f"gateways/{name}.yaml", revision, f"sha256:{name}")


def created(gateway: Gateway, signature: str = "", stamp: Stamp | None = None, record: str = "") -> Change:
    return Change(Action.CREATE, gateway.name, Reason.ADDED, None, gateway, signature, stamp, record=record)


def updated(before: LiveGateway, after: Gateway, signature: str = "", stamp: Stamp | None = None) -> Change:
    return Change(Action.UPDATE, after.name, Reason.MANIFEST_CHANGED, before, after, signature, stamp)


def deleted(before: LiveGateway) -> Change:
    return Change(Action.DELETE, before.gateway.name, Reason.REMOVED_FROM_GIT, before)


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def stored(store: Store, *changes: Change) -> None:
    assert statuses(store.apply(changes, AUDIT)) == ["applied"] * len(changes)


class PortContract:
    """`opened` gives a store; called again, another store over the same, shared, live state.

    `a_gateway` gives one that the store can hold.
    """

    @pytest.fixture
    def opened(self) -> Callable[[], Store]:
        raise NotImplementedError

    @pytest.fixture
    def store(self, opened: Callable[[], Store]) -> Store:
        return opened()

    def a_gateway(self, name: str, **fields: Any) -> Gateway:
        return a_gateway(name, **fields)

    def test_a_new_store_is_empty(self, store: Store) -> None:
        assert store.read().gateways == {}

    def test_what_is_applied_is_read_back_equal_with_signature_and_stamp(self, store: Store) -> None:
        bundled = self.a_gateway("payments", ca_certificate="one\nbundle", tags=("a", "b"), description="ünïcødé 🚪")
        plain = self.a_gateway("inventory", transport=Transport.SSE, enabled=False)
        stored(store, created(bundled, SIGNATURE, replace(a_stamp("payments"), protected=True)), created(plain))
        live = store.read().gateways
        assert list(live) == ["inventory", "payments"]
        assert (live["payments"].gateway, live["inventory"].gateway) == (bundled, plain)
        assert (live["payments"].signature, live["inventory"].signature) == (SIGNATURE, "")
        assert live["payments"].stamp == replace(a_stamp("payments"), protected=True)
        assert live["inventory"].stamp is None

    def test_the_signature_of_the_row_comes_back_identical_and_changes_its_token(self, store: Store) -> None:
        gateway, stamp = self.a_gateway("one", ca_certificate="x"), a_stamp("one")
        stored(store, created(gateway, SIGNATURE, stamp, RECORD))
        before = store.read().gateways["one"]
        assert (before.record, before.signature, before.stamp) == (RECORD, SIGNATURE, stamp)
        stored(store, replace(updated(before, gateway, SIGNATURE, stamp), record=RECORD[::-1]))
        after = store.read().gateways["one"]
        assert (after.record, after.signature) == (RECORD[::-1], SIGNATURE)
        assert after.token != before.token
        stored(store, updated(after, gateway, SIGNATURE, stamp))
        assert store.read().gateways["one"].record == ""

    @examples
    @given(gateway=gateways)
    def test_canonical_is_idempotent(self, store: Store, gateway: Gateway) -> None:
        once = store.canonical(gateway)
        assert store.canonical(once) == once

    def test_the_bytes_of_a_large_bundle_come_back_identical(self, store: Store) -> None:
        stored(store, created(self.a_gateway("large", ca_certificate=LARGE_BUNDLE), SIGNATURE))
        found = store.read().gateways["large"].gateway.ca_certificate
        assert len(LARGE_BUNDLE) == 65536
        assert found.encode() == LARGE_BUNDLE.encode()

    def test_an_update_replaces_everything_and_a_delete_leaves_nothing(self, store: Store) -> None:
        stored(
            store,
            created(self.a_gateway("one", ca_certificate="x"), SIGNATURE, a_stamp("one")),
            created(self.a_gateway("two")),
        )
        live = store.read().gateways
        stored(store, updated(live["one"], self.a_gateway("one", description="new")), deleted(live["two"]))
        (left,) = store.read().gateways.values()
        assert (left.gateway, left.signature, left.stamp) == (self.a_gateway("one", description="new"), "", None)

    def test_a_deleted_gateway_can_be_created_again_without_its_old_stamp(self, store: Store) -> None:
        stored(store, created(self.a_gateway("one"), "", a_stamp("one")))
        stored(store, deleted(store.read().gateways["one"]))
        stored(store, created(self.a_gateway("one")))
        assert store.read().gateways["one"].stamp is None

    def test_adoption_and_signing_anew_are_written_though_the_gateway_is_the_same(self, store: Store) -> None:
        gateway = self.a_gateway("one", ca_certificate="x")
        stored(store, created(gateway))
        before = store.read().gateways["one"]
        stored(store, updated(before, gateway, SIGNATURE, a_stamp("one")))
        after = store.read().gateways["one"]
        assert (after.gateway, after.signature, after.stamp) == (gateway, SIGNATURE, a_stamp("one"))
        assert after.token != before.token

    def test_a_change_of_the_stamp_alone_makes_older_tokens_stale(self, store: Store) -> None:
        gateway = self.a_gateway("one")
        stored(store, created(gateway, "", a_stamp("one")))
        before = store.read().gateways["one"]
        stored(store, updated(before, gateway, "", a_stamp("one", "main@sha1:2222")))
        (outcome,) = store.apply([deleted(before)], AUDIT)
        assert outcome.status == "refused"

    def test_reading_twice_gives_the_same_tokens(self, opened: Callable[[], Store]) -> None:
        stored(opened(), created(self.a_gateway("one")), created(self.a_gateway("two")))
        assert opened().read() == opened().read()

    def test_a_stale_token_is_refused_and_changes_nothing(self, store: Store) -> None:
        stored(store, created(self.a_gateway("one")))
        stale = store.read().gateways["one"]
        stored(store, updated(stale, self.a_gateway("one", description="someone else's")))
        held = store.read()
        for change in (updated(stale, self.a_gateway("one", description="mine")), deleted(stale)):
            (outcome,) = store.apply([change], AUDIT)
            assert (outcome.name, outcome.action, outcome.status) == ("one", change.action, "refused")
            assert "changed since" in outcome.reason
        assert store.read() == held

    def test_a_create_whose_name_exists_is_refused(self, store: Store) -> None:
        stored(store, created(self.a_gateway("one", description="theirs")))
        (outcome,) = store.apply([created(self.a_gateway("one", description="mine"))], AUDIT)
        assert outcome.status == "refused"
        assert "created since" in outcome.reason
        assert store.read().gateways["one"].gateway.description == "theirs"

    def test_a_change_of_a_gateway_that_vanished_is_refused(self, store: Store) -> None:
        stored(store, created(self.a_gateway("one")))
        before = store.read().gateways["one"]
        stored(store, deleted(before))
        outcomes = store.apply([updated(before, self.a_gateway("one"))], AUDIT) + store.apply([deleted(before)], AUDIT)
        assert statuses(outcomes) == ["refused", "refused"]
        assert all("deleted since" in outcome.reason for outcome in outcomes)
        assert store.read().gateways == {}

    def test_there_is_one_outcome_per_change_in_order_also_when_the_third_of_five_is_refused(
        self, store: Store
    ) -> None:
        changes = self.five_of_which_the_third_is_refused(store)
        outcomes = store.apply(changes, AUDIT)
        assert [(outcome.name, outcome.action) for outcome in outcomes] == [
            (each.name, each.action) for each in changes
        ]
        assert outcomes[2].status == "refused"

    def five_of_which_the_third_is_refused(self, store: Store) -> list[Change]:
        stored(store, *(created(self.a_gateway(name)) for name in "cde"))
        held = store.read().gateways
        return [
            created(self.a_gateway("a")),
            updated(held["d"], self.a_gateway("d", description="new")),
            created(self.a_gateway("c")),
            deleted(held["e"]),
            created(self.a_gateway("b")),
        ]

    def test_a_second_name_of_one_slug_is_refused(self, store: Store) -> None:
        stored(store, created(self.a_gateway("gw-one")))
        (later,) = store.apply([created(self.a_gateway("gw_one"))], AUDIT)
        assert later.status == "refused"
        assert "`gw-one` has the same slug" in later.reason
        assert list(store.read().gateways) == ["gw-one"]

    def test_a_slug_is_free_for_another_name_in_the_apply_that_deletes_its_holder(self, store: Store) -> None:
        stored(store, created(self.a_gateway("gw-one")))
        stored(store, created(self.a_gateway("gw_one")), deleted(store.read().gateways["gw-one"]))
        assert list(store.read().gateways) == ["gw_one"]

    def test_a_rename_keeps_the_row_and_frees_its_name(self, store: Store) -> None:
        stored(store, created(self.a_gateway("old"), "", a_stamp("old")), created(self.a_gateway("other")))
        before = store.read().gateways["old"]
        stored(store, updated(before, self.a_gateway("new", url=before.gateway.url), SIGNATURE, a_stamp("new")))
        live = store.read().gateways
        assert list(live) == ["new", "other"]
        assert (live["new"].gateway.url, live["new"].stamp) == (before.gateway.url, a_stamp("new"))
        stored(store, created(self.a_gateway("old", url=self.a_gateway("elsewhere").url)))
        assert list(store.read().gateways) == ["new", "old", "other"]

    def test_a_rename_onto_a_name_that_exists_or_from_one_that_changed_is_refused(self, store: Store) -> None:
        stored(store, created(self.a_gateway("old")), created(self.a_gateway("taken")))
        live = store.read().gateways
        (onto,) = store.apply([updated(live["old"], self.a_gateway("taken"))], AUDIT)
        stored(store, updated(live["old"], self.a_gateway("old", description="changed")))
        (late,) = store.apply([updated(live["old"], self.a_gateway("new"))], AUDIT)
        assert (onto.status, late.status) == ("refused", "refused")
        assert "created since" in onto.reason
        assert "changed since" in late.reason
        assert list(store.read().gateways) == ["old", "taken"]

    def test_renamed_and_changed_by_one_apply_is_refused(self, store: Store) -> None:
        stored(store, created(self.a_gateway("old")))
        before = store.read().gateways["old"]
        outcomes = store.apply([updated(before, self.a_gateway("new")), deleted(before)], AUDIT)
        assert statuses(outcomes) == ["refused", "refused"]

    def test_the_same_name_twice_in_one_apply_is_refused(self, store: Store) -> None:
        one, two = created(self.a_gateway("one")), created(self.a_gateway("two"))
        assert statuses(store.apply([one, two, one], AUDIT))[::2] == ["refused", "refused"]
        assert "one" not in store.read().gateways

    def test_no_changes_are_no_outcomes(self, store: Store) -> None:
        assert store.apply([], AUDIT) == []

    def test_the_exceptions_of_drivers_never_leak(self, store: Store) -> None:
        with suppress(StoreError):
            store.apply([created(self.a_gateway("surrogate", description="\ud800"))], AUDIT)
        store.close()
        for use in (store.read, lambda: store.apply([created(self.a_gateway("late"))], AUDIT), store.close):
            with suppress(StoreError):
                use()


class StoreContract(PortContract):
    """What stores of our own promise on top."""

    @examples
    @given(fleet=fleets)
    def test_whatever_is_stored_reads_back_canonical(self, store: Store, fleet: list[Gateway]) -> None:
        stored(store, *(deleted(live) for live in store.read().gateways.values()))
        stored(store, *(created(gateway, SIGNATURE, a_stamp(gateway.name)) for gateway in fleet))
        live = store.read().gateways
        assert {name: found.gateway for name, found in live.items()} == {
            gateway.name: store.canonical(gateway) for gateway in fleet
        }
        assert {name: found.stamp for name, found in live.items()} == {each.name: a_stamp(each.name) for each in fleet}

    def test_when_one_of_five_is_refused_nothing_at_all_is_written(self, store: Store) -> None:
        changes = self.five_of_which_the_third_is_refused(store)
        held = store.read()
        outcomes = store.apply(changes, AUDIT)
        assert statuses(outcomes) == ["skipped", "skipped", "refused", "skipped", "skipped"]
        assert all("`c`" in outcome.reason for outcome in outcomes if outcome.status == "skipped")
        assert store.read() == held

    def test_two_names_of_one_slug_are_refused_in_one_apply(self, store: Store) -> None:
        together = store.apply([created(a_gateway("gw-two")), created(a_gateway("gw_two"))], AUDIT)
        assert statuses(together) == ["skipped", "refused"]
        assert store.read().gateways == {}

    def test_the_same_name_twice_skips_everything_else(self, store: Store) -> None:
        outcomes = store.apply([created(a_gateway("one")), created(a_gateway("two")), created(a_gateway("one"))], AUDIT)
        assert statuses(outcomes) == ["refused", "skipped", "refused"]
        assert store.read().gateways == {}

    def test_five_hundred_gateways_are_created_updated_and_deleted(self, store: Store) -> None:
        fleet = [a_gateway(f"gw-{number:03}", ca_certificate="b" * 2000) for number in range(500)]
        stored(store, *(created(gateway, SIGNATURE, a_stamp(gateway.name)) for gateway in fleet))
        live = store.read().gateways
        assert [found.gateway for found in live.values()] == fleet
        stored(store, *(updated(each, replace(each.gateway, description="new")) for each in live.values()))
        live = store.read().gateways
        assert {found.gateway.description for found in live.values()} == {"new"}
        stored(store, *(deleted(each) for each in live.values()))
        assert store.read().gateways == {}

    def test_of_two_writers_with_one_plan_one_wins_and_the_other_is_refused(self, opened: Callable[[], Store]) -> None:
        stored(opened(), created(a_gateway("one")))
        before = opened().read().gateways["one"]
        start = threading.Barrier(4)
        results: list[tuple[str, str]] = []

        def write(description: str) -> None:
            store = opened()
            start.wait()
            (outcome,) = store.apply([updated(before, a_gateway("one", description=description))], AUDIT)
            results.append((outcome.status, description))
            store.close()

        writers = [threading.Thread(target=write, args=(f"writer {number}",)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert sorted(status for status, _ in results) == ["applied", "refused", "refused", "refused"]
        assert dict(results)["applied"] == opened().read().gateways["one"].gateway.description
