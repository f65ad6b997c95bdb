"""The commands over a PostgreSQL store: what was done is kept in it, and targets that share it keep apart."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reconciler.books import lease_of
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_postgresql import PostgreSQL
    from terminal import Terminal

SHARDS = """\
apiVersion: reconciler/v1
kind: Config
metadata: {{name: fleet}}
spec:
  owner: us
  path: gateways
  targets:
    - {{name: blue, policy: sync, store: "{store}", selector: {{shard: blue}}}}
    - {{name: green, policy: sync, store: "{store}", selector: {{shard: green}}}}
"""
ONE = """\
apiVersion: reconciler/v1
kind: Config
metadata: {{name: fleet}}
spec: {{owner: us, path: gateways, store: "{store}"}}
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty store, in one database of a kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{terminal.directory}/gateways.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    schema = f"cli_{secrets.token_hex(6)}"
    monkeypatch.setenv("RECONCILER_POSTGRESQL_PASSWORD", server.password)
    yield server.url(schema=schema)
    with closing(server.connect()) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


def gateway(terminal: Terminal, name: str, shard: str, description: str = "") -> None:
    terminal.write(
        f"gateways/{name}.yaml",
        f"""apiVersion: reconciler/v1
kind: Gateway
metadata: {{name: {name}, labels: {{shard: {shard}}}}}
spec: {{url: "https://{name}.example/mcp", transport: sse, description: "{description}", verify: {{mode: "off"}}}}
""",
    )


def owners(terminal: Terminal, *arguments: str) -> dict[str, str]:
    """The owner of every row, by its name."""
    found = terminal("status", "-o", "json", *arguments).document["gateways"]
    return {each["name"]: each["owner"] for each in found}


@pytest.fixture
def shards(terminal: Terminal, store: str) -> Terminal:
    terminal.write("reconciler.yaml", SHARDS.format(store=store))
    for name, shard in (("b1", "blue"), ("b2", "blue"), ("g1", "green"), ("g2", "green")):
        gateway(terminal, name, shard)
    return terminal


def test_what_was_done_is_kept_beside_the_gateways_and_can_be_taken_back(terminal: Terminal, store: str) -> None:
    terminal.write("reconciler.yaml", ONE.format(store=store))
    gateway(terminal, "one", "none", "first")
    terminal("apply")
    gateway(terminal, "one", "none", "second")
    terminal("apply")
    entries = terminal("history", "-o", "json").document["applies"]
    assert [(each["id"], each["state"]) for each in entries] == [(2, "finished"), (1, "finished")]
    synced = terminal("status", "-o", "json").document["gateways"][0]["conditions"]
    assert {"type": "Synced", "status": "True"}.items() <= next(
        each for each in synced if each["type"] == "Synced"
    ).items()
    terminal("rollback", "2")
    assert "first" in terminal("plan", "-o", "json").out
    assert not (terminal.directory / ".reconciler").exists()


def test_each_target_of_a_store_creates_and_prunes_its_own_rows_alone(shards: Terminal) -> None:
    shards("apply", "--target", "blue")
    assert owners(shards, "--target", "blue") == {"b1": "us/blue", "b2": "us/blue"}
    shards("apply", "--target", "green")
    every = {"b1": "us/blue", "b2": "us/blue", "g1": "us/green", "g2": "us/green"}
    assert owners(shards, "--target", "blue") == every
    for target in ("blue", "green"):
        assert shards("plan", "--target", target, "--detailed-exitcode").out.count("No changes.") == 1
    shards.remove("g1")
    assert shards("plan", "--target", "blue", "--detailed-exitcode").out.count("No changes.") == 1
    shards("apply", "--target", "blue")
    assert "g1" in owners(shards, "--target", "blue")
    shards("apply", "--target", "green")
    assert "g1" not in owners(shards, "--target", "blue")


def test_what_moves_to_another_target_is_handed_over_where_it_stands(shards: Terminal) -> None:
    shards("apply")
    gateway(shards, "b2", "green")
    blue = shards("plan", "--target", "blue", "-o", "json").document
    assert blue["resource_changes"] == []
    shards("apply", "--target", "blue")
    assert owners(shards, "--target", "blue")["b2"] == "us/blue"
    green = shards("plan", "--target", "green", "-o", "json").document
    assert [(each["name"], each["actions"]) for each in green["resource_changes"]] == [("b2", ["update"])]
    shards("apply", "--target", "green")
    assert owners(shards, "--target", "blue")["b2"] == "us/green"


def test_one_target_becomes_several_and_several_one_without_a_gateway_lost(shards: Terminal, store: str) -> None:
    shards.write("reconciler.yaml", ONE.format(store=store))
    shards("apply")
    assert set(owners(shards).values()) == {"us"}
    shards.write("reconciler.yaml", SHARDS.format(store=store))
    shards("apply")
    assert set(owners(shards, "--target", "blue").values()) == {"us/blue", "us/green"}
    shards.write("reconciler.yaml", ONE.format(store=store))
    shards("apply")
    assert owners(shards) == dict.fromkeys(("b1", "b2", "g1", "g2"), "us")


@pytest.mark.usefixtures("shards")
def test_targets_of_one_store_have_a_lease_each() -> None:
    blue, green = (lease_of(load_settings((), target=name)) for name in ("blue", "green"))
    assert blue is not None
    assert green is not None
    with closing(blue), closing(green):
        assert (blue.acquire().lease, green.acquire().lease) == ("us/blue", "us/green")


def test_two_urls_of_one_database_are_one_store(terminal: Terminal) -> None:
    config = """\
apiVersion: reconciler/v1
kind: Config
metadata: {name: fleet}
spec:
  owner: us
  targets:
    - {name: a, path: a, store: "postgresql://DB.example/gateways?user=one"}
    - {name: b, path: b, store: "postgresql://db.example:5432/gateways?user=two&sslmode=require"}
    - {name: c, path: c, store: "postgresql://db.example:5432/gateways?schema=other"}
"""
    terminal.write("reconciler.yaml", config)
    named = {name: load_settings((), target=name).stamp_owner for name in "abc"}
    assert named == {"a": "us/a", "b": "us/b", "c": "us"}
