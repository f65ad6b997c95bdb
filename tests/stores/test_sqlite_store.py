from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from contract import (
    AUDIT,
    NOW,
    RECORD,
    SIGNATURE,
    StoreContract,
    a_gateway,
    a_stamp,
    created,
    deleted,
    statuses,
    stored,
    updated,
)

from reconciler.core.model import Auth, LiveGateway, SecretReference
from reconciler.database import APPLICATION_ID, open_database
from reconciler.errors import StoreBusyError, StoreError
from reconciler.stores import open_store
from reconciler.stores.schema import STEPS
from reconciler.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.core.ports import Store

WRITER = Path(__file__).parent / "sqlite_writer.py"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "gateways.db"


@pytest.fixture
def opened(database: Path) -> Iterator[Callable[[], Store]]:
    with ExitStack() as stores:

        def open_another() -> Store:
            store = open_store(f"sqlite:///{database}", create=True)
            stores.callback(store.close)
            return store

        yield open_another


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def opened(self, opened: Callable[[], Store]) -> Callable[[], Store]:
        return opened


def outside(database: Path, statement: str, *values: object) -> list[Any]:
    """Run a statement as another program would, with none of our settings."""
    with closing(sqlite3.connect(database)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def found(store: Store, name: str = "one") -> LiveGateway:
    return store.read().gateways[name]


def test_a_file_that_is_created_can_be_read_by_its_owner_alone(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in database.parent.iterdir()}
    assert set(modes.values()) == {0o600}


def test_a_file_that_is_created_through_a_link_can_be_read_by_its_owner_alone(tmp_path: Path, database: Path) -> None:
    target = tmp_path / "target.db"
    database.symlink_to(target)
    open_store(f"sqlite:///{database}", create=True).close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["./:memory:", "file:x.db", "a%3Fb#c.db", "ünïcødé 🚪.db"])
def test_no_name_of_a_file_is_special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_store(f"sqlite:///{name}", create=True)) as store:
        stored(store, created(a_gateway("one")))
    with closing(open_store(f"sqlite:///{name}", create=False)) as store:
        assert list(store.read().gateways) == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).name]


def test_the_mode_of_a_file_that_exists_is_left_alone(database: Path) -> None:
    database.touch(mode=0o640)
    database.chmod(0o640)
    open_store(f"sqlite:///{database}", create=True).close()
    assert stat.S_IMODE(database.stat().st_mode) == 0o640


def test_reading_what_does_not_exist_finds_nothing_and_creates_nothing(database: Path) -> None:
    store = open_store(f"sqlite:///{database}", create=False)
    assert store.read().gateways == {}
    with pytest.raises(StoreError, match="does not exist"):
        store.apply([created(a_gateway("one"))], AUDIT)
    store.close()
    assert list(database.parent.iterdir()) == []


def test_reading_an_empty_file_finds_nothing_and_leaves_it_empty(database: Path) -> None:
    database.touch()
    store = open_store(f"sqlite:///{database}", create=False)
    assert store.read().gateways == {}
    store.close()
    assert database.read_bytes() == b""


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        open_store(f"sqlite:///{tmp_path}/missing/gateways.db", create=True)


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    for create in (True, False):
        with pytest.raises(StoreError, match="cannot be opened"):
            open_store(f"sqlite:///{tmp_path}", create=create)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_explained_and_left_alone(database: Path, create: bool) -> None:
    database.write_text("apiVersion: v1\n" * 100)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        open_store(f"sqlite:///{database}", create=create)
    assert database.read_text() == "apiVersion: v1\n" * 100


@pytest.mark.parametrize("create", [True, False])
def test_the_database_of_another_program_is_refused_and_left_alone(database: Path, create: bool) -> None:
    outside(database, "CREATE TABLE gateways (id, email_teams)")
    before = database.read_bytes()
    with pytest.raises(StoreError, match="another program; it holds the tables gateways") as refusal:
        open_store(f"sqlite:///{database}", create=create)
    assert "ContextForge" in refusal.value.fix
    assert database.read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_schema_is_refused(store: Store, database: Path, create: bool) -> None:
    store.close()
    outside(database, "PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="schema version 99") as refusal:
        open_store(f"sqlite:///{database}", create=create)
    assert "newer version of reconciler" in refusal.value.fix


def test_a_damaged_file_is_explained(store: Store, database: Path) -> None:
    stored(store, *(created(a_gateway(f"gw-{number}", description="x" * 500)) for number in range(50)))
    store.close()
    intact = database.read_bytes()
    database.write_bytes(intact[:4096] + b"\xff" * (len(intact) - 4096))
    damaged = open_store(f"sqlite:///{database}", create=False)
    with pytest.raises(StoreError, match="is damaged"):
        damaged.read()
    damaged.close()


def test_another_writer_makes_the_store_busy_and_does_not_hinder_reading(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    late = limited(database, "PRAGMA busy_timeout = 1")
    with closing(late), closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="another process has been writing"):
            late.apply([created(a_gateway("two"))], AUDIT)
        assert list(late.read().gateways) == ["one"]
        other.rollback()
        stored(late, created(a_gateway("two")))


def limited(database: Path, pragma: str) -> Store:
    """Return another store over the same file, with a limit that stands for a disk or a file system at its end."""
    return SqliteStore(database, open_database(database, lambda opened: opened.execute(pragma), create=False))


def test_a_full_disk_is_explained_and_leaves_everything_as_it_was(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    held = store.read()
    with closing(limited(database, "PRAGMA max_page_count = 12")) as full:
        changes = [created(a_gateway(f"gw-{number}", ca_certificate="x" * 5000)) for number in range(50)]
        first, *others = full.apply([deleted(held.gateways["one"]), *changes], AUDIT)
        assert first.status == "skipped"
        assert sorted({outcome.status for outcome in others}) == ["failed", "skipped"]
        (failed,) = [outcome for outcome in others if outcome.status == "failed"]
        assert "the disk is full: free some space" in failed.reason
        assert full.read() == held
    stored(store, *changes)


def test_a_file_that_may_not_be_written_is_explained(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    with closing(limited(database, "PRAGMA query_only = ON")) as reader:
        with pytest.raises(StoreError, match="may not be written"):
            reader.apply([created(a_gateway("two"))], AUDIT)
        assert list(reader.read().gateways) == ["one"]


def test_a_row_that_others_made_too_large_is_explained(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    outside(database, "UPDATE gateways SET description = ?", "x" * 9_000_000)
    with pytest.raises(StoreError, match="more than 8388608 bytes"):
        store.read()


def test_a_new_file_may_be_opened_by_many_at_once(database: Path) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> list[str]:
        start.wait()
        with closing(open_store(f"sqlite:///{database}", create=True)) as store:
            return statuses(store.apply([created(a_gateway(f"gw-{number}"))], AUDIT))

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(write, range(8))) == [["applied"]] * 8


@pytest.mark.parametrize(
    ("description", "why"),
    [("\ud800", "not Unicode"), ("x" * 9_000_000, "more than 8388608 bytes in one row: shorten that row")],
    ids=["surrogate", "too large"],
)
@pytest.mark.parametrize("exists", [True, False], ids=["update", "create"])
def test_the_change_at_which_the_database_fails_is_named_and_nothing_is_written(
    store: Store, description: str, why: str, exists: bool
) -> None:
    stored(store, created(a_gateway("two")))
    held = store.read()
    bad = a_gateway("two" if exists else "three", description=description)
    changes = [
        created(a_gateway("one")),
        updated(held.gateways["two"], bad) if exists else created(bad),
        created(a_gateway("four")),
    ]
    outcomes = store.apply(changes, AUDIT)
    assert [outcome.name for outcome in outcomes] == ["one", bad.name, "four"]
    assert statuses(outcomes) == ["skipped", "failed", "skipped"]
    assert why in outcomes[1].reason
    assert all(f"`{bad.name}`" in outcome.reason for outcome in (outcomes[0], outcomes[2]))
    assert store.read() == held


def test_the_columns_hold_the_words_of_contextforge(store: Store, database: Path) -> None:
    reference = SecretReference("secretKeyRef", "tokens", "one")
    auth = Auth("headers", (("realm", "r"),), (("X-Token", reference),))
    stored(store, created(a_gateway("one", ca_certificate="pem", auth=auth, tags=("a",)), SIGNATURE))
    (row,) = outside(
        database,
        "SELECT slug, transport, auth_type, auth_reference, tags, passthrough_headers, signing_algorithm,"
        " ca_certificate_sig, team_id, gateway_mode FROM gateways",
    )
    assert row[:3] == ("one", "STREAMABLEHTTP", "authheaders")
    assert json.loads(row[3]) == {
        "settings": {"realm": "r"},
        "secrets": {"X-Token": {"secretKeyRef": {"name": "tokens", "key": "one"}}},
    }
    assert row[4:] == ('["a"]', "[]", "ed25519", SIGNATURE, None, "cache")


def test_an_update_keeps_the_identity_and_the_birth_of_a_row(store: Store, database: Path) -> None:
    columns = (
        "SELECT id, created_at, created_by, created_via, modified_at, modified_by, modified_via, version FROM gateways"
    )
    stored(store, created(a_gateway("one")))
    (born,) = outside(database, columns)
    stored(store, updated(found(store), a_gateway("one", description="new")))
    (grown,) = outside(database, columns)
    at = NOW.isoformat()
    assert len(born[0]) == 32
    assert born[1:] == (at, "alice", "cli", None, None, None, 1)
    assert grown == (*born[:4], at, "alice", "cli", 2)


@pytest.mark.parametrize(
    "column",
    [
        "slug", "url", "description", "transport", "enabled", "visibility", "tags", "passthrough_headers", "version",
        "ca_certificate", "ca_certificate_sig", "signing_algorithm", "system_trust", "client_cert", "team_id",
        "client_key_reference", "auth_type", "auth_reference", "gateway_mode", "kuadrant", "created_by", "modified_at",
    ],
)  # fmt: skip
def test_an_outside_edit_of_any_column_is_noticed(store: Store, database: Path, column: str) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")))
    before = found(store)
    outside(database, f"UPDATE gateways SET {column} = 'other'")  # noqa: S608 - the columns above
    assert found(store).token != before.token
    assert statuses(store.apply([deleted(before)], AUDIT)) == ["refused"]


@pytest.mark.parametrize("column", ["owner", "manifest", "revision", "digest", "protected", "stamped_at"])
def test_an_outside_edit_of_the_stamp_is_noticed(store: Store, database: Path, column: str) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")))
    before = found(store)
    outside(database, f"UPDATE reconciler_stamps SET {column} = 'other'")  # noqa: S608 - the columns above
    assert found(store).token != before.token


def test_tokens_are_the_same_in_every_process(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one", tags=("a", "b")), SIGNATURE, a_stamp("one")))
    script = (
        "from reconciler.stores import open_store;"
        f"print(open_store('sqlite:///{database}', create=False).read().gateways['one'].token)"
    )
    tokens = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert tokens == {found(store).token}


TAMPERED = [
    ("transport", "websocket"),
    ("transport", "streamable-http"),
    ("transport", None),
    ("enabled", 2),
    ("enabled", "no"),
    ("visibility", "world"),
    ("tags", "not json"),
    ("tags", "plain"),
    ("tags", '{"a": 1}'),
    ("tags", '[1, {"id": "x"}]'),
    ("tags", '["\\ud800"]'),
    ("tags", "[" * 100_000),
    ("tags", "[1e999, NaN]"),
    ("passthrough_headers", "7"),
    ("url", b"\x00\xff"),
    ("description", b"blob"),
    ("ca_certificate", 12),
    ("client_cert", "x"),
    ("client_key_reference", '{"env": 1}'),
    ("client_key_reference", '{"env": "A", "file": "b"}'),
    ("client_key_reference", '{"vault": "A"}'),
    ("auth_type", "bearer"),
    ("auth_type", "headers"),
    ("auth_reference", '{"settings": {}}'),
    ("auth_reference", '{"settings": {"a": 1}, "secrets": {}}'),
    ("auth_reference", '{"settings": [], "secrets": {}}'),
    ("auth_reference", '{"settings": {}, "secrets": {}, "more": 1}'),
    ("auth_reference", '{"settings": {}, "secrets": {"token": "hunter2"}}'),
    ("auth_reference", "hunter2"),
    ("system_trust", -1),
    ("gateway_mode", "direct_proxy"),
    ("team_id", 5),
    ("kuadrant", '{"prefix": "x", "route": "", "category": [], "hint": "", "extra": ""}'),
    ("kuadrant", "[]"),
    ("kuadrant", '{"category": "abc"}'),
]


@pytest.mark.parametrize(("column", "value"), TAMPERED, ids=[f"{column}={value!r:.30}" for column, value in TAMPERED])
def test_what_others_wrote_shows_as_drift_and_heals(store: Store, database: Path, column: str, value: object) -> None:
    gateway = a_gateway("one", tags=("plain",))
    stored(store, created(gateway, SIGNATURE, a_stamp("one")))
    outside(database, f"UPDATE gateways SET {column} = ?", value)  # noqa: S608 - the columns above
    drifted = found(store)
    assert drifted.gateway != gateway
    assert "hunter2" not in repr(drifted)
    stored(store, updated(drifted, gateway, SIGNATURE, a_stamp("one")))
    assert found(store).gateway == gateway


def test_bytes_that_are_not_utf8_show_as_drift_and_heal(store: Store, database: Path) -> None:
    gateway = a_gateway("one", description="fine")
    stored(store, created(gateway), created(a_gateway("two")))
    outside(database, "UPDATE gateways SET description = CAST(x'66ff' AS TEXT) WHERE name = 'one'")
    drifted = found(store)
    assert drifted.gateway.description == "f\\xff"
    stored(store, updated(drifted, gateway))
    assert found(store).gateway == gateway


BROKEN_NAMES = ["x'0001'", "CAST(x'66ff' AS TEXT)", "CAST(x'6f6e650074' AS TEXT)", "''"]


@pytest.mark.parametrize("name", BROKEN_NAMES)
def test_a_row_whose_name_others_broke_can_be_deleted_for_the_right_one(
    store: Store, database: Path, name: str
) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")))
    outside(database, f"UPDATE gateways SET name = {name}")  # noqa: S608 - the names above
    (broken,) = store.read().gateways.values()
    stored(store, created(a_gateway("one"), "", a_stamp("one")), deleted(broken))
    assert list(store.read().gateways) == ["one"]


@pytest.mark.parametrize("name", BROKEN_NAMES[:2])
def test_a_row_whose_name_others_broke_is_named_where_it_stands_in_the_way(
    store: Store, database: Path, name: str
) -> None:
    stored(store, created(a_gateway("one")))
    outside(database, f"UPDATE gateways SET name = {name}")  # noqa: S608 - the names above
    (shown,) = store.read().gateways
    (outcome,) = store.apply([created(a_gateway("one"))], AUDIT)
    assert outcome.status == "refused"
    assert outcome.reason == f"the row of `{shown}` has its slug, `one`: correct that row, or delete it"


def test_slugs_that_others_exchanged_are_exchanged_back(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")), created(a_gateway("two")))
    for slug, name in (("", "one"), ("one", "two"), ("two", "one")):
        outside(database, "UPDATE gateways SET slug = ? WHERE name = ?", slug, name)
    live = store.read().gateways
    stored(store, *(updated(found, found.gateway) for found in live.values()))
    assert outside(database, "SELECT name, slug FROM gateways ORDER BY name") == [("one", "one"), ("two", "two")]


def test_more_changes_than_are_looked_up_at_once_meet_those_that_stand_in_their_way(store: Store) -> None:
    names = [f"gw-{number:04}" for number in range(1201)]
    stored(store, created(a_gateway(names[-1])))
    outcomes = store.apply([created(a_gateway(name)) for name in names], AUDIT)
    assert statuses(outcomes) == ["skipped"] * 1200 + ["refused"]


def test_a_signature_of_another_algorithm_is_not_ours(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one", ca_certificate="x"), SIGNATURE))
    outside(database, "UPDATE gateways SET signing_algorithm = 'rsa'")
    assert found(store).signature == f"unknown:rsa:{SIGNATURE}"


def test_a_row_of_another_program_with_the_fewest_columns_is_read(store: Store, database: Path) -> None:
    outside(
        database, "INSERT INTO gateways (id, name, slug, url, transport) VALUES ('1', 'x', 'x', 'https://x', 'SSE')"
    )
    live = found(store, "x")
    assert (live.gateway.url, live.gateway.transport, live.stamp) == ("https://x", "sse", None)


def test_a_drifted_gateway_is_written_back_as_it_was_found(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    outside(
        database,
        "UPDATE gateways SET transport = 'WEBSOCKET', auth_type = 'one_time_auth', enabled = 2, visibility = 'x'",
    )
    before = found(store)
    stored(store, deleted(before))
    stored(store, created(before.gateway))
    assert outside(database, "SELECT transport, auth_type, enabled, visibility FROM gateways") == [
        ("WEBSOCKET", "one_time_auth", 2, "x")
    ]
    assert found(store).gateway == before.gateway


def test_a_slug_that_others_broke_does_not_stand_in_the_way(store: Store, database: Path) -> None:
    stored(store, created(a_gateway("one")))
    outside(database, "UPDATE gateways SET slug = 'two'")
    stored(store, updated(found(store), a_gateway("one")), created(a_gateway("two")))
    assert outside(database, "SELECT name, slug FROM gateways ORDER BY name") == [("one", "one"), ("two", "two")]


def test_whatever_the_moment_of_its_death_an_apply_is_done_or_not_done(database: Path) -> None:
    """The writer creates generation n and deletes generation n-1 in one apply; a file never shows half of that."""
    for deaths_after in (0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 9, 12):
        last = _killed_after(database, deaths_after)
        assert outside(database, "PRAGMA integrity_check") == [("ok",)]
        assert outside(database, "PRAGMA foreign_key_check") == []
        with closing(open_store(f"sqlite:///{database}", create=True)) as store:
            live = store.read().gateways
            generations = {gateway.gateway.description for gateway in live.values()}
            assert len(live) in (0, 40)
            assert generations <= {str(last), str(last + 1)}
            assert len(generations) == (1 if live else 0)
            assert all(each.stamp is not None for each in live.values())


def _killed_after(database: Path, applies: int) -> int:
    """Start the writer, kill it when it has reported so many applies, and return the last that it reported."""
    command = [sys.executable, str(WRITER), str(database)]
    environ = {**os.environ, "PYTHONPATH": str(WRITER.parents[1])}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        last = int(writer.stdout.readline())
        for _ in range(applies):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        reported = [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    return reported[-1] if reported else last


def test_a_store_from_before_rows_were_signed_is_brought_forward_with_its_rows(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute("INSERT INTO gateways (id, name, slug, url, transport) VALUES ('1', 'a', 'a', 'u', 'SSE')")
        connection.execute("PRAGMA user_version = 1")
    with closing(open_store(f"sqlite:///{database}", create=False)) as store:
        before = store.read().gateways["a"]
        assert (before.record, before.gateway.url) == ("", "u")
        stored(store, replace(updated(before, before.gateway, "", a_stamp("a")), record=RECORD))
        assert store.read().gateways["a"].record == RECORD
