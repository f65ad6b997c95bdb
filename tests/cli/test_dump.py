"""An existing store becomes manifests and PEM files, and a plan of these finds nothing to do."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.sources.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terminal import Terminal

    from reconciler.demo.pki import Authority

STORE = ("--store", "sqlite:///x.db")
NO_CHANGES = "No changes. The store holds exactly what git says"
CONFIG = """\
apiVersion: reconciler/v1
kind: Config
metadata: {name: fleet}
spec:
  owner: us
  path: gateways
  targets:
    - {name: test, store: "sqlite:///test.db", selector: {environment: test}}
    - {name: production, store: "sqlite:///production.db", path: gateways/production}
"""


def sql(statement: str, *values: object) -> None:
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(statement, values)


def files(directory: str = "out") -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in Path(directory).rglob("*") if path.is_file())


def content() -> Mapping[str, bytes]:
    """Return all that stands below the current directory, but the store."""
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file() and path.suffix != ".db"}


@pytest.fixture
def filled(terminal: Terminal, root: Authority) -> Terminal:
    """A store with two gateways that share a private CA, and one with a description over several lines."""
    terminal.write("gateways/root.pem", root.pem)
    for name in ("payments", "refunds"):
        terminal.gateway(
            name,
            tls={"caCertificates": ["root.pem"]},
            auth={"type": "bearer", "tokenFrom": {"env": "TOKEN"}},
        )
    terminal.gateway("search", description="Searches\n\n- the intranet\n- mail", enabled=False, tags=["no", "0755"])
    terminal("apply", "gateways", *STORE)
    return terminal


def test_a_store_is_dumped_and_a_plan_of_that_is_empty(filled: Terminal) -> None:
    dumped = filled("dump", "out", *STORE)
    assert files() == ["certificates/payments-root-ca.pem", "payments.yaml", "refunds.yaml", "search.yaml"]
    assert dumped.out.splitlines() == [
        "+ out/certificates/payments-root-ca.pem",
        "+ out/payments.yaml",
        "+ out/refunds.yaml",
        "+ out/search.yaml",
        "Dumped 3 gateways, 1 certificate file.",
    ]
    assert "no labels and no `verify`: none were written" in dumped.err
    assert "Next: reconciler plan out --store sqlite:///x.db" in dumped.err
    assert NO_CHANGES in filled("plan", "out", *STORE, "--detailed-exitcode").out
    filled("validate", "out")
    filled("fmt", "out", "--check")


def test_it_reads_like_something_a_person_wrote(filled: Terminal) -> None:
    filled("dump", "out", *STORE)
    assert Path("out/payments.yaml").read_text() == (
        "apiVersion: reconciler/v1\n"
        "kind: Gateway\n"
        "metadata:\n"
        "  name: payments\n"
        "spec:\n"
        "  url: https://payments.example/mcp\n"
        "  transport: sse\n"
        "  tls:\n"
        "    caCertificates: [certificates/payments-root-ca.pem]\n"
        "  auth:\n"
        "    type: bearer\n"
        "    tokenFrom: {env: TOKEN}\n"
    )
    assert "  description: |-\n    Searches\n\n    - the intranet\n    - mail\n" in Path("out/search.yaml").read_text()


def test_everybody_may_read_it_whatever_the_umask_and_nothing_else_is_left_behind(filled: Terminal) -> None:
    before = set(Path().iterdir())
    old = os.umask(0o077)
    try:
        filled("dump", "deep/out", *STORE)
    finally:
        os.umask(old)
    modes = {name: Path("deep/out", name).stat().st_mode & 0o777 for name in (".", "certificates", *files("deep/out"))}
    assert modes == {".": 0o755, "certificates": 0o755, **dict.fromkeys(files("deep/out"), 0o644)}
    assert set(Path().iterdir()) - before == {Path("deep")}
    assert list(Path("deep").iterdir()) == [Path("deep/out")]


def test_it_takes_no_signing_key_and_writes_nothing_to_the_store(
    filled: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    before = Path("x.db").read_bytes()
    filled("dump", "out", *STORE)
    assert Path("x.db").read_bytes() == before


def test_nothing_that_exists_is_overwritten(filled: Terminal) -> None:
    filled.write("out/mine.txt", "mine")
    filled.write("file", "mine")
    before = content()
    assert "out is not empty, and a dump overwrites nothing" in filled("dump", "out", *STORE, expect=3).err
    assert "file is a file" in filled("dump", "file", *STORE, expect=3).err
    assert "cannot be written" in filled("dump", "file/below", *STORE, expect=3).err
    assert content() == before


def test_an_empty_directory_is_filled_unless_one_stands_in_it(
    filled: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").mkdir(mode=0o700)
    monkeypatch.chdir("out")
    absolute = ("--store", f"sqlite:///{filled.directory / 'x.db'}")
    assert "cannot be replaced while you are in it" in filled("dump", ".", *absolute, expect=3).err
    monkeypatch.chdir("..")
    filled("dump", "out", *STORE)
    assert len(files()) == 4


def test_what_nobody_owns_is_adopted_next(filled: Terminal) -> None:
    sql("DELETE FROM reconciler_stamps WHERE manifest LIKE '%payments%' OR manifest LIKE '%search%'")
    dumped = filled("dump", "out", *STORE)
    (adopt,) = re.findall(r"^  reconciler (adopt .*)$", dumped.err, re.MULTILINE)
    assert adopt == "adopt payments search --path out --store sqlite:///x.db"
    assert "payments" in filled("plan", "out", *STORE).out
    filled(*adopt.split(), "--no-verify")
    assert NO_CHANGES in filled("plan", "out", *STORE).out


def test_what_others_own_is_left_to_them(filled: Terminal) -> None:
    sql("UPDATE reconciler_stamps SET owner = 'them' WHERE manifest LIKE '%payments%'")
    dumped = filled("dump", "ours", *STORE)
    assert "Dumped 2 gateways, 1 certificate file, 1 of other owners not looked at (--all)." in dumped.out
    assert files("ours") == ["certificates/payments-root-ca.pem", "refunds.yaml", "search.yaml"]
    assert files_of(filled, "theirs", "--owner", "them") == ["payments.yaml"]
    everything = filled("dump", "all", *STORE, "--all")
    assert "payments: another owner's, so a plan calls them conflicts" in everything.err
    assert len(files("all")) == 4


def files_of(terminal: Terminal, directory: str, *options: str) -> list[str]:
    terminal("dump", directory, *STORE, *options)
    return [name for name in files(directory) if name.endswith(".yaml")]


def test_two_ways_to_choose_are_one_too_many(filled: Terminal) -> None:
    assert "cannot stand together" in filled("dump", "out", *STORE, "--all", "--owner", "x", expect=64).err


def test_a_store_without_anything_to_dump_is_an_error(filled: Terminal) -> None:
    missing = filled("dump", "out", "--store", "sqlite:///y.db", expect=3)
    assert "sqlite:///y.db holds no gateway to dump" in missing.err
    sql("UPDATE reconciler_stamps SET owner = 'them'")
    assert "; 3 belong to other owners" in filled("dump", "out", *STORE, expect=3).err
    assert not Path("out").exists()
    assert not Path("y.db").exists()


def test_a_protected_gateway_stays_protected(filled: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    sql("UPDATE reconciler_stamps SET protected = 1 WHERE manifest LIKE '%search%'")
    filled("dump", "out", *STORE)
    assert "  annotations:\n    reconciler/prune: disabled\n" in Path("out/search.yaml").read_text()
    assert NO_CHANGES in filled("plan", "out", *STORE).out


HOSTILE = (
    *("../payments", "/payments", "..", "", "a/../../b", "a\nb", "a\n- b", "a\x1b[2J", "a\x00b", "PAYMENTS"),
    *("x" * 64, "a: b", "# a", "defaults.yaml", "\u202ea", "certificates/x"),
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_leads_out_of_the_directory_or_breaks_a_manifest(filled: Terminal, name: str) -> None:
    sql("UPDATE gateways SET name = ? WHERE name = 'payments'", name)
    before = {path.parent for path in filled.directory.parent.rglob("*")}
    dumped = filled("dump", "out", *STORE, expect=5)
    assert files() == ["certificates/payments-root-ca.pem", "refunds.yaml", "search.yaml"]
    assert {path.parent for path in filled.directory.parent.rglob("*")} - before == {
        filled.directory / "out",
        filled.directory / "out/certificates",
    }
    assert "its name is no DNS label" in dumped.err
    assert "[not-expressible]" in dumped.err
    assert "Dumped 2 gateways, 1 certificate file, 1 left out." in dumped.out
    assert "\x1b" not in dumped.err
    filled("validate", "out")


def test_what_no_manifest_can_say_is_left_out_and_said(filled: Terminal) -> None:
    sql("UPDATE gateways SET transport = 'STDIO' WHERE name = 'payments'")
    sql("UPDATE gateways SET ca_certificate = 'nothing' WHERE name = 'refunds'")
    dumped = filled("dump", "out", *STORE, expect=5)
    assert files() == ["search.yaml"]
    assert "`payments` is left out, for no manifest can say what it is: transport is nothing that we know" in dumped.err
    assert "`refunds` is left out, for no manifest can say what it is: its PEM text, line 1: there is no" in dumped.err
    assert "until then, do not prune" in dumped.err


def test_where_nothing_can_be_said_nothing_is_written(filled: Terminal) -> None:
    sql("UPDATE gateways SET transport = 'STDIO'")
    dumped = filled("dump", "out", *STORE, expect=1)
    assert "Dumped 0 gateways, 0 certificate files, 3 left out." in dumped.out
    assert not Path("out").exists()


def test_a_credential_that_stands_in_the_store_is_not_repeated_but_left_to_fill_in(filled: Terminal) -> None:
    sql("UPDATE gateways SET auth_reference = 'hunter2' WHERE name = 'payments'")
    dumped = filled("dump", "out", *STORE)
    assert "    tokenFrom: {env: PAYMENTS_TOKEN}  # to fill in\n" in Path("out/payments.yaml").read_text()
    assert "First fill in where payments have their credentials from" in dumped.err
    assert not any(b"hunter2" in data for data in content().values())
    assert "hunter2" not in dumped.out + dumped.err
    filled("validate", "out")


def test_a_bundle_that_somebody_else_put_there_is_pointed_out(filled: Terminal, issuing: Authority) -> None:
    sql("UPDATE gateways SET ca_certificate = ? WHERE name = 'refunds'", issuing.pem)
    dumped = filled("dump", "out", *STORE)
    assert "for the CA bundle of `refunds` [bundle-not-genuine]" in dumped.err
    assert files()[0] == "certificates/payments-issuing-ca.pem"
    assert "tampering" in filled("plan", "out", *STORE).out


def test_an_editor_finds_the_schema_where_the_repository_has_it(
    filled: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled("init", "repo", "--owner", "reconciler")
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    filled("dump", "repo/gateways/taken", *STORE)
    first = Path("repo/gateways/taken/search.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../../schemas/gateway.v1.schema.json"
    assert Path("repo/gateways/taken/../../schemas/gateway.v1.schema.json").is_file()


def test_defaults_above_would_change_what_is_written(filled: Terminal) -> None:
    filled.write("reconciler.yaml", "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\nspec: {}\n")
    filled.write("gateways/defaults.yaml", "apiVersion: reconciler/v1\nkind: Defaults\nmetadata: {name: x}\nspec: {}\n")
    refused = filled("dump", "gateways/taken", *STORE, expect=3)
    assert "gateways/defaults.yaml would change what is written there" in refused.err
    filled("dump", "taken", *STORE)


def test_the_labels_by_which_a_target_selects_are_written(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write(
        "gateways/a.yaml",
        "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: a, labels: {environment: test, team: x}}\n"
        "spec: {url: https://a.example/mcp, transport: sse, verify: {mode: off}}\n",
    )
    terminal("apply", "--target", "test")
    assert "several targets" in terminal("dump", "gateways/taken", expect=3).err
    dumped = terminal("dump", "gateways/taken", "--target", "test")
    assert "none were written but environment=test" in dumped.err
    assert "Next: reconciler plan gateways/taken --target test" in dumped.err
    Path("gateways/a.yaml").unlink()
    assert NO_CHANGES in terminal("plan", "gateways/taken", "--target", "test").out


def test_a_dump_that_the_target_does_not_look_at_is_to_be_moved(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write(
        "gateways/production/a.yaml",
        "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: a}\n"
        "spec: {url: https://a.example/mcp, transport: sse, verify: {mode: off}}\n",
    )
    terminal("apply", "--target", "production")
    dumped = terminal("dump", "gateways/taken", "--target", "production")
    assert "Next: move it below gateways/production, where the target production looks" in dumped.err
    assert "reconciler plan" not in dumped.err


def test_many_files_are_counted(terminal: Terminal) -> None:
    for number in range(45):
        terminal.gateway(f"a-{number:02}")
    terminal("apply", "gateways", *STORE)
    sql("DELETE FROM reconciler_stamps")
    dumped = terminal("dump", "out", *STORE)
    assert len(dumped.out.splitlines()) == 42
    assert "  and 5 more files" in dumped.out
    assert "a-19 … --path out" in dumped.err
    assert len(Directory(Path("out")).scan(["."]).files) == 45
