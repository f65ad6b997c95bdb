"""HashiCorp Vault for tests: a local server of the calls that signing needs, and the real one where it is installed.

The local one answers as Vault 1.17 does: token and namespace by header, errors as `{"errors": […]}`, the public halves
of a transit key by version, and signatures as `vault:vN:BASE64`.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN: Final = "hvs.a-token"  # noqa: S105 - of a server that lives as long as a test
BINARIES: Final = tuple(path for name in ("vault", "bao") if (path := shutil.which(name)))


@dataclass
class FakeVault:
    """What the server holds, and what is wrong with it. `answers` replaces what a path would answer."""

    keys: dict[str, list[Ed25519PrivateKey]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    namespace: str = ""
    sealed: bool = False
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def rotate(self, name: str) -> None:
        """Add a version to a key, or make it."""
        self.keys.setdefault(name, []).append(Ed25519PrivateKey.generate())

    def answer(self, method: str, path: str, headers: Any, body: dict[str, Any]) -> tuple[int, bytes]:
        self.asked.append(f"{method} {path}")
        if path in self.answers:
            return self.answers[path]
        if self.sealed:
            return _errors(503, "Vault is sealed")
        if headers.get("X-Vault-Token") != TOKEN or headers.get("X-Vault-Namespace", "") != self.namespace:
            return _errors(403, "permission denied")
        mount, _, rest = path.removeprefix("/v1/").partition("/")
        call, _, name = rest.partition("/")
        if mount != "transit":
            return _errors(404, f'no handler for route "{path}". route entry not found.')
        if name not in self.keys:
            return _errors(400, "signing key not found") if call == "sign" else _errors(404)
        return self._read(name) if (method, call) == ("GET", "keys") else self._sign(name, body)

    def _read(self, name: str) -> tuple[int, bytes]:
        versions = {
            str(number): {
                "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
                "name": "ed25519",
            }
            for number, key in enumerate(self.keys[name], start=1)
        }
        kind = self.kinds.get(name, "ed25519")
        return _data(name=name, type=kind, latest_version=len(versions), keys=versions, derived=False)

    def _sign(self, name: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if "batch_input" in body:
            results = [self._signed(name, each) for each in body["batch_input"]]
            return _data(batch_results=[{**each, "reference": ""} for each in results])
        return _data(**self._signed(name, body))

    def _signed(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        version = body.get("key_version") or len(self.keys[name])
        signature = self.keys[name][version - 1].sign(base64.b64decode(body["input"]))
        return {"signature": f"vault:v{version}:{base64.b64encode(signature).decode()}", "key_version": version}


def _errors(status: int, *messages: str) -> tuple[int, bytes]:
    return status, json.dumps({"errors": messages}).encode()


def _data(**data: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"request_id": "1", "lease_id": "", "renewable": False, "data": data}).encode()


@contextmanager
def fake_vault() -> Iterator[FakeVault]:
    """Run the local server, with one key called `gateways`."""
    vault = FakeVault()
    vault.rotate("gateways")

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, content = vault.answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _do  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    vault.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield vault
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def real_vault(binary: str, directory: Path) -> Iterator[str]:
    """Run a Vault (or an OpenBao) in memory, with one key called `gateways`, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [binary, "server", "-dev", f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        command,
        cwd=directory,
        env={"HOME": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if "server started" in line:
                    break
            _post(f"{url}/v1/sys/mounts/transit", {"type": "transit"})
            _post(f"{url}/v1/transit/keys/gateways", {"type": "ed25519"})
            yield url
        finally:
            server.terminate()


def _post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"X-Vault-Token": TOKEN})  # noqa: S310 - http, above
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310 - as above
        pass
