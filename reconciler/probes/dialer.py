"""TLS connections to one upstream, dialled so that its phases are told apart and its chain is seen in any case.

The handshake is ours, not the HTTP library's: one connection then serves both the verdict on TLS and the conversation.
The bundle is tried alone first. Only if that fails, and the system's CAs count as well, a second connection is made
with both: working then is a weaker kind of good.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import httpcore

from reconciler.core import chains, diagnosis
from reconciler.core.observation import TlsObservation, place_of
from reconciler.probes import tls
from reconciler.probes.wire import CLOSED, Line, Wire, WireError

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.core.observation import FailedAttempt, ProbeTarget, Trust

_LATE_ALERT_SECONDS = 1.0
_NAME_MISMATCH = frozenset({"62", "64"})
_CUT_OFF = frozenset({CLOSED, "ECONNRESET", "EPIPE"})


@dataclass(frozen=True, slots=True)
class _Light:
    """A way to look at a server: the context, and what success in it proves."""

    trust: Trust
    context: ssl.SSLContext


class Dialer(httpcore.NetworkBackend):
    """Opens connections to one upstream. The first is opened by `open`, and handed to httpcore when it asks for one."""

    def __init__(self, target: ProbeTarget, host: str, port: int, *, secure: bool) -> None:
        self.line = Line(target, host, port)
        self._target = target
        self._secure = secure
        self._light: _Light | None = None
        self._first: socket.socket | None = None

    def open(self, now: datetime) -> TlsObservation | None:
        """Open the first connection and return what TLS showed, or None without TLS.

        Raises:
            WireError: there is no connection, or no trust in it.
        """
        if not self._secure:
            self._first = self.line.connect()
            return None
        connection, light, alone = self._trusted()
        self._first, self._light = connection, light
        said = diagnosis.trusted(place_of(self.line.host, self.line.port), light.trust, alone, now)
        return TlsObservation(
            ok=True,
            reason=said.reason,
            message=said.message,
            fix=said.fix,
            chain=tuple(chains.present(der) for der in tls.presented_chain(connection)),
            trust=light.trust,
            version=connection.version() or "",
            cipher=(connection.cipher() or ("",))[0],
        )

    def close(self) -> None:
        """Close the first connection, if nobody asked for it."""
        if self._first:
            self._first.close()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to the upstream, secured already. Where to, and how long, is known better here."""
        del host, port, timeout, local_address, socket_options
        connection, self._first = self._first, None
        if connection is None:
            connection = self._shake_hands(self._light) if self._light else self.line.connect()
        return Wire(self.line, connection)

    def late_refusal(self) -> FailedAttempt | None:
        """Return the refusal that a TLS 1.3 server sends only after the handshake, if that broke the connection.

        A client that writes first may see a bare end of the connection in its place. One that only listens sees the
        alert, so another connection is made for it.
        """
        broken = self.line.broken
        if self._light is None or broken is None or self.line.received:
            return None
        if broken.code in _CUT_OFF:
            broken = self._overheard(self._light)
        return broken if broken and "_ALERT_" in broken.code else None

    def _overheard(self, light: _Light) -> FailedAttempt | None:
        """Shake hands, and listen without a word."""
        try:
            with self.line.deadline.within(_LATE_ALERT_SECONDS), self._shake_hands(light) as connection:
                Wire(self.line, connection).read(1)
        except WireError as error:
            return error.attempt
        return None

    def _trusted(self) -> tuple[ssl.SSLSocket, _Light, FailedAttempt | None]:
        """Return a connection and the light it is trusted in, and how the bundle alone failed if it did."""
        alone: FailedAttempt | None = None
        *stricter, last = self._lights()
        for light in stricter:
            try:
                return self._shake_hands(light), light, None
            except WireError as error:
                alone = error.attempt
                if not alone.code.isdecimal() or alone.code in _NAME_MISMATCH:
                    raise
        return self._shake_hands(last), last, alone

    def _lights(self) -> list[_Light]:
        """Return the ways to look, the strictest first."""
        bundle, system = self._target.ca_certificate, self._target.system_trust
        with self.line.during("prepare"):
            lights = [_Light("bundle", self._context(bundle, system=False))] if bundle or not system else []
            if system:
                lights.append(_Light("system", self._context(bundle, system=True)))
        return lights

    def _context(self, bundle: str, *, system: bool) -> ssl.SSLContext:
        certificate = self._target.client_certificate
        if certificate:
            key = self._target.client_key
            return tls.with_client_certificate(bundle, system=system, certificate=certificate, key=key)
        return tls.platform_context(bundle) if system else tls.bundle_context(bundle)

    def _shake_hands(self, light: _Light) -> ssl.SSLSocket:
        plain = self.line.connect()
        with self.line.during("handshake"), closing(plain):
            connection = light.context.wrap_socket(plain, server_hostname=self.line.host, do_handshake_on_connect=False)
        start = monotonic()
        try:
            connection.settimeout(self.line.deadline.remaining())
            connection.do_handshake()
        except OSError as error:
            attempt = self.line.attempt("handshake", error, monotonic() - start, tls.presented_chain(connection))
            connection.close()
            raise WireError(attempt) from error
        return connection
