"""What a pass learnt becomes conditions, and the first that is not True decides whether a gateway is ready."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.canonical import digest, document
from reconciler.core.conditions import Condition, Status
from reconciler.core.model import Action, Gateway, LiveGateway, Outcome, Stamp, Transport
from reconciler.core.observation import UNREACHABLE, UNTRIED, McpObservation, Observation, TlsObservation, Tool
from reconciler.core.verification import (
    BundleState,
    Verified,
    ready,
    row_synced,
    synced,
    trusted,
    verified_conditions,
)

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
REVISION = "main@sha1:1234"
TLS = TlsObservation(True, version="TLSv1.3", trust="bundle")
MCP = McpObservation(True, protocol_version="2025-11-25", tools=(Tool("charge", ""), Tool("refund", "")))


def seen(tls: TlsObservation | None, mcp: McpObservation | None, *, why: str = "") -> Verified:
    observation = Observation("a", "https://a.example/mcp", tls, mcp, 0.1)
    return Verified("a", "https://a.example/mcp", observation, why, "valid", "k1", REVISION)


def condition(kind: str, verified: Verified) -> tuple[str, str, str]:
    found = {each.type: each for each in verified_conditions(verified, NOW)}
    assert list(found) == ["Trusted", "Reachable", "Healthy"]
    chosen = found[kind]
    assert (chosen.observed_revision, chosen.since) == (REVISION, NOW)
    return chosen.status, chosen.reason, chosen.message


def test_an_upstream_that_answers_is_reachable_and_healthy() -> None:
    assert condition("Reachable", seen(TLS, MCP)) == ("True", "TlsVerified", "TLSv1.3, trusted by the bundle")
    assert condition("Healthy", seen(TLS, MCP)) == ("True", "McpAnswered", "MCP 2025-11-25, 2 tools")


def test_what_tls_says_of_itself_is_kept() -> None:
    tls = replace(TLS, reason="SystemTrustOnly", message="only thanks to the system's CAs")
    assert condition("Reachable", seen(tls, MCP)) == ("True", "SystemTrustOnly", "only thanks to the system's CAs")


def test_a_refused_chain_is_not_reachable_and_leaves_mcp_unknown() -> None:
    verified = seen(TlsObservation(False, "20", "CaUnknown", "no way to an anchor"), None)
    assert condition("Reachable", verified) == ("False", "CaUnknown", "no way to an anchor")
    status, reason, _ = condition("Healthy", verified)
    assert (status, reason) == ("Unknown", "NotReached")


def test_an_upstream_that_does_not_speak_mcp_is_reachable_and_not_healthy() -> None:
    verified = seen(TLS, McpObservation(False, "NotMcp", "it is a web page"))
    assert condition("Reachable", verified)[0] == "True"
    assert condition("Healthy", verified) == ("False", "NotMcp", "it is a web page")


def test_plain_http_that_answers_is_reachable() -> None:
    assert condition("Reachable", seen(None, MCP)) == ("True", "PlainHttp", "reached without TLS")


@pytest.mark.parametrize("reason", sorted(UNREACHABLE))
def test_plain_http_without_a_connection_is_not_reachable(reason: str) -> None:
    verified = seen(None, McpObservation(False, reason, "nobody there"))
    assert condition("Reachable", verified) == ("False", reason, "nobody there")
    assert condition("Healthy", verified)[0] == "False"


@pytest.mark.parametrize("reason", sorted(UNTRIED))
def test_an_upstream_that_was_not_called_is_not_called_reachable(reason: str) -> None:
    verified = seen(None, McpObservation(False, reason, "TOKEN is not set"))
    assert condition("Reachable", verified) == ("Unknown", reason, "TOKEN is not set")
    assert condition("Healthy", verified) == ("False", reason, "TOKEN is not set")
    assert not verified.ready


def test_what_was_not_looked_at_is_unknown_and_says_why() -> None:
    verified = Verified("a", "u", None, "it is disabled", revision=REVISION)
    for kind in ("Reachable", "Healthy"):
        assert condition(kind, verified) == ("Unknown", "NotLookedAt", "it is disabled")
    assert verified.ready


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        ("valid", "True", "SignatureValid"),
        ("none", "True", "NoBundle"),
        ("invalid", "False", "SignatureInvalid"),
        ("missing", "False", "SignatureMissing"),
        ("unknown", "Unknown", "NoTrustedKey"),
    ],
)
def test_a_bundle_is_trusted_as_its_signature_is(state: BundleState, status: str, reason: str) -> None:
    verified = Verified("a", "u", None, "", state, "k1", REVISION)
    found = trusted(verified, NOW)
    assert (found.type, found.status, found.reason) == ("Trusted", status, reason)
    assert ("k1" in found.message) == (state == "valid")
    assert verified.ready == (status != "False")


def test_tampering_is_never_ready_however_well_the_upstream_answers() -> None:
    assert seen(TLS, MCP).ready
    assert not replace(seen(TLS, MCP), bundle="invalid").ready
    assert not replace(seen(TLS, MCP), bundle="missing").ready


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome("a", Action.CREATE, "applied"), ("True", "Applied", "create applied")),
        (Outcome("a", Action.UPDATE, "refused", "changed meanwhile"), ("False", "Refused", "changed meanwhile")),
        (Outcome("a", Action.UPDATE, "failed", "disk full"), ("False", "Failed", "disk full")),
        (Outcome("a", Action.DELETE, "skipped"), ("False", "Skipped", "delete skipped")),
    ],
    ids=lambda value: value.status if isinstance(value, Outcome) else "",
)
def test_an_outcome_leaves_a_condition_behind(outcome: Outcome, expected: tuple[str, str, str]) -> None:
    found = synced(outcome, REVISION, NOW)
    assert (found.status, found.reason, found.message) == expected
    assert (found.type, found.observed_revision, found.since) == ("Synced", REVISION, NOW)


def test_a_row_is_synced_while_it_is_what_was_written() -> None:
    gateway = Gateway("a", "https://a.example/mcp", Transport.SSE)
    stamp = Stamp("me", "a.yaml", REVISION, digest(document(gateway)))
    row = LiveGateway(gateway, "", stamp, "t")
    drifted = replace(row, gateway=replace(gateway, description="by hand"))
    expected = [
        (row, "True", "Applied", REVISION),
        (drifted, "False", "Drifted", REVISION),
        (replace(row, stamp=None), "Unknown", "Unowned", ""),
    ]
    for found, status, reason, revision in expected:
        condition = row_synced(found, NOW)
        assert (condition.status, condition.reason, condition.observed_revision) == (status, reason, revision)


def one(kind: str, status: Status, minutes: int = 0) -> Condition:
    return Condition(kind, status, f"{kind}{status}", f"{kind} is {status}", REVISION, NOW + timedelta(minutes=minutes))


def test_false_weighs_more_than_unknown_and_the_first_of_them_decides() -> None:
    found = ready([one("A", "True"), one("B", "Unknown"), one("C", "False", 5), one("D", "False", 9)], NOW)
    assert (found.type, found.status, found.reason) == ("Ready", "False", "CFalse")
    assert found.message == "C: C is False"
    assert found.since == NOW + timedelta(minutes=5)


def test_unknown_is_not_ready() -> None:
    found = ready([one("A", "True"), one("B", "Unknown", 3)], NOW)
    assert (found.status, found.reason, found.since) == ("Unknown", "BUnknown", NOW + timedelta(minutes=3))


def test_it_is_ready_since_the_last_of_its_conditions_became_true() -> None:
    found = ready([one("A", "True", 1), one("B", "True", 7), one("C", "True", 2)], NOW + timedelta(hours=1))
    assert (found.status, found.reason, found.since) == ("True", "Ready", NOW + timedelta(minutes=7))


def test_of_what_nothing_is_known_nothing_is_claimed() -> None:
    assert ready([], NOW).status == "Unknown"


statuses: st.SearchStrategy[Status] = st.sampled_from(("True", "False", "Unknown"))


@given(st.lists(st.tuples(statuses, st.integers(0, 99)), min_size=1, max_size=5))
def test_ready_is_true_only_when_everything_is(parts: list[tuple[Status, int]]) -> None:
    conditions = [one(f"T{number}", status, minutes) for number, (status, minutes) in enumerate(parts)]
    found = ready(conditions, NOW)
    expected = {status for status, _ in parts}
    assert found.status == ("False" if "False" in expected else "Unknown" if "Unknown" in expected else "True")
    assert found.since in {each.since for each in conditions}
