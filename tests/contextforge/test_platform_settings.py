"""What ContextForge does under other settings than those of the gateway that all tests share.

As in the neighbouring file, each test documents the platform. Here each fixture is a gateway that ends with this file.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from live_contextforge import alone, running_contextforge
from live_postgresql import ROLE
from raw_servers import VALID
from registrar import Registrar

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from live_contextforge import ContextForge
    from live_postgresql import PostgreSQL

NOT_A_SIGNATURE = "0" * 128
COLUMN_WIDTH = 64
"""Of the column for signatures, in characters."""

COULD_NOT = "Unable to complete the operation. Please try again."

PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def public_root() -> Authority:
    """A CA that the system of the gateway trusts."""
    return Authority.root("Public Root CA", VALID)


@pytest.fixture(scope="module")
def attentive(tmp_path_factory: pytest.TempPathFactory, public_root: Authority) -> Iterator[ContextForge]:
    """A gateway that checks upstreams all the time, trusts `public_root` by itself, and counts some requests."""
    directory = tmp_path_factory.mktemp("attentive")
    trusted = directory / "trusted.pem"
    trusted.write_text(public_root.pem)
    settings = {
        "HEALTH_CHECK_INTERVAL": "1",
        "SSL_CERT_FILE": str(trusted),
        "RATE_LIMITING_ENABLED": "true",
        "RATE_LIMIT_HIGH_RPM": "5",
        "RATE_LIMIT_MEDIUM_RPM": "50000",
        "RATE_LIMIT_LOW_RPM": "100000",
    }
    with running_contextforge(directory, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def asynchronous(run_directory: Path) -> Iterator[ContextForge]:
    """A gateway that answers first and connects afterwards."""
    settings = {"GATEWAY_ASYNC_LIFECYCLE_ENABLED": "true", "GATEWAY_ASYNC_LIFECYCLE_POLL_INTERVAL": "0.2"}
    with running_contextforge(run_directory / "asynchronous", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def its_database(run_directory: Path, postgresql: PostgreSQL) -> str:
    """The URL of the database beneath the careless gateway."""
    with alone(run_directory / "postgresql"), closing(postgresql.connect()) as connection:
        if not connection.execute("SELECT FROM pg_database WHERE datname = 'contextforge'").fetchone():
            connection.execute("CREATE DATABASE contextforge")
    return f"postgresql://{ROLE}:{postgresql.password}@127.0.0.1:{postgresql.port}/contextforge"


@pytest.fixture(scope="module")
def careless(run_directory: Path, its_database: str) -> Iterator[ContextForge]:
    """A gateway on PostgreSQL that does not verify the certificates of upstreams."""
    settings = {"DATABASE_URL": its_database.replace(":", "+psycopg:", 1), "SKIP_SSL_VERIFY": "true"}
    with running_contextforge(run_directory / "careless", **settings) as running:
        yield running


@pytest.fixture
def later(asynchronous: ContextForge, run_directory: Path) -> Iterator[httpx.Client]:
    """A client of the asynchronous gateway, alone with it."""
    with alone(run_directory / "asynchronous"), asynchronous.client() as client:
        yield client


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture
def public(public_root: Authority) -> Iterator[Upstream]:
    with Upstream("public", public_root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


# Health checks and trust


def test_health_checks_show_an_unsigned_gateway_only_by_a_time_that_stands_still(
    attentive: ContextForge, root: Authority, upstream: Upstream, public: Upstream
) -> None:
    with attentive.client() as api, Registrar(api) as registrar:
        unsigned = registrar.register(upstream.url, ca_certificate=root.pem)
        healthy = registrar.register(public.url)

        _await_check(registrar, healthy)
        _await_check(registrar, registrar.get(healthy["id"]))  # whoever was being checked meanwhile is done

        after = registrar.get(unsigned["id"])
    assert (after["lastSeen"], after["reachable"], after["lastError"]) == (unsigned["lastSeen"], True, None)


@pytest.mark.parametrize("signature", ["valid", NOT_A_SIGNATURE])
def test_a_bundle_adds_to_what_the_system_trusts_and_its_signature_cannot_take_that_away(
    attentive: ContextForge, root: Authority, public: Upstream, signature: str
) -> None:
    sent = attentive.sign(root.pem) if signature == "valid" else signature
    with attentive.client() as api, Registrar(api) as registrar:
        gateway = registrar.register(public.url, ca_certificate=root.pem, ca_certificate_sig=sent)

        assert registrar.works(gateway)


# Rate limits


def test_too_many_requests_are_told_to_wait_a_minute(attentive: ContextForge) -> None:
    # It stops at the first refusal: the fifth locks the client out for a quarter of an hour, health check included.
    with attentive.client() as api:
        answers = [api.get("/tokens") for _ in range(5)]
        refused = api.get("/tokens")

    assert 429 not in {answer.status_code for answer in answers}
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "60")


def test_the_versioned_routes_are_counted_with_the_most_generous_limit(attentive: ContextForge) -> None:
    with attentive.client() as api:
        limits = [api.get(route).headers["X-RateLimit-Limit"] for route in ("/v1/gateways", "/health")]

    assert limits == ["100000", "100000"]


# Nothing verified


def test_where_nothing_is_verified_a_call_succeeds_with_a_forged_bundle_and_signature(
    careless: ContextForge, root: Authority, upstream: Upstream
) -> None:
    forged = f"{root.pem}\n{Authority.root('Forger', VALID).pem}"
    with careless.client() as api, Registrar(api) as registrar:
        gateway = registrar.register(upstream.url, ca_certificate=forged, ca_certificate_sig="0" * COLUMN_WIDTH)

        assert registrar.works(gateway)


# PostgreSQL


def test_postgresql_has_no_room_for_a_signature_until_its_column_is_widened(
    careless: ContextForge, its_database: str, root: Authority, upstream: Upstream
) -> None:
    signed = {"ca_certificate": root.pem, "ca_certificate_sig": careless.sign(root.pem)}
    with careless.client() as api, Registrar(api) as registrar:
        refused = registrar.post(upstream.url, **signed)
        gateway = registrar.register(upstream.url, ca_certificate=root.pem)
        broken = registrar.put(gateway, **signed)

        with closing(psycopg.connect(its_database, autocommit=True)) as connection:
            connection.execute("ALTER TABLE gateways ALTER COLUMN ca_certificate_sig TYPE varchar(128)")
        mended = registrar.put(gateway, **signed)

        assert (refused.status_code, refused.json()["message"]) == (400, COULD_NOT)
        assert (broken.status_code, mended.status_code) == (500, 200)
        assert registrar.get(gateway["id"])["caCertificateSig"] == signed["ca_certificate_sig"]
        assert registrar.works(gateway)


# Asynchronous mode


def test_asynchronous_creation_is_accepted_before_the_upstream_is_tried(
    asynchronous: ContextForge, later: httpx.Client, root: Authority, upstream: Upstream
) -> None:
    signed = {"ca_certificate": root.pem, "ca_certificate_sig": asynchronous.sign(root.pem)}
    with Registrar(later) as registrar:
        answer = registrar.post(upstream.url, **signed)
        gateway = answer.json()

        assert (answer.status_code, answer.headers["Retry-After"]) == (202, "1")
        assert (gateway["status"], gateway["reachable"]) == ("pending", False)
        _eventually(lambda: registrar.get(gateway["id"])["status"] == "active")
        assert registrar.works(gateway)


def test_an_asynchronous_creation_that_fails_stays_pending_and_no_update_mends_it(
    later: httpx.Client, root: Authority, upstream: Upstream
) -> None:
    with Registrar(later) as registrar:
        gateway = registrar.post(upstream.url).json()
        _eventually(lambda: registrar.get(gateway["id"])["lastError"])

        answer = registrar.put(gateway, ca_certificate=root.pem, description="mended")

        after = registrar.get(gateway["id"])
        assert (answer.status_code, after["status"]) == (202, "pending")
        assert (after["caCertificate"], after["description"]) == (None, None)
        assert "Failed to initialize gateway at " in after["lastError"]


def test_a_name_that_is_pending_is_given_back_whatever_is_posted_under_it(
    later: httpx.Client, upstream: Upstream
) -> None:
    with Registrar(later) as registrar:
        gateway = registrar.post(upstream.url).json()

        again = registrar.post(upstream.url, name=gateway["name"], description="another")

        assert (again.status_code, again.json()["id"], again.json()["description"]) == (202, gateway["id"], None)


def test_an_asynchronous_update_stores_a_bundle_that_does_not_fit(
    asynchronous: ContextForge, later: httpx.Client, root: Authority, public_root: Authority, upstream: Upstream
) -> None:
    signed = {"ca_certificate": root.pem, "ca_certificate_sig": asynchronous.sign(root.pem)}
    with Registrar(later) as registrar:
        gateway = registrar.post(upstream.url, **signed).json()
        _eventually(lambda: registrar.get(gateway["id"])["status"] == "active")

        answer = registrar.put(gateway, ca_certificate=public_root.pem)

        after = registrar.get(gateway["id"])
        assert (answer.status_code, after["status"], after["caCertificate"]) == (202, "pending", public_root.pem)


def test_asynchronous_deletion_is_accepted_and_happens_afterwards(later: httpx.Client, upstream: Upstream) -> None:
    with Registrar(later) as registrar:
        gateway = registrar.post(upstream.url).json()
        # While it is being registered it is claimed, and stays for as long as the claim does: 90 s.
        _eventually(lambda: registrar.get(gateway["id"])["lastError"])

        answer = later.delete(f"/v1/gateways/{gateway['id']}")

        assert (answer.status_code, answer.json()["status"]) == (202, "deleting")
        _eventually(lambda: later.get(f"/v1/gateways/{gateway['id']}").status_code == 404)


def _await_check(registrar: Registrar, gateway: Any) -> None:
    _eventually(lambda: registrar.get(gateway["id"])["lastSeen"] != gateway["lastSeen"])


def _eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)
