"""Raw servers that do exactly what a test says, over TLS or not, on real sockets, and what probes are pointed at."""

from __future__ import annotations

import json
import socket
import ssl
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from reconciler.clock import now
from reconciler.core.model import Transport
from reconciler.core.observation import ProbeTarget
from reconciler.demo.pki import Lifetime
from reconciler.probes.tls import load_identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from reconciler.demo.pki import Identity

    Talk = Callable[[socket.socket], None]

NOW = now()
VALID = Lifetime.around(NOW)
NAMES = ["localhost", "127.0.0.1"]
"""The names under which servers of tests are called."""


class RawServer:
    """Accepts connections on a port of this machine and lets `talk` loose on each, in a thread of its own."""

    def __init__(self, talk: Talk, context: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = Lock()
        self._open: list[socket.socket] = []
        self._threads = [Thread(target=self._accept)]
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(connection)
                self.accepted += 1
            thread = Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with ExitStack() as closing, suppress(OSError):
            # The plain socket stays open underneath, so that the end of the test can shut it down.
            closing.callback(self._forget, connection)
            if self._context is None:
                self._talk(connection)
                return
            secured = closing.enter_context(self._context.wrap_socket(connection.dup(), server_side=True))
            self._talk(secured)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.remove(connection)
        connection.close()


@dataclass(frozen=True)
class Request:
    """An HTTP request as a raw server read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def call(self) -> dict[str, Any]:
        """The JSON-RPC message in the body, or nothing."""
        message: dict[str, Any] = json.loads(self.body or b"{}")
        return message


def speaking_http(respond: Callable[[Request], bytes]) -> Talk:
    """Return a talk that reads HTTP requests and writes what `respond` gives for each, until that is nothing."""

    def talk(connection: socket.socket) -> None:
        with connection.makefile("rb") as reader:
            while request := _read_request(reader):
                answer = respond(request)
                if not answer:
                    return
                connection.sendall(answer)

    return talk


def _read_request(reader: Any) -> Request | None:
    line = reader.readline().decode()
    if not line:
        return None
    method, path, _ = line.split()
    headers = {}
    while header := reader.readline().decode().strip():
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, path, headers, reader.read(int(headers.get("content-length", 0))))


def http(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    """Return an HTTP response; `content_type="…"` names a header."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"content-length": str(len(content))} | {name.replace("_", "-"): text for name, text in headers.items()}
    head = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode("latin-1") + content


def json_rpc(request: Request, result: object) -> bytes:
    """Return the response that carries `result` for the call in the request."""
    message = {"jsonrpc": "2.0", "id": request.call.get("id"), "result": result}
    return http(200, json.dumps(message), content_type="application/json")


@dataclass
class Script:
    """A small MCP server over streamable HTTP. `answers` overrides what it says to a method; requests are kept."""

    answers: dict[str, Callable[[Request], bytes]] = field(default_factory=dict)
    session: str = ""
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> bytes:
        """Return the response to one request."""
        self.requests.append(request)
        method = request.call.get("method", request.method)
        if method in self.answers:
            return self.answers[method](request)
        if method == "initialize":
            return self._introduction(request)
        if method == "tools/list":
            return json_rpc(request, {"tools": [{"name": "charge"}]})
        return http(202)

    def _introduction(self, request: Request) -> bytes:
        result = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "raw", "version": "1"},
        }
        answer = json_rpc(request, result)
        session = f"\r\nmcp-session-id: {self.session}\r\n".encode() if self.session else b"\r\n"
        return answer.replace(b"\r\n", session, 1)


def forwarding(connections: dict[str, int], heads: list[str]) -> Talk:
    """Return a talk of an HTTP proxy: CONNECT to a place of `connections` leads to that port of this machine.

    Any other request is passed on with its path alone. The head of every request is kept in `heads`.
    """

    def talk(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        heads.append(head.partition(b"\r\n\r\n")[0].decode())
        method, target, _ = heads[-1].split("\r\n")[0].split()
        place = target if method == "CONNECT" else target.split("/")[2]
        with socket.create_connection(("127.0.0.1", connections[place])) as beyond:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                beyond.sendall(head.replace(f"http://{place}".encode(), b"", 1))
            back = Thread(target=_pump, args=[beyond, connection])
            back.start()
            _pump(connection, beyond)
            back.join()

    return talk


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def server_context(identity: Identity) -> ssl.SSLContext:
    """Return a server's context that presents `identity`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(context, identity.certificate_pem, identity.key_pem)
    return context


def demanding(identity: Identity, authorities: str = "") -> ssl.SSLContext:
    """Return a server's context that demands client certificates, which one of these CAs (PEM) must have issued."""
    context = server_context(identity)
    context.verify_mode = ssl.CERT_REQUIRED
    if authorities:
        context.load_verify_locations(cadata=authorities)
    return context


def outdated(identity: Identity) -> ssl.SSLContext:
    """Return a server's context that knows nothing newer than TLS 1.1."""
    context = server_context(identity)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def speechless(identity: Identity) -> ssl.SSLContext:
    """Return a server's context that has no cipher for a key on P-256, so that none is shared."""
    context = server_context(identity)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    return context


def hang(connection: socket.socket) -> None:
    """Listen, and never say a word."""
    while connection.recv(65536):
        pass


def deserted_port() -> int:
    """Return a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def target(url: str, **options: Any) -> ProbeTarget:
    """Return a target that trusts no public CA, with the patience of a test."""
    given: dict[str, Any] = {
        "transport": Transport.STREAMABLE_HTTP,
        "system_trust": False,
        "timeout_seconds": 20.0,
    } | options
    return ProbeTarget(name="payments", url=url, **given)
