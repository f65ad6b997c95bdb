"""Upstreams behind a proxy, and past the DNS: the way is respected, shown, and blamed only where it is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from raw_servers import NOW, Script, deserted_port, forwarding, hang, http, server_context, speaking_http, target

from reconciler.core.routes import Proxy, Route, route_to
from reconciler.probes import probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw_servers import RawServer

    from reconciler.core.observation import Observation
    from reconciler.demo.pki import Authority

    Serve = Callable[..., RawServer]

HOST = "payments.internal"


def through(port: int) -> Route:
    """Return the way that an environment with a proxy on this port gives, with credentials."""
    return route_to(f"https://{HOST}:8443/mcp", {"HTTPS_PROXY": f"http://me:s3cret@localhost:{port}"})


def blamed(port: int, **options: object) -> tuple[str, str, str]:
    """Probe through what listens on `port`, and return reason, message and fix."""
    options = {"route": through(port), "timeout_seconds": 20.0, **options}
    seen = probe(target(f"https://{HOST}:8443/mcp", **options), NOW)
    assert seen.tls is not None
    assert not seen.ok
    assert "s3cret" not in repr(seen)
    return seen.tls.reason, seen.tls.message, seen.tls.fix


def test_an_upstream_is_reached_through_the_proxy_under_its_own_name(serve: Serve, root: Authority) -> None:
    upstream = serve(speaking_http(Script(session="s1")), server_context(root.issue_server([HOST])))
    heads: list[str] = []
    proxy = serve(forwarding({f"{HOST}:8443": upstream.port}, heads))
    asked = target(f"https://{HOST}:8443/mcp", ca_certificate=root.pem, route=through(proxy.port))
    seen = probe(asked, NOW)
    assert seen.ok, seen
    assert seen.route.shown == f"through the proxy localhost:{proxy.port} (HTTPS_PROXY)"
    assert heads == [f"CONNECT {HOST}:8443 HTTP/1.1\r\nhost: {HOST}:8443\r\nproxy-authorization: Basic bWU6czNjcmV0"], (
        "one connection carries the whole probe"
    )


def test_plain_http_is_passed_on_by_the_proxy(serve: Serve) -> None:
    script = Script()
    upstream = serve(speaking_http(script))
    heads: list[str] = []
    proxy = serve(forwarding({f"{HOST}:8080": upstream.port}, heads))
    url = f"http://{HOST}:8080/mcp"
    seen = probe(target(url, route=route_to(url, {"http_proxy": f"http://me:s3cret@localhost:{proxy.port}"})), NOW)
    assert seen.ok, seen
    assert heads[0].startswith(f"POST http://{HOST}:8080/mcp HTTP/1.1\r\n")
    assert "proxy-authorization: Basic bWU6czNjcmV0" in heads[0]
    assert script.requests[0].path == "/mcp", "this proxy takes the place out of the first request"
    assert {request.headers["host"] for request in script.requests} == {f"{HOST}:8080"}


@pytest.mark.parametrize(
    ("status", "reason"), [(407, "ProxyWantsCredentials"), (403, "ProxyRefused"), (502, "ProxyRefused")]
)
def test_a_proxy_that_refuses_is_told_apart_from_the_upstream(serve: Serve, status: int, reason: str) -> None:
    proxy = serve(speaking_http(lambda _: http(status, "<html>no</html>")))
    found, message, fix = blamed(proxy.port)
    assert found == reason
    assert f"localhost:{proxy.port}" in message
    assert f"HTTP {status}" in message
    assert f"NO_PROXY={HOST}" in fix
    assert f"curl -v --proxy http://localhost:{proxy.port} https://{HOST}:8443/" in fix


def test_what_is_no_proxy_at_all_is_called_so(serve: Serve) -> None:
    ssh = serve(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"))
    closed = serve(lambda connection: connection.recv(65536))
    assert [blamed(server.port)[0] for server in (ssh, closed)] == ["NotAProxy", "NotAProxy"]


def test_a_proxy_that_is_not_there_is_named_with_its_variable() -> None:
    port = deserted_port()
    reason, message, fix = blamed(port)
    assert (reason, message) == ("ProxyUnreachable", f"The proxy localhost:{port} cannot be reached (ECONNREFUSED).")
    assert "HTTPS_PROXY" in fix


def test_a_proxy_that_hangs_ends_with_the_deadline(serve: Serve) -> None:
    reason, message, _ = blamed(serve(hang).port, timeout_seconds=0.5)
    assert reason == "ProxyUnreachable"
    assert "within 0." in message


def test_a_proxy_that_opens_tls_is_suspected_by_name(serve: Serve, root: Authority) -> None:
    from reconciler.demo.pki import Authority

    interceptor = Authority.root("Corporate Proxy CA", root.lifetime)
    upstream = serve(speaking_http(Script()), server_context(interceptor.issue_server([HOST])))
    proxy = serve(forwarding({f"{HOST}:8443": upstream.port}, []))
    reason, message, fix = blamed(proxy.port, ca_certificate=root.pem)
    assert reason == "IntermediateMissing"
    assert "its issuer, CN=Corporate Proxy CA, is not in the bundle" in message
    assert message.endswith(f"It was called through the proxy localhost:{proxy.port} (HTTPS_PROXY).")
    assert f"-connect {HOST}:8443 -proxy localhost:{proxy.port} " in fix


def test_an_address_in_place_of_the_dns_is_called_under_the_name_of_the_url(serve: Serve, root: Authority) -> None:
    script = Script()
    upstream = serve(speaking_http(script), server_context(root.issue_server([HOST])))

    def look(address: str) -> Observation:
        route = Route(address=address)
        return probe(target(f"https://{HOST}:{upstream.port}/mcp", ca_certificate=root.pem, route=route), NOW)

    assert look("127.0.0.1").ok
    assert {request.headers["host"] for request in script.requests} == {f"{HOST}:{upstream.port}"}
    seen = probe(target(f"https://{HOST}:{upstream.port}/mcp", route=Route(address="127.0.0.1")), NOW)
    assert seen.tls is not None
    assert seen.tls.message.endswith("It was called at 127.0.0.1 (--resolve).")
    assert f"openssl s_client -connect 127.0.0.1:{upstream.port} -servername {HOST}" in seen.tls.fix


def test_no_credentials_of_a_proxy_reach_the_upstream(serve: Serve, root: Authority) -> None:
    script = Script()
    upstream = serve(speaking_http(script), server_context(root.issue_server([HOST])))
    proxy = serve(forwarding({f"{HOST}:8443": upstream.port}, []))
    route = Route(Proxy("localhost", proxy.port, "HTTPS_PROXY", "Basic c2VjcmV0"))
    assert probe(target(f"https://{HOST}:8443/mcp", ca_certificate=root.pem, route=route), NOW).ok
    assert not any("proxy-authorization" in request.headers for request in script.requests)
