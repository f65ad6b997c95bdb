"""Real MCP servers of the official SDK on this machine, over TLS or plain HTTP, each in a thread of its own.

The certificate of a running server can be switched without closing its port: that is how a rotation looks from outside.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Self

from reconciler.core.model import Transport
from reconciler.errors import ReconcilerError
from reconciler.probes.tls import load_identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType, TracebackType

    from reconciler.demo.pki import Identity

_PATHS = {Transport.STREAMABLE_HTTP: "/mcp", Transport.SSE: "/sse"}
_PATIENCE_SECONDS = 30


class Upstream:
    """One MCP server on localhost. Use it as a context manager, or call `start` and `stop`.

    `tools` maps names to descriptions, and may be changed while the server runs: the next client sees the change.
    Without an identity it speaks plain HTTP, and without a `port` it takes a free one. `client_authority` is the PEM of
    the CA whose clients alone may connect.
    """

    def __init__(
        self,
        name: str,
        identity: Identity | None,
        tools: Mapping[str, str],
        *,
        transport: Transport = Transport.STREAMABLE_HTTP,
        json_response: bool = False,
        resources: Sequence[str] = (),
        prompts: Sequence[str] = (),
        page_size: int = 100,
        client_authority: str = "",
        port: int = 0,
    ) -> None:
        """Raise a ReconcilerError if the SDK is not installed, or the port is taken."""
        sdk = _sdk()
        self.name = name
        self.tools = dict(tools)
        self._scheme = "https" if identity else "http"
        self._path = _PATHS[transport]
        self._context = _server_context(identity, client_authority) if identity else None
        offer = sdk.Offer(name, self.tools, resources, prompts, page_size)
        self._application = sdk.application(offer, transport, json_response=json_response)
        self._socket = _listener(port)
        self.port: int = self._socket.getsockname()[1]
        self._running: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = Thread(target=self._run, name=f"upstream-{name}", daemon=True)

    @property
    def url(self) -> str:
        """The URL to register: `https://localhost:PORT/mcp`, or `/sse` for the older transport."""
        return f"{self._scheme}://localhost:{self.port}{self._path}"

    def start(self) -> Self:
        """Start to serve, and return once connections are accepted.

        Raises:
            ReconcilerError: the server did not come up.
        """
        self._thread.start()
        try:
            self._running.result(_PATIENCE_SECONDS)
        except Exception as error:
            raise ReconcilerError(f"the demo server {self.name} did not start: {error}") from error
        return self

    def switch_certificate(self, identity: Identity) -> None:
        """Present another certificate from the next connection on; the port stays open."""
        loop, _ = self._running.result(0)
        asyncio.run_coroutine_threadsafe(self._switch(identity), loop).result(_PATIENCE_SECONDS)

    def stop(self) -> None:
        """Close the port and every connection, and return when the thread is gone. Twice is once."""
        if self._thread.is_alive():
            loop, stopped = self._running.result(_PATIENCE_SECONDS)
            loop.call_soon_threadsafe(stopped.set)
            self._thread.join(_PATIENCE_SECONDS)
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _switch(self, identity: Identity) -> None:
        # In the server's own thread: OpenSSL forbids to change a context while another thread shakes hands with it.
        if self._context is None:
            raise ReconcilerError(f"the demo server {self.name} speaks plain HTTP, and has no certificate to switch")
        load_identity(self._context, identity.certificate_pem, identity.key_pem)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - uvicorn ends with SystemExit; `start` is waiting to hear of it
            if not self._running.done():
                self._running.set_exception(error)

    async def _serve(self) -> None:
        import uvicorn

        sdk = _sdk()
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        context = self._context
        config = uvicorn.Config(
            self._application,
            log_config=None,
            ws="none",
            http="h11",
            lifespan="on",
            timeout_graceful_shutdown=1,
            ssl_context_factory=(lambda _config, _default: context) if context else None,
        )
        server = sdk.HttpServer(config, lambda: self._running.set_result((loop, stopped)), stopped)
        await server.serve(sockets=[self._socket])


def _listener(port: int) -> socket.socket:
    # With the protocol named, unlike `socket.create_server`: only then does asyncio turn TCP_NODELAY on, and without it
    # every answer waits 40 ms for a delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise ReconcilerError(f"port {port} is not free: {error.strerror}", fix="choose another port") from error
    listener.listen(128)
    return listener


def _server_context(identity: Identity, client_authority: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(context, identity.certificate_pem, identity.key_pem)
    if client_authority:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_authority)
    return context


def _sdk() -> ModuleType:
    try:
        from reconciler.demo import mcp_app
    except ModuleNotFoundError as missing:
        raise ReconcilerError(
            f"The demonstration runs MCP servers of the official SDK, and {missing.name} is not installed.",
            fix="pip install 'mcp-gateway-reconciler[demo]'",
        ) from missing
    return mcp_app
