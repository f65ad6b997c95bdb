"""`reconciler keys`: from a new key to the last row that carries the old one, and what an auditor needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.core.signing import KeyPair, generate, key_id, public_text

if TYPE_CHECKING:
    from terminal import Terminal

    from reconciler.demo.pki import Authority

STORE = ("--store", "sqlite:///x.db")
CONFIG = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\nspec: {path: gateways, store: sqlite:///x.db}\n"
OLD, NEW = generate(), generate()


def trust(terminal: Terminal, **keys: str) -> None:
    """Write `keys/trusted.yaml` with these keys, each its public half and what else the entry says."""
    entries = "".join(f"    - {{name: '{name}', {entry}}}\n" for name, entry in keys.items())
    heading = "apiVersion: reconciler/v1\nkind: Keyring\nmetadata: {name: trusted}\nspec:\n  keys:\n"
    terminal.write("keys/trusted.yaml", heading + entries)


def public(pair: KeyPair, more: str = "") -> str:
    return f"publicKey: {public_text(pair.public)}{more}"


def sign_with(pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("RECONCILER_SIGNING_KEY", pair.private.decode())


def sql(statement: str) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(statement)


@pytest.fixture
def applied(terminal: Terminal, root: Authority, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    sign_with(OLD, monkeypatch)
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write("gateways/root.pem", root.pem)
    trust(terminal, old=public(OLD))
    terminal.gateway("a", tls={"caCertificates": ["root.pem"]})
    terminal.gateway("b")
    terminal("apply")
    return terminal


def test_a_rotation_adds_signs_again_counts_and_retires(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(applied, old=public(OLD), new=public(NEW))
    sign_with(NEW, monkeypatch)
    before = applied("keys", "rotate", "--dry-run", "-o", "json").document
    assert (before["to_sign"], before["carried"], before["retire"]) == (2, {"old": 2}, [])
    done = applied("keys", "rotate")
    assert f"2 of 2 rows signed again with key {key_id(NEW.public)}." in done.out
    assert f"old ({key_id(OLD.public)}): 0 rows" in done.out
    assert f"new ({key_id(NEW.public)}): 2 rows" in done.out
    assert "No row carries `old` any more: `reconciler keys retire old` removes it." in done.err
    trust(applied, new=public(NEW))
    assert "No changes" in applied("plan").out
    assert "0 of 2 rows signed again" in applied("keys", "rotate").out
    assert "2 rows in" in applied("keys", "verify").out


def test_a_rotation_takes_four_commands_and_no_editor(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_with(NEW, monkeypatch)
    added = applied("keys", "add", "2027", "--not-after", "2120-01-01")
    assert added.out == f"Added 2027, {key_id(NEW.public)}, to keys/trusted.yaml.\n"
    early = applied("keys", "retire", "old", expect=4)
    assert "rows still carry the signature of old: 2 in sqlite:///" in early.err
    assert "2 of 2 rows signed again" in applied("keys", "rotate").out
    assert applied("keys", "retire", "old", "-o", "json").document["retired"] == "old"
    assert applied("keys", "list").out.splitlines() == [
        f"2027  {key_id(NEW.public)}  active  bundle+record  until 2120-01-01 00:00  signs here"
    ]
    assert "No changes" in applied("plan").out
    assert "each of them genuine" in applied("keys", "verify").out


def test_a_key_that_somebody_else_has_is_retired_at_once(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_with(NEW, monkeypatch)
    applied("keys", "add", "new")
    assert "what it signed is written again" in applied("keys", "retire", "old", "--compromised").err
    assert {each["reason"] for each in applied("plan", "-o", "json").document["resource_drift"]} == {"tampering"}
    applied("apply", "--max-update-percent", "100")
    assert "No changes" in applied("plan").out


def test_a_key_may_be_one_of_a_platform_and_the_first_one(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", CONFIG)
    terminal.gateway("a")
    first = terminal("keys", "add", "contextforge", "--public-key", public_text(NEW.public), "--role", "bundle")
    assert "It is the first one" in first.err
    (key,) = terminal("keys", "list", "-o", "json").document["keys"]
    assert (key["key_id"], key["roles"]) == (key_id(NEW.public), ["bundle"])
    terminal("validate")


def test_what_cannot_be_added_or_retired_is_said(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (applied.directory / "keys/trusted.yaml").read_text()
    assert "has a key old" in applied("keys", "add", "again", expect=3).err
    assert "is a private key" in applied("keys", "add", "x", "--public-key", NEW.private.decode(), expect=3).err
    assert "write it as in 2027-03-31" in applied("keys", "add", "x", "--not-after", "soon", expect=64).err
    assert (
        "ends before it begins"
        in applied(
            *("keys", "add", "x", "--public-key", public_text(NEW.public)),
            *("--not-before", "2027-01-01", "--not-after", "2026-01-01"),
            expect=3,
        ).err
    )
    assert "no key named x" in applied("keys", "retire", "x", expect=3).err
    assert "is the last key" in applied("keys", "retire", "old", "--compromised", expect=3).err
    monkeypatch.delenv("RECONCILER_SIGNING_KEY")
    assert "no key that signs here" in applied("keys", "add", "x", expect=3).err
    assert (applied.directory / "keys/trusted.yaml").read_text() == before


def test_a_rotation_is_recorded_like_an_apply(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(applied, old=public(OLD), new=public(NEW))
    sign_with(NEW, monkeypatch)
    applied("keys", "rotate")
    assert len(applied("history", "-o", "json").document["applies"]) == 2
    applied("history", "--verify")


def test_what_is_not_genuine_is_never_signed_again(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    sql("UPDATE gateways SET url = 'https://evil.example/mcp' WHERE name = 'b'")
    trust(applied, old=public(OLD), new=public(NEW))
    sign_with(NEW, monkeypatch)
    refused = applied("keys", "rotate", expect=4)
    assert "! b  the row is not the one that was signed" in refused.err
    assert applied("keys", "verify", "-o", "json", expect=6).document["carried"] == {"old": 1}
    applied("apply")
    assert applied("keys", "verify", "-o", "json").document["carried"] == {"new": 2}


def test_an_apply_after_a_new_key_signs_again_too(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    trust(applied, old=public(OLD), new=public(NEW))
    sign_with(NEW, monkeypatch)
    (first, second) = applied("plan", "-o", "json").document["resource_changes"]
    assert (first["reason"], second["reason"]) == ("key_rotated", "key_rotated")


def test_a_key_that_was_retired_too_early_makes_its_rows_tampering(
    applied: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(applied, old=public(OLD, ", notAfter: 2020-01-01"), new=public(NEW))
    sign_with(NEW, monkeypatch)
    assert {each["reason"] for each in applied("plan", "-o", "json").document["resource_drift"]} == {"tampering"}


def test_an_auditor_needs_the_store_and_the_public_keys_alone(
    applied: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY")
    for name in ("gateways/a.yaml", "gateways/b.yaml", "reconciler.yaml", "gateways/root.pem"):
        (applied.directory / name).unlink()
    found = applied("keys", "verify", "sqlite:///x.db", "--keyring", "keys/trusted.yaml")
    assert "✓ a  row valid (old)  bundle valid (old)  owner reconciler" in found.out
    assert "✓ b  row valid (old)  no bundle" in found.out
    assert "2 rows in sqlite:///x.db, each of them genuine." in found.out
    sql("UPDATE gateways SET record_sig = NULL WHERE name = 'a'")
    found = applied("keys", "verify", "sqlite:///x.db", "--keyring", "keys/trusted.yaml", expect=6)
    assert "✗ a  row missing  bundle valid (old)" in found.out
    assert "2 rows in sqlite:///x.db, 1 not genuine." in found.out


def test_what_an_auditor_is_told_as_json(applied: Terminal) -> None:
    sql("UPDATE gateways SET ca_certificate_sig = 'abc' WHERE name = 'a'")
    document = applied("keys", "verify", "-o", "json", expect=6).document
    assert (document["genuine"], document["carried"]) == (False, {"old": 2})
    one, other = document["gateways"]
    assert one["bundle"] == {"status": "invalid", "key_id": ""}
    assert one["record"] == {"status": "valid", "key_id": key_id(OLD.public)}
    assert (other["genuine"], other["bundle"], other["owner"]) == (True, None, "reconciler")


def test_without_a_key_in_force_nothing_is_called_genuine(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    (applied.directory / "keys/trusted.yaml").unlink()
    assert "no public key in force" in applied("keys", "verify", expect=3).err
    trust(applied, old=public(OLD, ", notAfter: 2020-01-01"))
    assert "no public key in force" in applied("keys", "verify", expect=3).err
    assert "none is in force" in applied("plan", expect=3).err
    sign_with(OLD, monkeypatch)
    assert "none is in force" in applied("apply", expect=3).err


def test_the_keys_are_listed_with_their_windows(applied: Terminal) -> None:
    trust(
        applied,
        old=public(OLD, ", notAfter: 2120-01-01"),
        platform=public(NEW, ", roles: [bundle], notBefore: 2119-01-01"),
    )
    listed = applied("keys", "list").out.splitlines()
    assert listed == [
        f"old  {key_id(OLD.public)}  active  bundle+record  until 2120-01-01 00:00  signs here",
        f"platform  {key_id(NEW.public)}  not yet  bundle  from 2119-01-01 00:00",
    ]
    first, second = applied("keys", "list", "-o", "json").document["keys"]
    assert (first["state"], first["signs"], first["not_after"]) == ("active", True, "2120-01-01T00:00:00+00:00")
    assert (second["state"], second["roles"]) == ("not yet", ["bundle"])


def test_a_key_that_may_only_sign_bundles_does_not_sign_here(applied: Terminal) -> None:
    trust(applied, old=public(OLD, ", roles: [bundle]"))
    assert "is not one that keys/trusted.yaml trusts with bundles and records today" in applied("plan", expect=3).err


def test_without_a_keyring_the_key_that_signs_is_trusted_alone(terminal: Terminal) -> None:
    terminal.gateway("a")
    assert "No key is trusted" in terminal("keys", "list", "--path", "gateways").out
    terminal("apply", "gateways", *STORE)
    assert "No changes" in terminal("plan", "gateways", *STORE).out


def test_a_new_key_is_printed_ready_for_the_keyring(terminal: Terminal) -> None:
    made = terminal("keys", "generate", "new.key", "-o", "json").document
    terminal.write("reconciler.yaml", CONFIG)
    printed = terminal("keys", "generate", "other.key").out
    assert printed.startswith("- name: other\n  publicKey: ")
    trust(terminal, new=f"publicKey: {made['public_key']}")
    assert made["key_id"] in terminal("keys", "list").out
    assert Path("new.key").stat().st_mode & 0o777 == 0o600
