"""Requests to one server: they go out with the platform's credentials, over as few connections as they can.

No environment, no cookies, no redirect, no compression, and no logging of URLs: a query may hold a secret.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from reconciler.core.observation import place_of
from reconciler.probes.http1 import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.probes.dialer import Dialer
    from reconciler.probes.http1 import Response

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_KEPT_IN_TARGETS = "/%:@!$&'()*+,;=~?[]"


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart. `path` includes the query, and everything in it is ASCII."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str, query: tuple[tuple[str, str], ...] = ()) -> Address:
        """Return the address of `url`, with `query` appended.

        Raises:
            ValueError: this is no HTTP URL with a host.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("not an HTTP URL")
        queries = [each for each in (parts.query, urlencode(query)) if each]
        path = "?".join([parts.path or "/", *(["&".join(queries)] if queries else [])])
        return cls(
            parts.scheme, _ascii(parts.hostname), parts.port or _PORTS[parts.scheme], quote(path, _KEPT_IN_TARGETS)
        )

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        place = place_of(self.host, self.port)
        return place.rpartition(":")[0] if self.port == _PORTS[self.scheme] else place


class Channel:
    """Requests to one origin, over the connections of a dialer."""

    def __init__(self, dialer: Dialer, address: Address, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.line = dialer.line
        self.address = address
        self._dialer = dialer
        self._idle: list[Connection] = []
        self._headers = {name.lower(): value for name, value in headers} | {
            "host": address.authority,
            "user-agent": "mcp-gateway-reconciler",
            "accept-encoding": "identity",
        }
        self._before_path = ""
        if (proxy := dialer.forwarding_proxy) is not None:
            self._before_path = f"http://{address.authority}"
            self._headers |= {"proxy-authorization": proxy.authorization} if proxy.authorization else {}

    @contextmanager
    def request(self, method: str, path: str, headers: dict[str, str], content: bytes = b"") -> Iterator[Response]:
        """Send a request and give its response while its body comes in.

        Raises:
            WireError: the connection failed.
            h11.LocalProtocolError: a header cannot be sent.
            h11.RemoteProtocolError: the answer is not HTTP.
        """
        fields = self._headers | headers
        if content:
            fields["content-length"] = str(len(content))
        connection = self._connection()
        try:
            yield connection.ask(method, self._before_path + path, fields, content)
        finally:
            if connection.again():
                self._idle.append(connection)
            else:
                connection.close()

    def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale:
                return connection
            connection.close()
        return Connection(self._dialer.dial())

    def close(self) -> None:
        """Close every connection that nobody is using."""
        for connection in self._idle:
            connection.close()


def _ascii(host: str) -> str:
    """Return the host as DNS wants it. One that cannot be a name or an address is a ValueError."""
    name = host.encode("idna").decode("ascii")
    if not _HOST.fullmatch(name):
        raise ValueError("not a host name")
    return name
