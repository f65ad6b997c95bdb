"""ContextForge under other settings: one that answers before it is done, and one whose database is PostgreSQL."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from contextforge_site import Site, wanted
from live_contextforge import alone, running_contextforge
from live_postgresql import ROLE
from raw_servers import VALID, RawServer, Script, json_rpc, speaking_http

from reconciler.core.model import Auth, SecretReference
from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from live_contextforge import ContextForge
    from live_postgresql import PostgreSQL

WIDEN = "ALTER TABLE gateways ALTER COLUMN ca_certificate_sig TYPE varchar(128);"


@pytest.fixture(scope="module")
def asynchronous(run_directory: Path) -> Iterator[ContextForge]:
    """A platform that accepts first and connects afterwards."""
    settings = {"GATEWAY_ASYNC_LIFECYCLE_ENABLED": "true", "GATEWAY_ASYNC_LIFECYCLE_POLL_INTERVAL": "0.2"}
    with running_contextforge(run_directory / "asynchronous", **settings) as running:
        yield running


@pytest.fixture
def later(asynchronous: ContextForge, run_directory: Path) -> Iterator[Site]:
    """The same, left to this test alone."""
    with alone(run_directory / "asynchronous"), Site(asynchronous) as site:
        yield site


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


# Asynchronous lifecycle


def test_what_is_accepted_is_waited_for_until_it_works(later: Site, root: Authority, upstream: Upstream) -> None:
    gateway = wanted("payments", upstream.url, ca_certificate=root.pem)
    later.applied(gateway)
    assert (later.row("payments")["status"], later.row("payments")["reachable"]) == ("active", True)
    assert "result" in later.call("payments-pay")
    later.applied(replace(gateway, description="new"))
    later.applied(replace(gateway, enabled=False))
    later.applied()
    assert "payments" not in [row["name"] for row in later.rows()]


def test_a_create_that_cannot_connect_fails_with_the_platforms_reason_and_is_replaced_when_git_is_mended(
    later: Site, root: Authority, upstream: Upstream
) -> None:
    wrong = wanted("payments", upstream.url, ca_certificate=Authority.root("Another CA", VALID).pem)
    (outcome,) = later.apply(wrong)
    assert outcome.status == "failed"
    assert "the platform stored it, and could not connect to the upstream (" in outcome.reason
    assert later.row("payments")["status"] == "pending"
    pending = later.row("payments")["id"]
    later.applied(replace(wrong, ca_certificate=root.pem))
    assert later.row("payments")["id"] != pending
    assert "result" in later.call("payments-pay")


def test_an_update_that_cannot_connect_fails_and_the_gateway_is_neither_fought_nor_deleted(
    later: Site, root: Authority, upstream: Upstream
) -> None:
    right = wanted("payments", upstream.url, ca_certificate=root.pem)
    later.applied(right)
    worked = later.row("payments")["id"]
    wrong = replace(right, ca_certificate=Authority.root("Another CA", VALID).pem)
    (failed,) = later.apply(wrong)
    assert failed.status == "failed"
    (refused,) = later.apply(right)
    assert refused.status == "refused"
    assert "ignores updates until it has connected to the upstream" in refused.reason
    assert later.row("payments")["id"] == worked


# PostgreSQL


@pytest.fixture(scope="module")
def on_postgresql(
    postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ContextForge, str]]:
    """A platform on a new database, which takes credentials in URLs too, and where the database is."""
    name = f"contextforge_{secrets.token_hex(4)}"
    with postgresql.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    address = f"127.0.0.1:{postgresql.port}/{name}"
    url = f"postgresql://{ROLE}:{postgresql.password}@{address}"
    settings = {
        "DATABASE_URL": url.replace("://", "+psycopg://"),
        "INSECURE_ALLOW_QUERYPARAM_AUTH": "true",
    }
    with running_contextforge(tmp_path_factory.mktemp("on-postgresql"), **settings) as running:
        yield running, url


def test_on_postgresql_the_column_that_is_too_narrow_is_explained_with_the_statement_that_widens_it(
    on_postgresql: tuple[ContextForge, str], root: Authority, upstream: Upstream
) -> None:
    platform, database = on_postgresql
    gateway = wanted("payments", upstream.url, ca_certificate=root.pem)
    with Upstream("plain", None, {"pay": "Pay an invoice"}) as plain, Site(platform) as site:
        site.applied(wanted("payments", plain.url))
        (updated,) = site.apply(gateway)
        (created,) = site.apply(wanted("payments", plain.url), replace(gateway, name="search"))
        for outcome, status in ((updated, 500), (created, 400)):
            assert outcome.status == "failed"
            assert f"ContextForge answered {status}" in outcome.reason
            assert "the column for the signature has room for half of one" in outcome.reason
            assert WIDEN in outcome.reason
        site.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = site.platform.token_for("gateways.read", "gateways.update")
        (unsure,) = site.apply(gateway, store=site.open())
        assert " if its database is PostgreSQL, the column" in unsure.reason
        with psycopg.connect(database) as inside:
            inside.execute(WIDEN)
        site.applied(gateway)
        assert "result" in site.call("payments-pay")


def test_a_credential_in_the_url_is_kept_by_updates_where_the_platform_takes_one(
    on_postgresql: tuple[ContextForge, str], serve: Callable[..., RawServer]
) -> None:
    (platform, _), listening = on_postgresql, Script({"tools/list": lambda request: json_rpc(request, {"tools": []})})
    url = f"http://localhost:{serve(speaking_http(listening)).port}/mcp"
    auth = Auth("queryParameter", (("name", "key"),), (("value", SecretReference("env", "SECRET")),))
    with Site(platform, {"SECRET": "hunter2"}) as site:
        site.applied(wanted("payments", url, auth=auth))
        site.applied(wanted("payments", url, auth=auth, description="new"))
        assert "hunter2" not in str(site.rows())
    assert {request.path for request in listening.requests} == {"/mcp?key=hunter2"}
