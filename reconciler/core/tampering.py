"""What is wrong with a stored row that nobody without a key could have put right.

Without any key to check with, nothing is: a row is then compared with git and with its stamp alone.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.core.canonical import gateway_digest
from reconciler.core.records import RecordStatus, is_first_signing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import LiveGateway, LiveState
    from reconciler.core.signatures import Signatures


class Finding(StrEnum):
    """What was found. Machines read the value, people `SAYINGS`."""

    BUNDLE_NOT_GENUINE = "bundle_not_genuine"
    RECORD_MISSING = "record_missing"
    RECORD_NOT_GENUINE = "record_not_genuine"
    REPLAYED = "replayed"


SAYINGS: Final[Mapping[Finding, str]] = {
    Finding.BUNDLE_NOT_GENUINE: "the CA bundle it holds is not the one that was signed",
    Finding.RECORD_MISSING: "the signature of the row was taken away",
    Finding.RECORD_NOT_GENUINE: "the row is not the one that was signed",
    Finding.REPLAYED: "an older row was put back in the place of the one that was written last",
}
"""What was found, as a sentence that goes on."""

_FINDINGS: Final[Mapping[RecordStatus, Finding]] = {
    RecordStatus.MISSING: Finding.RECORD_MISSING,
    RecordStatus.INVALID: Finding.RECORD_NOT_GENUINE,
    RecordStatus.REPLAYED: Finding.REPLAYED,
}


def finding(found: LiveGateway, signatures: Signatures, status: RecordStatus | None = None) -> Finding | None:
    """Return what is wrong with the signatures of a row, the bundle's first, or None.

    Whoever has the `status` of the row's record already gives it: finding it out is most of the work.
    """
    status = status or signatures.standing(found)
    if not signatures.genuine(found.gateway.ca_certificate, found.signature):
        return None if status is RecordStatus.UNSIGNED and _is_as_written(found) else Finding.BUNDLE_NOT_GENUINE
    return _FINDINGS.get(status)


def in_store(signatures: Signatures, live: LiveState, owner: str) -> Signatures:
    """Return the signatures as they are to be judged in this store.

    Where no row of `owner` has a record, and nobody remembers one, none was ever made: the rows were written without a
    key, or before rows were signed. One that lacks it among others that have it was stripped of it.
    """
    if not is_first_signing(live.gateways.values(), owner) or signatures.signed_before():
        return signatures

    def standing(found: LiveGateway) -> RecordStatus:
        status = signatures.standing(found)
        return RecordStatus.UNSIGNED if status is RecordStatus.MISSING else status

    return replace(signatures, standing=standing)


def _is_as_written(found: LiveGateway) -> bool:
    """Return whether a row that was never signed is as its stamp says, which is all that speaks for it."""
    if found.signature or found.stamp is None:
        return False
    return found.stamp.digest == gateway_digest(found.gateway)
