"""A record is over everything that a row says, and over nothing else."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import gateways

from reconciler.core.model import (
    Action,
    Auth,
    Change,
    ContextForgeOptions,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    Reason,
    SecretReference,
    Stamp,
    Transport,
    Visibility,
)
from reconciler.core.records import (
    PAYLOAD_TYPE,
    Memory,
    Records,
    RecordStatus,
    fingerprint,
    is_first_signing,
    payload,
    payload_digest,
    sign_record,
    verify_record,
)
from reconciler.core.signing import Keyring, Role, TrustedKey, generate, load_private_key

if TYPE_CHECKING:
    from collections.abc import Sequence

PAIR, OLD = generate(), generate()


class Key:
    """A signer that counts."""

    def __init__(self, private: bytes) -> None:
        self._key = load_private_key(private)
        self.signed = 0

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        self.signed += 1
        return self._key.sign(payload)


class Book:
    """A ledger of the digests that are superseded."""

    def __init__(self, *old: str) -> None:
        self.old = old

    def is_superseded(self, name: str, digest: str) -> bool:
        return f"{name} {digest}" in self.old

    def has_entries(self) -> bool:
        return bool(self.old)


KEY, OLD_KEY = Key(PAIR.private), Key(OLD.private)
RING = Keyring.of_raw({"ours": PAIR.public, "older": OLD.public})
GATEWAY = Gateway("a", "https://a.example/mcp", Transport.SSE, ca_certificate="CA ONE")
STAMP = Stamp("us", "gateways/a.yaml", "main@sha1:1111", "sha256:abc")

OTHER: dict[str, Any] = {
    "name": "b",
    "url": "https://b.example/mcp",
    "transport": Transport.STREAMABLE_HTTP,
    "description": "x",
    "enabled": False,
    "visibility": Visibility.PUBLIC,
    "tags": ("x",),
    "passthrough_headers": ("X-A",),
    "ca_certificate": "CA TWO",
    "system_trust": False,
    "client_certificate": "PEM",
    "client_key": SecretReference("env", "KEY"),
    "auth": Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),)),
    "contextforge": ContextForgeOptions("direct", "team"),
    "kuadrant": KuadrantOptions("p_"),
}
OTHER_STAMP: dict[str, Any] = {"owner": "them", "manifest": "b.yaml", "revision": "r", "protected": True}


def row(gateway: Gateway = GATEWAY, stamp: Stamp | None = STAMP, key: Key = KEY, **changes: Any) -> LiveGateway:
    record = sign_record(key, gateway, stamp) if stamp is not None else "ab" * 64
    return replace(LiveGateway(gateway, "", stamp, "t", record), **changes)


def test_the_payload_is_canonical_json_in_a_dsse_pre_authentication_encoding() -> None:
    kind, length, content = payload(GATEWAY, STAMP).split(b" ", 4)[2:]
    assert payload(GATEWAY, STAMP).startswith(b"DSSEv1 %d " % len(PAYLOAD_TYPE))
    assert (kind.decode(), int(length)) == (PAYLOAD_TYPE, len(content))
    document = json.loads(content)
    assert content.decode() == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert document["stamp"] == {
        "owner": "us", "manifest": "gateways/a.yaml", "revision": "main@sha1:1111", "protected": False,
    }  # fmt: skip
    assert document["gateway"]["ca_certificate"].startswith("sha256:")


def test_every_field_of_a_gateway_and_of_a_stamp_is_signed() -> None:
    assert OTHER.keys() == {field.name for field in fields(Gateway)}
    assert OTHER_STAMP.keys() == {field.name for field in fields(Stamp)} - {"digest"}
    genuine = row()
    changed = [replace(genuine, gateway=replace(GATEWAY, **{name: value})) for name, value in OTHER.items()]
    changed += [replace(genuine, stamp=replace(STAMP, **{name: value})) for name, value in OTHER_STAMP.items()]
    assert verify_record(genuine, RING).status is RecordStatus.VALID
    assert {verify_record(each, RING).status for each in changed} == {RecordStatus.INVALID}
    prints = {fingerprint(each.gateway, each.stamp, each.record) for each in (genuine, *changed) if each.stamp}
    assert len(prints) == len(changed) + 1


def test_the_same_row_always_has_the_same_record() -> None:
    assert sign_record(KEY, GATEWAY, STAMP) == sign_record(KEY, replace(GATEWAY), replace(STAMP, digest="other"))


@given(gateways, gateways)
def test_two_rows_have_one_fingerprint_only_if_they_are_one(one: Gateway, other: Gateway) -> None:
    assert (fingerprint(one, STAMP, "r") == fingerprint(other, STAMP, "r")) == (one == other)
    assert (payload(one, STAMP) == payload(other, STAMP)) == (one == other)


@given(st.text(), st.text())
def test_any_text_at_all_can_be_judged(text: str, record: str) -> None:
    odd = replace(GATEWAY, description=text, url=text + "\ud800", enabled="unknown:2")  # type: ignore[arg-type]
    assert Records(None, RING).status(LiveGateway(odd, "", STAMP, "t", record or "x")) is RecordStatus.INVALID


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (row(), RecordStatus.VALID),
        (row(key=OLD_KEY), RecordStatus.OLDER_KEY),
        (row(key=Key(generate().private)), RecordStatus.INVALID),
        (row(record=""), RecordStatus.MISSING),
        (row(record=row().record.upper()), RecordStatus.INVALID),
        (row(stamp=None), RecordStatus.INVALID),
    ],
)
def test_a_record_is_judged_by_the_keys_alone(found: LiveGateway, status: RecordStatus) -> None:
    assert Records(KEY, RING).status(found) is status
    assert Records(KEY, Keyring()).status(found) is RecordStatus.UNKNOWN


def test_without_a_private_key_any_trusted_one_is_as_good() -> None:
    assert Records(None, RING).status(row(key=OLD_KEY)) is RecordStatus.VALID
    created = [Change(Action.CREATE, "a", Reason.ADDED, None, GATEWAY, "", STAMP)]
    assert Records(None, RING).signed(created) == created


def test_a_key_for_bundles_vouches_for_no_row() -> None:
    ring = Keyring.of_keys([TrustedKey("platform", PAIR.public, frozenset({Role.BUNDLE}))])
    assert verify_record(row(), ring).status is RecordStatus.INVALID
    assert ring.verdict("CA ONE", KEY.sign(b"CA ONE").hex()).key_name == "platform"


def test_a_row_that_was_written_again_since_is_replayed() -> None:
    old = f"a {payload_digest(GATEWAY, STAMP)}"
    assert Records(KEY, RING, ledger=Book(old)).status(row()) is RecordStatus.REPLAYED
    assert Records(KEY, RING, ledger=Book("b " + old[2:])).status(row()) is RecordStatus.VALID


def test_what_was_verified_is_remembered_and_nothing_else_is() -> None:
    memory = Memory()
    judge = Records(KEY, RING, memory)
    for found in (row(), row(key=OLD_KEY), row(record="ab" * 64)):
        judge.status(found)
    assert memory.rows == {fingerprint(GATEWAY, STAMP, row().record)}
    assert memory.changed


def test_what_is_written_is_remembered_and_what_it_replaced_is_forgotten() -> None:
    memory = Memory()
    judge = Records(KEY, RING, memory)
    judge.status(row())
    after = replace(GATEWAY, url="https://new.example/mcp")
    (update,) = judge.signed([Change(Action.UPDATE, "a", Reason.MANIFEST_CHANGED, row(), after, "", STAMP)])
    judge.note(update)
    assert memory.rows == {fingerprint(after, STAMP, sign_record(KEY, after, STAMP))}
    judge.note(Change(Action.DELETE, "a", Reason.REMOVED_FROM_GIT, row(after, record=update.record)))
    assert memory.rows == set()


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        ([], True),
        ([row(record="")], True),
        ([row(record=""), row(stamp=replace(STAMP, owner="them"))], True),
        ([row(record=""), row(stamp=replace(STAMP, owner="us/other-target"))], False),
        ([row(record=""), row()], False),
    ],
)
def test_a_store_is_signed_for_the_first_time_if_no_row_of_ours_has_a_record(
    rows: Sequence[LiveGateway], first: bool
) -> None:
    assert is_first_signing(rows, "us") is first
