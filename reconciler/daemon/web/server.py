"""uvicorn in a thread of ours: bounded in connections and in what a peer may send before it is known what it wants."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from reconciler.daemon.web.app import make_app
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.daemon.web.app import Door, View

_CONNECTIONS = 64
_HEADER_BYTES = 16 * 1024
_END_SECONDS = 3


@contextlib.contextmanager
def serving(view: View, door: Door, host: str, port: int) -> Iterator[int]:
    """Serve for as long as the context lasts; yield the port, which may have been given as 0 for any.

    Raises:
        ReconcilerError: the address cannot be bound.
    """
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(view, door),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=_HEADER_BYTES,
            timeout_graceful_shutdown=_END_SECONDS,
            proxy_headers=False,
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="http", daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(2 * _END_SECONDS)
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, bound here so that a port that is taken is an error of the command."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(_CONNECTIONS)
            undo.pop_all()
            return listener
    except OSError as error:
        raise ReconcilerError(
            f"{host}:{port} cannot be listened on: {error.strerror}", fix="choose another address with --listen"
        ) from None
