"""What rows are worth: how their upstreams may be looked at, with which credentials, and where they stand.

It looks at rows and at what was observed, and at nothing else. Whoever can write the store must not be able to have
secrets sent to a place of his: credentials go only where git sends them, over a connection that git trusts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from reconciler.core.conditions import carried_over
from reconciler.core.leaving import was_signed
from reconciler.core.model import Auth, VerifyPolicy
from reconciler.core.records import RecordStatus, verify_record, with_stamp
from reconciler.core.signing import SignatureStatus
from reconciler.core.verification import OBSERVED, Standing, Verified, policy_of, ready, row_synced, trusted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reconciler.core.conditions import Condition
    from reconciler.core.model import Certificate, DesiredGateway, DesiredState, Gateway, LiveGateway
    from reconciler.core.observation import Observation
    from reconciler.core.result import Result
    from reconciler.core.signatures import Signatures
    from reconciler.core.signing import Keyring
    from reconciler.core.verification import BundleState
    from reconciler.journal import Sighting

_DEFAULT_POLICY: Final = VerifyPolicy()
_REMEMBERED: Final = 16_384
"""Bundles are read once; what runs for months may not remember all it ever saw."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """One row to look at, and how: `row` has credentials only where git sends them, `excuse` says why not at all."""

    found: LiveGateway
    row: Gateway
    policy: VerifyPolicy
    excuse: str = ""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Examines rows on behalf of `owner`, with what is known of signatures and of trusted keys."""

    signatures: Signatures
    keyring: Keyring
    owner: str

    def lookup(self, found: LiveGateway, reviewed: DesiredGateway | None) -> Lookup:
        """Return how to look at a row, of which git says `reviewed`.

        One that was taken off because of its tools is looked at as well: that is how it comes back.
        """
        policy = reviewed.verify if reviewed is not None else _DEFAULT_POLICY
        taken_off = reviewed is not None and reviewed.gateway.enabled and policy.on_tools_change == "disable"
        excuse = "" if taken_off and policy.mode != "off" else _excuse(found, policy)
        return Lookup(found, self.presentable(found, reviewed), policy, excuse)

    def presentable(self, found: LiveGateway, reviewed: DesiredGateway | None) -> Gateway:
        """Return the row, without its credentials unless git sends them there, over a connection that git trusts."""
        row = found.gateway
        if reviewed is not None and _same_destination(row, reviewed.gateway):
            verdict = self.keyring.verdict(row.ca_certificate, found.signature)
            if row.ca_certificate == reviewed.gateway.ca_certificate or verdict.status is SignatureStatus.VALID:
                return row
        return replace(row, auth=Auth(), client_certificate="", client_key=None)

    def examined(self, lookup: Lookup, observation: Observation | None) -> Verified:
        """Return what is known of a row after it was looked at, or was not."""
        found = lookup.found
        revision = found.stamp.revision if found.stamp else ""
        seen = self._examined(found.gateway, found.signature, revision, observation, lookup.excuse)
        by = seen.key_id or verify_record(found, self.keyring).key_id
        return replace(seen, policy=lookup.policy, record=self._record_of(found), key_id=by)

    def examined_changes(self, result: Result, desired: DesiredState) -> tuple[Verified, ...]:
        """Return what is known of the gateways that an apply looked at, as it wrote or would have written them."""
        changes = {change.name: change for change in result.plan.changes}
        seen = (
            self._examined(change.after, change.signature, result.plan.revision, observation)
            for observation in result.observations
            if (change := changes[observation.name]).after is not None
        )
        signs = bool(self.signatures.key_id)
        written = {outcome.name for outcome in result.outcomes if signs and outcome.status == "applied"}
        return tuple(
            replace(
                each,
                policy=policy_of(desired, each.name),
                record=RecordStatus.VALID if each.name in written else RecordStatus.UNKNOWN,
            )
            for each in seen
        )

    def standing(
        self, found: LiveGateway, known: Sequence[Condition], sighting: Sighting | None, now: datetime
    ) -> Standing:
        """Return where the gateway of a row stands."""
        gateway, stamp = found.gateway, found.stamp
        revision = stamp.revision if stamp else ""
        verified = self._examined(gateway, found.signature, revision, None)
        verified = replace(verified, record=self._record_of(found))
        before = {condition.type: condition for condition in known}
        seen = (row_synced(found, now), trusted(verified, now))
        conditions = [
            *(carried_over(before.get(condition.type), condition) for condition in seen),
            *(before[kind] for kind in OBSERVED if kind in before),
        ]
        return Standing(
            name=gateway.name,
            url=gateway.url,
            enabled=gateway.enabled,
            owner=stamp.owner if stamp else "",
            revision=revision,
            conditions=(ready(conditions, now), *conditions),
            certificates=_certificates(gateway.ca_certificate),
            tools=sighting.tools if sighting else None,
            verified_at=sighting.verified_at if sighting else None,
        )

    def _examined(
        self, gateway: Gateway, signature: str, revision: str, observation: Observation | None, why: str = ""
    ) -> Verified:
        verdict = self.keyring.verdict(gateway.ca_certificate, signature)
        state = verdict.status.value if gateway.ca_certificate or signature else "none"
        return Verified(
            gateway.name, gateway.url, observation, why, cast("BundleState", state), verdict.key_id, revision
        )

    def _record_of(self, found: LiveGateway) -> RecordStatus:
        """Return what is known of the record of a row of ours: whether others sign theirs is for them to know.

        One that says that it is somebody else's is ours all the same where that is not what was signed.
        """
        if found.stamp is None:
            return RecordStatus.UNKNOWN
        status, whose = self.signatures.standing(found), found.stamp.owner
        ours = whose == self.owner or was_signed(with_stamp(found, owner=self.owner), self.signatures)
        return status if ours or status in (RecordStatus.VALID, RecordStatus.OLDER_KEY) else RecordStatus.UNKNOWN


@lru_cache(maxsize=_REMEMBERED)
def _certificates(text: str) -> tuple[Certificate, ...]:
    from reconciler.core.pem import read_pem

    return tuple(read_pem("store.pem", text.encode()).certificates)


def _excuse(found: LiveGateway, policy: VerifyPolicy) -> str:
    if not found.gateway.enabled:
        return "not looked at: it is disabled"
    return "not looked at: verify.mode is off" if policy.mode == "off" else ""


def _same_destination(row: Gateway, reviewed: Gateway) -> bool:
    return (row.url, row.auth, row.client_key) == (reviewed.url, reviewed.auth, reviewed.client_key)
