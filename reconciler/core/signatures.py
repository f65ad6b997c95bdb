"""What planning needs to know of signatures, found out with a key, a keyring, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from reconciler.core.records import Records, RecordStatus
from reconciler.core.signing import SignatureStatus, sign_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.core.model import Change, LiveGateway
    from reconciler.core.ports import Signer
    from reconciler.core.records import Ledger, Memory
    from reconciler.core.signing import Keyring

_REMEMBERED: Final = 16_384
"""Signatures are looked at once; what runs for months may not remember all it ever saw."""


@dataclass(frozen=True, slots=True)
class Signatures:
    """What planning needs to know of signatures.

    `expected` gives the signature to write for a canonical bundle. `genuine` says whether a stored signature was made
    by a trusted key over exactly that text, and `current` whether it was made by the key in use.

    `signed` gives changes that are about to be made the signatures over their whole rows, `standing` tells what is
    known of a stored one, and `signed_before` whether rows of this store were signed before, as far as that is known
    from elsewhere. `written` is told of each change that was made. `key_id` is that of the key in use, empty where
    there is none.
    """

    expected: Callable[[str], str]
    genuine: Callable[[str, str], bool]
    current: Callable[[str, str], bool]
    signed: Callable[[Sequence[Change]], Sequence[Change]] = lambda changes: changes
    standing: Callable[[LiveGateway], RecordStatus] = lambda _found: RecordStatus.UNKNOWN
    signed_before: Callable[[], bool] = lambda: False
    written: Callable[[Change], None] = lambda _change: None
    key_id: str = ""

    def without_records(self) -> Signatures:
        """Return them for a store that has no room for records: bundles are signed and checked, rows are not."""
        return Signatures(self.expected, self.genuine, self.current)


def signatures(
    signer: Signer | None, keyring: Keyring, memory: Memory | None = None, ledger: Ledger | None = None
) -> Signatures:
    """Return what planning needs to know of signatures; each distinct bundle is signed and each signature checked once.

    `memory` has the rows whose records need not be verified again, and `ledger` what was signed before. Without a
    signer and without trusted keys nothing can be checked, and nothing is called tampering.
    """
    records = Records(signer, keyring, memory, ledger)

    @lru_cache(maxsize=_REMEMBERED)
    def expected(text: str) -> str:
        return sign_bundle(signer, text) if text and signer is not None else ""

    @lru_cache(maxsize=_REMEMBERED)
    def genuine(text: str, signature: str) -> bool:
        if signer is not None and signature == expected(text):
            return True
        return keyring.verdict(text, signature).status in (SignatureStatus.VALID, SignatureStatus.UNKNOWN)

    def current(text: str, signature: str) -> bool:
        return signer is None or signature == expected(text)

    return Signatures(
        expected,
        genuine,
        current,
        signed=records.signed,
        standing=records.status,
        signed_before=lambda: records.signed_before,
        written=records.note,
        key_id=records.key_id,
    )
