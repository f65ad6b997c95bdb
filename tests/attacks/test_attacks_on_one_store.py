"""What only one kind of store makes possible: half of an edit, a whole backup, objects that point elsewhere."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from arena import EVIL, Arena, quiet
from attacks import edited, fitting
from openings import arenas

from reconciler.core.model import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kubernetes_cluster import Namespace
    from live_contextforge import ContextForge

    from reconciler.core.planning import Plan

REGISTRATIONS = "mcpserverregistrations"


@pytest.fixture
def arena(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Arena]:
    with arenas(kind, request, tmp_path) as made:
        yield made()


def on(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", [kind])


def tampered(plan: Plan) -> list[str]:
    return [each.name for each in plan.drift if each.reason is Reason.TAMPERING]


def went_on(arena: Arena) -> None:
    """Apply a further revision, in which `payments` says something else."""
    last = arena.history[-1]
    payments = last.gateways["payments"]
    other = replace(payments, gateway=replace(payments.gateway, description="since today"))
    arena.history.append(replace(last, gateways={**last.gateways, "payments": other}, revision="main@sha1:4444"))
    arena.reconcile("key")


# The broker's file, and the one beside it


def files(arena: Arena) -> tuple[Path, Path]:
    config, beside = arena.place.save()
    return config, beside


@on("kuadrant+file")
def test_an_edit_of_the_brokers_file_alone_is_found_and_healed(arena: Arena) -> None:
    config, _ = files(arena)
    config.write_text(config.read_text().replace("https://payments-2.internal.example/mcp", "https://evil.example/mcp"))
    assert tampered(arena.reconcile("key")) == ["payments"]
    assert quiet(arena.look("key"))


@on("kuadrant+file")
def test_both_files_of_yesterday_are_known_to_be_old(arena: Arena) -> None:
    yesterday = arena.place.save()
    went_on(arena)
    arena.place.restore(yesterday)
    assert tampered(arena.reconcile("key")) == ["payments"]
    assert quiet(arena.look("key"))


@on("kuadrant+file")
def test_without_the_file_beside_it_every_server_is_nobodys_and_none_is_touched(arena: Arena) -> None:
    _, beside = files(arena)
    beside.unlink()
    plan = arena.look("key")
    assert {each.name for each in plan.conflicts} == set(arena.history[-1].gateways)
    assert plan.changes == ()
    assert [name for name in arena.live() if arena.is_accepted(name)] == []


@on("kuadrant+file")
def test_a_file_that_does_not_say_any_more_that_it_is_ours_is_not_written(arena: Arena) -> None:
    config, _ = files(arena)
    lines = config.read_text().splitlines(keepends=True)
    config.write_text("".join(line for line in lines if not line.startswith("#")))
    plan = arena.look("key")
    assert {each.name for each in plan.conflicts} == set(arena.history[-1].gateways)


# The database of ContextForge


def database(platform: ContextForge, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(platform.database, timeout=60)) as opened, opened:
        opened.execute(statement, values)


def give_another_token(platform: ContextForge) -> None:
    with platform.client() as client:
        (row,) = (each for each in client.get("/v1/gateways?limit=0").json() if each["name"] == "refunds")
        change = {"auth_type": "bearer", "auth_token": "mine"}
        client.put(f"/v1/gateways/{row['id']}", json=change).raise_for_status()


@on("contextforge")
def test_another_token_that_is_given_by_the_api_is_found_and_replaced(arena: Arena, contextforge: ContextForge) -> None:
    give_another_token(contextforge)
    assert tampered(arena.reconcile("key")) == ["refunds"]
    assert quiet(arena.look("key"))


@on("contextforge")
def test_a_second_row_of_one_name_is_a_conflict_and_neither_is_touched(
    arena: Arena, contextforge: ContextForge
) -> None:
    (row,) = (each for each in arena.place.save() if each["name"] == "payments")
    twin = {**row, "id": "0" * 32, "url": "https://evil.example/mcp"}
    marks = ", ".join("?" * len(twin))
    database(contextforge, f"INSERT INTO gateways ({', '.join(twin)}) VALUES ({marks})", *twin.values())  # noqa: S608
    assert [each.name for each in arena.look("key").conflicts] == ["payments"]
    assert not arena.is_accepted("payments")


@on("contextforge")
def test_a_secret_that_is_swapped_in_the_database_itself_is_seen_by_nobody(
    arena: Arena, contextforge: ContextForge
) -> None:
    """The platform shows no secret, so nobody but it can tell what stands there: the page says so."""
    before = arena.place.save()
    give_another_token(contextforge)
    (other,) = (each["auth_value"] for each in arena.place.save() if each["name"] == "refunds")
    arena.place.restore(before)
    database(contextforge, "UPDATE gateways SET auth_value = ? WHERE name = 'refunds'", other)
    assert quiet(arena.look("key"))


# The objects of a cluster


def namespace(arena: Arena) -> Namespace:
    found: Any = arena.place
    made: Namespace = found.namespace
    return made


@on("kubernetes")
def test_a_registration_that_points_to_another_ca_is_found_and_healed(arena: Arena) -> None:
    cluster = namespace(arena)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}}
    data = {"data": {"ca.crt": b64encode(EVIL.encode()).decode()}}
    cluster.ask("POST", cluster.path("secrets"), {**secret, **data})
    cluster.merge(REGISTRATIONS, "payments", {"spec": {"caCertSecretRef": {"name": "mine"}}})
    assert tampered(arena.reconcile("key")) == ["payments"]
    assert quiet(arena.look("key"))


@on("kubernetes")
def test_a_route_of_ours_that_leads_elsewhere_is_found_and_healed(arena: Arena) -> None:
    cluster = namespace(arena)
    cluster.merge("httproutes", "payments", {"spec": {"rules": [{"backendRefs": [{"name": "mine", "port": 443}]}]}})
    assert tampered(arena.reconcile("key")) == ["payments"]
    assert quiet(arena.look("key"))


@on("kubernetes")
def test_a_gateway_that_takes_the_route_of_another_is_named_and_both_are_healed(arena: Arena) -> None:
    thief = fitting(edited(arena.rows[-1]["payments"], name="evil", url="https://evil.example/mcp"))
    arena.plant({"evil": thief})
    assert tampered(arena.look("key")) == ["evil", "payments"]
    arena.sweep()
    assert not quiet(
        arena.look("key")
    )  # the route is taken back first, and what claimed it is deleted by the next pass
    arena.sweep()
    assert quiet(arena.look("key"))
    assert "evil" not in arena.live()
