"""What ContextForge does that its users do not expect, and that this product is built around.

Each test documents the platform, not us. When one fails after an upgrade of `requirements/contextforge.txt`, the
platform has changed, and what relies on the old behaviour has to be thought through again.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from raw_servers import VALID
from registrar import Registrar

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    import httpx
    from live_contextforge import ContextForge
    from raw_servers import RawServer

NOT_A_SIGNATURE = "0" * 128


@pytest.fixture
def api(contextforge: ContextForge) -> Iterator[httpx.Client]:
    with contextforge.client() as client:
        yield client


@pytest.fixture
def registrar(api: httpx.Client) -> Iterator[Registrar]:
    with Registrar(api) as registrar:
        yield registrar


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    """An MCP server that only those can reach who trust `root`."""
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture
def other(root: Authority) -> Iterator[Upstream]:
    with Upstream("refunds", root.issue_server(["localhost"]), {"pay": "Pay it back"}) as server:
        yield server


@pytest.fixture
def plain() -> Iterator[Upstream]:
    """An MCP server without TLS."""
    with Upstream("plain", None, {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture
def bundle(root: Authority) -> str:
    return root.pem


@pytest.fixture
def signed(contextforge: ContextForge, bundle: str) -> dict[str, str]:
    """The bundle with its signature, as fields of a request."""
    return {"ca_certificate": bundle, "ca_certificate_sig": contextforge.sign(bundle)}


@pytest.fixture
def gateway(registrar: Registrar, upstream: Upstream, signed: dict[str, str]) -> Any:
    """A gateway that works."""
    return registrar.register(upstream.url, **signed)


# Signatures


def test_a_gateway_registered_without_a_signature_looks_well_and_every_call_of_it_fails(
    registrar: Registrar, upstream: Upstream, bundle: str
) -> None:
    gateway = registrar.register(upstream.url, ca_certificate=bundle)

    assert (gateway["enabled"], gateway["reachable"], gateway["caCertificateSig"]) == (True, True, None)
    assert not registrar.works(gateway)


def test_a_signature_sent_with_the_bundle_makes_calls_work(registrar: Registrar, gateway: Any) -> None:
    assert registrar.works(gateway)


def test_a_signature_alone_mends_a_gateway(
    registrar: Registrar, upstream: Upstream, bundle: str, contextforge: ContextForge
) -> None:
    gateway = registrar.register(upstream.url, ca_certificate=bundle)

    assert registrar.put(gateway, ca_certificate_sig=contextforge.sign(bundle)).status_code == 200
    assert registrar.works(gateway)


def test_the_admin_route_signs_as_we_do(
    registrar: Registrar, upstream: Upstream, bundle: str, contextforge: ContextForge
) -> None:
    gateway = registrar.register(upstream.url, route="/v1/admin/gateways", ca_certificate=bundle)

    assert gateway["caCertificateSig"] == contextforge.sign(bundle)
    contextforge.public_key.verify(bytes.fromhex(gateway["caCertificateSig"]), gateway["caCertificate"].encode())
    assert registrar.works(gateway)


def test_the_admin_route_does_not_sign_again_when_a_bundle_changes(
    registrar: Registrar, api: httpx.Client, gateway: Any, issuing: Authority
) -> None:
    longer = f"{gateway['caCertificate']}\n{issuing.pem}"

    answer = api.put(f"/v1/admin/gateways/{gateway['id']}", json={"ca_certificate": longer})

    after = registrar.get(gateway["id"])
    assert answer.status_code == 200, answer.text
    assert (after["caCertificate"], after["caCertificateSig"]) == (longer, gateway["caCertificateSig"])
    assert not registrar.works(gateway)


def test_an_invalid_signature_is_stored_without_a_word_and_calls_fail(
    registrar: Registrar, upstream: Upstream, bundle: str
) -> None:
    gateway = registrar.register(upstream.url, ca_certificate=bundle, ca_certificate_sig=NOT_A_SIGNATURE)

    assert (gateway["reachable"], gateway["lastError"]) == (True, None)
    assert not registrar.works(gateway)


def test_nothing_but_a_call_looks_at_a_signature(
    registrar: Registrar, api: httpx.Client, gateway: Any, signed: dict[str, str]
) -> None:
    assert registrar.works(gateway)
    path = f"/v1/gateways/{gateway['id']}"

    updated = registrar.put(gateway, **{**signed, "ca_certificate_sig": NOT_A_SIGNATURE})
    refreshed = api.post(f"{path}/tools/refresh")
    switched = [api.post(f"{path}/state", params={"activate": activate}) for activate in (False, True)]

    after = registrar.get(gateway["id"])
    assert [answer.status_code for answer in (updated, refreshed, *switched)] == [200] * 4
    assert refreshed.json()["success"] is True
    assert (after["enabled"], after["reachable"], after["lastError"]) == (True, True, None)
    assert not registrar.works(gateway)


def test_white_space_around_a_bundle_is_stripped_on_creation(
    registrar: Registrar, upstream: Upstream, bundle: str, contextforge: ContextForge
) -> None:
    sent = {"ca_certificate": f"\n{bundle}\n\n", "ca_certificate_sig": contextforge.sign(bundle)}

    gateway = registrar.register(upstream.url, **sent)

    assert gateway["caCertificate"] == bundle
    assert registrar.works(gateway)


def test_white_space_around_a_bundle_is_kept_on_update_and_breaks_the_signature(
    registrar: Registrar, gateway: Any, bundle: str, signed: dict[str, str]
) -> None:
    assert registrar.put(gateway, **{**signed, "ca_certificate": f"{bundle}\n"}).status_code == 200

    assert registrar.get(gateway["id"])["caCertificate"] == f"{bundle}\n"
    assert not registrar.works(gateway)


# What is stored unseen


def test_a_private_key_inside_a_bundle_is_served_to_every_reader(
    registrar: Registrar, upstream: Upstream, root: Authority
) -> None:
    leaked = f"{root.pem}\n{root.issue_server(['localhost']).key_pem}"

    assert registrar.register(upstream.url, ca_certificate=leaked)["caCertificate"] == leaked


def test_over_plain_http_any_text_passes_for_a_bundle(registrar: Registrar, plain: Upstream) -> None:
    assert registrar.register(plain.url, ca_certificate="no certificate")["caCertificate"] == "no certificate"


def test_tags_are_rewritten_and_unfit_ones_vanish_without_a_word(registrar: Registrar, plain: Upstream) -> None:
    asked = ["Managed-By:Us", "two words", "snake_case", "us:sha256:" + "a" * 64, "team/x", "managed-by=us", "x"]

    gateway = registrar.register(plain.url, tags=asked)

    kept = {"managed-by:us", "two-words", "snake-case", "us:sha256:" + "a" * 64}
    assert {tag["id"] for tag in gateway["tags"]} == kept


def test_a_loopback_address_becomes_localhost(registrar: Registrar, upstream: Upstream, signed: dict[str, str]) -> None:
    address = upstream.url.replace("localhost", "127.0.0.1")

    assert registrar.register(address, **signed)["url"] == upstream.url


def test_a_refresh_interval_is_accepted_and_not_stored(registrar: Registrar, plain: Upstream) -> None:
    assert registrar.register(plain.url, refresh_interval_seconds=120)["refreshIntervalSeconds"] is None


# What is refused, and how


def test_an_upstream_that_is_not_trusted_is_never_registered(
    registrar: Registrar, api: httpx.Client, upstream: Upstream
) -> None:
    answer = registrar.post(upstream.url)

    assert answer.status_code == 502
    assert answer.json()["message"].startswith("Failed to initialize gateway at ")
    assert upstream.url not in {row["url"] for row in _everything(api)}


@pytest.mark.parametrize("respell", [str, str.upper, lambda name: name.replace("-", " ")])
def test_names_of_one_slug_clash(
    registrar: Registrar, gateway: Any, plain: Upstream, respell: Callable[[str], str]
) -> None:
    answer = registrar.post(plain.url, name=respell(gateway["name"]))

    assert (answer.status_code, answer.json()["message"]) == (409, "Gateway name already exists")


def test_a_url_can_be_registered_once(registrar: Registrar, gateway: Any, signed: dict[str, str]) -> None:
    answer = registrar.post(gateway["url"], **signed)

    assert (answer.status_code, answer.json()["message"]) == (409, "Gateway already exists")


def test_what_is_wrong_with_a_name_is_not_said(registrar: Registrar, plain: Upstream) -> None:
    answer = registrar.post(plain.url, name="team/payments")

    assert (answer.status_code, answer.json()["detail"]) == (422, "An error occurred, please try again.")


def test_a_gateway_is_read_by_its_slug_and_changed_only_by_its_id(
    registrar: Registrar, api: httpx.Client, gateway: Any
) -> None:
    assert registrar.get(gateway["slug"])["id"] == gateway["id"]
    assert api.put(f"/v1/gateways/{gateway['slug']}", json={}).status_code == 404
    assert api.delete(f"/v1/gateways/{gateway['slug']}").status_code == 400


def test_to_delete_what_is_gone_is_not_found(api: httpx.Client, gateway: Any) -> None:
    deletions = [api.delete(f"/v1/gateways/{gateway['id']}").status_code for _ in range(2)]

    assert deletions == [200, 404]


# Updates


def test_an_update_to_a_bundle_that_does_not_fit_is_rolled_back(registrar: Registrar, gateway: Any) -> None:
    stranger = Authority.root("Another Root CA", VALID)

    answer = registrar.put(gateway, ca_certificate=stranger.pem, description="rotated")

    assert answer.status_code == 502
    after = registrar.get(gateway["id"])
    assert {**after, "lastSeen": None} == {**gateway, "lastSeen": None}


def test_an_update_of_the_description_alone_is_kept_even_if_the_upstream_is_gone(
    registrar: Registrar, gateway: Any, upstream: Upstream
) -> None:
    upstream.stop()

    assert registrar.put(gateway, description="moved").status_code == 200
    assert registrar.get(gateway["id"])["description"] == "moved"


def test_null_leaves_a_bundle_and_an_empty_one_is_tried_before_it_is_removed(
    registrar: Registrar, gateway: Any
) -> None:
    assert registrar.put(gateway, ca_certificate=None).status_code == 200
    assert registrar.put(gateway, ca_certificate="").status_code == 502

    assert registrar.get(gateway["id"])["caCertificate"] == gateway["caCertificate"]


def test_null_leaves_what_is_described_but_tags_and_empty_values_clear(registrar: Registrar, plain: Upstream) -> None:
    described = {"description": "Payments", "tags": ["money"], "passthrough_headers": ["X-Trace"]}
    gateway = registrar.register(plain.url, **described)

    omitted = registrar.put(gateway).json()
    nulls = registrar.put(gateway, **dict.fromkeys(described)).json()
    empty = registrar.put(gateway, description="", passthrough_headers=[]).json()

    shown = ["description", "tags", "passthroughHeaders"]
    assert [omitted[name] for name in shown] == [gateway[name] for name in shown]
    assert [nulls[name] for name in shown] == ["Payments", [], ["X-Trace"]]
    assert [empty[name] for name in shown] == ["", [], []]


def test_every_update_counts_as_a_version_and_nothing_guards_against_a_lost_one(
    registrar: Registrar, api: httpx.Client, gateway: Any
) -> None:
    unguarded = api.put(f"/v1/gateways/{gateway['id']}", json={}, headers={"If-Match": '"another"'})

    assert (unguarded.status_code, unguarded.headers.get("ETag")) == (200, None)
    assert registrar.get(gateway["id"])["version"] == gateway["version"] + 1


def test_who_created_a_gateway_is_known_for_ever_by_user_agent(
    registrar: Registrar, api: httpx.Client, gateway: Any
) -> None:
    api.put(f"/v1/gateways/{gateway['id']}", json={"description": "hand"}, headers={"User-Agent": "a-hand/1"})

    after = registrar.get(gateway["id"])
    assert (after["createdUserAgent"], after["modifiedUserAgent"]) == ("contextforge-tests/1", "a-hand/1")


def test_a_gateway_switched_off_is_missing_from_the_default_list_until_it_is_switched_on(
    api: httpx.Client, registrar: Registrar, plain: Upstream
) -> None:
    gateway = registrar.register(plain.url)

    def listed() -> bool:
        return gateway["id"] in {row["id"] for row in api.get("/v1/gateways?limit=0").raise_for_status().json()}

    def switch(activate: str) -> None:
        api.post(f"/v1/gateways/{gateway['id']}/state", params={"activate": activate}).raise_for_status()

    switch("false")
    assert (listed(), _enabled(api)[gateway["id"]]) == (False, False)
    switch("true")
    assert (listed(), _enabled(api)[gateway["id"]]) == (True, True)


# Credentials


def test_an_update_that_leaves_credentials_out_wipes_them(registrar: Registrar, plain: Upstream) -> None:
    gateway = registrar.register(plain.url, auth_type="bearer", auth_token="opaque")  # noqa: S106 - a test's own

    registrar.put(gateway, description="unrelated")

    after = registrar.get(gateway["id"])
    assert (gateway["authToken"], after["authToken"], after["authType"]) == ("*****", None, "bearer")


def test_credentials_are_sealed_on_creation_and_stored_in_plain_text_on_update(
    registrar: Registrar, plain: Upstream, contextforge: ContextForge
) -> None:
    gateway = registrar.register(plain.url, auth_type="bearer", auth_token="opaque")  # noqa: S106 - a test's own
    assert "opaque" not in _stored(contextforge, gateway)

    registrar.put(gateway, auth_type="bearer", auth_token="opaque")  # noqa: S106 - as above

    assert json.loads(_stored(contextforge, gateway)) == {"Authorization": "Bearer opaque"}


def test_the_mask_keeps_credentials(registrar: Registrar, plain: Upstream, serve: Callable[..., RawServer]) -> None:
    gateway = registrar.register(plain.url, auth_type="bearer", auth_token="opaque")  # noqa: S106 - a test's own
    heard: list[str] = []

    def talk(connection: socket.socket) -> None:
        heard.append(connection.recv(4096).decode().lower())

    elsewhere = f"http://localhost:{serve(talk).port}/mcp"
    moved = registrar.put(gateway, url=elsewhere, auth_type="bearer", auth_token="*****")  # noqa: S106 - the mask

    assert moved.status_code == 502
    assert "authorization: bearer opaque\r\n" in heard[0]


def test_a_client_certificate_survives_an_update_that_leaves_it_out(
    registrar: Registrar, root: Authority, signed: dict[str, str]
) -> None:
    client = root.issue_client("contextforge")
    mutual = {"client_cert": client.certificate_pem, "client_key": client.key_pem}
    server = root.issue_server(["localhost"])
    with Upstream("mutual", server, {"pay": "Pay an invoice"}, client_authority=root.pem) as upstream:
        gateway = registrar.register(upstream.url, **signed, **mutual)

        registrar.put(gateway, description="unrelated")

        assert (gateway["clientCert"], gateway["clientKey"]) == (client.certificate_pem, "*****")
        assert registrar.works(gateway)


# Lists, exports, permissions


def test_the_default_list_ends_without_a_word_at_fifty(
    registrar: Registrar, api: httpx.Client, plain: Upstream
) -> None:
    made = {registrar.register(f"{plain.url}?number={number}")["id"] for number in range(51)}

    assert len(api.get("/v1/gateways").json()) == 50
    assert made <= {row["id"] for row in _everything(api)}


def test_a_cursor_that_is_nonsense_starts_again_at_the_first_page(
    registrar: Registrar, api: httpx.Client, plain: Upstream
) -> None:
    gateway = registrar.register(plain.url)

    answer = api.get("/v1/gateways", params={"cursor": "nonsense", "include_pagination": "true"})

    assert answer.status_code == 200
    assert gateway["id"] in {row["id"] for row in answer.json()["gateways"]}


def test_an_export_leaves_out_the_bundle_and_its_signature(api: httpx.Client, gateway: Any) -> None:
    exported = api.get("/v1/export", params={"types": "gateways"}).raise_for_status().json()["entities"]["gateways"]

    ours = next(entry for entry in exported if entry["name"] == gateway["name"])
    assert not {"ca_certificate", "ca_certificate_sig", "client_cert", "visibility"} & ours.keys()


def test_a_token_that_may_only_read_lists_and_changes_nothing(
    contextforge: ContextForge, gateway: Any, plain: Upstream
) -> None:
    with contextforge.client(contextforge.token_for("gateways.read")) as reader, Registrar(reader) as registrar:
        assert gateway["id"] in {row["id"] for row in _everything(reader)}
        assert registrar.post(plain.url).status_code == 403
        assert registrar.put(gateway, description="mine").status_code == 403
        assert reader.delete(f"/v1/gateways/{gateway['id']}").status_code == 403


def test_four_permissions_are_enough_to_reconcile(
    contextforge: ContextForge, upstream: Upstream, signed: dict[str, str]
) -> None:
    token = contextforge.token_for("gateways.read", "gateways.create", "gateways.update", "gateways.delete")
    with contextforge.client(token) as api, Registrar(api) as registrar:
        gateway = registrar.register(upstream.url, **signed)

        assert registrar.put(gateway, **signed).status_code == 200
        assert api.delete(f"/v1/gateways/{gateway['id']}").status_code == 200


def _stored(contextforge: ContextForge, gateway: Any) -> str:
    with closing(sqlite3.connect(f"{contextforge.database.as_uri()}?mode=ro", uri=True)) as database:
        (held,) = database.execute("SELECT auth_value FROM gateways WHERE id = ?", [gateway["id"]]).fetchone()
    return str(held)


def _everything(api: httpx.Client) -> Any:
    return api.get("/v1/gateways?limit=0&include_inactive=true").raise_for_status().json()


def _enabled(api: httpx.Client) -> dict[str, bool]:
    return {row["id"]: row["enabled"] for row in _everything(api)}
