"""HTTP/1.1 with one upstream: requests go out with the platform's credentials, answers come in by bounded chunks.

No proxy, no environment, no cookies, no redirect, no compression, and no logging of URLs: a query may hold a secret.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

import httpcore

from reconciler.core.observation import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.probes.dialer import Dialer

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

    def __init__(self, dialer: Dialer, address: Address, headers: tuple[tuple[str, str], ...]) -> None:
        self.line = dialer.line
        self.address = address
        self._headers = {name.lower(): value for name, value in headers} | {
            "host": address.authority,
            "user-agent": "mcp-gateway-reconciler",
            "accept-encoding": "identity",
        }
        self._pool = httpcore.ConnectionPool(network_backend=dialer, max_connections=4, retries=0)

    @contextmanager
    def request(
        self, method: str, path: str, headers: dict[str, str], content: bytes | None = None
    ) -> Iterator[httpcore.Response]:
        """Send a request and give its response while its body comes in.

        Raises:
            WireError: the connection failed.
            httpcore.LocalProtocolError: a header cannot be sent.
            httpcore.RemoteProtocolError: the answer is not HTTP.
        """
        fields = self._headers | headers
        if content is not None:
            fields["content-length"] = str(len(content))
        # The dialer secures the connection itself, so httpcore is told of plain HTTP to the same host and port.
        url = httpcore.URL(scheme="http", host=self.address.host, port=self.address.port, target=path)
        with self._pool.stream(method, url, headers=_encoded(fields), content=content) as response:
            yield response

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


def header(response: httpcore.Response, name: str) -> str:
    """Return a header of the response, or the empty string."""
    return headers_of(response).get(name, "")


def headers_of(response: httpcore.Response) -> dict[str, str]:
    """Return the headers by lower-case name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _encoded(fields: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in fields.items()]


def _ascii(host: str) -> str:
    """Return the host as DNS wants it. One that cannot be a name or an address is a ValueError."""
    name = host.encode("idna").decode("ascii")
    if not _HOST.fullmatch(name):
        raise ValueError("not a host name")
    return name
