"""The PostgreSQL store on a real server: the contract, other programs in its tables, and being let in."""

from __future__ import annotations

import random
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from contract import (
    AUDIT,
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
from live_postgresql import ROLE

from reconciler.core.ports import Incremental
from reconciler.errors import StoreBusyError, StoreError
from reconciler.postgresql.address import PASSWORD, address_of
from reconciler.postgresql.session import connect
from reconciler.stores import open_store
from reconciler.stores.access import Access
from reconciler.stores.postgresql import PostgresqlStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live_postgresql import PostgreSQL

    from reconciler.core.model import LiveGateway, SecretReference
    from reconciler.core.ports import Store


Outside = psycopg.Connection[tuple[Any, ...]]


def no_secret(reference: SecretReference) -> str:
    raise AssertionError(f"nobody asked for {reference}")


def access(server: PostgreSQL, **environ: str) -> Access:
    return Access({PASSWORD: server.password, **environ}, no_secret)


@pytest.fixture
def schema(postgresql: PostgreSQL) -> Iterator[str]:
    name = f"t_{secrets.token_hex(6)}"
    yield name
    with closing(postgresql.connect()) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


@pytest.fixture
def opened(postgresql: PostgreSQL, schema: str) -> Iterator[Callable[[], Store]]:
    with ExitStack() as stores:

        def open_another() -> Store:
            store = open_store(postgresql.url(schema=schema), create=True, access=access(postgresql))
            stores.callback(store.close)
            return store

        yield open_another


class TestPostgresqlStore(StoreContract):
    @pytest.fixture
    def opened(self, opened: Callable[[], Store]) -> Callable[[], Store]:
        return opened


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


@pytest.fixture
def outside(postgresql: PostgreSQL, schema: str) -> Iterator[Outside]:
    """A connection as of another program, to the same schema."""
    with closing(postgresql.connect(schema)) as connection:
        yield connection


def found(store: Store, name: str = "one") -> LiveGateway:
    return store.read().gateways[name]


def incremental(store: Store) -> Incremental:
    assert isinstance(store, Incremental)
    return store


def test_what_does_not_exist_reads_as_empty_and_stays_away(postgresql: PostgreSQL, schema: str) -> None:
    url = postgresql.url(schema=schema)
    with closing(open_store(url, create=False, access=access(postgresql))) as store:
        assert store.read().gateways == {}
        assert incremental(store).read_named(["one"]).gateways == {}
        with pytest.raises(StoreError, match="has no tables of ours, and was opened for reading"):
            store.apply([created(a_gateway("one"))], AUDIT)
    with closing(postgresql.connect()) as connection:
        schemas = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchall()
    assert schemas == []


def test_schemas_of_one_database_are_stores_of_their_own(
    store: Store, postgresql: PostgreSQL, schema: str, outside: Outside
) -> None:
    stored(store, created(a_gateway("one")))
    url = postgresql.url(schema=f"{schema}_b")
    with closing(open_store(url, create=True, access=access(postgresql))) as other:
        assert other.read().gateways == {}
    outside.execute(f"DROP SCHEMA {schema}_b CASCADE".encode())


def test_the_tables_of_another_program_are_refused_and_left_alone(
    postgresql: PostgreSQL, schema: str, outside: Outside
) -> None:
    outside.execute(f"CREATE SCHEMA {schema}".encode())
    outside.execute("CREATE TABLE gateways (id text, email_teams text)")
    for create in (True, False):
        with pytest.raises(StoreError, match="`gateways` of another program") as refusal:
            open_store(postgresql.url(schema=schema), create=create, access=access(postgresql))
        assert "ContextForge" in refusal.value.fix
    tables = outside.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", (schema,)).fetchall()
    assert tables == [("gateways",)]


def test_tables_of_a_newer_version_are_refused(
    store: Store, postgresql: PostgreSQL, schema: str, outside: Outside
) -> None:
    store.close()
    outside.execute("UPDATE reconciler_schema SET steps = 99")
    with pytest.raises(StoreError, match="version 99 of the tables for gateways"):
        open_store(postgresql.url(schema=schema), create=False, access=access(postgresql))


def test_new_tables_may_be_made_by_many_at_once(postgresql: PostgreSQL, schema: str) -> None:
    start = threading.Barrier(6)

    def write(number: int) -> list[str]:
        start.wait()
        with closing(open_store(postgresql.url(schema=schema), create=True, access=access(postgresql))) as store:
            return statuses(store.apply([created(a_gateway(f"gw-{number}"))], AUDIT))

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(write, range(6))) == [["applied"]] * 6


def test_of_many_writers_with_one_plan_one_wins_and_nothing_is_mixed(opened: Callable[[], Store]) -> None:
    fleet = [a_gateway(f"gw-{number}") for number in range(30)]
    stored(opened(), *(created(gateway) for gateway in fleet))
    rows = list(opened().read().gateways.values())
    stores = [opened() for _ in range(6)]
    start = threading.Barrier(len(stores))

    def write(number: int) -> set[str]:
        chance = random.Random(number)
        mine = [updated(row, replace(row.gateway, description=f"writer {number}")) for row in rows]
        mine += [created(a_gateway(f"new-{each}", description=f"writer {number}")) for each in range(10)]
        chance.shuffle(mine)
        start.wait()
        return set(statuses(stores[number].apply(mine, AUDIT)))

    with ThreadPoolExecutor(len(stores)) as threads:
        results = list(threads.map(write, range(len(stores))))
    assert sorted(map(sorted, results)) == [["applied"], *[["refused"]] * 5]
    assert len({row.gateway.description for row in stores[0].read().gateways.values()}) == 1


def test_rows_that_nobody_plans_to_change_are_not_waited_for(store: Store, outside: Outside) -> None:
    stored(store, created(a_gateway("one")), created(a_gateway("two")))
    before = found(store, "two")
    with outside.transaction():
        outside.execute("UPDATE gateways SET description = 'theirs' WHERE name = 'one'")
        stored(store, updated(before, a_gateway("two", description="ours")), created(a_gateway("three")))


def test_a_row_that_another_session_holds_for_too_long_makes_the_store_busy(store: Store, outside: Outside) -> None:
    stored(store, created(a_gateway("one")))
    before = found(store)
    with outside.transaction():
        outside.execute("UPDATE gateways SET description = 'theirs'")
        with pytest.raises(StoreBusyError, match="another session has been writing for more than 5 seconds") as busy:
            store.apply([deleted(before)], AUDIT)
    assert busy.value.exit_code == 75
    assert statuses(store.apply([deleted(before)], AUDIT)) == ["refused"]


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("gateways", "description = 'other'"),
        ("gateways", "enabled = NOT enabled"),
        ("gateways", "tags = '{\"a\": 1}'"),
        ("gateways", "modified_at = now()"),
        ("reconciler_stamps", "owner = 'other'"),
        ("reconciler_stamps", "protected = NOT protected"),
    ],
)
def test_an_outside_edit_is_noticed_in_the_token_and_in_the_version(
    store: Store, outside: Outside, table: str, edit: str
) -> None:
    stored(store, created(a_gateway("one"), "", a_stamp("one")))
    before, version = found(store), incremental(store).version()
    assert incremental(store).version() == version
    outside.execute(f"UPDATE {table} SET {edit}".encode())  # noqa: S608 - the edits above
    assert found(store).token != before.token
    assert incremental(store).version() != version
    assert statuses(store.apply([deleted(before)], AUDIT)) == ["refused"]


def test_a_row_that_was_deleted_and_another_that_came_change_the_version(store: Store, outside: Outside) -> None:
    stored(store, created(a_gateway("one")))
    version = incremental(store).version()
    outside.execute("UPDATE gateways SET name = 'two', slug = 'two'")
    assert incremental(store).version() != version
    version = incremental(store).version()
    outside.execute("DELETE FROM gateways")
    assert incremental(store).version() != version


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("transport", "websocket"),
        ("transport", None),
        ("visibility", "world"),
        ("tags", '{"a": 1}'),
        ("passthrough_headers", "7"),
        ("auth_reference", '{"settings": {}, "secrets": {"token": "hunter2"}}'),
        ("kuadrant", "[]"),
    ],
)
def test_what_others_wrote_shows_as_drift_and_heals(
    store: Store, outside: Outside, column: str, value: str | None
) -> None:
    gateway = a_gateway("one", tags=("plain",))
    stored(store, created(gateway, SIGNATURE, a_stamp("one")))
    outside.execute(f"UPDATE gateways SET {column} = %s".encode(), (value,))  # noqa: S608 - the columns above
    drifted = found(store)
    assert drifted.gateway != gateway
    assert "hunter2" not in repr(drifted)
    stored(store, updated(drifted, gateway, SIGNATURE, a_stamp("one")))
    assert found(store).gateway == gateway


def test_some_rows_can_be_read_by_name(store: Store) -> None:
    stored(store, *(created(a_gateway(name), "", a_stamp(name)) for name in "abc"))
    every = store.read().gateways
    assert incremental(store).read_named(["c", "a", "x"]).gateways == {"a": every["a"], "c": every["c"]}


def test_a_row_that_others_made_too_large_is_explained(store: Store, outside: Outside) -> None:
    stored(store, created(a_gateway("one")))
    outside.execute("UPDATE gateways SET description = repeat('x', 9000000)")
    with pytest.raises(StoreError, match="the row of `one` holds more than 8388608 bytes"):
        store.read()


@pytest.mark.parametrize(
    ("description", "why"),
    [("\ud800", "not Unicode"), ("x" * 9_000_000, "more than 8388608 bytes in one row: shorten that row")],
    ids=["surrogate", "too large"],
)
def test_the_change_that_cannot_be_sent_is_named_and_nothing_is_written(
    store: Store, description: str, why: str
) -> None:
    bad = created(a_gateway("two", description=description))
    outcomes = store.apply([created(a_gateway("one")), bad, created(a_gateway("three"))], AUDIT)
    assert statuses(outcomes) == ["skipped", "failed", "skipped"]
    assert why in outcomes[1].reason
    assert store.read().gateways == {}


def test_the_symbol_for_a_nul_stands_for_one(store: Store) -> None:
    gateway = a_gateway("one", description="a\0b", ca_certificate="\0")
    stored(store, created(gateway))
    assert store.canonical(gateway) == found(store).gateway == replace(gateway, description="a␀b", ca_certificate="␀")


def test_what_a_database_refuses_leaves_everything_as_it_was(store: Store, outside: Outside) -> None:
    stored(store, created(a_gateway("one")))
    held = store.read()
    outside.execute("ALTER TABLE gateways ADD CHECK (description <> 'refused')")
    with pytest.raises(StoreError, match="violates check constraint"):
        store.apply([deleted(held.gateways["one"]), created(a_gateway("two", description="refused"))], AUDIT)
    assert store.read() == held


def test_a_connection_that_was_lost_is_made_anew(store: Store, postgresql: PostgreSQL) -> None:
    stored(store, created(a_gateway("one")))
    assert isinstance(store, PostgresqlStore)
    session = store._tables.session()
    assert session is not None
    with closing(postgresql.connect()) as administrator:
        administrator.execute("SELECT pg_terminate_backend(%s, 5000)", (session.connection.info.backend_pid,))
    with pytest.raises(StoreError, match="shut down by its administrator"):
        store.read()
    stored(store, created(a_gateway("two")))
    assert list(store.read().gateways) == ["one", "two"]


def test_a_database_that_may_only_be_read_is_explained(
    opened: Callable[[], Store], outside: Outside, postgresql: PostgreSQL, schema: str
) -> None:
    opened()
    role = f"{schema}_reader"
    outside.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'readers'".encode())
    outside.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}".encode())
    outside.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}".encode())
    url = postgresql.url(schema=schema).replace(ROLE, role)
    try:
        with closing(open_store(url, create=False, access=access(postgresql, **{PASSWORD: "readers"}))) as reader:
            assert reader.read().gateways == {}
            with pytest.raises(StoreError, match="does not permit that") as refusal:
                reader.apply([created(a_gateway("one"))], AUDIT)
        assert "docs/postgresql.md" in refusal.value.fix
    finally:
        outside.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_our_sessions_do_not_wait_for_ever(postgresql: PostgreSQL) -> None:
    address = address_of(postgresql.url(), {"PGPASSWORD": postgresql.password})
    with closing(connect(address)) as session:
        limits = "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"
        assert [session.execute(f"SHOW {limit}").fetchall() for limit in limits] == [
            [("1min",)],
            [("5s",)],
            [("10s",)],
        ]
