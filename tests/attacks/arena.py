"""A store between its reconciler and somebody who may write everything in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from shutil import copytree, rmtree
from typing import TYPE_CHECKING, Any, Final, Literal

from raw_servers import VALID

from reconciler.books import ledger_of
from reconciler.client import trust_context
from reconciler.core.auditing import audit, carried, resigning
from reconciler.core.model import (
    Audit,
    Auth,
    DesiredGateway,
    DesiredState,
    Gateway,
    LiveGateway,
    SecretReference,
    Transport,
)
from reconciler.core.planning import Plan, Terms
from reconciler.core.problems import Location
from reconciler.core.safety import Limits
from reconciler.core.signatures import signatures
from reconciler.core.signing import Keyring, generate, load_private_key
from reconciler.demo.pki import Authority
from reconciler.engine import Engine
from reconciler.errors import TamperingError
from reconciler.recording import Recorder
from reconciler.remembering import remembered, verified_rows
from reconciler.settings import Settings, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from places import Place

    from reconciler.core.model import Outcome
    from reconciler.core.ports import Signer
    from reconciler.core.records import Memory

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

    def __init__(self, place: Place, directory: Path, *, signed: bool = True) -> None:
        directory.mkdir(exist_ok=True)
        self.place = place
        self.sealing, self.reading = place.open(OURS if signed else None), place.open(None)
        self._directory, self._kept = directory, directory.with_name(f"{directory.name}.kept")
        self._settings = Settings(
            root=directory, paths=(".",), owner=OWNER, targets=(Target(store="elsewhere://x"),), history_keep=99
        )
        self.history = [_shaped(desired, place.shaped) for desired in HISTORY]
        self.rows: list[Rows] = []
        for desired in self.history:
            self.reconcile("key" if signed else "none", desired)
            self.rows.append(self.live())
        self._saved = place.save()
        copytree(directory, self._kept)

    def live(self) -> Rows:
        """Return what the store holds."""
        return dict(self.reading.read().gateways)

    def reset(self) -> None:
        """Undo everything since the last revision was applied, in the store and on the reconciler's machine."""
        self.place.restore(self._saved)
        rmtree(self._directory)
        copytree(self._kept, self._directory)

    def plant(self, left: Mapping[str, LiveGateway | None]) -> None:
        """Leave these rows behind, as somebody who may write the store."""
        held = self.live()
        for name, row in left.items():
            if row is None:
                self.place.remove(name)
            else:
                like = name if name in held else "payments"
                self.place.leave(like, held[like], row)
        live = self.live()
        for name, row in left.items():
            assert _said(live.get(name)) == _said(row), name

    def look(self, keys: Keys) -> Plan:
        """Plan, with our key and what this machine remembers, with public keys alone, or with none at all."""
        if keys != "key":
            return self._engine(None, RING if keys == "public" else Keyring()).plan(self.history[-1])
        with self._remembered() as (memory, precedents):
            return self._engine(OURS, RING, memory, precedents).plan(self.history[-1])

    def reconcile(self, keys: Keys, desired: DesiredState | None = None) -> Plan:
        """Carry out one pass, and return what it planned."""
        desired = desired or self.history[-1]
        if keys != "key":
            return self._carried_out(self._engine(None, Keyring()), desired)
        with self._remembered() as (memory, precedents):
            return self._carried_out(self._engine(OURS, RING, memory, precedents), desired)

    def sweep(self) -> None:
        """Carry out one pass as far as it goes: what the store refuses is for the next one."""
        with self._remembered() as (memory, precedents):
            engine = self._engine(OURS, RING, memory, precedents)
            self._applied(engine, engine.plan(self.history[-1]), self.history[-1])

    def sign_again(self, key: Key) -> Mapping[str, int]:
        """Have every row signed by another key, as `keys rotate` does, and return how many carry which."""
        both = Keyring.of_raw({"ours": OURS.public_key, "another": key.public_key})
        engine = replace(self._engine(OURS, both), store=self.place.open(key), signatures=signatures(key, both))
        with closing(engine.store):
            found = resigning(engine.store.read(), engine.signatures, OWNER)
            outcomes = self._applied(engine, found.plan, DesiredState({}))
        assert found.refused == ()
        assert {each.status for each in outcomes} == {"applied"}
        return carried(audit(self.reading.read(), both))

    def is_accepted(self, name: str) -> bool | None:
        """Return whether a Python gateway would use the row; None where there is none."""
        row = self.live().get(name)
        if row is None:
            return None
        try:
            trust_context(row, RING)
        except TamperingError:
            return False
        return True

    def _carried_out(self, engine: Engine, desired: DesiredState) -> Plan:
        plan = engine.plan(desired)
        outcomes = self._applied(engine, plan, desired)
        failed = [(each.name, each.reason) for each in outcomes if each.status != "applied"]
        assert not failed, failed
        assert len(outcomes) == len(plan.changes)
        return plan

    def _applied(self, engine: Engine, plan: Plan, desired: DesiredState) -> Sequence[Outcome]:
        recorder = Recorder(self._settings, engine, lambda: NOW, Audit("reconciler", "test", NOW))
        return recorder.apply(plan, desired, None).result.outcomes

    def _remembered(self) -> Any:
        file = verified_rows({"RECONCILER_CACHE_DIR": str(self._directory / "cache")}, "arena", OURS, RING)
        return remembered(file, partial(ledger_of, self._settings))

    def _engine(
        self, signer: Signer | None, keyring: Keyring, memory: Memory | None = None, precedents: Any = None
    ) -> Engine:
        signs = signatures(signer, keyring, memory, precedents)
        store = self.sealing if signer is not None else self.reading
        return Engine(store, "arena", signs, keyring, Terms(OWNER, prune=True), ANYTHING_GOES)


def _said(row: LiveGateway | None) -> LiveGateway | None:
    """Return all that a row says, without what the store counts."""
    return row and replace(row, token="")


def _shaped(desired: DesiredState, shape: Callable[[Gateway], Gateway]) -> DesiredState:
    """Return the same as far as a store has room for it."""
    wanted = {name: replace(each, gateway=shape(each.gateway)) for name, each in desired.gateways.items()}
    return replace(desired, gateways=wanted)
