"""One line to an upstream: names resolved, TCP connected, bytes sent and counted, and errors with their facts.

Everything on it is bounded by one deadline for the whole probe and one budget of bytes. What goes wrong is raised as a
`WireError` with the facts of the attempt; it does not leave this package.
"""

from __future__ import annotations

import errno
import socket
import ssl
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from select import POLLIN, poll
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

import h11

from reconciler.core.observation import FailedAttempt, is_address, place_of
from reconciler.errors import ReconcilerError
from reconciler.probes.tunnel import ProxyRefusalError, open_tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from reconciler.core.observation import Phase, ProbeTarget

    _Addresses = Sequence[tuple[Any, ...]]
    LookUp = Callable[..., _Addresses]

MAX_BYTES = 16 * 1024 * 1024
CLOSED = "UNEXPECTED_EOF_WHILE_READING"

_MAX_ADDRESSES = 8
_CHUNK = 64 * 1024
_HTTP = b"HTTP/"
_RESOLVER_ERRORS = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}


class WireError(ReconcilerError):
    """A connection failed; `attempt` holds the facts."""

    def __init__(self, attempt: FailedAttempt) -> None:
        super().__init__(attempt.code)
        self.attempt = attempt


class Deadline:
    """The moment a probe must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds left, more than none.

        Raises:
            TimeoutError: none are left.
        """
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError("the time of the probe is up")
        return left

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Allow no more than `seconds` for what happens inside."""
        end, self._end = self._end, min(self._end, monotonic() + seconds)
        try:
            yield
        finally:
            self._end = end


class Line:
    """What all connections of one probe have in common: where to, how long, how much, and what broke."""

    def __init__(
        self, target: ProbeTarget, host: str, port: int, *, secure: bool = True, look_up: LookUp = socket.getaddrinfo
    ) -> None:
        """`look_up` resolves names, as `socket.getaddrinfo` does."""
        self.host = host
        self.port = port
        self.secure = secure
        self.deadline = Deadline(target.timeout_seconds)
        self.received = 0
        self.broken: FailedAttempt | None = None
        self._target = target
        self._look_up = look_up

    def connect(self) -> socket.socket:
        """Return a new TCP connection to the upstream, or through the proxy on the way to it.

        Raises:
            WireError: there is none to be had.
        """
        proxy = self._target.route.proxy
        if proxy is None:
            with self.during("resolve"):
                addresses = _resolve(self._target.route.address or self.host, self.port, self.deadline, self._look_up)
            with self.during("connect"):
                return _connect_to_one(addresses, self.deadline)
        with self.during("proxy"), ExitStack() as on_failure:
            addresses = _resolve(proxy.host, proxy.port, self.deadline, self._look_up)
            connection = on_failure.enter_context(_connect_to_one(addresses, self.deadline))
            if self.secure:
                open_tunnel(connection, place_of(self.host, self.port), proxy, self.deadline)
            on_failure.pop_all()
            return connection

    @contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """Turn the system's errors into a `WireError` that knows the phase and how long it took."""
        start = monotonic()
        try:
            yield
        except OSError as error:
            failed = self.attempt(phase, error, monotonic() - start)
            if phase == "request":
                self.broken = failed
            raise WireError(failed) from error

    def attempt(self, phase: Phase, error: OSError, seconds: float, chain: tuple[bytes, ...] = ()) -> FailedAttempt:
        """Return the facts of a failure."""
        return FailedAttempt(
            host=self.host,
            port=self.port,
            phase=phase,
            code=_code(error),
            detail=str(error),
            seconds=seconds,
            chain=chain,
            bundle=self._target.ca_certificate,
            system_trust=self._target.system_trust,
            secure=self.secure,
            client_certificate=bool(self._target.client_certificate),
            route=self._target.route,
        )

    def count(self, size: int) -> None:
        """Take `size` bytes from the probe's budget.

        Raises:
            OSError: it is used up.
        """
        self.received += size
        if self.received > MAX_BYTES:
            raise OSError(errno.EMSGSIZE, "more bytes than a probe reads")


class Wire:
    """One open connection: bytes out, bytes in, both within the bounds of the line."""

    def __init__(self, line: Line, connection: socket.socket) -> None:
        self._line = line
        self._socket = connection
        self._asked = False

    def send(self, data: bytes) -> None:
        """Send a request.

        A server may answer, or say why it will not, before it has read everything: what can be read tells more than a
        failure to write, which is therefore left to `receive`.
        """
        self._asked = True
        with suppress(OSError):
            self._socket.settimeout(self._line.deadline.remaining())
            self._socket.sendall(data)

    def receive(self) -> bytes:
        """Return what has come, or nothing at the end of an answer.

        Raises:
            WireError: the connection failed, ended before any answer, or the deadline or the budget is used up.
            h11.RemoteProtocolError: what has come is not HTTP.
        """
        with self._line.during("request"):
            self._socket.settimeout(self._line.deadline.remaining())
            received = self._socket.recv(_CHUNK)
            if not received and self._asked:
                raise ssl.SSLEOFError("closed without an answer")
            self._line.count(len(received))
        if self._asked and received[:5] != _HTTP[: len(received)]:
            # Said here, because an HTTP parser would wait for more lines of what is not HTTP.
            raise h11.RemoteProtocolError(f"it begins with {received[:40].decode('latin-1')}")
        self._asked = False
        return received

    @property
    def readable(self) -> bool:
        """Whether there is something to read, which on an idle connection means that the server has closed it."""
        waiting = poll()
        waiting.register(self._socket, POLLIN)
        return bool(waiting.poll(0))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _resolve(host: str, port: int, deadline: Deadline, look_up: LookUp) -> _Addresses:
    """Look the name up. The system's resolver cannot be interrupted, so a thread waits for it in our place."""
    if is_address(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    found: SimpleQueue[_Addresses | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found.put(look_up(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)

    Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = found.get(timeout=deadline.remaining())
    except Empty:
        raise TimeoutError("the resolver does not answer") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _connect_to_one(addresses: _Addresses, deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers. A dead one gets its share of the time, not all of it."""
    tried = addresses[:_MAX_ADDRESSES]
    failure = OSError(errno.EHOSTUNREACH, "the name has no address")
    for index, (family, kind, protocol, _, address) in enumerate(tried):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(deadline.remaining() / (len(tried) - index))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _code(error: OSError) -> str:
    match error:
        case ProxyRefusalError():
            return error.code
        case ssl.SSLError():
            return _tls_code(error)
        case TimeoutError():
            return "ETIMEDOUT"
        case socket.gaierror():
            return _RESOLVER_ERRORS.get(error.errno, "EAI_FAIL")
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _tls_code(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_code)
    return CLOSED if isinstance(error, ssl.SSLEOFError) else getattr(error, "reason", None) or "SSL"
