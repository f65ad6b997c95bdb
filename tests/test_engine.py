"""One pass over a store: what is written, what is held, what is looked at, and what is known afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from reconciler.core.conditions import Condition
from reconciler.core.model import (
    Action,
    Audit,
    Auth,
    DesiredGateway,
    DesiredState,
    Feature,
    Gateway,
    LiveGateway,
    Outcome,
    SecretReference,
    Transport,
    VerifyPolicy,
)
from reconciler.core.observation import McpObservation, Observation, TlsObservation, Tool
from reconciler.core.planning import Terms
from reconciler.core.problems import Location, ProblemsError
from reconciler.core.safety import Limits
from reconciler.core.signatures import signatures
from reconciler.core.signing import Keyring, generate, load_private_key
from reconciler.demo.pki import Authority, Lifetime
from reconciler.engine import Engine
from reconciler.errors import InputError, StoreError
from reconciler.journal import Sighting
from reconciler.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import Change
    from reconciler.core.result import Result

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
AUDIT = Audit("me", "test", NOW)
ROOT = Authority.root("Root", Lifetime.around(NOW))
REQUIRED, OFF = VerifyPolicy("required"), VerifyPolicy("off")
UP = McpObservation(True, protocol_version="2025-11-25", tools=(Tool("charge", ""),))
DOWN = McpObservation(False, "ConnectionRefused", "nobody there")


class Key:
    """A signer over a new key."""

    def __init__(self) -> None:
        pair = generate()
        self.public_key = pair.public
        self._private = load_private_key(pair.private)

    def sign(self, payload: bytes) -> bytes:
        return self._private.sign(payload)


OURS, OLD, STRANGER = Key(), Key(), Key()
KEYRING = Keyring.of_raw({"ours": OURS.public_key, "old": OLD.public_key})


@dataclass
class Upstreams:
    """What stands at each URL: whoever is not among `down` answers. Every look is kept."""

    down: set[str] = field(default_factory=set)
    looks: list[tuple[str, str, VerifyPolicy]] = field(default_factory=list)

    def __call__(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        self.looks.extend((gateway.name, gateway.url, policy) for gateway, policy in subjects)
        return [
            Observation(gateway.name, gateway.url, TlsObservation(True), DOWN if gateway.url in self.down else UP, 0.1)
            for gateway, _ in subjects
        ]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.looks]


def gateway(name: str, **fields: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **fields)


def wanted(*fleet: Gateway, policies: Mapping[str, VerifyPolicy] | None = None) -> DesiredState:
    given = policies or {}
    return DesiredState(
        {each.name: DesiredGateway(each, Location(f"{each.name}.yaml"), (), given.get(each.name, VerifyPolicy()))
         for each in fleet},
        revision="main@sha1:1234",
    )  # fmt: skip


def engine(store: MemoryStore | None = None, *, signer: Key | None = OURS, **options: Any) -> Engine:
    terms = Terms("me", prune=options.pop("prune", False))
    limits = options.pop("limits", Limits())
    return Engine(store or MemoryStore(), "memory", signatures(signer, KEYRING), KEYRING, terms, limits)


def applied(over: Engine, desired: DesiredState, prober: Upstreams | None = None) -> Result:
    return over.apply(over.plan(desired), desired, AUDIT, prober)


def outcomes(result: Result) -> list[tuple[str, str, str]]:
    return [(each.name, each.action.value, each.status) for each in result.outcomes]


def rows(over: Engine) -> dict[str, LiveGateway]:
    return dict(over.store.read().gateways)


def test_an_apply_writes_what_is_wanted_looks_at_it_and_leaves_nothing_to_do() -> None:
    over, upstreams = engine(), Upstreams()
    desired = wanted(gateway("a", ca_certificate=ROOT.pem), gateway("b"))
    result = applied(over, desired, upstreams)
    assert outcomes(result) == [("a", "create", "applied"), ("b", "create", "applied")]
    assert [(each.name, each.ok) for each in result.observations] == [("a", True), ("b", True)]
    assert KEYRING.verdict(ROOT.pem, rows(over)["a"].signature).key_name == "ours"
    assert over.plan(desired).in_sync


def test_without_a_prober_nothing_is_looked_at() -> None:
    over = engine()
    result = applied(over, wanted(gateway("a"), policies={"a": REQUIRED}))
    assert (outcomes(result), result.observations) == ([("a", "create", "applied")], ())


def test_only_what_was_written_and_is_to_be_looked_at_is() -> None:
    over, upstreams = engine(prune=True, limits=Limits(min_existing=99)), Upstreams()
    applied(over, wanted(gateway("gone"), gateway("same")))
    fleet = (gateway("same"), gateway("new"), gateway("disabled", enabled=False), gateway("off"))
    policy = VerifyPolicy(timeout_seconds=9.0, require_tools=("charge",))
    result = applied(over, wanted(*fleet, policies={"off": OFF, "new": policy}), upstreams)
    assert outcomes(result) == [
        ("disabled", "create", "applied"),
        ("gone", "delete", "applied"),
        ("new", "create", "applied"),
        ("off", "create", "applied"),
    ]
    assert upstreams.looks == [("new", "https://new.example/mcp", policy)]


def test_an_upstream_that_is_down_is_reported_and_written_all_the_same() -> None:
    over = engine()
    result = applied(over, wanted(gateway("a")), Upstreams({"https://a.example/mcp"}))
    assert (outcomes(result), [each.ok for each in result.observations]) == ([("a", "create", "applied")], [False])


def test_a_guard_that_refuses_leaves_the_store_as_it_was_and_nothing_is_looked_at() -> None:
    over, upstreams = engine(prune=True, limits=Limits(min_existing=2)), Upstreams()
    applied(over, wanted(*(gateway(name) for name in "abcd")))
    before = rows(over)
    result = applied(over, wanted(gateway("a"), gateway("new")), upstreams)
    assert (result.refused, result.outcomes, result.observations) == (True, (), ())
    assert (rows(over), upstreams.looks) == (before, [])
    assert any("3 of 4" in verdict.message for verdict in result.verdicts if not verdict.passed)


def test_a_required_create_that_would_not_work_is_held_and_the_others_are_written() -> None:
    over, upstreams = engine(), Upstreams({"https://b.example/mcp"})
    desired = wanted(*(gateway(name) for name in "abc"), policies={"b": REQUIRED, "c": REQUIRED})
    result = applied(over, desired, upstreams)
    assert outcomes(result) == [("a", "create", "applied"), ("b", "create", "refused"), ("c", "create", "applied")]
    assert result.outcomes[1].reason == "held, because the upstream would not work with it (ConnectionRefused)"
    assert sorted(rows(over)) == ["a", "c"]
    assert [each.name for each in result.observations] == ["b", "a", "c"]
    assert upstreams.names == ["b", "c", "a", "c"]


def moved(store: Engine, upstreams: Upstreams, **fields: Any) -> Result:
    """Apply a gateway whose verification is required, and then the same at another URL."""
    applied(store, wanted(gateway("a", **fields)))
    after = gateway("a", url="https://new.example/mcp")
    return applied(store, wanted(after, policies={"a": REQUIRED}), upstreams)


def test_an_update_that_would_break_a_working_upstream_is_held_and_the_old_row_stays() -> None:
    over, upstreams = engine(), Upstreams({"https://new.example/mcp"})
    result = moved(over, upstreams)
    assert outcomes(result) == [("a", "update", "refused")]
    assert rows(over)["a"].gateway.url == "https://a.example/mcp"
    assert [url for _, url, _ in upstreams.looks] == ["https://new.example/mcp", "https://a.example/mcp"]


def test_an_update_goes_on_when_what_is_there_does_not_work_either() -> None:
    over = engine()
    result = moved(over, Upstreams({"https://new.example/mcp", "https://a.example/mcp"}))
    assert outcomes(result) == [("a", "update", "applied")]
    assert rows(over)["a"].gateway.url == "https://new.example/mcp"
    assert [each.ok for each in result.observations] == [False]


def test_what_was_disabled_proves_nothing_and_is_held_until_it_works() -> None:
    over, upstreams = engine(), Upstreams({"https://new.example/mcp"})
    assert outcomes(moved(over, upstreams, enabled=False)) == [("a", "update", "refused")]
    assert [url for _, url, _ in upstreams.looks] == ["https://new.example/mcp"]


def test_disabling_what_is_required_needs_no_upstream() -> None:
    over, upstreams = engine(), Upstreams({"https://a.example/mcp"})
    applied(over, wanted(gateway("a")))
    result = applied(over, wanted(gateway("a", enabled=False), policies={"a": REQUIRED}), upstreams)
    assert (outcomes(result), upstreams.looks) == ([("a", "update", "applied")], [])


def test_a_new_signature_over_the_same_bundle_needs_no_leave_of_the_upstream() -> None:
    store = MemoryStore()
    desired = wanted(gateway("a", ca_certificate=ROOT.pem), policies={"a": REQUIRED})
    applied(engine(store, signer=OLD), desired)
    over, upstreams = engine(store), Upstreams({"https://a.example/mcp"})
    (change,) = over.plan(desired).changes
    assert (change.reason.value, change.fields) == ("key_rotated", ())
    assert outcomes(applied(over, desired, upstreams)) == [("a", "update", "applied")]
    assert over.plan(desired).in_sync


def test_a_row_that_changed_since_the_plan_is_refused_and_not_looked_at() -> None:
    over, upstreams = engine(), Upstreams()
    applied(over, wanted(gateway("a"), gateway("b")))
    desired = wanted(gateway("a", description="ours"))
    stale = over.plan(desired)
    applied(over, wanted(gateway("a", description="faster")))
    result = over.apply(stale, desired, AUDIT, upstreams)
    assert (outcomes(result), upstreams.looks) == ([("a", "update", "refused")], [])
    assert rows(over)["a"].gateway.description == "faster"


class PoorStore(MemoryStore):
    """A store that knows neither SSE nor surrounding white space."""

    features: ClassVar = frozenset(Feature) - {Feature.SSE_TRANSPORT}

    def canonical(self, gateway: Gateway) -> Gateway:
        return replace(gateway, description=gateway.description.strip())


def test_what_the_store_cannot_hold_is_a_problem_before_anything_is_written() -> None:
    over = engine(PoorStore())
    with pytest.raises(ProblemsError) as refused:
        over.plan(wanted(gateway("a"), gateway("b"), gateway("c", transport=Transport.STREAMABLE_HTTP)))
    assert [problem.location.file for problem in refused.value.problems] == ["a.yaml", "b.yaml"]
    assert rows(over) == {}


def test_the_form_that_the_store_gives_back_is_no_difference() -> None:
    over = engine(PoorStore())
    desired = wanted(gateway("a", transport=Transport.STREAMABLE_HTTP, description=" spaced "))
    applied(over, desired)
    assert rows(over)["a"].gateway.description == "spaced"
    assert over.plan(desired).in_sync


def test_verify_looks_at_every_gateway_as_the_store_has_it_with_the_policy_of_its_manifest() -> None:
    over, upstreams = engine(), Upstreams({"https://b.example/mcp"})
    applied(over, wanted(gateway("a", ca_certificate=ROOT.pem), gateway("b")))
    patient = VerifyPolicy(timeout_seconds=60.0)
    one, two = over.verify(wanted(gateway("a"), gateway("x"), policies={"a": patient}).gateways, (), upstreams)
    assert upstreams.looks == [
        ("a", "https://a.example/mcp", patient),
        ("b", "https://b.example/mcp", VerifyPolicy()),
    ]
    assert (one.name, one.ready, one.bundle, one.revision) == ("a", True, "valid", "main@sha1:1234")
    assert (two.name, two.ready, two.bundle, two.why) == ("b", False, "none", "")


TOKEN = Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),))
SHADOW = Auth("bearer", (), (("token", SecretReference("file", "/etc/shadow")),))


@pytest.mark.parametrize(
    ("row", "reviewed", "sent"),
    [
        ({}, True, TOKEN),
        ({"url": "https://evil.example/mcp"}, True, Auth()),
        ({"auth": SHADOW}, True, Auth()),
        ({"ca_certificate": ROOT.pem}, True, TOKEN),  # an older bundle, signed by a trusted key
        ({}, False, Auth()),
    ],
)
def test_credentials_are_sent_only_where_git_sends_them(row: dict[str, Any], sent: Auth, *, reviewed: bool) -> None:
    over = engine()
    applied(over, wanted(gateway("a", **{"auth": TOKEN, **row})))
    seen: list[Auth] = []

    def prober(subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        seen.extend(each.auth for each, _ in subjects)
        return [Observation(each.name, each.url, None, UP, 0.1) for each, _ in subjects]

    git = wanted(gateway("a", auth=TOKEN)).gateways if reviewed else {}
    over.verify(git, (), prober)
    assert seen == [sent]


def test_credentials_are_not_sent_over_a_bundle_that_nobody_signed() -> None:
    store = MemoryStore()
    applied(engine(store, signer=None), wanted(gateway("a", auth=TOKEN, ca_certificate=ROOT.pem)))
    seen: list[Auth] = []

    def prober(subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        seen.extend(each.auth for each, _ in subjects)
        return [Observation(each.name, each.url, None, UP, 0.1) for each, _ in subjects]

    engine(store).verify(wanted(gateway("a", auth=TOKEN)).gateways, (), prober)
    assert seen == [Auth()]


@pytest.mark.parametrize(("old", "held"), [("https://old.example/mcp", True), ("https://a.example/mcp", False)])
def test_an_upstream_that_asks_for_credentials_works_only_if_they_were_withheld(old: str, *, held: bool) -> None:
    over = engine()
    applied(over, wanted(gateway("a", auth=TOKEN, url=old)))
    refused = McpObservation(ok=False, reason="Unauthorized")

    def prober(subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        return [Observation(each.name, each.url, None, refused, 0.1) for each, _ in subjects]

    desired = wanted(gateway("a", auth=TOKEN, description="new"), policies={"a": REQUIRED})
    result = over.apply(over.plan(desired), desired, AUDIT, prober)
    assert [outcome.status for outcome in result.outcomes] == ["refused" if held else "applied"]


def test_a_row_without_a_name_is_looked_at_like_any_other() -> None:
    over, upstreams = engine(), Upstreams()
    applied(over, wanted(gateway("", url="https://a.example/mcp")))
    (found,) = over.verify({}, (), upstreams)
    assert found.observation is not None


def test_what_is_disabled_or_off_is_excused_and_says_so() -> None:
    over, upstreams = engine(), Upstreams()
    applied(over, wanted(gateway("a"), gateway("b", enabled=False), gateway("c")))
    found = over.verify(wanted(gateway("c"), policies={"c": OFF}).gateways, (), upstreams)
    assert [(each.name, each.why, each.ready) for each in found] == [
        ("a", "", True),
        ("b", "not looked at: it is disabled", True),
        ("c", "not looked at: verify.mode is off", True),
    ]
    assert [each.observation is None for each in found] == [False, True, True]
    assert upstreams.names == ["a"]


def test_verify_looks_at_the_named_ones_alone() -> None:
    over, upstreams = engine(), Upstreams()
    applied(over, wanted(*(gateway(name) for name in "abc")))
    assert [each.name for each in over.verify({}, ("c", "a"), upstreams)] == ["a", "c"]
    assert upstreams.names == ["a", "c"]


def test_every_unknown_name_is_named_and_nothing_is_looked_at() -> None:
    over, upstreams = engine(), Upstreams()
    applied(over, wanted(gateway("a")))
    with pytest.raises(InputError, match="no gateway named x, y"):
        over.verify({}, ("y", "a", "x"), upstreams)
    assert upstreams.looks == []


def tampered(over: Engine, **fields: Any) -> None:
    """Change the row `a` in the memory store, as somebody else with access to it would."""
    assert isinstance(over.store, MemoryStore)
    over.store._gateways["a"] = replace(over.store._gateways["a"], **fields)


@pytest.mark.parametrize(
    ("signature", "state"),
    [("", "missing"), ("5f" * 64, "invalid"), (STRANGER.sign(ROOT.pem.encode()).hex(), "invalid")],
    ids=["removed", "made up", "a stranger's"],
)
def test_a_forged_signature_is_never_ready_although_the_upstream_answers(signature: str, state: str) -> None:
    over = engine()
    applied(over, wanted(gateway("a", ca_certificate=ROOT.pem)))
    tampered(over, signature=signature, stamp=None)
    (found,) = over.verify({}, (), Upstreams())
    assert (found.bundle, found.ready, found.revision) == (state, False, "")
    assert found.observation is not None
    assert found.observation.ok


def test_a_signature_without_a_bundle_is_tampering_too() -> None:
    over = engine()
    applied(over, wanted(gateway("a")))
    tampered(over, signature="5f" * 64)
    (found,) = over.verify({}, (), Upstreams())
    assert (found.bundle, found.ready) == ("invalid", False)


def test_what_an_apply_looked_at_is_known_as_it_wrote_or_would_have_written_it() -> None:
    over = engine(prune=True, limits=Limits(min_existing=99))
    applied(over, wanted(gateway("gone")))
    desired = wanted(
        gateway("a", ca_certificate=ROOT.pem), gateway("b", ca_certificate=ROOT.pem), policies={"b": REQUIRED}
    )
    result = applied(over, desired, Upstreams({"https://b.example/mcp"}))
    known = {each.name: each for each in over.examiner.examined_changes(result, desired)}
    assert sorted(known) == ["a", "b"]
    assert [(known[name].ready, known[name].bundle, known[name].revision) for name in "ab"] == [
        (True, "valid", "main@sha1:1234"),
        (False, "valid", "main@sha1:1234"),
    ]
    assert [known[name].record.value for name in "ab"] == ["valid", "unknown"]  # `b` was held, and so nobody signed it
    assert [change.action for change in result.plan.changes][-1] is Action.DELETE


def test_a_standing_is_what_was_observed_and_what_the_row_shows_now() -> None:
    over = engine()
    applied(over, wanted(gateway("a", ca_certificate=ROOT.pem), gateway("b", enabled=False)))
    before = NOW - timedelta(days=3)
    known = [
        Condition("Synced", "True", "Applied", "long ago", "r0", before),
        Condition("Trusted", "False", "SignatureInvalid", "then", "r0", before),
        Condition("Reachable", "True", "TlsVerified", "TLSv1.3", "r0", before),
        Condition("Healthy", "False", "NotMcp", "a web page", "r0", before),
        Condition("Imaginary", "False", "No", "of no kind we know", "r0", before),
    ]
    one, two = over.standings({"a": known}, {"a": Sighting(before, False, 7, None)}, NOW)
    assert [(each.type, each.status, each.since) for each in one.conditions] == [
        ("Ready", "False", before),
        ("Synced", "True", before),
        ("Trusted", "True", NOW),
        ("Reachable", "True", before),
        ("Healthy", "False", before),
    ]
    assert one.conditions[0].message == "Healthy: a web page"
    assert (one.owner, one.revision, one.tools, one.verified_at) == ("me", "main@sha1:1234", 7, before)
    assert [certificate.subject for certificate in one.certificates] == ["CN=Root"]
    assert [(each.type, each.status) for each in two.conditions] == [
        ("Ready", "True"), ("Synced", "True"), ("Trusted", "True"),
    ]  # fmt: skip
    assert (two.enabled, two.certificates, two.tools, two.verified_at) == (False, (), None, None)


def test_a_row_that_nobody_owns_or_that_drifted_stands_as_such() -> None:
    over = engine()
    applied(over, wanted(gateway("a")))
    tampered(over, gateway=gateway("a", description="by hand"))
    (drifted,) = over.standings({}, {}, NOW)
    tampered(over, stamp=None)
    (unowned,) = over.standings({}, {}, NOW)
    assert [(each.owner, each.conditions[0].status, each.conditions[0].reason) for each in (drifted, unowned)] == [
        ("me", "False", "Drifted"),
        ("", "Unknown", "Unowned"),
    ]


def test_signatures_of_every_trusted_key_are_genuine_and_only_ours_is_current() -> None:
    said = signatures(OURS, KEYRING)
    ours, old, stranger = (key.sign(b"text").hex() for key in (OURS, OLD, STRANGER))
    assert said.expected("text") == ours
    assert [said.genuine("text", each) for each in (ours, old, stranger, "")] == [True, True, False, False]
    assert [said.current("text", each) for each in (ours, old)] == [True, False]
    assert (said.expected(""), said.genuine("", ""), said.current("", "")) == ("", True, True)
    assert not said.genuine("", ours)


def test_without_a_signer_the_trusted_keys_still_judge() -> None:
    said = signatures(None, KEYRING)
    assert (said.expected("text"), said.current("text", "anything")) == ("", True)
    assert said.genuine("text", OLD.sign(b"text").hex())
    assert not said.genuine("text", STRANGER.sign(b"text").hex())


def test_without_any_key_nothing_is_called_tampering() -> None:
    said = signatures(None, Keyring.of({}))
    assert said.genuine("text", "anything")
    assert said.genuine("text", "")


class OneByOne(MemoryStore):
    """A store without transactions, as the platforms' are, in which some names cannot be written."""

    features: ClassVar = frozenset(Feature) - {Feature.ATOMIC}

    def __init__(self, refusing: str = "", failing: str = "") -> None:
        super().__init__()
        self.refusing, self.failing = refusing, failing
        self.order: list[str] = []

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        (change,) = changes
        self.order.append(change.name)
        if change.name == self.failing:
            raise StoreError("the platform hung up", fix="try again")
        if change.name == self.refusing:
            return [Outcome(change.name, change.action, "refused", "stale")]
        return super().apply(changes, audit)


FLEET = wanted(*(gateway(name) for name in "abc"))


def test_without_transactions_what_cannot_be_written_does_not_stop_the_others() -> None:
    over = engine(OneByOne(refusing="b"))
    assert outcomes(applied(over, FLEET)) == [
        ("a", "create", "applied"), ("b", "create", "refused"), ("c", "create", "applied"),
    ]  # fmt: skip
    over.store.refusing = ""  # type: ignore[attr-defined]
    assert outcomes(applied(over, FLEET)) == [("b", "create", "applied")]


def test_aborting_at_the_first_error_names_it_to_the_others() -> None:
    over = engine(OneByOne(refusing="b"))
    result = over.apply(over.plan(FLEET), FLEET, AUDIT, None, on_error="abort")
    assert [each.status for each in result.outcomes] == ["applied", "refused", "skipped"]
    assert result.outcomes[2].reason == "not tried, because `b` could not be written"


def test_a_platform_that_fails_midway_is_an_outcome_and_from_the_start_an_error() -> None:
    over = engine(OneByOne(failing="b"))
    failed = applied(over, FLEET).outcomes[1]
    assert (failed.status, failed.reason) == ("failed", "the platform hung up: try again")
    with pytest.raises(StoreError, match="hung up"):
        applied(engine(OneByOne(failing="a")), FLEET)


def test_without_transactions_updates_go_first_and_creates_last_and_outcomes_keep_the_order_of_the_plan() -> None:
    store = OneByOne()
    over = engine(store, prune=True, limits=Limits(max_delete_percent=100))
    applied(over, wanted(gateway("b"), gateway("c")))
    store.order.clear()
    result = applied(over, wanted(gateway("a"), gateway("c", enabled=False)))
    assert store.order == ["c", "b", "a"]
    assert outcomes(result) == [("a", "create", "applied"), ("b", "delete", "applied"), ("c", "update", "applied")]
