"""A store between its reconciler and somebody who may write everything in it, and who has none of our private keys.

An attack says which rows the attacker leaves behind. It is made through the store's own port, so that it can be made in
every store; what only one kind of store makes possible is in that store's own test file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from raw_servers import VALID

from reconciler.client import trust_context
from reconciler.core.canonical import digest, document
from reconciler.core.model import (
    Action,
    Audit,
    Auth,
    Change,
    DesiredGateway,
    DesiredState,
    Gateway,
    LiveGateway,
    Reason,
    SecretReference,
    Stamp,
    Transport,
)
from reconciler.core.planning import Plan, Terms
from reconciler.core.problems import Location
from reconciler.core.records import Memory, sign_record
from reconciler.core.safety import Limits
from reconciler.core.signing import Keyring, generate, load_private_key, sign_bundle
from reconciler.demo.pki import Authority
from reconciler.engine import Engine, signatures
from reconciler.errors import TamperingError
from reconciler.recording import Recorder, ledger_of
from reconciler.remembering import remembered, verified_rows
from reconciler.settings import Settings, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from reconciler.core.ports import Signer, Store

Rows = dict[str, LiveGateway]
Keys = Literal["key", "public", "none"]

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ANYTHING_GOES: Final = Limits(max_delete_percent=100, max_update_percent=100, allow_empty=True)
OWNER: Final = "platform-team"


class Key:
    """A private key in memory."""

    def __init__(self) -> None:
        self._key = load_private_key(generate().private)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload)


OURS, THEIRS = Key(), Key()
RING: Final = Keyring.of_raw({"ours": OURS.public_key})
CA_ONE, CA_TWO, EVIL = (Authority.root(f"{name} Root CA", VALID).pem for name in ("One", "Two", "Evil"))


def gateway(name: str, **fields: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.internal.example/mcp", Transport.STREAMABLE_HTTP), **fields)


def _tree(revision: str, *fleet: Gateway, protected: tuple[str, ...] = ()) -> DesiredState:
    return DesiredState(
        {
            each.name: DesiredGateway(each, Location(f"gateways/{each.name}.yaml"), protected=each.name in protected)
            for each in fleet
        },
        revision=revision,
    )


_BEARER = Auth("bearer", (), (("token", SecretReference("env", "REFUNDS_TOKEN")),))
_OTHER_BEARER = Auth("bearer", (), (("token", SecretReference("env", "VAULT_TOKEN")),))
_REFUNDS = gateway("refunds", ca_certificate=CA_TWO, auth=_BEARER)
_ARCHIVE = gateway("archive")
_VAULT = gateway("vault", ca_certificate=CA_ONE, system_trust=False)

HISTORY: Final = (
    _tree(
        "main@sha1:1111",
        gateway("payments", ca_certificate=CA_TWO),
        gateway("search", description="search"),
        gateway("reports"),
        _REFUNDS,
        _VAULT,
        _ARCHIVE,
        protected=("vault", "archive"),
    ),
    _tree(
        "main@sha1:2222",
        gateway("payments", ca_certificate=CA_ONE, url="https://payments-2.internal.example/mcp"),
        gateway("search", description="search everything"),
        gateway("reports"),
        _REFUNDS,
        _VAULT,
        _ARCHIVE,
        protected=("vault", "archive"),
    ),
    _tree(
        "main@sha1:3333",
        gateway("payments", ca_certificate=CA_ONE, url="https://payments-2.internal.example/mcp"),
        gateway("search", description="search"),
        _REFUNDS,
        _VAULT,
        protected=("vault",),
    ),
)
"""What git said, one revision after the other. The last one lacks `reports`, which is pruned, and `archive`, which is
protected and stays."""
GIT: Final = HISTORY[-1]


def quiet(plan: Plan) -> bool:
    """Return whether a pass found nothing but `archive`, which is protected and git no longer has."""
    left = [(each.name, each.why) for each in plan.orphans]
    return not (plan.changes or plan.held_back or plan.conflicts or plan.drift) and left == [("archive", "protected")]


class Arena:
    """A store after every revision of `HISTORY` was applied to it, and what its rows were after each."""

    def __init__(self, store: Store, directory: Path, *, signed: bool = True) -> None:
        directory.mkdir(exist_ok=True)
        self.store = store
        self._directory = directory
        self._settings = Settings(
            root=directory, paths=(".",), owner=OWNER, targets=(Target(store="elsewhere://x"),), history_keep=99
        )
        self.rows: list[Rows] = []
        for desired in HISTORY:
            self.reconcile("key" if signed else "none", desired)
            self.rows.append(dict(store.read().gateways))

    def plant(self, left: Mapping[str, LiveGateway | None]) -> None:
        """Leave these rows behind, as somebody who may write the store."""
        held = self.store.read().gateways
        changes = [self._change(name, held.get(name), row) for name, row in left.items()]
        outcomes = self.store.apply(changes, Audit("mallory", "sql", NOW))
        assert [each.status for each in outcomes] == ["applied"] * len(changes)

    def look(self, keys: Keys, desired: DesiredState = GIT) -> Plan:
        """Plan, with our key and what this machine remembers, with public keys alone, or with none at all."""
        if keys != "key":
            return self._engine(None, RING if keys == "public" else Keyring()).plan(desired)
        with self._remembered() as (memory, precedents):
            return self._engine(OURS, RING, memory, precedents).plan(desired)

    def reconcile(self, keys: Keys, desired: DesiredState = GIT) -> Plan:
        """Carry out one pass, and return what it planned."""
        if keys != "key":
            return self._carried_out(self._engine(None, Keyring()), desired)
        with self._remembered() as (memory, precedents):
            return self._carried_out(self._engine(OURS, RING, memory, precedents), desired)

    def is_accepted(self, name: str) -> bool | None:
        """Return whether a Python gateway would use the row; None where there is none."""
        row = self.store.read().gateways.get(name)
        if row is None:
            return None
        try:
            trust_context(row, RING)
        except TamperingError:
            return False
        return True

    def _carried_out(self, engine: Engine, desired: DesiredState) -> Plan:
        plan = engine.plan(desired)
        recorder = Recorder(self._settings, engine, lambda: NOW, Audit("reconciler", "test", NOW))
        result = recorder.apply(plan, desired, None).result
        assert [each.status for each in result.outcomes] == ["applied"] * len(plan.changes)
        return plan

    def _remembered(self) -> Any:
        file = verified_rows({"RECONCILER_CACHE_DIR": str(self._directory / "cache")}, "arena", OURS, RING)
        return remembered(file, partial(ledger_of, self._settings, create=False))

    def _engine(
        self, signer: Signer | None, keyring: Keyring, memory: Memory | None = None, precedents: Any = None
    ) -> Engine:
        signs = signatures(signer, keyring, memory, precedents)
        return Engine(self.store, "arena", signs, keyring, Terms(OWNER, prune=True), ANYTHING_GOES)

    @staticmethod
    def _change(name: str, held: LiveGateway | None, row: LiveGateway | None) -> Change:
        if row is None:
            return Change(Action.DELETE, name, Reason.REMOVED_FROM_GIT, held)
        action = Action.CREATE if held is None else Action.UPDATE
        return Change(action, name, Reason.ADDED, held, row.gateway, row.signature, row.stamp, record=row.record)


def edited(row: LiveGateway, **fields: Any) -> LiveGateway:
    """Return the row with another content, and all else as it was."""
    return replace(row, gateway=replace(row.gateway, **fields))


def stamped(row: LiveGateway, **fields: Any) -> LiveGateway:
    """Return the row with another stamp, and all else as it was."""
    assert row.stamp is not None
    return replace(row, stamp=replace(row.stamp, **fields))


def fitting(row: LiveGateway) -> LiveGateway:
    """Return the row with the digest in its stamp recomputed, which takes no key."""
    return stamped(row, digest=digest(document(row.gateway)))


def signed_by_them(row: LiveGateway) -> LiveGateway:
    """Return the row signed with the attacker's own key, bundle and all."""
    assert row.stamp is not None
    row = fitting(row)
    bundle = row.gateway.ca_certificate
    return replace(
        row,
        signature=sign_bundle(THEIRS, bundle) if bundle else "",
        record=sign_record(THEIRS, row.gateway, row.stamp or Stamp(OWNER, "", "", "")),
    )


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: on which gateway, and which rows it leaves behind, given those after each revision."""

    title: str
    on: str
    leaves: Callable[[list[Rows]], Mapping[str, LiveGateway | None]]


def _on(name: str, forge: Callable[[LiveGateway], LiveGateway | None]) -> Callable[[list[Rows]], Mapping[str, Any]]:
    return lambda rows: {name: forge(rows[-1][name])}


def _crossed(rows: list[Rows]) -> Mapping[str, LiveGateway]:
    one, other = rows[-1]["payments"], rows[-1]["refunds"]
    return {
        "payments": fitting(edited(one, url=other.gateway.url)),
        "refunds": fitting(edited(other, url=one.gateway.url)),
    }


def _moved(rows: list[Rows]) -> Mapping[str, LiveGateway]:
    donor = rows[-1]["refunds"]
    row = edited(rows[-1]["payments"], ca_certificate=donor.gateway.ca_certificate)
    return {"payments": fitting(replace(row, signature=donor.signature))}


ATTACKS: Final = (
    Attack("Swap the CA bundle", "payments", _on("payments", lambda row: edited(row, ca_certificate=EVIL))),
    Attack(
        "Swap the CA bundle and take its signature away",
        "payments",
        _on("payments", lambda row: fitting(replace(edited(row, ca_certificate=EVIL), signature=""))),
    ),
    Attack(
        "Swap the CA bundle and sign everything with a key of one's own",
        "payments",
        _on("payments", lambda row: signed_by_them(edited(row, ca_certificate=EVIL))),
    ),
    Attack(
        "Add a CA to the bundle",
        "payments",
        _on("payments", lambda row: edited(row, ca_certificate=f"{row.gateway.ca_certificate}\n{EVIL}")),
    ),
    Attack("Put the genuine bundle of another gateway in its place", "payments", _moved),
    Attack(
        "Drop the bundle, so that public CAs are trusted",
        "payments",
        _on("payments", lambda row: fitting(replace(edited(row, ca_certificate=""), signature=""))),
    ),
    Attack("Change the URL", "payments", _on("payments", lambda row: edited(row, url="https://evil.example/mcp"))),
    Attack(
        "Change the URL and make the stamp fit",
        "payments",
        _on("payments", lambda row: fitting(edited(row, url="https://evil.example/mcp"))),
    ),
    Attack("Let two gateways change their URLs", "payments", _crossed),
    Attack(
        "Trust public CAs besides the bundle",
        "vault",
        _on("vault", lambda row: fitting(edited(row, system_trust=True))),
    ),
    Attack("Disable a gateway", "search", _on("search", lambda row: fitting(edited(row, enabled=False)))),
    Attack(
        "Send another secret to the upstream",
        "refunds",
        _on(
            "refunds",
            lambda row: fitting(edited(row, auth=_OTHER_BEARER)),
        ),
    ),
    Attack("Take the row's signature away", "search", _on("search", lambda row: replace(row, record=""))),
    Attack(
        "Take every signature away, all over the store",
        "payments",
        lambda rows: {name: replace(row, signature="", record="") for name, row in rows[-1].items()},
    ),
    Attack("Give a row the signature of another", "search", lambda rows: {
        "search": replace(rows[-1]["search"], record=rows[-1]["payments"].record)
    }),
    Attack("Put back yesterday's row, signatures and all", "payments", lambda rows: {"payments": rows[0]["payments"]}),
    Attack("Put back an older row that says the same", "search", lambda rows: {"search": rows[0]["search"]}),
    Attack("Put back a gateway that git removed", "reports", lambda rows: {"reports": rows[1]["reports"]}),
    Attack(
        "Say that the row came from another commit",
        "search",
        _on("search", lambda row: stamped(row, revision="main@sha1:9999", manifest="elsewhere.yaml")),
    ),
    Attack("Take the protection of a gateway away", "vault", _on("vault", lambda row: stamped(row, protected=False))),
    Attack(
        "Take the protection of a gateway away that git lost, so that it is pruned",
        "archive",
        _on("archive", lambda row: stamped(row, protected=False)),
    ),
    Attack(
        "Say that a row belongs to somebody else",
        "payments",
        _on("payments", lambda row: stamped(row, owner="mallory")),
    ),
    Attack("Take the stamp away", "payments", _on("payments", lambda row: replace(row, stamp=None))),
    Attack("Delete a row", "payments", _on("payments", lambda _row: None)),
    Attack(
        "Add a gateway that claims to be ours",
        "evil",
        lambda rows: {"evil": fitting(edited(rows[-1]["payments"], name="evil", url="https://evil.example/mcp"))},
    ),
)  # fmt: skip
"""Twenty and five. Each is one row, or a few, that whoever may write the store can leave behind."""


def named(attack: Attack, plan: Plan) -> str:
    """Return what a plan makes of the gateway that was attacked, as the security page says it."""
    changes = {change.name: change for change in (*plan.changes, *plan.held_back)}
    if any(each.name == attack.on and each.reason is Reason.TAMPERING for each in plan.drift):
        return "tampering"
    if any(each.name == attack.on for each in plan.conflicts):
        return "conflict"
    if attack.on not in changes:
        return "unnoticed"
    return _SAID[changes[attack.on].reason]


_SAID: Final = {
    Reason.ADDED: "created again",
    Reason.DRIFT: "drift",
    Reason.MANIFEST_CHANGED: "an update",
    Reason.PROTECTION_CHANGED: "an update",
    Reason.UNSIGNED: "never signed",
    Reason.REMOVED_FROM_GIT: "deleted",
}
