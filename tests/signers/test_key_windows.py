"""A daemon runs for months: a key whose window ends meanwhile vouches for nothing from the next pass on."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from watching import Watched, eventually, generate_once, manifest, watched

from reconciler.core.canonical import digest, document
from reconciler.core.records import sign_record
from reconciler.core.signing import Keyring, TrustedKey, generate, load_private_key, public_text
from reconciler.signers import find_signer
from reconciler.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.core.ports import Signer

BEFORE, AFTER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
EVIL = "https://evil.example/mcp"


class Clock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.moment = BEFORE

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "a.yaml").write_text(manifest("a", "first"))
    return root


def signer_of(pem: str) -> Signer:
    found = find_signer("env:KEY", {"KEY": pem})
    assert found is not None
    return found


def trust(root: Path, **entries: str) -> None:
    listed = "".join(f"    - {{name: '{name}', {entry}}}\n" for name, entry in entries.items())
    (root / "keys").mkdir(exist_ok=True)
    heading = "apiVersion: reconciler/v1\nkind: Keyring\nmetadata: {name: trusted}\nspec:\n  keys:\n"
    (root / "keys/trusted.yaml").write_text(heading + listed)


def public(pem: str) -> str:
    return f"publicKey: {public_text(signer_of(pem).public_key)}"


def forge(daemon: Watched, pem: str) -> None:
    """Send the gateway elsewhere, with a row that this key signed."""
    with closing(open_store(f"sqlite:///{daemon.store}", create=False)) as store:
        row = store.read().gateways["a"]
    assert row.stamp is not None
    stamp = replace(row.stamp, digest=digest(document(gateway := replace(row.gateway, url=EVIL))))
    daemon.change("UPDATE reconciler_stamps SET digest = ?", stamp.digest)
    daemon.change("UPDATE gateways SET url = ?, record_sig = ?", EVIL, sign_record(signer_of(pem), gateway, stamp))


def is_healed(daemon: Watched) -> bool:
    with closing(open_store(f"sqlite:///{daemon.store}", create=False)) as store:
        return store.read().gateways["a"].gateway.url != EVIL


def test_what_a_key_signed_is_tampering_from_the_pass_after_its_end(tree: Path, clock: Clock) -> None:
    old = generate().private.decode()
    trust(tree, ours=public(generate_once(tree.parent)), old=public(old) + ", notAfter: 2026-12-01")
    with watched(tree, clock=clock) as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        forge(daemon, old)
        eventually(lambda: is_healed(daemon))
        assert not daemon.told("TamperingHealed", "happened")  # a trusted key signed it: git wants something else
        clock.moment = AFTER
        forge(daemon, old)
        eventually(lambda: daemon.told("TamperingHealed", "happened"))
        assert is_healed(daemon)


def test_nothing_is_written_once_the_key_that_signs_has_ended(tree: Path, clock: Clock) -> None:
    trust(tree, ours=public(generate_once(tree.parent)) + ", notAfter: 2026-12-01")
    with watched(tree, clock=clock) as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        clock.moment = AFTER
        daemon.write("a.yaml", manifest("a", "second"))
        eventually(lambda: daemon.told("PassFailed"))
        assert "none is in force at 2026-12-01" in daemon.told("PassFailed")[0].message
        assert daemon.rows() == {"a": "first"}


def test_a_key_that_begins_is_trusted_from_its_first_moment(tree: Path, clock: Clock) -> None:
    trust(tree, ours=public(generate_once(tree.parent)) + ", notBefore: 2026-12-01")
    with watched(tree, clock=clock) as daemon:
        eventually(lambda: daemon.told("PassFailed"))
        assert daemon.rows() == {}
        clock.moment = AFTER
        eventually(lambda: daemon.rows() == {"a": "first"})


def test_the_next_change_of_a_keyring_is_the_nearest_edge_of_a_window() -> None:
    key = load_private_key(generate().private).public_key().public_bytes_raw()
    ring = Keyring.of_keys(
        [
            TrustedKey("a", key, not_before=BEFORE, not_after=AFTER),
            TrustedKey("b", key, not_after=datetime.max.replace(tzinfo=UTC)),
        ]
    )
    assert ring.changes_after(datetime.min.replace(tzinfo=UTC)) == BEFORE
    assert ring.changes_after(BEFORE) == AFTER
    assert ring.changes_after(datetime.max.replace(tzinfo=UTC)) is None


def test_a_daemon_begins_anew_when_the_trusted_keys_change(tree: Path, clock: Clock) -> None:
    ours, other = public(generate_once(tree.parent)), public(generate().private.decode())
    trust(tree, ours=ours)
    with watched(tree, clock=clock) as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        daemon.write("keys/trusted.yaml", "kind: Keyring")
        eventually(lambda: daemon.told("KeyringUnusable"))
        assert not daemon.ended
        trust(tree, ours=ours, other=other)
        eventually(lambda: daemon.ended == ["reload"])
    assert daemon.told("KeyringUnusable", "resolved")
