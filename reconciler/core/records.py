"""The record: one signature over everything that a row says, so that nothing genuine can be moved, mixed or revived.

A bundle's own signature says nothing of the gateway that it belongs to. The record covers the gateway (the bundle by
its digest, references and never secrets) and the stamp (owner, manifest, revision, protection), as canonical JSON (RFC
8785) in DSSE's pre-authentication encoding. Only the signature is stored: the payload is built again from the row. The
stamp's digest follows from the gateway, and no clock is part of it, so that the same row always has the same record.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
"""

from __future__ import annotations

import marshal
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.core.canonical import canonical_json, gateway_json, text_digest
from reconciler.core.signing import Role, key_id, sign_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.model import Change, Gateway, LiveGateway, Stamp
    from reconciler.core.ports import Signer
    from reconciler.core.signing import Keyring

PAYLOAD_TYPE: Final = "application/vnd.mcp-gateway-reconciler.record.v1+json"

GENESIS: Final = "0" * 64
"""What the first entry of a ledger is bound to."""

_REMEMBERED: Final = 262_144
"""Fingerprints that are kept: eight megabytes, of what runs for months."""


class RecordStatus(StrEnum):
    """What is known of a row's record.

    `older key`: another trusted key than the one in use made it. `replayed`: it is genuine, and of an earlier write
    than the last. `unsigned`: nothing in the store was ever signed, and so neither was this row. `unknown`: there is no
    key to check it with.
    """

    VALID = "valid"
    OLDER_KEY = "older key"
    INVALID = "invalid"
    MISSING = "missing"
    REPLAYED = "replayed"
    UNSIGNED = "unsigned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RecordVerdict:
    """The state of a row's record, and the id and name of the trusted key that made it (empty: none did)."""

    status: RecordStatus
    key_id: str = ""
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry's number and hash: it stands for all entries up to it. The empty ledger has number 0."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def of(cls, text: str) -> Head:
        """Return the head that was printed as `text`.

        Raises:
            ValueError: it is none.
        """
        seq, _, digest = text.strip().partition(":")
        if len(digest) != len(GENESIS) or set(digest) - set("0123456789abcdef"):
            raise ValueError("a head is a number, a colon and 64 lower-case hex digits")
        return cls(int(seq), digest)


class Ledger(Protocol):
    """Knows what was signed before, from outside of the rows."""

    def is_superseded(self, name: str, digest: str) -> bool:
        """Return whether the row of this name was written again since its payload had this digest."""
        ...

    def has_entries(self) -> bool:
        """Return whether anything was ever signed for this store."""
        ...


def payload(gateway: Gateway, stamp: Stamp) -> bytes:
    """Return the bytes that a record is a signature over: `DSSEv1`, the payload's type, and the payload."""
    mark = {
        "owner": stamp.owner,
        "manifest": stamp.manifest,
        "revision": stamp.revision,
        "protected": stamp.protected,
    }
    stamped = canonical_json(mark).encode(errors="surrogatepass")
    body = b'{"gateway":%b,"stamp":%b}' % (gateway_json(gateway), stamped)
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode("ascii"), len(body), body)


def payload_digest(gateway: Gateway, stamp: Stamp) -> str:
    """Return `sha256:<hex>` of what a record is a signature over."""
    return f"sha256:{sha256(payload(gateway, stamp)).hexdigest()}"


def sign_record(signer: Signer, gateway: Gateway, stamp: Stamp) -> str:
    """Return the record of a row: 128 lower-case hex characters.

    Raises:
        SignerError: the key cannot be used.
    """
    return signer.sign(payload(gateway, stamp)).hex()


def verify_record(found: LiveGateway, keyring: Keyring) -> RecordVerdict:
    """Return whether a trusted key signed all that a row says; nothing but the row and the keys is asked."""
    if not keyring.keys:
        return RecordVerdict(RecordStatus.UNKNOWN)
    if not found.record:
        return RecordVerdict(RecordStatus.MISSING)
    if found.stamp is None:
        return RecordVerdict(RecordStatus.INVALID)
    key = keyring.signed_by(payload(found.gateway, found.stamp), found.record, Role.RECORD)
    if key is None:
        return RecordVerdict(RecordStatus.INVALID)
    return RecordVerdict(RecordStatus.VALID, key.id, key.name)


def fingerprint(gateway: Gateway, stamp: Stamp, record: str) -> bytes:
    """Return a digest of a row with its record: a quarter of what the payload costs, a thirtieth of verifying it.

    Version 2 of marshal's format is fixed, has no references, and is the fastest unambiguous form of these values. It
    is compared on one machine only, and never signed.
    """
    values = (
        gateway.name,
        gateway.url,
        str(gateway.transport),
        gateway.description,
        gateway.enabled,
        str(gateway.visibility),
        gateway.tags,
        gateway.passthrough_headers,
        text_digest(gateway.ca_certificate),
        gateway.system_trust,
        text_digest(gateway.client_certificate),
        _written_out(gateway.client_key),
        _written_out(gateway.auth),
        _written_out(gateway.contextforge),
        _written_out(gateway.kuadrant),
        stamp.owner,
        stamp.manifest,
        stamp.revision,
        stamp.protected,
        record,
    )
    return sha256(marshal.dumps(values, 2)).digest()


@lru_cache(maxsize=4096)
def _written_out(value: object) -> str:
    return repr(value)


@dataclass(slots=True)
class Memory:
    """The rows, by fingerprint, whose records were verified before with the key in use, and the ledger's head then.

    `changed` says whether there is more to keep, or less, than when it was loaded.
    """

    rows: set[bytes] = field(default_factory=set)
    head: Head = Head()
    changed: bool = False

    def add(self, row: bytes) -> None:
        """Remember a row."""
        if row in self.rows:
            return
        if len(self.rows) >= _REMEMBERED:
            self.rows.clear()
        self.rows.add(row)
        self.changed = True

    def discard(self, row: bytes) -> None:
        """Forget a row: it was written again, and would be old if it came back."""
        if row in self.rows:
            self.rows.remove(row)
            self.changed = True


class Records:
    """Signs rows, and judges the records that a store holds.

    Verifying 10,000 records takes more than a second, so what was verified is not verified again: `memory` has it.
    Without a `ledger` nobody knows what was signed before, and a row that was put back looks like one still to update.
    `key_id` is that of the key in use, empty where there is none.
    """

    def __init__(
        self, signer: Signer | None, keyring: Keyring, memory: Memory | None = None, ledger: Ledger | None = None
    ) -> None:
        self._signer = signer
        self._keyring = keyring
        self.key_id = key_id(signer.public_key) if signer is not None else ""
        self._memory = memory if memory is not None else Memory()
        self._ledger = ledger

    @property
    def signed_before(self) -> bool:
        """Whether anything was signed before, as far as is known outside of the rows."""
        return bool(self._memory.rows or self._memory.head.seq) or (
            self._ledger is not None and self._ledger.has_entries()
        )

    def signed(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Return the changes with the records to write, or as they are where there is no key.

        Raises:
            SignerError: the key cannot be used.
        """
        if self._signer is None:
            return changes
        rows = [(change.after, change.stamp) for change in changes]
        payloads = [payload(gateway, stamp) for gateway, stamp in rows if gateway is not None and stamp is not None]
        made = iter(sign_all(self._signer, payloads))
        return [
            change if change.after is None or change.stamp is None else replace(change, record=next(made).hex())
            for change in changes
        ]

    def status(self, found: LiveGateway) -> RecordStatus:
        """Return what is known of a row's record."""
        stamp = found.stamp
        if stamp is None or not found.record or not self._keyring.keys:
            return verify_record(found, self._keyring).status
        row = fingerprint(found.gateway, stamp, found.record)
        if row in self._memory.rows:
            return RecordStatus.VALID
        verdict = verify_record(found, self._keyring)
        if verdict.status is not RecordStatus.VALID:
            return verdict.status
        if self._is_superseded(found.gateway, stamp):
            return RecordStatus.REPLAYED
        if self.key_id and verdict.key_id != self.key_id:
            return RecordStatus.OLDER_KEY
        self._memory.add(row)
        return RecordStatus.VALID

    def note(self, change: Change) -> None:
        """Take notice that a row was written: what it was is old now, and what it is was signed just now."""
        before = change.before
        if before is not None and before.stamp is not None:
            self._memory.discard(fingerprint(before.gateway, before.stamp, before.record))
        if change.after is not None and change.stamp is not None and change.record:
            self._memory.add(fingerprint(change.after, change.stamp, change.record))

    def _is_superseded(self, gateway: Gateway, stamp: Stamp) -> bool:
        if self._ledger is None:
            return False
        return self._ledger.is_superseded(gateway.name, payload_digest(gateway, stamp))


def is_first_signing(rows: Iterable[LiveGateway], owner: str) -> bool:
    """Return whether no row of `owner` bears a record: then none was signed, rather than all of them stripped.

    The targets of one repository that share a store (`owner/target`) began to sign together.
    """
    family = owner.partition("/")[0]
    return not any(row.record and row.stamp is not None and row.stamp.owner.partition("/")[0] == family for row in rows)


def with_stamp(found: LiveGateway, **changes: object) -> LiveGateway:
    """Return the row as if its stamp said otherwise, to see whether that is what was signed."""
    if found.stamp is None:
        return found
    return replace(found, stamp=replace(found.stamp, **changes))  # type: ignore[arg-type] # names of its fields
