"""What gateways in ContextForge authenticate with: sent with every update, noticed when changed, shown nowhere."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from contextforge_site import Site, wanted
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from raw_servers import RawServer, Script, http, json_rpc, speaking_http

from reconciler.core.model import Auth, Reason, SecretReference
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live_contextforge import ContextForge
    from raw_servers import Request

    from reconciler.demo.pki import Authority

SECRET = "hunter2-of-the-upstream"  # noqa: S105 - a fixture
OTHER = "another-of-the-upstream"


@pytest.fixture
def site(contextforge: ContextForge) -> Iterator[Site]:
    with Site(contextforge) as site:
        site.environ.update(SECRET=SECRET, OTHER=OTHER)
        yield site


class Listening(Script):
    """An MCP server that keeps what it is asked, headers and all, and has a tool `charge`."""

    def carried(self, header: str) -> str:
        """The header of the last call of a tool."""
        (last, *_) = (each for each in reversed(self.requests) if each.call.get("method") == "tools/call")
        return last.headers.get(header, "")


@pytest.fixture
def listening() -> Listening:
    content = {"content": [{"type": "text", "text": "charged"}], "isError": False}
    tools = {"tools": [{"name": "charge", "inputSchema": {"type": "object"}}]}
    return Listening(
        {
            "tools/list": lambda request: json_rpc(request, tools),
            "tools/call": lambda request: json_rpc(request, content),
        }
    )


@pytest.fixture
def url(listening: Listening, serve: Callable[..., RawServer]) -> str:
    return f"http://localhost:{serve(speaking_http(listening)).port}/mcp"


def reference(name: str) -> SecretReference:
    return SecretReference("env", name)


def bearer(name: str = "SECRET") -> Auth:
    return Auth("bearer", (), (("token", reference(name)),))


BASIC = Auth("basic", (("username", "gateway"),), (("password", reference("SECRET")),))
HEADERS = Auth("headers", (), (("X-Api-Key", reference("SECRET")), ("X-Tenant", reference("OTHER"))))
ONE_HEADER = Auth("headers", (), (("X-Api-Key", reference("SECRET")),))
CARRIED = [
    (bearer(), {"authorization": f"Bearer {SECRET}"}),
    (BASIC, {"authorization": f"Basic {b64encode(f'gateway:{SECRET}'.encode()).decode()}"}),
    (HEADERS, {"x-api-key": SECRET, "x-tenant": OTHER}),
    (ONE_HEADER, {"x-api-key": SECRET}),
]


@pytest.mark.parametrize(("auth", "carried"), CARRIED, ids=["bearer", "basic", "headers", "one-header"])
def test_what_a_gateway_authenticates_with_is_carried_by_calls_and_survives_every_update(
    site: Site, listening: Listening, url: str, auth: Auth, carried: dict[str, str]
) -> None:
    gateway = wanted("payments", url, auth=auth)
    site.applied(gateway)
    for changed in ({}, {"description": "new"}, {"url": f"{url}?moved"}, {"tags": ("finance",)}, {"enabled": False}):
        site.applied(replace(gateway, **changed))
    site.applied(gateway)
    assert "result" in site.call("payments-charge")
    assert {header: listening.carried(header) for header in carried} == carried
    assert SECRET not in json.dumps(site.rows())


def test_one_kind_of_authentication_replaces_another_and_leaves_nothing_behind(
    site: Site, listening: Listening, url: str
) -> None:
    for auth, carried in (*CARRIED, (Auth(), {"authorization": "", "x-api-key": "", "x-tenant": ""})):
        site.applied(wanted("payments", url, auth=auth))
        assert "result" in site.call("payments-charge")
        every = {"authorization": "", "x-api-key": "", "x-tenant": "", **carried}
        assert {header: listening.carried(header) for header in every} == every


def test_oauth_is_stored_as_client_credentials_and_its_secret_survives_an_update(
    site: Site, listening: Listening, url: str, serve: Callable[..., RawServer]
) -> None:
    asked: list[Request] = []

    def token(request: Request) -> bytes:
        asked.append(request)
        answer = {"access_token": "from-the-token-endpoint", "token_type": "Bearer", "expires_in": 1}
        return http(200, json.dumps(answer), content_type="application/json")

    endpoint = f"http://localhost:{serve(speaking_http(token)).port}/token"
    settings = (("clientId", "gateway"), ("scopes", "pay refund"), ("tokenUrl", endpoint))
    auth = Auth("oauth", settings, (("clientSecret", reference("SECRET")),))
    gateway = wanted("payments", url, auth=auth)
    site.applied(gateway)
    site.applied(replace(gateway, description="new"))
    asked.clear()
    site.applied(replace(gateway, url=f"{url}?moved"))
    assert [SECRET.encode() in request.body for request in asked] == [True]
    assert "result" in site.call("payments-charge")
    assert listening.carried("authorization") == "Bearer from-the-token-endpoint"
    assert SECRET not in json.dumps(site.rows())


def test_a_basic_password_with_a_colon_is_refused_before_anything_is_sent(site: Site, url: str) -> None:
    site.environ["SECRET"] = "with:colon"  # noqa: S105 - a fixture
    (outcome,) = site.apply(wanted("payments", url, auth=BASIC))
    assert outcome.status == "refused"
    assert "never list it again" in outcome.reason
    assert "with:colon" not in outcome.reason
    assert site.rows() == []


def test_a_secret_that_is_not_there_is_told_by_its_place_and_nothing_is_sent(site: Site, url: str) -> None:
    del site.environ["SECRET"]
    (outcome,) = site.apply(wanted("payments", url, auth=bearer()))
    assert (outcome.status, outcome.reason.partition(":")[0]) == (
        "refused",
        "the environment variable SECRET is empty or not set",
    )
    assert site.rows() == []


# Noticing changes


def test_a_secret_with_another_value_is_noticed_and_sent_and_one_that_cannot_be_had_says_nothing(
    site: Site, listening: Listening, url: str
) -> None:
    gateway = wanted("payments", url, auth=bearer())
    site.applied(gateway)
    site.environ["SECRET"] = "rotated"  # noqa: S105 - a fixture
    planned = site.plan(gateway)
    assert [(change.reason, change.fields) for change in planned.changes] == [(Reason.SECRET_CHANGED, ("auth",))]
    assert planned.drift == ()
    assert "rotated" not in repr(planned)
    site.applied(gateway)
    assert "result" in site.call("payments-charge")
    assert listening.carried("authorization") == "Bearer rotated"
    del site.environ["SECRET"]
    assert site.plan(gateway).in_sync


def test_without_the_signing_key_the_value_of_a_secret_is_not_looked_at(site: Site, url: str) -> None:
    gateway = wanted("payments", url, auth=bearer())
    site.applied(gateway)
    site.environ["SECRET"] = "rotated"  # noqa: S105 - a fixture
    assert site.plan(gateway, store=site.open(sealing=False)).in_sync


def test_credentials_that_somebody_emptied_or_replaced_there_are_drift_and_healed(
    site: Site, listening: Listening, url: str
) -> None:
    gateway = wanted("payments", url, auth=bearer())
    site.applied(gateway)
    for theirs in ({"description": ""}, {"auth_type": "bearer", "auth_token": "theirs"}, {"auth_type": "none"}):
        site.put("payments", **theirs)
        (drift,) = site.plan(gateway).drift
        assert (drift.name, drift.reason, drift.fields) == ("payments", Reason.TAMPERING, ("auth",))
        site.applied(gateway)
        assert "result" in site.call("payments-charge")
        assert listening.carried("authorization") == f"Bearer {SECRET}"


class Watched(dict[str, str]):
    """An environment that notices what is read of it."""

    def __init__(self, *given: Any, **values: str) -> None:
        super().__init__(*given, **values)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def test_references_that_somebody_else_wrote_are_never_followed(contextforge: ContextForge, url: str) -> None:
    environ = Watched(SECRET=SECRET, PRIVATE="not for the platform")
    with Site(contextforge, environ) as site:
        gateway = wanted("payments", url, auth=bearer())
        site.applied(gateway)
        row = site.row("payments")
        mark = next(tag for tag in row["tags"] if tag["id"] == "reconciler:secrets")
        forged = json.loads(mark["label"])
        for reference, fields in (("PRIVATE", ("auth",)), ("SECRET", ("auth",))):
            forged["auth"]["token"] = {"env": reference}
            forged["version"] = site.row("payments")["version"] + 1
            tags = [{**tag, "label": json.dumps(forged)} if tag is mark else tag for tag in row["tags"]]
            site.put("payments", tags=tags, auth_type="bearer", auth_token="theirs")  # noqa: S106 - a fixture
            (change,) = site.plan(gateway).changes
            assert change.fields == fields
        assert "PRIVATE" not in environ.read
        site.applied(gateway)


def test_with_another_signing_key_what_it_sealed_is_sealed_again_and_nobody_is_blamed(
    contextforge: ContextForge, url: str
) -> None:
    gateway = wanted("payments", url, auth=bearer())
    with Site(contextforge, {"SECRET": SECRET}, signing_key=a_key()) as site:
        site.applied(gateway)
        site.trusted["old"] = site.signer.public_key
        site.signing_key = a_key()
        store = site.open()
        planned = site.plan(gateway, store=store)
        assert [(change.reason, change.fields) for change in planned.changes] == [(Reason.KEY_ROTATED, ("auth",))]
        assert planned.drift == ()
        site.apply(gateway, store=store)
        assert site.plan(gateway, store=store).in_sync


def a_key() -> str:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


# Client certificates


def test_a_client_certificate_and_its_key_are_sent_kept_and_taken_away(site: Site, root: Authority) -> None:
    client = root.issue_client("gateway")
    site.environ["CLIENT_KEY"] = client.key_pem
    identity: dict[str, Any] = {"client_certificate": client.certificate_pem, "client_key": reference("CLIENT_KEY")}
    with Upstream("mutual", root.issue_server(["localhost"]), {"pay": "Pay"}, client_authority=root.pem) as mutual:
        bare = wanted("payments", mutual.url, ca_certificate=root.pem)
        (refused,) = site.apply(bare)
        assert refused.status == "failed"
        site.applied(replace(bare, **identity))
        site.applied(replace(bare, description="new", **identity))
        assert "result" in site.call("payments-pay")
        renewed = root.issue_client("gateway")
        site.environ["CLIENT_KEY"] = renewed.key_pem
        site.applied(replace(bare, **{**identity, "client_certificate": renewed.certificate_pem}))
        assert "result" in site.call("payments-pay")
    with Upstream("open", root.issue_server(["localhost"]), {"pay": "Pay"}) as server:
        site.applied(replace(bare, url=server.url))
        assert not site.row("payments")["clientCert"]
        assert not site.row("payments")["clientKey"]
