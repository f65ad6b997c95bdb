"""Planning is a function of two values; these are its laws."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.canonical import digest, document
from reconciler.core.model import (
    Action,
    Change,
    DesiredGateway,
    DesiredState,
    Gateway,
    LiveGateway,
    LiveState,
    Reason,
    Stamp,
    Transport,
)
from reconciler.core.planning import Plan, Terms, differing_fields, plan
from reconciler.core.problems import Location
from reconciler.core.signatures import Signatures

if TYPE_CHECKING:
    import random

OWNER = "team-a"


def sign(text: str) -> str:
    return f"signed({text})" if text else ""


SIGNED = Signatures(
    expected=sign,
    genuine=lambda text, signature: signature in (sign(text), f"old-key-{sign(text)}"),
    current=lambda text, signature: signature == sign(text),
)
UNSIGNED = Signatures(expected=lambda _: "", genuine=lambda *_: True, current=lambda *_: True)

names = st.from_regex(r"[a-z]{1,4}", fullmatch=True)


@st.composite
def gateways(draw: st.DrawFn, name: str) -> Gateway:
    return Gateway(
        name=name,
        url=draw(st.sampled_from(["https://a.example/mcp", "https://b.example/mcp"])),
        transport=draw(st.sampled_from(Transport)),
        enabled=draw(st.booleans()),
        ca_certificate=draw(st.sampled_from(["", "CA ONE", "CA TWO"])),
    )


@st.composite
def desired_states(draw: st.DrawFn) -> DesiredState:
    wanted = {
        name: DesiredGateway(draw(gateways(name)), Location(f"{name}.yaml"), protected=draw(st.booleans()))
        for name in draw(st.lists(names, unique=True, max_size=8))
    }
    return DesiredState(wanted, complete=draw(st.booleans()))


@st.composite
def live_states(draw: st.DrawFn) -> LiveState:
    found = {}
    for name in draw(st.lists(names, unique=True, max_size=8)):
        gateway = draw(gateways(name))
        owner = draw(st.sampled_from([OWNER, "team-b", None]))
        written = draw(st.sampled_from([gateway, replace(gateway, description="as written")]))
        stamp = Stamp(owner, "m.yaml", "r", digest(document(written)), draw(st.booleans())) if owner else None
        signature = draw(st.sampled_from([sign(gateway.ca_certificate), "forged", ""]))
        found[name] = LiveGateway(gateway, signature, stamp, token=f"t-{name}")
    return LiveState(found)


def live(*gateways: Gateway, owner: str = OWNER, protected: bool = False) -> LiveState:
    """Return a store that holds exactly what we wrote."""
    return LiveState(
        {
            gateway.name: LiveGateway(
                gateway,
                sign(gateway.ca_certificate),
                Stamp(owner, "m.yaml", "r1", digest(document(gateway)), protected),
                "t",
            )
            for gateway in gateways
        }
    )


def desired(*gateways: Gateway, complete: bool = True, protected: bool = False) -> DesiredState:
    return DesiredState(
        {g.name: DesiredGateway(g, Location(f"{g.name}.yaml"), protected=protected) for g in gateways},
        complete=complete,
        revision="r2",
    )


def gateway(name: str = "a", **changes: object) -> Gateway:
    return replace(
        Gateway(name, "https://a.example/mcp", Transport.SSE, ca_certificate="CA ONE"),
        **changes,  # type: ignore[arg-type]
    )


def applied(before: LiveState, changes: tuple[Change, ...]) -> LiveState:
    """Return what a faithful store holds after these changes."""
    after = dict(before.gateways)
    for change in changes:
        if change.before is not None:
            del after[change.held_as]
        if change.after is not None:
            after[change.name] = LiveGateway(change.after, change.signature, change.stamp, "new")
    return LiveState(after)


def only(planned: Plan) -> Change:
    (change,) = planned.changes
    return change


terms = st.builds(
    Terms,
    owner=st.just(OWNER),
    prune=st.booleans(),
    policy=st.sampled_from(["sync", "upsert-only", "create-only"]),
    adopt=st.frozensets(names, max_size=4),
)


@given(desired_states(), live_states(), terms)
def test_applying_a_plan_and_planning_again_changes_nothing_more(
    want: DesiredState, found: LiveState, terms: Terms
) -> None:
    first = plan(want, found, SIGNED, terms)
    second = plan(want, applied(found, first.changes), SIGNED, terms)
    assert second.changes == ()


@given(desired_states(), live_states(), terms, st.randoms(use_true_random=False))
def test_order_of_input_does_not_matter(
    want: DesiredState, found: LiveState, terms: Terms, shuffle: random.Random
) -> None:
    items = list(found.gateways.items())
    shuffle.shuffle(items)
    assert plan(want, found, SIGNED, terms) == plan(want, LiveState(dict(items)), SIGNED, terms)


@given(desired_states(), live_states(), terms)
def test_what_somebody_else_owns_is_never_touched(want: DesiredState, found: LiveState, terms: Terms) -> None:
    planned = plan(want, found, SIGNED, terms)
    for change in planned.changes:
        if change.before is not None:
            stamp = change.before.stamp
            assert stamp.owner == OWNER if stamp else change.name in terms.adopt


@given(desired_states(), live_states(), terms)
def test_no_name_goes_without_prune_or_from_an_incomplete_tree_or_while_protected(
    want: DesiredState, found: LiveState, terms: Terms
) -> None:
    planned = plan(want, found, SIGNED, terms)
    going = [each for each in planned.changes if each.action is Action.DELETE or each.held_as != each.name]
    assert not going or (terms.prune and want.complete and terms.policy != "create-only")
    assert terms.policy == "sync" or not planned.count(Action.DELETE)
    for change in going:
        assert change.before is not None
        assert change.before.stamp is not None
        assert not change.before.stamp.protected
        assert change.held_as not in want.gateways


@given(desired_states(), live_states(), terms)
def test_a_rename_is_a_deletion_and_a_creation_that_would_have_been(
    want: DesiredState, found: LiveState, terms: Terms
) -> None:
    with_renames = plan(want, found, SIGNED, terms)
    without = plan(want, found, SIGNED, terms, renames=False)
    assert applied(found, with_renames.changes) == applied(found, without.changes) or terms.policy != "sync"
    gone = {change.name for change in (*without.changes, *without.held_back) if change.action is Action.DELETE}
    renamed = [each for each in with_renames.changes if each.held_as != each.name]
    for change in renamed:
        assert change.held_as in gone
        assert change.before is not None
        assert change.after is not None
        assert change.before.gateway.url == change.after.url
        assert change.reason is Reason.RENAMED
    assert len({each.held_as for each in renamed}) == len(renamed)


def test_the_only_two_with_a_url_are_one_row_with_another_name() -> None:
    planned = plan(desired(gateway("b", enabled=False)), live(gateway("a")), SIGNED, Terms(OWNER, prune=True))
    change = only(planned)
    assert (change.action, change.held_as, change.name, change.fields) == (
        Action.UPDATE, "a", "b", ("name", "enabled"),
    )  # fmt: skip
    assert planned.drift == ()


def test_three_with_a_url_are_no_rename_for_nobody_knows_which() -> None:
    planned = plan(desired(gateway("b"), gateway("c")), live(gateway("a")), SIGNED, Terms(OWNER, prune=True))
    assert [change.action for change in planned.changes] == [Action.DELETE, Action.CREATE, Action.CREATE]


def test_a_row_that_was_tampered_with_is_renamed_and_the_tampering_is_told() -> None:
    (found,) = live(gateway("a")).gateways.values()
    planned = plan(
        desired(gateway("b")), LiveState({"a": replace(found, signature="x")}), SIGNED, Terms(OWNER, prune=True)
    )
    assert [(each.name, each.reason) for each in planned.drift] == [("b", Reason.TAMPERING)]
    assert only(planned).signature == sign("CA ONE")


@given(desired_states(), live_states(), terms)
def test_every_wanted_gateway_is_accounted_for_once(want: DesiredState, found: LiveState, terms: Terms) -> None:
    planned = plan(want, found, SIGNED, terms)
    touched = [c.name for c in (*planned.changes, *planned.held_back) if c.action is not Action.DELETE]
    assert len(touched) + len(planned.conflicts) + planned.unchanged == planned.desired == len(want.gateways)


def test_a_changed_manifest_is_told_from_drift() -> None:
    old, new = gateway(), gateway(url="https://new.example/mcp")
    intended = only(plan(desired(new), live(old), SIGNED, Terms(OWNER)))
    assert (intended.reason, intended.fields) == (Reason.MANIFEST_CHANGED, ("url",))

    (found,) = live(old).gateways.values()
    drifted = LiveState({"a": replace(found, gateway=replace(old, enabled=False))})
    planned = plan(desired(old), drifted, SIGNED, Terms(OWNER))
    assert only(planned).reason is Reason.DRIFT
    assert [(drift.name, drift.fields) for drift in planned.drift] == [("a", ("enabled",))]


def test_a_bundle_that_was_not_signed_is_tampering_and_is_written_again() -> None:
    (found,) = live(gateway()).gateways.values()
    for signature in ("forged", ""):
        planned = plan(desired(gateway()), LiveState({"a": replace(found, signature=signature)}), SIGNED, Terms(OWNER))
        change = only(planned)
        assert change.reason is Reason.TAMPERING
        assert change.signature == sign("CA ONE")
        assert planned.drift[0].fields == ("ca_certificate_sig",)


def test_a_bundle_signed_by_an_older_trusted_key_is_signed_again() -> None:
    (found,) = live(gateway()).gateways.values()
    old = LiveState({"a": replace(found, signature=f"old-key-{sign('CA ONE')}")})
    assert only(plan(desired(gateway()), old, SIGNED, Terms(OWNER))).reason is Reason.KEY_ROTATED


def test_an_unowned_gateway_is_a_conflict_until_it_is_adopted() -> None:
    (found,) = live(gateway()).gateways.values()
    unowned = LiveState({"a": replace(found, stamp=None)})
    refused = plan(desired(gateway()), unowned, SIGNED, Terms(OWNER))
    assert (refused.changes, refused.conflicts[0].owner) == ((), "")

    adopted = only(plan(desired(gateway()), unowned, SIGNED, Terms(OWNER, adopt=frozenset({"a"}))))
    assert (adopted.action, adopted.reason) == (Action.UPDATE, Reason.ADOPTED)
    assert adopted.stamp is not None
    assert adopted.stamp.owner == OWNER


def test_another_owners_gateway_cannot_be_adopted() -> None:
    theirs = live(gateway(), owner="team-b")
    planned = plan(desired(gateway(enabled=False)), theirs, SIGNED, Terms(OWNER, adopt=frozenset({"a"})))
    assert planned.changes == ()
    assert (planned.conflicts[0].owner, planned.conflicts[0].fields) == ("team-b", ("enabled",))


def test_protection_outlives_the_manifest_and_takes_two_steps_to_remove() -> None:
    pruning = Terms(OWNER, prune=True)
    protected = live(gateway(), protected=True)
    removed = plan(desired(), protected, SIGNED, pruning)
    assert removed.changes == ()
    assert removed.orphans[0].why == "protected"

    unprotected = plan(desired(gateway()), protected, SIGNED, pruning)
    assert only(unprotected).reason is Reason.PROTECTION_CHANGED
    then = plan(desired(), applied(protected, unprotected.changes), SIGNED, pruning)
    assert only(then).action is Action.DELETE


def test_orphans_say_why_they_are_kept() -> None:
    for want, terms, why in (
        (desired(), Terms(OWNER), "not pruned"),
        (desired(complete=False), Terms(OWNER, prune=True), "tree incomplete"),
    ):
        assert plan(want, live(gateway()), SIGNED, terms).orphans[0].why == why


def test_a_policy_holds_back_what_it_does_not_permit_and_says_so() -> None:
    want = desired(gateway("a", enabled=False), gateway("b"))
    planned = plan(want, live(gateway("a"), gateway("c")), SIGNED, Terms(OWNER, prune=True, policy="create-only"))
    assert [change.name for change in planned.changes] == ["b"]
    assert [(c.name, c.action) for c in planned.held_back] == [("a", Action.UPDATE), ("c", Action.DELETE)]


def test_a_selection_leaves_everything_else_alone() -> None:
    want = desired(gateway("a"), gateway("b"))
    planned = plan(want, live(gateway("c")), SIGNED, Terms(OWNER, prune=True, only=frozenset({"b"})))
    assert [change.name for change in planned.changes] == ["b"]


def test_a_selection_by_label_does_the_same() -> None:
    labelled = DesiredState(
        {
            name: DesiredGateway(gateway(name), Location("f"), labels=(("team", team),))
            for name, team in (("a", "x"), ("b", "y"))
        }
    )
    terms = Terms(OWNER, prune=True, labels=frozenset({("team", "y")}))
    assert [change.name for change in plan(labelled, live(gateway("c")), SIGNED, terms).changes] == ["b"]


def test_without_any_key_nothing_is_called_tampering() -> None:
    (found,) = live(gateway()).gateways.values()
    anything = LiveState({"a": replace(found, signature="whatever")})
    assert plan(desired(gateway()), anything, UNSIGNED, Terms(OWNER)).changes == ()


def test_the_checksum_moves_with_every_token_and_every_value() -> None:
    (found,) = live(gateway()).gateways.values()
    sums = {
        plan(
            desired(gateway(enabled=enabled)), LiveState({"a": replace(found, token=token)}), SIGNED, Terms(OWNER)
        ).checksum
        for enabled in (False, True)
        for token in ("t1", "t2")
    }
    assert len(sums) == 3  # equal states plan nothing, whatever the token


def test_differing_fields_are_named_in_the_order_of_the_class() -> None:
    assert differing_fields(gateway(), gateway(tags=("x",), url="https://n.example")) == ("url", "tags")


def test_a_secret_that_has_another_value_is_written_again_and_is_nobodys_doing() -> None:
    (row,) = live(gateway()).gateways.values()
    held = LiveState({row.gateway.name: replace(row, outdated=("auth",))})
    planned = plan(desired(gateway()), held, SIGNED, Terms(OWNER))
    assert [(change.reason, change.fields) for change in planned.changes] == [(Reason.SECRET_CHANGED, ("auth",))]
    assert planned.drift == ()
    changed = plan(desired(gateway(description="new")), held, SIGNED, Terms(OWNER))
    assert [(change.reason, change.fields) for change in changed.changes] == [
        (Reason.MANIFEST_CHANGED, ("description", "auth"))
    ]
