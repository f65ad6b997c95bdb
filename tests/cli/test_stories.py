"""A user's week, as commands and what they print."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.demo.pki import Authority, Lifetime
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from terminal import Terminal

STORE = ("--store", "sqlite:///x.db")


def rows(statement: str = "SELECT name FROM gateways ORDER BY name") -> list[Any]:
    with closing(sqlite3.connect("x.db")) as database, database:
        return [row[0] if len(row) == 1 else row for row in database.execute(statement)]


def test_monday_a_fresh_repository_works_from_init_to_apply_and_says_what_is_next(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    made = terminal("init", "d")
    assert "reconciler validate d" in made.err
    assert stat.S_IMODE((terminal.directory / "d/.reconciler/signing.key").stat().st_mode) == 0o600
    assert ".reconciler/" in (terminal.directory / "d/.gitignore").read_text()
    assert "Next: reconciler plan d" in terminal("validate", "d").err
    assert "Next: reconciler apply d" in terminal("plan", "d").err
    applied = terminal("apply", "d", *STORE)
    assert "create example applied" in applied.out
    assert f"Next: reconciler status --path d {' '.join(STORE)}" in applied.err
    assert rows() == ["example"]
    assert "1 enabled gateway" not in terminal("status", "--path", "d", *STORE).out


def test_init_overwrites_nothing(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", "mine")
    refused = terminal("init", expect=3)
    assert "reconciler.yaml already" in refused.err
    assert sorted(path.name for path in terminal.directory.iterdir()) == ["reconciler.yaml"]


def test_tuesday_changes_are_planned_applied_and_then_there_is_nothing_to_do(terminal: Terminal) -> None:
    terminal.gateway("a")
    terminal.gateway("b", description="old")
    planned = terminal("plan", "gateways", *STORE, "--detailed-exitcode", "-o", "json", expect=2).document
    assert planned["summary"] == {
        "create": 2, "update": 0, "delete": 0, "unchanged": 0, "conflict": 0, "orphan": 0,
    }  # fmt: skip
    assert not (terminal.directory / "x.db").exists()
    terminal("apply", "gateways", *STORE)
    assert "No changes" in terminal("plan", "gateways", *STORE, "--detailed-exitcode").out
    assert "No changes" in terminal("apply", "gateways", *STORE).out

    terminal.gateway("b", description="new")
    (change,) = terminal("plan", "gateways", *STORE, "-o", "json").document["resource_changes"]
    assert (change["name"], change["actions"], change["reason"], change["paths"]) == (
        "b", ["update"], "manifest_changed", ["/description"],
    )  # fmt: skip
    assert "description: old -> new" in terminal("plan", "gateways", *STORE).out
    terminal("apply", "gateways", *STORE)
    assert rows("SELECT description, version FROM gateways WHERE name = 'b'") == [("new", 2)]


def test_wednesday_what_git_loses_stays_until_it_is_pruned(terminal: Terminal) -> None:
    terminal.gateway("a")
    terminal.gateway("b")
    terminal("apply", "gateways", *STORE)
    terminal.remove("b")
    assert "? keep b" in terminal("apply", "gateways", *STORE).out
    assert rows() == ["a", "b"]
    assert "- delete b" in terminal("apply", "gateways", *STORE, "--prune").out
    assert rows() == ["a"]


def test_what_is_suspended_is_left_alone_by_hand_as_well_and_shown(terminal: Terminal) -> None:
    terminal.gateway("a", description="awake")
    terminal.gateway("b", description="awake")
    terminal("apply", "gateways", *STORE)
    notes = {"reconciler/suspend-until": "2999-12-24T00:00:00Z", "reconciler/suspend-reason": "moving house"}
    terminal.gateway("a", description="asleep")
    document = json.loads((terminal.directory / "gateways/a.yaml").read_text())
    document["metadata"]["annotations"] = notes
    terminal.write("gateways/a.yaml", json.dumps(document))
    terminal.gateway("b", description="changed")
    shown = "? suspended a  left alone until 2999-12-24 00:00 UTC, as its manifest asks: moving house"
    assert shown in terminal("plan", "gateways", *STORE).out
    assert shown in terminal("apply", "gateways", *STORE, "--prune", "--max-update-percent", "100").out
    assert rows("SELECT name, description FROM gateways ORDER BY name") == [("a", "awake"), ("b", "changed")]
    assert "1 gateway; 1 suspended" in terminal("plan", "gateways", *STORE).out
    (asleep,) = terminal("plan", "gateways", *STORE, "-o", "json").document["suspended"]
    assert asleep == {"name": "a", "until": "2999-12-24T00:00:00+00:00", "reason": "moving house"}


def test_an_error_anywhere_writes_nothing_and_every_problem_is_shown(terminal: Terminal) -> None:
    terminal.gateway("a")
    terminal("apply", "gateways", *STORE)
    terminal.remove("a")
    terminal.gateway("b", trasnport="sse")
    terminal.write("gateways/c.yaml", "apiVersion: reconciler/v1\nkind: Gatway\n")
    refused = terminal("apply", "gateways", *STORE, "--prune", expect=3)
    assert "did you mean `transport`?" in refused.err
    assert "did you mean `Gateway`?" in refused.err
    assert rows() == ["a"]


def test_one_file_of_the_tree_never_prunes_the_others(terminal: Terminal) -> None:
    terminal.gateway("a")
    terminal.gateway("b")
    terminal("apply", "gateways", *STORE)
    assert "not everything was read" in terminal("apply", "gateways/a.yaml", *STORE, "--prune").out
    assert rows() == ["a", "b"]


def test_a_guard_refuses_with_its_figures_and_the_way_past(terminal: Terminal) -> None:
    for number in range(12):
        terminal.gateway(f"g{number}")
    terminal("apply", "gateways", *STORE)
    for number in range(6):
        terminal.remove(f"g{number}")
    refused = terminal("apply", "gateways", *STORE, "--prune", expect=4)
    assert "6 of 12 gateways would be deleted: 50 %, and the limit is 30 %" in refused.out
    assert "pass --max-delete-percent 50" in refused.out
    assert len(rows()) == 12
    terminal("apply", "gateways", *STORE, "--prune", "--max-delete-percent", "50")
    assert len(rows()) == 6


def test_thursday_somebody_elses_gateway_is_left_alone_until_it_is_adopted(terminal: Terminal) -> None:
    terminal.gateway("a", description="theirs")
    terminal("apply", "gateways", *STORE)
    rows("DELETE FROM reconciler_stamps")
    terminal.gateway("a", description="ours")
    refused = terminal("apply", "gateways", *STORE, expect=5)
    assert "take it over with `reconciler adopt a`" in refused.out
    assert rows("SELECT description FROM gateways") == ["theirs"]
    assert "update a" in terminal("adopt", "a", "--path", "gateways", *STORE).out
    assert rows("SELECT description FROM gateways") == ["ours"]
    assert "No changes" in terminal("plan", "gateways", *STORE).out


def test_only_what_is_in_the_store_and_in_the_tree_can_be_adopted(terminal: Terminal) -> None:
    terminal.gateway("a")
    assert "no manifest of b" in terminal("adopt", "b", "--path", "gateways", *STORE, expect=3).err
    assert "`reconciler apply` creates it" in terminal("adopt", "a", "--path", "gateways", *STORE, expect=3).err
    assert rows() == []


def test_another_owner_in_the_same_store_is_not_touched(terminal: Terminal) -> None:
    config = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\nspec: {owner: team-b, path: gateways}\n"
    terminal.gateway("a")
    terminal.write("other/reconciler.yaml", config)
    terminal.write("other/gateways/b.yaml", (terminal.directory / "gateways/a.yaml").read_text().replace('"a"', '"b"'))
    terminal("apply", "gateways", *STORE)
    terminal("apply", "other", *STORE, "--prune")
    assert rows() == ["a", "b"]


def test_what_nobody_signed_is_named_and_healed(terminal: Terminal) -> None:
    terminal.gateway("a")
    terminal("apply", "gateways", *STORE)
    rows("UPDATE gateways SET url = 'https://elsewhere.example/mcp'")
    planned = terminal("plan", "gateways", *STORE, "-o", "json").document
    assert planned["resource_drift"] == [
        {"name": "a", "reason": "tampering", "evidence": "record_not_genuine", "paths": ["/url"]}
    ]
    assert "Drifted" in terminal("status", "a", *STORE).out
    terminal("apply", "gateways", *STORE)
    assert rows("SELECT url FROM gateways") == ["https://a.example/mcp"]


def test_a_swapped_ca_is_tampering_even_with_the_old_signature(terminal: Terminal, root: Authority) -> None:
    terminal.write("gateways/root.pem", root.pem)
    terminal.gateway("a", tls={"caCertificates": ["root.pem"]})
    terminal("apply", "gateways", *STORE)
    rows("UPDATE gateways SET ca_certificate = ca_certificate || char(10) || '# more'")
    planned = terminal("plan", "gateways", *STORE)
    assert "tampering" in planned.out
    assert (
        terminal("verify", *STORE, "-o", "json", expect=6).document["gateways"][0]["signature"]["bundle"] == "invalid"
    )
    terminal("apply", "gateways", *STORE)
    assert rows("SELECT ca_certificate FROM gateways") == [root.pem]


def test_a_removed_signature_is_tampering_too(terminal: Terminal, root: Authority) -> None:
    terminal.write("gateways/root.pem", root.pem)
    terminal.gateway("a", tls={"caCertificates": ["root.pem"]})
    terminal("apply", "gateways", *STORE)
    rows("UPDATE gateways SET ca_certificate_sig = NULL, signing_algorithm = NULL")
    (drift,) = terminal("plan", "gateways", *STORE, "-o", "json").document["resource_drift"]
    assert drift["reason"] == "tampering"
    terminal("apply", "gateways", *STORE)
    assert "No changes" in terminal("plan", "gateways", *STORE).out


def test_without_a_key_nothing_is_written_unless_that_is_said_aloud(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    terminal.gateway("a")
    refused = terminal("apply", "gateways", *STORE, expect=3)
    assert "no signing key" in refused.err
    assert "reconciler keys generate" in refused.err
    assert not (terminal.directory / "x.db").exists()
    assert "working without signatures" in terminal("apply", "gateways", *STORE, "--allow-unsigned").err


def test_a_colleague_without_the_key_can_plan_and_apply_unsigned_only_when_that_is_said(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    terminal("init", "d")
    terminal("apply", "d")
    (terminal.directory / "d/.reconciler/signing.key").unlink()
    assert "No changes" in terminal("plan", "d").out
    assert "signing.key" in terminal("apply", "d", expect=1).err
    assert "No changes" in terminal("apply", "d", "--allow-unsigned").out


def test_a_protected_gateway_takes_two_commits_to_remove(terminal: Terminal) -> None:
    terminal.gateway("a")
    path = terminal.directory / "gateways/a.yaml"
    plain = path.read_text()
    protected = plain.replace('"name": "a"', '"name": "a", "annotations": {"reconciler/prune": "disabled"}')
    path.write_text(protected)
    terminal("apply", "gateways", *STORE)
    path.unlink()
    assert "protected" in terminal("apply", "gateways", *STORE, "--prune", "--allow-empty").out
    path.write_text(plain)
    terminal("apply", "gateways", *STORE)
    path.unlink()
    terminal("apply", "gateways", *STORE, "--prune", "--allow-empty")
    assert rows() == []


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"charge": "Charge a card"}) as server:
        yield server


def test_friday_an_upstream_is_proved_and_its_conditions_are_kept(
    terminal: Terminal, root: Authority, upstream: Upstream
) -> None:
    terminal.write("gateways/root.pem", root.pem)
    tls = {"caCertificates": ["root.pem"], "systemTrust": False}
    required = {"mode": "required", "requireTools": ["charge"]}
    terminal.gateway("payments", url=upstream.url, transport="streamable-http", tls=tls, verify=required)
    assert "1 of 1 upstream answered" in terminal("apply", "gateways", *STORE).out
    (gateway,) = terminal("status", *STORE, "-o", "json").document["gateways"]
    assert [(each["type"], each["status"]) for each in gateway["conditions"]] == [
        ("Ready", "True"), ("Synced", "True"), ("Trusted", "True"), ("Reachable", "True"), ("Healthy", "True"),
    ]  # fmt: skip
    assert gateway["tools"] == 1
    (verified,) = terminal("verify", *STORE, "-o", "json").document["gateways"]
    assert (verified["tls"]["trust"], verified["mcp"]["tools"]) == ("bundle", ["charge"])


def test_a_bundle_that_would_break_a_required_upstream_is_held_and_the_old_row_stays(
    terminal: Terminal, root: Authority, upstream: Upstream, now: datetime
) -> None:
    def with_root(pem: str) -> None:
        terminal.write("gateways/root.pem", pem)
        tls = {"caCertificates": ["root.pem"], "systemTrust": False}
        verify = {"mode": "required"}
        terminal.gateway("payments", url=upstream.url, transport="streamable-http", tls=tls, verify=verify)

    with_root(root.pem)
    terminal("apply", "gateways", *STORE)
    with_root(Authority.root("Payments Root CA", Lifetime.around(now)).pem)
    held = terminal("apply", "gateways", *STORE, expect=6)
    assert "held, because the upstream would not work with it (CaRotated)" in held.out
    assert rows("SELECT ca_certificate FROM gateways") == [root.pem]
    assert terminal("verify", *STORE).code == 0


def test_an_upstream_that_is_down_does_not_block_the_others_and_is_reported(
    terminal: Terminal, root: Authority, upstream: Upstream
) -> None:
    terminal.write("gateways/root.pem", root.pem)
    common = {"transport": "streamable-http", "tls": {"caCertificates": ["root.pem"]}, "verify": {"mode": "report"}}
    terminal.gateway("up", url=upstream.url, **common)
    terminal.gateway("down", url="https://localhost:9/mcp", **common)
    applied = terminal("apply", "gateways", *STORE, expect=6)
    assert "ConnectionRefused" in applied.out
    assert "1 of 2 upstreams answered" in applied.out
    assert rows() == ["down", "up"]
    assert "ConnectionRefused" in terminal("status", *STORE).out


def test_openssl_accepts_what_is_stored(terminal: Terminal, root: Authority, issuing: Authority) -> None:
    terminal.write("gateways/issuing.pem", issuing.pem)
    terminal.write("gateways/root.pem", root.pem)
    terminal.write("server.pem", issuing.issue_server(["payments.example"]).leaf_pem)
    terminal.gateway("payments", tls={"caCertificates": ["issuing.pem", "root.pem"]})
    terminal("apply", "gateways", *STORE)
    ((bundle, signature),) = rows("SELECT ca_certificate, ca_certificate_sig FROM gateways")
    terminal.write("bundle.pem", bundle)
    (terminal.directory / "bundle.sig").write_bytes(bytes.fromhex(signature))
    openssl("verify", "-CAfile", "bundle.pem", "-verify_hostname", "payments.example", "server.pem")
    openssl("pkey", "-in", "../signing.key", "-pubout", "-out", "public.pem")
    openssl(
        "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "public.pem", "-in", "bundle.pem", "-sigfile", "bundle.sig"
    )
    assert terminal("ca", "normalize", "gateways/root.pem", "gateways/issuing.pem").out == bundle + "\n"


def openssl(*arguments: str) -> None:
    ended = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_shells_complete_commands(terminal: Terminal) -> None:
    asked = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler pl", "COMP_CWORD": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "reconciler"],
        cwd=terminal.directory,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["plain,plan"]


def test_hostile_names_reach_no_terminal_and_break_no_json(terminal: Terminal) -> None:
    for name in (b"caf\xe9.yaml", b"\x1b[2J\n::error::.yaml", "\u202egpj.yaml".encode()):
        (terminal.directory / os.fsdecode(name)).write_text("nonsense")
    refused = terminal("validate", ".", expect=3)
    assert not set("\x1b\u202e") & set(refused.out + refused.err)
    assert len(refused.out.splitlines()) == 3 * 2 + 2 * 2 + 1  # each with its fix, two with a line and a caret
    assert terminal("validate", ".", "-o", "json", expect=3).document["error_count"] == 3
    assert terminal("plan", ".", "-o", "json", expect=3).document["valid"] is False


def test_usage_errors_have_their_own_code(terminal: Terminal) -> None:
    assert "No such command" in terminal("aply", expect=64).err
    assert "No such option" in terminal("plan", "--detailed", expect=64).err
    assert "not KEY=VALUE" in terminal("plan", "-l", "team", expect=64).err


def test_help_teaches_by_example(terminal: Terminal) -> None:
    for command in ("validate", "plan", "apply", "verify", "status", "init"):
        assert "Examples:" in terminal(command, "--help").out
