"""HTTP/1.1 over one wire: h11 speaks it, strictly and without I/O; this module carries the bytes.

One request at a time. A response is given as soon as its head is there, and its body comes in by chunks, so that an
event stream can be read while it is open. Heads are bounded here, bodies by who reads them, everything by the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.probes.wire import Wire

_MAX_HEAD = 100 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """A status, headers by lower-case name (the last one, where a name is there twice), and the body as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]

    def header(self, name: str) -> str:
        """Return a header by its lower-case name, or the empty string."""
        return self.headers.get(name, "")

    @property
    def success(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of successes

    @property
    def kind(self) -> str:
        """The media type in lower case, without its parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()


class Connection:
    """HTTP/1.1 with the server at the other end of a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)

    def ask(self, method: str, target: str, headers: Mapping[str, str], content: bytes) -> Response:
        """Send a request and return its response, the body unread.

        Raises:
            WireError: the connection failed.
            h11.LocalProtocolError: a header cannot be sent.
            h11.RemoteProtocolError: the answer is not HTTP.
        """
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        said = [h11.Request(method=method, target=target, headers=fields), h11.Data(data=content), h11.EndOfMessage()]
        self._wire.send(b"".join(self._state.send(event) or b"" for event in said))
        while not isinstance(event := self._next(), h11.Response):
            pass  # nothing but "100 Continue" and its like can come first
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        return Response(event.status_code, found, self._body())

    def _body(self) -> Iterator[bytes]:
        while isinstance(event := self._next(), h11.Data):
            yield bytes(event.data)

    def _next(self) -> object:
        while (event := self._state.next_event()) is h11.NEED_DATA:
            self._state.receive_data(self._wire.receive())
        return event

    def again(self) -> bool:
        """Make ready for another request, and return whether there can be one: the body must have come to its end."""
        if self._state.our_state is not h11.DONE or self._state.their_state is not h11.DONE:
            return False
        self._state.start_next_cycle()
        return True

    @property
    def stale(self) -> bool:
        """Whether the server has closed the connection, or said what nobody asked for."""
        return self._wire.readable

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()
