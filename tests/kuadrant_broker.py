"""A stand-in for Kuadrant's broker: it reads its file, connects to upstreams and tells its status, by Kuadrant's rules.

What counts here is what the broker does with the file, from its source (viper 1.21 with fsnotify and mapstructure, the
loader, `MCPManager`, the status handler):

- It watches the directory. A write to the file's name, or a rename onto it, is a reload; its removal ends the watching.
- A file that cannot be parsed leaves the configuration as it was; at the start it is a panic. An empty file is valid.
- Keys count in any case, unknown ones not at all; `state` but `Enabled` or nothing switches a server off.
- A server whose configuration changed is connected to anew, others stay as they are. Until then it has no name.
- A gateway bundle without a certificate fails the whole reload; a bad `caCert` fails that server.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import yaml

from reconciler.clock import now

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_TICK_SECONDS = 60
_IN_MODIFY, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE, _IN_MOVED_FROM = 0x2, 0x80, 0x100, 0x200, 0x40
_WATCHED = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_MOVED_FROM
_LIBC = ctypes.CDLL(None, use_errno=True)


class Panic(Exception):  # noqa: N818 - what Go calls it
    """The broker does not start."""


def load(data: bytes) -> dict[str, Any]:
    """Return a file as the broker's loader understands it, or raise what makes it keep what it had."""
    document = yaml.load(data, yaml.CSafeLoader)
    top = _any_case(document or {})
    bundle = str(top.get("gatewaycacertpem") or "")
    if bundle:
        _authorities(bundle)
    servers = [_server(_any_case(each)) for each in top.get("servers") or []]
    virtual = [str(_any_case(each)["name"]) for each in top.get("virtualservers") or []]
    return {"servers": servers, "virtual": virtual, "bundle": bundle}


def _any_case(mapping: dict[Any, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in mapping.items()}


def _server(found: dict[str, Any]) -> dict[str, Any]:
    texts = {
        name: str(found.get(name) or "")
        for name in ("name", "url", "hostname", "prefix", "credential", "cacert", "state", "hint")
    }
    lists = {name: [str(each) for each in found.get(name) or []] for name in ("category", "tags")}
    return {**texts, **lists, "userspecificlist": bool(found.get("userspecificlist"))}


def _authorities(text: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    return context


@dataclass
class Manager:
    """What looks after one server: the broker's MCPManager."""

    server: dict[str, Any]
    bundle: str
    validated: datetime | None = None
    message: str = ""
    tools: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> str:
        return f"{self.server['name']}:{self.server['prefix']}:{self.server['hostname']}"

    def run(self) -> None:
        backoff = 1
        while True:
            problem = self._problem()
            if self.stopped.is_set():
                return
            self.message = f"failed to connect to upstream mcp {self.id} removing tools : {problem}" if problem else ""
            self.tools = 0 if problem else 3
            self.validated = now()
            if self.stopped.wait(backoff if problem else _TICK_SECONDS):
                return
            backoff = min(backoff * 2, _TICK_SECONDS) if problem else 1

    def _problem(self) -> str:
        """Connect as Go does, and return what Go says of a failure."""
        parts = urlsplit(self.server["url"])
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            context = self._context()
        except ssl.SSLError:
            return f"failed to parse CA certificate PEM for upstream {self.server['name']}"
        try:
            with socket.create_connection((host, port), 5) as connection:
                if parts.scheme == "https":
                    context.wrap_socket(connection, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            return f'Post "{self.server["url"]}": tls: failed to verify certificate: x509: {_GO.get(error.verify_code)}'
        except ssl.SSLError:
            return "tls: first record does not look like a TLS handshake"
        except OSError:
            return f"dial tcp {host}:{port}: connect: connection refused"
        return ""

    def _context(self) -> ssl.SSLContext:
        if not (self.bundle or self.server["cacert"]):
            return ssl.create_default_context()
        context = _authorities(self.server["cacert"] or self.bundle)
        context.load_default_certs()
        if self.bundle:
            context.load_verify_locations(cadata=self.bundle)
        return context

    def status(self) -> dict[str, Any]:
        validated = self.validated
        return {
            "id": self.id if validated else "",
            "name": self.server["name"] if validated else "",
            "lastValidated": validated.isoformat().replace("+00:00", "001Z") if validated else "0001-01-01T00:00:00Z",
            "message": self.message,
            "ready": bool(validated) and not self.message,
            "totalTools": self.tools,
            "totalPrompts": 0,
            "invalidTools": 0,
            "invalidPrompts": 0,
        }


_GO = {
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    62: "certificate is valid for other.example, not localhost",
}


class KuadrantBroker:
    """A broker that runs as long as its context. `config` is what it loaded last, and `reloads` counts how often."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._managers: dict[str, Manager] = {}
        self._changed = threading.Condition()
        self._wake, self._asleep = os.pipe()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.config: dict[str, Any] = {}
        self.reloads = 0
        self.failures = 0
        self.is_watching = True
        self.skew = timedelta()

    def __enter__(self) -> Self:
        watch = _watch(self._path.parent)
        try:
            self._take(load(self._path.read_bytes()))
        except Exception as error:
            raise Panic(str(error)) from error
        self._start(self._http.serve_forever)
        self._start(self._look, watch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._asleep, b"x")
        self._http.shutdown()
        self._http.server_close()
        for manager in self._managers.values():
            manager.stopped.set()
        for thread in self._threads:
            thread.join()
        os.close(self._wake)
        os.close(self._asleep)

    def wait_until_reloaded(self, times: int) -> None:
        """Return once so many files were loaded, the one at the start included."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.reloads >= times, 10), f"{self.reloads} reloads"

    def status(self) -> dict[str, Any]:
        servers = [manager.status() for manager in [*self._managers.values()]]
        for server in servers:
            if server["lastValidated"][:4] != "0001":
                moment = datetime.fromisoformat(server["lastValidated"]) + self.skew
                server["lastValidated"] = moment.isoformat()
        return {"servers": servers, "totalServers": len(servers), "timestamp": (now() + self.skew).isoformat()}

    def _start(self, function: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments)
        thread.start()
        self._threads.append(thread)

    def _look(self, watch: int) -> None:
        """Read events until told to stop, or until the file is removed: viper starts no other watcher then."""
        while True:
            ready, _, _ = select.select([watch, self._wake], [], [])
            if self._wake in ready:
                break
            kinds = [mask for mask, name in _events(os.read(watch, 65536)) if name == self._path.name]
            if any(mask & (_IN_MODIFY | _IN_MOVED_TO | _IN_CREATE) for mask in kinds):
                self._reload()
            if any(mask & (_IN_DELETE | _IN_MOVED_FROM) for mask in kinds):
                self.is_watching = False
                break
        os.close(watch)

    def _reload(self) -> None:
        try:
            config = load(self._path.read_bytes())
        except Exception:  # noqa: BLE001 - logged there, and nothing else comes of it
            self.failures += 1
            return
        self._take(config)

    def _take(self, config: dict[str, Any]) -> None:
        wanted = {each["name"]: each for each in config["servers"] if each["state"] in ("", "Enabled")}
        for name, manager in [*self._managers.items()]:
            if wanted.get(name) != manager.server or config["bundle"] != manager.bundle:
                manager.stopped.set()
                del self._managers[name]
        for name, server in wanted.items():
            if name not in self._managers:
                manager = self._managers[name] = Manager(server, config["bundle"])
                self._start(manager.run)
        with self._changed:
            self.config = config
            self.reloads += 1
            self._changed.notify_all()


def _watch(directory: Path) -> int:
    watch: int = _LIBC.inotify_init1(os.O_CLOEXEC)
    assert watch >= 0
    assert _LIBC.inotify_add_watch(watch, os.fsencode(directory), _WATCHED) >= 0
    return watch


def _events(data: bytes) -> list[tuple[int, str]]:
    found = []
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        found.append((mask, os.fsdecode(data[16 : 16 + length].rstrip(b"\0"))))
        data = data[16 + length :]
    return found


def _handler(broker: KuadrantBroker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/status"
            body = json.dumps(broker.status() if known else {"error": "not found"}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler
