"""The way to a server: straight, past the DNS with `--resolve`, or through a proxy that the environment names.

The environment is an argument. Precedence: an address given with `--resolve` is called directly, past any proxy; then
the proxy of the scheme, unless NO_PROXY excepts the host; then straight. This machine itself is never asked through a
proxy, for a proxy's localhost is another one.

Source: curl's `--resolve`; the variables as curl, Go and Python read them (lower case first).
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLES: Final = {"https": ("https_proxy", "HTTPS_PROXY"), "http": ("http_proxy", "HTTP_PROXY")}
_FOR_ALL: Final = ("all_proxy", "ALL_PROXY")
_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `variable` is where it is named; `authorization` is the header it wants, or empty."""

    host: str
    port: int
    variable: str
    authorization: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """Host and port, as they stand in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a server: through `proxy`, or to `address` in place of what the DNS says, or straight."""

    proxy: Proxy | None = None
    address: str = ""

    @property
    def shown(self) -> str:
        """The way in words for a report, empty when it is straight."""
        if self.proxy:
            return f"through the proxy {self.proxy.place} ({self.proxy.variable})"
        return f"at {self.address} (--resolve)" if self.address else ""


STRAIGHT: Final = Route()

Resolved = tuple[tuple[str, int, str], ...]
"""Host, port and the address to call in place of what the DNS says."""


def parse_resolve(text: str) -> tuple[str, int, str]:
    """Return the parts of `HOST:PORT:ADDRESS`; an IPv6 address may stand in brackets.

    Raises:
        ValueError: it is not that.
    """
    host, _, rest = text.partition(":")
    port, _, address = rest.partition(":")
    bare = address.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) <= _MAX_PORT or not _address(bare):
        raise ValueError("write HOST:PORT:ADDRESS, such as payments.internal:8443:10.0.0.7")
    return host.lower(), int(port), bare


def route_to(url: str, environ: Mapping[str, str], resolved: Resolved = ()) -> Route:
    """Return the way to the server of `url`. A URL that names no server has the straight one: nobody will take it.

    Raises:
        InputError: the environment names a proxy that cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return STRAIGHT
    for known, at, address in resolved:
        if (known, at) == (host, port):
            return Route(address=address)
    if not host or _is_here(host) or _excepted(host, port, environ):
        return STRAIGHT
    for variable in (*_VARIABLES[parts.scheme], *_FOR_ALL):
        if text := environ.get(variable, "").strip():
            return Route(proxy=_proxy(text, variable))
    return STRAIGHT


def _proxy(text: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname or "", parts.port or _PORTS["http"]
    except ValueError:
        host, port = "", 0
    if not host or parts.scheme != "http":
        raise InputError(
            f"{variable} names no HTTP proxy that can be used here",
            fix=f"write {variable}=http://HOST:PORT, or take this host out of it with NO_PROXY",
        )
    return Proxy(host, port, variable, _authorization(parts.username, parts.password))


def _authorization(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return f"Basic {b64encode(pair.encode('utf-8', 'surrogateescape')).decode()}"


def _excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Return whether NO_PROXY holds the host: as itself, a domain above it, an address or a network of addresses."""
    listed = environ.get("no_proxy", "") or environ.get("NO_PROXY", "")
    return any(_covers(entry.strip().lower(), host, port) for entry in listed.split(",") if entry.strip())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    if _address(host):
        return _in_network(host, entry.removeprefix("[").removesuffix("]"))
    name, _, at = entry.partition(":")
    if at and at != str(port):
        return False
    domain = name.removeprefix("*").removeprefix(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _in_network(host: str, entry: str) -> bool:
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    return host == "localhost" or (_address(host) and ip_address(host).is_loopback)


def _address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
