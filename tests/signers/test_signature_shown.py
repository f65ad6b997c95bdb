"""What `verify -o json` and the auditor say of signatures, for every state that a row can be in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.core.signing import generate, key_id, public_text

if TYPE_CHECKING:
    from terminal import Terminal

    from reconciler.demo.pki import Authority

CONFIG = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\nspec: {path: gateways, store: sqlite:///x.db}\n"
OURS, OLDER = generate(), generate()
OWN, OLD = key_id(OURS.public), key_id(OLDER.public)


def sql(statement: str) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(statement)


@pytest.fixture
def applied(terminal: Terminal, root: Authority, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Two gateways that are off, and so not looked at: one of them with a bundle."""
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    monkeypatch.setenv("RECONCILER_SIGNING_KEY", OURS.private.decode())
    keys = "".join(
        f"    - {{name: '{each.public[0]}', publicKey: {public_text(each.public)}}}\n" for each in (OURS, OLDER)
    )
    heading = "apiVersion: reconciler/v1\nkind: Keyring\nmetadata: {name: trusted}\nspec:\n  keys:\n"
    terminal.write("keys/trusted.yaml", heading + keys)
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write("gateways/root.pem", root.pem)
    terminal.gateway("a", enabled=False, tls={"caCertificates": ["root.pem"]})
    terminal.gateway("b", enabled=False)
    terminal("apply")
    return terminal


def shown(terminal: Terminal, expect: int = 0) -> dict[str, Any]:
    document = terminal("verify", "-o", "json", expect=expect).document
    return {each["name"]: each["signature"] for each in document["gateways"]}


def test_a_genuine_row_is_valid_by_the_key_that_signed_it_with_a_bundle_or_without(applied: Terminal) -> None:
    assert shown(applied) == {
        "a": {"bundle": "valid", "record": "valid", "key_id": OWN},
        "b": {"bundle": "none", "record": "valid", "key_id": OWN},
    }


def test_a_row_by_an_older_key_says_so(applied: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_SIGNING_KEY", OLDER.private.decode())
    assert shown(applied)["b"] == {"bundle": "none", "record": "older key", "key_id": OWN}
    applied("keys", "rotate")
    assert shown(applied)["b"] == {"bundle": "none", "record": "valid", "key_id": OLD}


FORGED: dict[str, tuple[str, dict[str, str]]] = {
    "the URL": (
        "UPDATE gateways SET url = 'https://evil.example/mcp' WHERE name = 'b'",
        {"bundle": "none", "record": "invalid", "key_id": ""},
    ),
    "the owner": (
        "UPDATE reconciler_stamps SET owner = 'mallory'",
        {"bundle": "none", "record": "invalid", "key_id": ""},
    ),
    "the record": (
        "UPDATE gateways SET record_sig = NULL WHERE name = 'b'",
        {"bundle": "none", "record": "missing", "key_id": ""},
    ),
}


@pytest.mark.parametrize(("statement", "said"), FORGED.values(), ids=FORGED)
def test_a_forged_row_is_never_called_anything_else(applied: Terminal, statement: str, said: dict[str, str]) -> None:
    sql(statement)
    assert shown(applied, expect=6)["b"] == said


def test_what_nobody_stamped_is_not_ours_to_judge(applied: Terminal) -> None:
    sql("DELETE FROM reconciler_stamps")
    assert shown(applied)["b"] == {"bundle": "none", "record": "unknown", "key_id": ""}
    assert "✗ b  row invalid" in applied("keys", "verify", expect=6).out


def test_without_any_key_nothing_is_known(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    terminal.gateway("b", enabled=False)
    terminal("apply", "gateways", "--store", "sqlite:///x.db", "--allow-unsigned")
    document = terminal("verify", "--store", "sqlite:///x.db", "-o", "json").document
    assert document["gateways"][0]["signature"] == {"bundle": "none", "record": "unknown", "key_id": ""}


def test_an_auditor_hears_what_is_wrong_by_the_exit_code(applied: Terminal) -> None:
    applied("keys", "verify", "sqlite:///x.db", expect=0)
    assert "holds no gateway" in applied("keys", "verify", "sqlite:///missing/x.db", expect=1).err
    applied("keys", "verify", "nonsense:///x.db", expect=3)
    applied("keys", "verify", "one", "two", expect=64)
    sql("UPDATE gateways SET record_sig = 'x'")
    applied("keys", "verify", expect=6)
