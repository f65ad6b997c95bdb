"""Upstreams that break the rules, on purpose or not: each becomes a diagnosis, soon, and within bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from raw_servers import NOW, Request, Script, deserted_port, http, json_rpc, server_context, speaking_http, target

from reconciler.core.model import Transport
from reconciler.demo.pki import self_signed
from reconciler.probes import probe

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from raw_servers import RawServer

    from reconciler.core.observation import McpObservation
    from reconciler.demo.pki import Authority

    Serve = Callable[..., RawServer]

EVENTS = {"content_type": "text/event-stream"}
JSON = {"content_type": "application/json"}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n\r\n"


def observed(url: str, **options: object) -> McpObservation:
    """Probe `url`, which must fail, and return what MCP showed."""
    seen = probe(target(url, **options), NOW)
    assert seen.mcp is not None
    assert not seen.ok
    assert seen.mcp.message
    assert seen.mcp.message.isprintable()
    return seen.mcp


def scripted(serve: Serve, **answers: Callable[[Request], bytes]) -> str:
    """Start a server that answers as it should except for the methods given, with `_` for `/`."""
    script = Script(answers={method.replace("_", "/"): answer for method, answer in answers.items()})
    return f"http://localhost:{serve(speaking_http(script)).port}/mcp"


# Statuses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "EndpointNotFound"),
        (405, "WrongTransport"),
        (406, "NotAcceptable"),
        (418, "RequestRefused"),
        (421, "HostRejected"),
        (429, "RateLimited"),
        (500, "UpstreamError"),
        (503, "UpstreamError"),
        (600, "UnexpectedStatus"),
    ],
)
@pytest.mark.parametrize("method", ["initialize", "tools_list", "notifications_initialized"])
def test_a_status_becomes_a_reason(serve: Serve, status: int, reason: str, method: str) -> None:
    seen = observed(scripted(serve, **{method: lambda _: http(status, "<html>sorry</html>")}))
    assert seen.reason == reason
    assert f"HTTP {status}" in seen.message
    assert "sorry" not in seen.message
    assert (seen.server == "raw 1") is (method != "initialize"), "what was learnt before is kept"


def test_a_401_tells_how_to_authenticate(serve: Serve) -> None:
    challenge = {"www_authenticate": 'Bearer realm="payments"'}
    seen = observed(scripted(serve, initialize=lambda _: http(401, **challenge)))
    assert 'WWW-Authenticate: Bearer realm="payments"' in seen.message


def test_a_redirect_is_not_followed_but_named_without_its_query(serve: Serve) -> None:
    beyond = serve(speaking_http(Script()))
    where = f"http://user:pw@localhost:{beyond.port}/other?token=abc#x"
    seen = observed(scripted(serve, initialize=lambda _: http(307, location=where)))
    assert seen.reason == "Redirected"
    assert f"to http://localhost:{beyond.port}/other:" in seen.message
    assert beyond.accepted == 0


def test_a_relative_redirect_is_resolved(serve: Serve) -> None:
    url = scripted(serve, initialize=lambda _: http(308, location="/mcp/"))
    assert f"to {url}/:" in observed(url).message


# Bodies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"NaN", b'{"a":Infinity}', b"[" * 100_000, b"1" * 5000])
def test_a_body_that_is_not_json(serve: Serve, body: bytes) -> None:
    assert observed(scripted(serve, tools_list=lambda _: http(200, body, **JSON))).reason == "NotJson"


@pytest.mark.parametrize("body", ["{}", "[]", "null", '{"id":77,"result":{}}', '{"id":2}', '"text"'])
def test_a_body_without_the_answer(serve: Serve, body: str) -> None:
    assert observed(scripted(serve, tools_list=lambda _: http(200, body, **JSON))).reason == "NoAnswer"


def test_an_error_without_an_id_is_an_answer(serve: Serve) -> None:
    body = '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}'
    seen = observed(scripted(serve, tools_list=lambda _: http(200, body, **JSON)))
    assert seen.reason == "MethodRefused"
    assert "Parse error" in seen.message


@pytest.mark.parametrize("headers", [{}, {"content_type": "text/html"}, {"content_type": "text/plain;x=\x9b"}])
def test_a_body_of_another_kind(serve: Serve, headers: dict[str, str]) -> None:
    assert observed(scripted(serve, initialize=lambda _: http(200, "<html>", **headers))).reason == "NotMcp"


def test_a_compressed_body_that_nobody_asked_for(serve: Serve) -> None:
    url = scripted(serve, tools_list=lambda _: http(200, b"\x1f\x8b\x08", content_encoding="gzip", **JSON))
    assert observed(url).reason == "NotJson"


def test_a_stream_without_the_answer(serve: Serve) -> None:
    events = "data: \n\ndata: {}\n\n: bye\n\n"
    assert observed(scripted(serve, tools_list=lambda _: http(200, events, **EVENTS))).reason == "NoAnswer"


def test_a_stream_of_what_is_not_json(serve: Serve) -> None:
    assert observed(scripted(serve, tools_list=lambda _: http(200, "data: {\n\n", **EVENTS))).reason == "NotJson"


def test_an_unknown_protocol_version(serve: Serve) -> None:
    seen = observed(scripted(serve, initialize=lambda request: json_rpc(request, {"protocolVersion": "1999-12-31"})))
    assert seen.reason == "ProtocolVersionUnsupported"


def test_a_repeated_cursor(serve: Serve) -> None:
    url = scripted(serve, tools_list=lambda request: json_rpc(request, {"tools": [], "nextCursor": "x"}))
    assert observed(url).reason == "EndlessList"


# Without end --------------------------------------------------------------------------------------------------------


def endless(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Return a talk that answers the first request for ever."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return talk


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
@pytest.mark.parametrize("piece", [b"x" * 65536, b": x\n\n" * 1000])
def test_an_endless_body_is_cut_off(serve: Serve, kind: bytes, piece: bytes) -> None:
    url = f"http://localhost:{serve(endless(HEAD % kind, piece)).port}/mcp"
    assert observed(url).reason == "AnswerTooLarge"


def test_an_endless_stream_of_the_older_transport_is_cut_off(serve: Serve) -> None:
    port = serve(endless(HEAD % b"text/event-stream", b": %s\n\n" % (b"x" * 9999))).port
    assert observed(f"http://localhost:{port}/sse", transport=Transport.SSE).reason == "AnswerTooLarge"


def test_endless_headers_are_cut_off(serve: Serve) -> None:
    port = serve(endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000)).port
    assert observed(f"http://localhost:{port}/mcp").reason == "NotHttp"


def test_one_huge_header_is_cut_off(serve: Serve) -> None:
    url = scripted(serve, initialize=lambda _: http(200, x="y" * 1_000_000))
    assert observed(url).reason == "NotHttp"


@pytest.mark.parametrize("said", [b"", HEAD % b"text/event-stream", HEAD % b"text/event-stream" + b": x\n\n"])
def test_silence_ends_with_the_deadline(serve: Serve, said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)
        connection.recv(65536)

    seen = observed(f"http://localhost:{serve(talk).port}/mcp", timeout_seconds=0.5)
    assert seen.reason == "AnswerTimeout"


def test_an_answer_in_drops_ends_with_the_deadline(serve: Serve) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD % b"application/json")
        connection.settimeout(0.02)
        while True:
            try:
                if not connection.recv(65536):
                    return
            except TimeoutError:
                connection.sendall(b" ")

    seen = observed(f"http://localhost:{serve(talk).port}/mcp", timeout_seconds=0.5)
    assert seen.reason == "AnswerTimeout"


def test_a_stream_that_stays_open_after_the_answer_does_not_hold_the_probe_up(serve: Serve) -> None:
    script = Script()

    def respond(request: Request) -> bytes:
        if request.call.get("method") != "tools/list":
            return script(request)
        answer = script(request).partition(b"\r\n\r\n")[2]
        return HEAD % b"text/event-stream" + b"data: " + answer + b"\n\n"

    def talk(connection: socket.socket) -> None:
        speaking_http(respond)(connection)

    seen = probe(target(f"http://localhost:{serve(talk).port}/mcp"), NOW)
    assert seen.ok, seen.mcp


# Not HTTP, or not for long ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b"220 mail \x1b[2J\r\n"])
def test_another_protocol(serve: Serve, said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)
        connection.recv(65536)

    seen = observed(f"http://localhost:{serve(talk).port}/mcp")
    assert seen.reason == "NotHttp"
    assert f"begins with {said[:4].decode('latin-1')}"[:15] in seen.message or "\\x15" in seen.message


def test_a_tls_port_probed_without_tls(serve: Serve, root: Authority) -> None:
    port = serve(speaking_http(Script()), server_context(root.issue_server(["localhost"]))).port
    assert observed(f"http://localhost:{port}/mcp").reason in ("NotHttp", "ConnectionClosed")


def test_a_connection_closed_without_an_answer(serve: Serve) -> None:
    seen = observed(scripted(serve, initialize=lambda _: b""))
    assert seen.reason == "ConnectionClosed"


def test_a_connection_closed_without_an_answer_over_tls(serve: Serve, root: Authority) -> None:
    script = Script(answers={"initialize": lambda _: b""})
    port = serve(speaking_http(script), server_context(root.issue_server(["localhost"]))).port
    seen = observed(f"https://localhost:{port}/mcp", ca_certificate=root.pem)
    assert seen.reason == "ConnectionClosed"


def test_a_body_that_ends_too_soon(serve: Serve) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")

    assert observed(f"http://localhost:{serve(talk).port}/mcp").reason == "NotHttp"


def test_a_port_where_nothing_listens_without_tls() -> None:
    port = deserted_port()
    seen = probe(target(f"http://localhost:{port}/mcp"), NOW)
    assert seen.tls is None
    assert seen.mcp is not None
    assert seen.mcp.reason == "ConnectionRefused"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://localhost/",
        "https://",
        "nonsense",
        "http://[::1/",
        "http://localhost:99999/",
        "http://.a/",
        "http://a..é/",
        "http://$(reboot)/",
    ],
)
def test_a_url_that_names_no_server(url: str) -> None:
    assert observed(url).reason == "UrlUnusable"


# The older transport ------------------------------------------------------------------------------------------------


def sse(*events: str) -> Callable[[Request], bytes]:
    return lambda request: http(200, "".join(events), **EVENTS) if request.method == "GET" else http(202)


def test_an_endpoint_of_another_origin_is_refused_before_anything_is_sent(serve: Serve) -> None:
    thief = serve(speaking_http(Script()))
    endpoint = f"event: endpoint\ndata: http://localhost:{thief.port}/messages?x=1\n\n"
    port = serve(speaking_http(sse(endpoint))).port
    seen = observed(f"http://localhost:{port}/sse", transport=Transport.SSE, headers=(("Authorization", "Bearer x"),))
    assert seen.reason == "ForeignEndpoint"
    assert f"localhost:{thief.port}/messages," in seen.message
    assert thief.accepted == 0


@pytest.mark.parametrize("endpoint", ["//evil.example/m", "https://localhost/m", "http://[", "javascript:alert(1)"])
def test_no_endpoint_leads_elsewhere(serve: Serve, endpoint: str) -> None:
    port = serve(speaking_http(sse(f"event: endpoint\ndata: {endpoint}\n\n"))).port
    assert observed(f"http://localhost:{port}/sse", transport=Transport.SSE).reason == "ForeignEndpoint"


@pytest.mark.parametrize("events", [(), ("data: {}\n\n",), ("event: endpoint\ndata: /m\n\n",)])
def test_a_stream_that_ends_before_the_answer(serve: Serve, events: tuple[str, ...]) -> None:
    port = serve(speaking_http(sse(*events))).port
    assert observed(f"http://localhost:{port}/sse", transport=Transport.SSE).reason == "NoAnswer"


def test_a_page_in_place_of_the_stream(serve: Serve) -> None:
    port = serve(speaking_http(lambda _: http(200, "<html>", content_type="text/html"))).port
    assert observed(f"http://localhost:{port}/sse", transport=Transport.SSE).reason == "NotMcp"


# Secrets ------------------------------------------------------------------------------------------------------------


def test_credentials_that_a_server_repeats_are_blotted_out(serve: Serve) -> None:
    def parrot(request: Request) -> bytes:
        heard = f"{request.headers['authorization']} {request.path} is not welcome"
        error = {"jsonrpc": "2.0", "id": request.call["id"], "error": {"code": 1, "message": heard}}
        return http(200, json.dumps(error), **JSON)

    seen = observed(
        scripted(serve, initialize=parrot), headers=(("Authorization", "Bearer s3cr3t"),), query=(("key", "k3y-k3y"),)
    )
    assert "is not welcome" in seen.message
    assert "s3cr3t" not in repr(seen)
    assert "k3y-k3y" not in repr(seen)


def test_a_secret_that_no_header_can_carry_is_not_shown(serve: Serve) -> None:
    seen = observed(scripted(serve), headers=(("Authorization", "Bearer s3cr3t\n"),))
    assert seen.reason == "CredentialsUnusable"
    assert "s3cr3t" not in repr(seen)


def test_no_request_is_sent_to_a_server_that_is_not_trusted(serve: Serve, root: Authority) -> None:
    script = Script()
    server = server_context(self_signed(["localhost"], root.lifetime))
    url = f"https://localhost:{serve(speaking_http(script), server).port}/mcp"
    assert not probe(target(url, ca_certificate=root.pem, headers=(("Authorization", "Bearer x"),)), NOW).ok
    assert script.requests == []
