"""A way through an HTTP proxy: CONNECT, and what the proxy says to it.

Source: RFC 9110 section 9.3.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    import socket

    from reconciler.core.routes import Proxy
    from reconciler.probes.wire import Deadline

_MAX_HEAD = 64 * 1024


class ProxyRefusalError(OSError):
    """The proxy opened no tunnel; `code` says how it refused: `HTTP_407`, or `NOT_HTTP`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def open_tunnel(connection: socket.socket, place: str, proxy: Proxy, deadline: Deadline) -> None:
    """Have the proxy at the other end of `connection` connect it to `place`, host and port.

    Raises:
        OSError: it did not; a `ProxyRefusalError` if it said so.
    """
    state = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
    headers = [("host", place), *([("proxy-authorization", proxy.authorization)] if proxy.authorization else [])]
    request = state.send(h11.Request(method="CONNECT", target=place, headers=headers)) or b""
    state.send(h11.EndOfMessage())
    connection.settimeout(deadline.remaining())
    connection.sendall(request)
    try:
        status = _status(state, connection, deadline)
    except h11.RemoteProtocolError:
        raise ProxyRefusalError("NOT_HTTP") from None
    if not 200 <= status < 300:  # noqa: PLR2004 - success
        raise ProxyRefusalError(f"HTTP_{status}")


def _status(state: h11.Connection, connection: socket.socket, deadline: Deadline) -> int:
    while not isinstance(event := state.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            connection.settimeout(deadline.remaining())
            state.receive_data(connection.recv(4096))
    return event.status_code
