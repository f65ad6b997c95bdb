"""A thousand upstreams verified, against bare TLS handshakes and one request each to the same servers in the same run.

`python -m benchmarks.upstreams` measures; `make bench` runs it as well. The servers are small MCP servers on ports of
their own, in another process. Floor and verification are processes of their own too, so that memory is told apart;
both have 50 threads, and both begin with every CA bundle in memory and no context made.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.clock import now
from reconciler.core.model import Transport
from reconciler.core.observation import ProbeTarget
from reconciler.demo.pki import Authority, Lifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

UPSTREAMS = 1000
AUTHORITIES = 20
CONCURRENCY = 50
LIMIT_RATIO = 3.0

_TOOLS = [
    {
        "name": f"tool-{number}",
        "description": "What it does, in a sentence or two. " * 4,
        "inputSchema": {"type": "object"},
    }
    for number in range(10)
]
_RESULTS: dict[str, Any] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "bench", "version": "1"},
    },
    "tools/list": {"tools": _TOOLS},
}
_INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "floor", "version": "1"},
        },
    }
).encode()


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one kind: seconds by the wall, seconds of this process's CPU, peak memory."""

    wall: float
    cpu: float
    megabytes: int


# The servers ---------------------------------------------------------------------------------------------------------


class _McpServer(asyncio.Protocol):
    """MCP over HTTP/1.1, one connection: reads requests, answers from `_RESULTS`."""

    def __init__(self) -> None:
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            size = int(self._unread[:end].lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(self._unread) < end + 4 + size:
                return
            body = self._unread[end + 4 : end + 4 + size]
            self._unread = self._unread[end + 4 + size :]
            self._transport.write(_answer(json.loads(body or b"{}")))


def _answer(call: dict[str, Any]) -> bytes:
    if "id" not in call:
        return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
    body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": _RESULTS[call["method"]]}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def _serve(directory: Path, count: int) -> None:
    """Listen on `count` ports, print them, and serve until standard input ends."""
    contexts = [_server_context(directory / f"server-{number}.pem") for number in range(AUTHORITIES)]
    loop = asyncio.get_running_loop()
    ports = []
    for number in range(count):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        await loop.create_server(_McpServer, sock=listener, ssl=contexts[number % AUTHORITIES], backlog=256)
        ports.append(listener.getsockname()[1])
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def _server_context(file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _write_pki(directory: Path) -> None:
    valid = Lifetime.around(now())
    for number in range(AUTHORITIES):
        root = Authority.root(f"Benchmark Root CA {number}", valid)
        server = root.issue_authority(f"Benchmark Issuing CA {number}").issue_server(["localhost"])
        (directory / f"root-{number}.pem").write_text(root.pem)
        (directory / f"server-{number}.pem").write_text(f"{server.key_pem}\n{server.certificate_pem}\n")


# The two kinds of round ----------------------------------------------------------------------------------------------


def _floor(ports: Sequence[int], bundles: Sequence[str]) -> None:
    """Shake hands with each server and send one request, with one context for each bundle."""
    contexts = []
    for bundle in bundles:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=bundle)
        contexts.append(context)

    def ask(number: int) -> None:
        head = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        with socket.create_connection(("127.0.0.1", ports[number])) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contexts[number % AUTHORITIES].wrap_socket(plain, server_hostname="localhost") as connection:
                connection.sendall(head % len(_INITIALIZE) + _INITIALIZE)
                if b" 200 " not in connection.recv(65536):
                    raise SystemExit("a server of the benchmark did not answer")

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(ask, range(len(ports))))


def _verification(ports: Sequence[int], bundles: Sequence[str], concurrency: int = CONCURRENCY) -> None:
    """Verify each server as `reconciler verify` does."""
    from reconciler.probes import probe_all

    targets = [
        ProbeTarget(
            name=f"gateway-{number}",
            url=f"https://localhost:{port}/mcp",
            transport=Transport.STREAMABLE_HTTP,
            ca_certificate=bundles[number % AUTHORITIES],
            timeout_seconds=60,
        )
        for number, port in enumerate(ports)
    ]
    failed = [each for each in probe_all(targets, now(), concurrency) if not each.ok]
    if failed:
        raise SystemExit(f"{len(failed)} upstreams failed, the first with {failed[0]}")


_KINDS: dict[str, Callable[[Sequence[int], Sequence[str]], None]] = {"floor": _floor, "verify": _verification}


def _round(kind: str, directory: Path, ports: Sequence[int]) -> None:
    """Run one round and print its figures."""
    bundles = [(directory / f"root-{number}.pem").read_text().strip() for number in range(AUTHORITIES)]
    if kind == "verify":
        import reconciler.probes.upstream  # noqa: F401 - what starting costs is measured elsewhere
    start, cpu = time.perf_counter(), time.process_time()
    _KINDS[kind](ports, bundles)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps([wall, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))


# The measurement -----------------------------------------------------------------------------------------------------


@contextmanager
def serving(count: int) -> Iterator[tuple[str, str]]:
    """Run the servers; yield the directory of their certificates, and their ports as JSON."""
    with tempfile.TemporaryDirectory() as name:
        _write_pki(Path(name))
        serving = [sys.executable, "-m", __spec__.name, "serve", name, str(count)]
        with subprocess.Popen(serving, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as servers:
            if servers.stdout is None or servers.stdin is None:
                raise SystemExit("the servers of the benchmark did not start")
            yield name, servers.stdout.readline()
            servers.stdin.close()


def measure(rounds: int, count: int = UPSTREAMS) -> dict[str, list[Round]]:
    """Return the rounds of both kinds, taken in turns."""
    found: dict[str, list[Round]] = {kind: [] for kind in _KINDS}
    with serving(count) as (directory, ports):
        for _ in range(rounds):
            for kind, done in found.items():
                command = [sys.executable, "-m", __spec__.name, kind, directory]
                ran = subprocess.run(command, input=ports, check=True, capture_output=True, text=True)
                done.append(Round(*json.loads(ran.stdout)))
    return found


def show(found: dict[str, list[Round]], count: int = UPSTREAMS) -> None:
    """Print the medians, and the ratio of each round's pair."""
    print(f"\n{count:,} upstreams, {CONCURRENCY} at a time, {AUTHORITIES} CA bundles, {os.cpu_count()} cores")
    names = {"floor": "handshake and one request (floor)", "verify": "verified"}
    for kind, done in found.items():
        wall, cpu = (statistics.median(getattr(each, part) for each in done) for part in ("wall", "cpu"))
        peak = max(each.megabytes for each in done)
        print(f"  {names[kind]:34} {wall:8.3f} s  {cpu:8.3f} s CPU  {peak:5d} MB")
    for part in ("wall", "cpu"):
        pairs = zip(found["verify"], found["floor"], strict=True)
        ratios = sorted(getattr(verify, part) / getattr(floor, part) for verify, floor in pairs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"  verified / floor, {part:4}: {statistics.median(ratios):.2f} ({spread}); at most {LIMIT_RATIO}")


def main(arguments: Sequence[str]) -> None:
    """Measure; or, in a process of its own, serve or run one round."""
    match arguments:
        case ["serve", directory, count]:
            asyncio.run(_serve(Path(directory), int(count)))
        case [kind, directory]:
            _round(kind, Path(directory), json.load(sys.stdin))
        case _:
            show(measure(5))


if __name__ == "__main__":
    main(sys.argv[1:])
