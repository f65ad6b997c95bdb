"""What a rollback would do, and above all what it would not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.canonical import digest, document
from reconciler.core.history import Commit, Entry, Step, mark_held, mark_written
from reconciler.core.model import (
    Action,
    Change,
    Gateway,
    LiveGateway,
    LiveState,
    Reason,
    SecretReference,
    Stamp,
    Transport,
)
from reconciler.core.planning import Terms
from reconciler.core.rollback import Rollback, Why, rollback
from reconciler.core.safety import Limits, judge
from reconciler.core.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TERMS = Terms("us")


def signed(text: str, key: str = "new") -> str:
    return f"{key}({text})" if text else ""


SIGNATURES = Signatures(
    expected=signed,
    genuine=lambda text, signature: signature in (signed(text), signed(text, "old")),
    current=lambda text, signature: signature == signed(text),
)
WITHOUT_A_KEY = Signatures(lambda _: "", lambda *_: True, lambda *_: True)


def row(name: str, *, owner: str = "us", signature: str | None = None, protected: bool = False, **fields: Any) -> Any:
    gateway = replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **fields)
    stamp = Stamp(owner, f"{name}.yaml", "main@sha1:1111", digest(document(gateway)), protected) if owner else None
    return LiveGateway(gateway, signed(gateway.ca_certificate) if signature is None else signature, stamp, "t")


def step(before: LiveGateway | None, after: LiveGateway | None, status: str = "applied") -> Step:
    """Return what an apply that made one row of another leaves behind."""
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    left = after or before
    assert left is not None
    gateway = after.gateway if after else None
    change = Change(action, left.gateway.name, Reason.ADDED, before, gateway, left.signature, left.stamp)
    return Step(change.name, action, "added", change.held_as, (), mark_written(change), before, status)


def rolled_back(steps: Iterable[Step], *rows: LiveGateway, **given: Any) -> Rollback:
    entry = Entry(NOW, "alice", "cli", "host:1", Commit(), "sqlite:///x.db", id=1, steps=tuple(steps))
    live = LiveState({each.gateway.name: each for each in rows})
    return rollback(entry, live, given.get("signatures", SIGNATURES), given.get("terms", TERMS))


def left(found: Rollback) -> list[tuple[str, Why]]:
    assert not found.plan.changes
    return [(each.name, each.why) for each in found.left]


def only_change(found: Rollback) -> Change:
    assert not found.left
    (change,) = found.plan.changes
    return change


OLD, NEW = row("a", description="old", ca_certificate="OLD"), row("a", description="new", ca_certificate="NEW")


def test_what_was_created_is_deleted() -> None:
    change = only_change(rolled_back([step(None, NEW)], NEW))
    assert (change.action, change.name, change.before, change.after) == (Action.DELETE, "a", NEW, None)


def test_what_was_updated_is_what_it_was_with_its_signature_and_stamp() -> None:
    change = only_change(rolled_back([step(OLD, NEW)], NEW))
    assert (change.action, change.before, change.after) == (Action.UPDATE, NEW, OLD.gateway)
    assert (change.signature, change.stamp) == (OLD.signature, OLD.stamp)
    assert (change.reason, change.fields) == (Reason.ROLLED_BACK, ("description", "ca_certificate"))


def test_what_was_deleted_is_created_again() -> None:
    change = only_change(rolled_back([step(OLD, None)]))
    assert (change.action, change.before, change.after) == (Action.CREATE, None, OLD.gateway)
    assert (change.signature, change.stamp) == (OLD.signature, OLD.stamp)


def test_what_was_renamed_gets_its_name_back() -> None:
    renamed = replace(NEW, gateway=replace(NEW.gateway, name="b"))
    renamed = replace(renamed, stamp=replace(NEW.stamp, digest=digest(document(renamed.gateway))))
    change = only_change(rolled_back([step(OLD, renamed)], renamed))
    assert (change.action, change.name, change.held_as, change.after) == (Action.UPDATE, "a", "b", OLD.gateway)


def test_what_was_adopted_is_nobodys_again() -> None:
    stray = row("a", owner="", description="stray")
    change = only_change(rolled_back([step(stray, NEW)], NEW))
    assert (change.after, change.stamp) == (stray.gateway, None)


def test_a_rollback_of_an_adoption_can_be_rolled_back() -> None:
    stray = row("a", owner="", description="stray")
    change = only_change(rolled_back([step(NEW, stray)], stray))
    assert (change.after, change.stamp) == (NEW.gateway, NEW.stamp)


def test_what_is_as_before_is_unchanged_whoever_made_it_so() -> None:
    renamed = row("b")
    steps = [step(None, row("x")), step(OLD, NEW), step(row("c"), None), step(row("d"), renamed)]
    found = rolled_back(steps, OLD, row("c"), row("d"))
    assert (found.plan.changes, found.left, found.plan.unchanged) == ((), (), 4)


@pytest.mark.parametrize("status", ["refused", "skipped"])
def test_what_was_not_made_is_not_undone(status: str) -> None:
    found = rolled_back([step(OLD, NEW, status)], NEW)
    assert (found.plan.changes, found.left, found.plan.unchanged) == ((), (), 0)


@pytest.mark.parametrize("status", ["failed", ""])
def test_where_nobody_knows_the_outcome_the_row_itself_says_it(status: str) -> None:
    steps = [step(OLD, NEW, status), step(None, row("b"), status)]
    assert only_change(rolled_back(steps, NEW)).after == OLD.gateway
    assert rolled_back(steps, OLD).plan.unchanged == 2


OTHERS = row("a", owner="them")
LEFT_ALONE = {
    "a newer apply changed it": (step(OLD, NEW), row("a", description="newer"), Why.CHANGED_SINCE),
    "its protection changed": (
        step(OLD, NEW),
        replace(NEW, stamp=replace(NEW.stamp, protected=True)),
        Why.CHANGED_SINCE,
    ),
    "it was signed anew": (step(OLD, NEW), replace(NEW, signature="new(NEW)!"), Why.CHANGED_SINCE),
    "somebody edited it": (step(OLD, NEW), replace(NEW, gateway=replace(NEW.gateway, description="!")), Why.DRIFTED),
    "a created one was edited": (step(None, NEW), replace(NEW, gateway=OLD.gateway), Why.DRIFTED),
    "it lost its owner": (step(OLD, NEW), replace(NEW, stamp=None), Why.NOT_OURS),
    "a created one lost its owner": (step(None, NEW), replace(NEW, stamp=None), Why.NOT_OURS),
    "somebody else has it now": (step(OLD, NEW), replace(NEW, stamp=OTHERS.stamp), Why.NOT_OURS),
    "somebody else's, it says": (step(None, OTHERS), OTHERS, Why.NOT_OURS),
    "nobody's was created, it says": (step(None, row("a", owner="")), row("a", owner=""), Why.NOT_OURS),
    "it belonged to somebody else": (step(OTHERS, NEW), NEW, Why.NOT_OURS),
    "somebody else's was deleted": (step(OTHERS, None), None, Why.NOT_OURS),
    "nobody's was deleted": (step(row("a", owner=""), None), None, Why.NOT_OURS),
    "it is gone": (step(OLD, NEW), None, Why.GONE),
    "it exists again": (step(OLD, None), NEW, Why.EXISTS),
    "it is protected": (step(None, row("a", protected=True)), row("a", protected=True), Why.PROTECTED),
    "no pre-image": (replace(step(OLD, NEW), before=None), NEW, Why.NO_PREIMAGE),
    "no pre-image of a delete": (replace(step(OLD, None), before=None), None, Why.NO_PREIMAGE),
    "an unreadable reference": (
        step(row("a", client_key=SecretReference("unknown", "sha256:0")), NEW),  # type: ignore[arg-type]
        NEW,
        Why.NO_PREIMAGE,
    ),
    "a forged bundle": (step(row("a", ca_certificate="EVIL", signature="new(OLD)"), NEW), NEW, Why.NOT_GENUINE),
    "a bundle nobody signed": (step(row("a", ca_certificate="EVIL", signature=""), None), None, Why.NOT_GENUINE),
    "a signature of nothing": (step(row("a", signature="new(EVIL)"), NEW), NEW, Why.NOT_GENUINE),
}


@pytest.mark.parametrize(("undo", "held", "why"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_a_row_is_left_alone(undo: Step, held: LiveGateway | None, why: Why) -> None:
    found = rolled_back([undo], *([held] if held else []))
    assert left(found) == [("a", why)]
    assert all(each.message and each.fix for each in found.left)


def test_a_name_that_another_has_by_now_is_not_taken_from_it() -> None:
    renamed = row("b")
    assert left(rolled_back([step(OLD, renamed)], renamed, row("a"))) == [("b", Why.NAME_TAKEN)]


def test_what_an_older_trusted_key_signed_is_signed_anew() -> None:
    older = row("a", ca_certificate="OLD", signature=signed("OLD", "old"))
    assert only_change(rolled_back([step(older, NEW)], NEW)).signature == signed("OLD")


def test_without_a_key_a_signature_stays_as_it_was() -> None:
    odd = row("a", ca_certificate="OLD", signature="whatever")
    assert only_change(rolled_back([step(odd, NEW)], NEW, signatures=WITHOUT_A_KEY)).signature == "whatever"


def test_a_row_that_had_drifted_is_stamped_as_it_is_written() -> None:
    drifted = replace(OLD, gateway=replace(OLD.gateway, description="by hand"))
    stamp = only_change(rolled_back([step(drifted, NEW)], NEW)).stamp
    assert stamp is not None
    assert (stamp.digest, stamp.revision) == (digest(document(drifted.gateway)), "main@sha1:1111")


def test_what_the_policy_does_not_permit_is_held_back() -> None:
    created, updated = row("c"), step(OLD, NEW)
    found = rolled_back([updated, step(None, created)], NEW, created, terms=Terms("us", policy="upsert-only"))
    assert [change.name for change in found.plan.changes] == ["a"]
    assert [change.name for change in found.plan.held_back] == ["c"]


def test_one_that_is_left_alone_does_not_keep_the_others() -> None:
    found = rolled_back([step(OLD, NEW), step(None, row("b"))], NEW, row("b", description="newer"))
    assert [change.name for change in found.plan.changes] == ["a"]
    assert [each.name for each in found.left] == ["b"]


def test_the_guards_count_our_gateways_and_what_remains_of_them() -> None:
    rows = [row(f"g{number}") for number in range(10)]
    found = rolled_back([step(None, each) for each in rows], *rows, row("x", owner="them"))
    assert (found.plan.existing, found.plan.desired, found.plan.count(Action.DELETE)) == (10, 0, 10)
    failed = {verdict.guard for verdict in judge(found.plan, Limits()) if not verdict.passed}
    assert failed == {"empty_set", "max_delete_percent"}


def test_the_same_rollback_is_the_same_plan() -> None:
    steps = [step(None, row("b")), step(OLD, NEW)]
    one, other = (rolled_back(order, NEW, row("b")) for order in (steps, steps[::-1]))
    assert one == other
    assert one.plan.checksum == other.plan.checksum != rolled_back([], NEW).plan.checksum
    assert mark_held(NEW) != mark_held(OLD)
