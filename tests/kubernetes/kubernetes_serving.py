"""The fake API server on a port of this machine, over TLS."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from kubernetes_cluster import Cluster
from kubernetes_fake import Api, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.demo.pki import Authority


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one write
    api: ClassVar[Api]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = _request(self.command, self.path, body, self.headers.get("Content-Type", ""), self._user())
        if request is None:
            self._send(404 if self._user() else 401, {}, b'{"kind": "Status", "message": "no"}')
            return
        for fault in self.api.faults:
            if (answer := fault(request)) is not None:
                self._send(*answer)
                return
        watching = request.params.get("watch") == "true"
        refusal = self.api.refusal(request) if watching else None
        if watching and refusal is None:
            self._stream(request)
            return
        code, content = refusal or self.api.answer(request)
        self._send(code, {}, json.dumps(content).encode())

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 - the names that the server looks for

    def _user(self) -> str:
        return self.api.users.get(self.headers.get("Authorization", "").removeprefix("Bearer "), "")

    def _send(self, code: int, headers: Any, content: bytes) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, request: Request) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()  # whoever watches knows that he does
        self.close_connection = True
        try:
            for line in self.api.watch(request):
                self.wfile.write(line)
                self.wfile.flush()
        except OSError:
            return  # whoever watched has seen enough

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _request(method: str, target: str, body: bytes, media: str, user: str) -> Request | None:
    parts = urlsplit(target)
    words = parts.path.strip("/").split("/")
    words = words[2:] if words[0] == "api" else words[3:]
    namespace = ""
    if len(words) > 2 and words[0] == "namespaces":
        namespace, words = words[1], words[2:]
    if not user or not words:
        return None
    plural, name, sub = [*words, "", ""][:3]
    content = json.loads(body) if body else None
    return Request(method, plural, namespace, name, sub, dict(parse_qsl(parts.query)), content, media, user)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that hangs up is no news."""


@contextmanager
def fake_cluster(root: Authority) -> Iterator[tuple[Cluster, Api]]:
    """Serve a new and empty API for as long as the context lasts."""
    api = Api()
    handler = type("Handler", (_Handler,), {"api": api})
    with _Server(("127.0.0.1", 0), handler) as server:
        server.socket = _context(root).wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield (
                Cluster("a fake API server", f"https://127.0.0.1:{server.server_port}", root.pem, api.admin, api.own),
                api,
            )
        finally:
            server.shutdown()
            thread.join()


def _context(root: Authority) -> ssl.SSLContext:
    identity = root.issue_server(["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = Path(directory) / "tls.crt", Path(directory) / "tls.key"
        certificate.write_text(identity.certificate_pem)
        key.write_text(identity.key_pem)
        context.load_cert_chain(certificate, key)
    return context
