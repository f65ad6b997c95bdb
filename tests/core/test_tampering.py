"""What a plan makes of rows that are not as they were signed, and of rows that were never signed at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.canonical import digest, document
from reconciler.core.drift import drifted
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
from reconciler.core.records import Memory, sign_record
from reconciler.core.safety import Limits, judge
from reconciler.core.signatures import Signatures, signatures
from reconciler.core.signing import Keyring, generate, load_private_key, sign_bundle
from reconciler.core.tampering import SAYINGS, Finding, finding


class Key:
    """A private key in memory."""

    def __init__(self) -> None:
        self._key = load_private_key(generate().private)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload)


OURS, OLDER, THEIRS = Key(), Key(), Key()
RING = Keyring.of_raw({"ours": OURS.public_key, "older": OLDER.public_key})
TERMS = Terms("us", prune=True)


def gateway(name: str = "a", **fields: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE, ca_certificate="CA"), **fields)


def row(found: Gateway, key: Key | None = OURS, *, owner: str = "us", protected: bool = False) -> LiveGateway:
    stamp = Stamp(owner, f"{found.name}.yaml", "r1", digest(document(found)), protected)
    bundle = sign_bundle(key, found.ca_certificate) if key is not None and found.ca_certificate else ""
    record = sign_record(key, found, stamp) if key is not None else ""
    return LiveGateway(found, bundle, stamp, "t", record)


def live(*rows: LiveGateway) -> LiveState:
    return LiveState({each.gateway.name: each for each in rows})


def git(*fleet: Gateway, protected: bool = False) -> DesiredState:
    wanted = {each.name: DesiredGateway(each, Location(f"{each.name}.yaml"), protected=protected) for each in fleet}
    return DesiredState(wanted, revision="r2")


def signed(memory: Memory | None = None) -> Signatures:
    return signatures(OURS, RING, memory)


def planned(want: DesiredState, found: LiveState, signs: Signatures | None = None, terms: Terms = TERMS) -> Plan:
    return plan(want, found, signs or signed(), terms)


def said(made: Plan) -> list[tuple[str, Reason]]:
    return [(change.name, change.reason) for change in made.changes]


def test_a_signed_row_that_is_as_git_says_is_left_alone() -> None:
    assert planned(git(gateway()), live(row(gateway()))).in_sync


def test_what_is_written_is_signed_with_its_stamp() -> None:
    (change,) = signed().signed(planned(git(gateway()), live()).changes)
    assert change.after is not None
    assert change.stamp is not None
    assert change.record == sign_record(OURS, change.after, change.stamp)


def test_a_manifest_that_changed_is_no_tampering() -> None:
    made = planned(git(gateway(url="https://new.example/mcp")), live(row(gateway())))
    assert (said(made), made.drift) == ([("a", Reason.MANIFEST_CHANGED)], ())


@pytest.mark.parametrize("as_git", [True, False])
def test_a_row_that_is_not_as_signed_is_tampering_whatever_git_wants(as_git: bool) -> None:
    evil = replace(row(gateway()), gateway=gateway(enabled=False))
    made = planned(git(gateway(enabled=not as_git)), live(evil))
    assert said(made) == [("a", Reason.TAMPERING)]
    assert [(each.reason, each.evidence) for each in made.drift] == [(Reason.TAMPERING, Finding.RECORD_NOT_GENUINE)]


def test_a_store_that_was_written_without_a_key_is_signed_as_an_update_like_any_other() -> None:
    found = live(row(gateway("a"), None), row(gateway("b", ca_certificate=""), None), row(gateway("c"), None))
    made = planned(git(gateway("a"), gateway("b", ca_certificate=""), gateway("c", enabled=False)), found)
    assert said(made) == [("a", Reason.UNSIGNED), ("b", Reason.UNSIGNED), ("c", Reason.MANIFEST_CHANGED)]
    assert made.drift == ()
    assert drifted(found, signed(), "us") == ()


def test_a_store_from_before_rows_were_signed_is_upgraded_as_an_update_like_any_other() -> None:
    before = replace(row(gateway()), record="")
    made = planned(git(gateway()), live(before))
    assert (said(made), made.drift) == ([("a", Reason.UNSIGNED)], ())
    assert [each.record for each in signed().signed(made.changes)] == [
        sign_record(OURS, each.after, each.stamp) for each in made.changes if each.after and each.stamp
    ]


def test_signing_for_the_first_time_is_not_held_up_by_its_amount() -> None:
    names = [f"g{number:02}" for number in range(20)]
    made = planned(git(*map(gateway, names)), live(*(row(gateway(name), None) for name in names)))
    assert len(made.changes) == 20
    assert all(verdict.passed for verdict in judge(made, Limits()))


@pytest.mark.parametrize("changed", [{"url": "https://evil.example"}, {"ca_certificate": "EVIL"}])
def test_an_unsigned_row_that_is_not_as_its_stamp_says_is_never_signed_silently(changed: dict[str, str]) -> None:
    evil = replace(row(gateway(), None), gateway=gateway(**changed))
    assert planned(git(gateway()), live(evil)).drift[0].reason in (Reason.DRIFT, Reason.TAMPERING)


def test_one_unsigned_row_among_signed_ones_was_stripped() -> None:
    found = live(row(gateway("a")), replace(row(gateway("b")), record=""))
    made = planned(git(gateway("a"), gateway("b")), found)
    assert [(each.name, each.evidence) for each in made.drift] == [("b", Finding.RECORD_MISSING)]


def test_a_machine_that_remembers_a_signed_store_is_not_told_that_it_never_was() -> None:
    found = live(replace(row(gateway()), record=""))
    assert planned(git(gateway()), found, signed(Memory({b"x" * 32}))).drift[0].evidence is Finding.RECORD_MISSING


def test_without_any_key_nothing_is_called_tampering() -> None:
    evil = replace(row(gateway()), gateway=gateway(enabled=False), record="")
    made = plan(git(gateway()), live(evil), signatures(None, Keyring()), TERMS)
    assert [each.reason for each in made.drift] == [Reason.DRIFT]


def test_a_row_of_an_older_trusted_key_is_signed_again() -> None:
    assert said(planned(git(gateway()), live(row(gateway(), OLDER)))) == [("a", Reason.KEY_ROTATED)]
    alone = row(gateway(ca_certificate=""), OLDER)
    assert said(planned(git(alone.gateway), live(alone))) == [("a", Reason.KEY_ROTATED)]


def test_a_row_that_git_lost_and_that_stays_is_signed_again_as_it_is() -> None:
    old = row(gateway(), OLDER, protected=True)
    (change,) = planned(git(), live(old)).changes
    assert (change.action, change.reason, change.after) == (Action.UPDATE, Reason.KEY_ROTATED, old.gateway)
    assert change.stamp == old.stamp
    evil = replace(old, gateway=gateway(url="https://evil.example"))
    assert planned(git(), live(evil)).changes == ()


def test_an_owner_that_was_changed_is_seen_through() -> None:
    ours = row(gateway())
    assert ours.stamp is not None
    disguised = replace(ours, stamp=replace(ours.stamp, owner="them"))
    assert said(planned(git(gateway()), live(disguised))) == [("a", Reason.TAMPERING)]


def test_a_row_that_others_signed_is_theirs() -> None:
    made = planned(git(gateway()), live(row(gateway(), THEIRS, owner="them")))
    assert (made.changes, [each.owner for each in made.conflicts]) == ((), ["them"])


def test_a_row_is_not_deleted_because_somebody_took_its_protection_away() -> None:
    kept = row(gateway(), protected=True)
    assert kept.stamp is not None
    bared = replace(kept, stamp=replace(kept.stamp, protected=False))
    made = planned(git(), live(bared))
    assert (made.changes, [each.why for each in made.orphans]) == ((), ["protected"])
    assert made.drift[0].evidence is Finding.RECORD_NOT_GENUINE


def test_a_planted_row_is_named_and_goes_with_what_git_does_not_want() -> None:
    planted = replace(row(gateway("evil"), THEIRS))
    made = planned(git(gateway()), live(row(gateway()), planted))
    assert said(made) == [("evil", Reason.REMOVED_FROM_GIT)]
    assert [(each.name, each.reason) for each in made.drift] == [("evil", Reason.TAMPERING)]


def test_a_renamed_row_that_was_tampered_with_is_named_once() -> None:
    evil = replace(row(gateway("a", url="https://same.example")), record="ab" * 64)
    made = planned(git(gateway("b", url="https://same.example")), live(evil))
    assert [(each.name, each.reason) for each in made.drift] == [("b", Reason.TAMPERING)]


def test_the_first_look_after_a_write_needs_no_verification() -> None:
    memory = Memory()
    signs = signed(memory)
    (change,) = signs.signed(planned(git(gateway()), live(), signs).changes)
    signs.written(change)
    assert len(memory.rows) == 1


def test_every_finding_has_words() -> None:
    assert SAYINGS.keys() == set(Finding)
    assert finding(row(gateway()), signed()) is None
