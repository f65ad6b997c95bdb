"""Tokens: fetched over the trust of the upstream, shared, and renewed when the server says so, once."""

from __future__ import annotations

import json
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from raw_servers import NOW, Request, Script, forwarding, http, server_context, speaking_http

from reconciler.core.model import Auth, Gateway, SecretReference, Transport, VerifyPolicy
from reconciler.core.observation import UNTRIED
from reconciler.core.routes import parse_resolve
from reconciler.demo.pki import Authority
from reconciler.prober import UpstreamProber

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from raw_servers import RawServer

    from reconciler.core.observation import Observation

    Serve = Callable[..., RawServer]

PATIENT = VerifyPolicy(timeout_seconds=20.0)
JSON = {"content_type": "application/json"}
ENVIRON = {"CLIENT_SECRET": "s3cret"}


class TokenEndpoint:
    """Gives `t1`, `t2`, …; keeps what it was asked. `wants_body`: it does not take credentials in a header."""

    def __init__(self, *, wants_body: bool = False) -> None:
        self.requests: list[Request] = []
        self._wants_body = wants_body

    def __call__(self, request: Request) -> bytes:
        self.requests.append(request)
        if self._wants_body and b"client_secret" not in request.body:
            return http(401, json.dumps({"error": "invalid_client"}), **JSON)
        token = {"access_token": f"t{len(self.requests)}", "token_type": "Bearer", "expires_in": 3600}
        return http(200, json.dumps(token), **JSON)


def accepting(script: Script, *tokens: str) -> Callable[[Request], bytes]:
    """Return a server that answers 401 to whatever carries none of these tokens."""

    def respond(request: Request) -> bytes:
        carried = request.headers.get("authorization", "").removeprefix("Bearer ")
        return script(request) if carried in tokens else http(401, www_authenticate="Bearer")

    return respond


@pytest.fixture
def secured(serve: Serve, root: Authority) -> Callable[[Callable[[Request], bytes]], int]:
    """Start a server with a certificate of `root`, and return its port."""
    return lambda respond: serve(speaking_http(respond), server_context(root.issue_server(["localhost"]))).port


def gateway(port: int, root: Authority, auth: Auth) -> Gateway:
    url = f"https://localhost:{port}/mcp"
    return Gateway("a", url, Transport.STREAMABLE_HTTP, ca_certificate=root.pem, system_trust=False, auth=auth)


def oauth(url: str) -> Auth:
    settings = (("clientId", "me"), ("scopes", "tools.read"), ("tokenUrl", url))
    return Auth("oauth", settings, (("clientSecret", SecretReference("env", "CLIENT_SECRET")),))


def look(wanted: Gateway, environ: dict[str, str] | None = None, prober: UpstreamProber | None = None) -> Observation:
    (seen,) = (prober or UpstreamProber(environ or ENVIRON, NOW))([(wanted, PATIENT)])
    assert "s3cret" not in repr(seen)
    return seen


def failure(seen: Observation) -> tuple[str, str]:
    assert seen.mcp is not None
    assert not seen.ok
    assert seen.mcp.fix
    return seen.mcp.reason, seen.mcp.message


def test_a_token_is_fetched_over_the_bundle_and_carried(root: Authority, secured: Callable[..., int]) -> None:
    endpoint, script = TokenEndpoint(), Script()
    port = secured(accepting(script, "t1"))
    seen = look(gateway(port, root, oauth(f"https://localhost:{secured(endpoint)}/token")))
    assert seen.ok, seen
    (asked,) = endpoint.requests
    assert (asked.method, asked.path, asked.headers["authorization"]) == ("POST", "/token", "Basic bWU6czNjcmV0")
    assert parse_qs(asked.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["tools.read"]}
    assert {request.headers["authorization"] for request in script.requests} == {"Bearer t1"}


def test_an_endpoint_that_takes_no_header_is_asked_with_the_credentials_in_the_body(
    root: Authority, secured: Callable[..., int]
) -> None:
    endpoint = TokenEndpoint(wants_body=True)
    port = secured(accepting(Script(), "t2"))
    assert look(gateway(port, root, oauth(f"https://localhost:{secured(endpoint)}/token"))).ok
    assert [b"client_secret=s3cret" in request.body for request in endpoint.requests] == [False, True]


def test_one_token_serves_a_whole_fleet(root: Authority, secured: Callable[..., int]) -> None:
    endpoint, meeting, script = TokenEndpoint(), Barrier(4), Script()

    def respond(request: Request) -> bytes:
        if request.call.get("method") == "initialize":
            meeting.wait(timeout=30)
        return accepting(script, "t1")(request)

    wanted = gateway(secured(respond), root, oauth(f"https://localhost:{secured(endpoint)}/token"))
    fleet = [(replace(wanted, name=name), PATIENT) for name in "abcd"]
    assert all(seen.ok for seen in UpstreamProber(ENVIRON, NOW)(fleet))
    assert len(endpoint.requests) == 1


def test_a_token_that_the_upstream_refuses_is_renewed_once(root: Authority, secured: Callable[..., int]) -> None:
    endpoint = TokenEndpoint()
    tokens = ["t2"]

    def respond(request: Request) -> bytes:
        return accepting(Script(), *tokens)(request)

    port = secured(respond)
    wanted = gateway(port, root, oauth(f"https://localhost:{secured(endpoint)}/token"))
    prober = UpstreamProber(ENVIRON, NOW)
    assert look(wanted, prober=prober).ok
    assert len(endpoint.requests) == 2
    tokens[:] = ["never"]
    assert failure(look(wanted, prober=prober))[0] == "Unauthorized"
    assert len(endpoint.requests) == 3, "once, not for ever"


def test_a_secret_that_was_replaced_meanwhile_is_read_again(
    root: Authority, secured: Callable[..., int], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    script = Script()

    def respond(request: Request) -> bytes:
        file.write_text("new")
        return accepting(script, "new")(request)

    bearer = Auth("bearer", (), (("token", SecretReference("file", str(file))),))
    assert look(gateway(secured(respond), root, bearer)).ok


def test_a_secret_that_stays_the_same_is_not_tried_twice(root: Authority, secured: Callable[..., int]) -> None:
    heard: list[Request] = []

    def refuse(request: Request) -> bytes:
        heard.append(request)
        return http(401)

    bearer = Auth("bearer", (), (("token", SecretReference("env", "CLIENT_SECRET")),))
    assert failure(look(gateway(secured(refuse), root, bearer)))[0] == "Unauthorized"
    assert len(heard) == 1


def test_an_endpoint_that_refuses_is_told_of_with_its_code(root: Authority, secured: Callable[..., int]) -> None:
    refusing = secured(lambda _: http(400, json.dumps({"error": "invalid_scope", "hint": "s3cret"}), **JSON))
    upstream = Script()
    reason, message = failure(look(gateway(secured(upstream), root, oauth(f"https://localhost:{refusing}/token"))))
    assert reason == "TokenRefused"
    assert message == f"https://localhost:{refusing}/token gives client me no token: HTTP 400, invalid_scope."
    assert upstream.requests == []


def test_a_refusal_is_asked_for_once_by_a_whole_fleet(root: Authority, secured: Callable[..., int]) -> None:
    heard: list[Request] = []

    def refuse(request: Request) -> bytes:
        heard.append(request)
        return http(403)

    wanted = gateway(1, root, oauth(f"https://localhost:{secured(refuse)}/token"))
    seen = UpstreamProber(ENVIRON, NOW)([(replace(wanted, name=name), PATIENT) for name in "abcd"])
    assert {failure(each)[0] for each in seen} == {"TokenRefused"}
    assert len(heard) == 1


def test_a_secret_goes_to_no_endpoint_that_the_bundle_does_not_trust(root: Authority, serve: Serve) -> None:
    endpoint = TokenEndpoint()
    other = Authority.root("Other Root CA", root.lifetime)
    port = serve(speaking_http(endpoint), server_context(other.issue_server(["localhost"]))).port
    reason, message = failure(look(gateway(1, root, oauth(f"https://localhost:{port}/token"))))
    assert (reason, endpoint.requests) == ("TokenUnavailable", [])
    assert "CN=Other Root CA, is not in the bundle" in message


@pytest.mark.parametrize("url", ["http://localhost:1/token", "https://[", "nonsense"])
def test_a_secret_goes_nowhere_in_clear_text(root: Authority, url: str) -> None:
    reason, _ = failure(look(gateway(1, root, oauth(url))))
    assert reason == "TokenUrlUnusable"
    assert reason in UNTRIED


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", b""])
def test_an_endpoint_that_speaks_no_http_is_a_diagnosis(root: Authority, serve: Serve, said: bytes) -> None:
    def talk(connection: object) -> None:
        connection.recv(65536)  # type: ignore[attr-defined]
        connection.sendall(said)  # type: ignore[attr-defined]

    port = serve(talk, server_context(root.issue_server(["localhost"]))).port
    assert failure(look(gateway(1, root, oauth(f"https://localhost:{port}/token"))))[0] == "TokenUnavailable"


def test_an_endless_answer_of_an_endpoint_is_cut_off(root: Authority, secured: Callable[..., int]) -> None:
    port = secured(lambda _: http(200, b"x" * 1_000_000))
    assert failure(look(gateway(1, root, oauth(f"https://localhost:{port}/token"))))[0] == "TokenRefused"


def test_the_environment_leads_both_to_the_upstream_and_to_the_endpoint(root: Authority, serve: Serve) -> None:
    upstream = serve(speaking_http(accepting(Script(), "t1")), server_context(root.issue_server(["payments.internal"])))
    endpoint = serve(speaking_http(TokenEndpoint()), server_context(root.issue_server(["sso.internal"])))
    heads: list[str] = []
    places = {"payments.internal:8443": upstream.port, "sso.internal:443": endpoint.port}
    proxy = serve(forwarding(places, heads))
    wanted = replace(gateway(1, root, oauth("https://sso.internal/token")), url="https://payments.internal:8443/mcp")
    seen = look(wanted, {**ENVIRON, "HTTPS_PROXY": f"http://localhost:{proxy.port}"})
    assert seen.ok, seen
    assert [head.split()[1] for head in heads] == ["sso.internal:443", "payments.internal:8443"]
    assert seen.route.proxy is not None


def test_an_address_given_on_the_command_line_is_called(root: Authority, serve: Serve) -> None:
    upstream = serve(speaking_http(Script()), server_context(root.issue_server(["payments.internal"])))
    wanted = replace(gateway(1, root, Auth()), url=f"https://payments.internal:{upstream.port}/mcp")
    given = (parse_resolve(f"payments.internal:{upstream.port}:127.0.0.1"),)
    assert look(wanted, prober=UpstreamProber({"HTTPS_PROXY": "http://localhost:9"}, NOW, resolved=given)).ok


def test_a_proxy_that_cannot_be_used_is_an_observation(root: Authority) -> None:
    wanted = replace(gateway(1, root, Auth()), url="https://payments.internal/mcp")
    reason, message = failure(look(wanted, {"HTTPS_PROXY": "socks5://proxy:1080"}))
    assert (reason, message) == ("ProxyUnusable", "HTTPS_PROXY names no HTTP proxy that can be used here.")


def test_whole_definitions_are_there_for_who_asks(root: Authority, secured: Callable[..., int]) -> None:
    wanted = gateway(secured(Script()), root, Auth())
    plain = look(wanted)
    whole = look(wanted, prober=UpstreamProber(ENVIRON, NOW, keep_definitions=True))
    assert [(tool.name, tool.definition) for tool in plain.tools] == [("charge", "")]
    assert [(tool.name, tool.definition) for tool in whole.tools] == [("charge", '{"name":"charge"}')]
    assert plain.tools[0].digest == whole.tools[0].digest
