"""TLS connections to one upstream, dialled so that its phases are told apart and its chain is seen in any case.

The handshake is ours, not the HTTP library's: one connection then serves both the verdict on TLS and the conversation.
The bundle is tried alone first. Only if that fails, and the system's CAs count as well, a second connection is made
with both: working then is a weaker kind of good.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

from reconciler.core import chains, diagnosis
from reconciler.core.observation import TlsObservation, place_of
from reconciler.probes import tls
from reconciler.probes.wire import CLOSED, Line, Wire, WireError

if TYPE_CHECKING:
    import socket
    import ssl
    from datetime import datetime

    from reconciler.core.observation import FailedAttempt, ProbeTarget, Trust
    from reconciler.core.routes import Proxy

_LATE_ALERT_SECONDS = 1.0
_NAME_MISMATCH = frozenset({"62", "64"})
_CUT_OFF = frozenset({CLOSED, "ECONNRESET", "EPIPE"})


@dataclass(frozen=True, slots=True)
class _Light:
    """A way to look at a server: the context, and what success in it proves."""

    trust: Trust
    context: ssl.SSLContext


class Dialer:
    """Opens connections to one upstream. The first is opened by `open`, and is what `dial` gives first."""

    def __init__(self, target: ProbeTarget, host: str, port: int, *, secure: bool) -> None:
        self.line = Line(target, host, port, secure=secure)
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

    @property
    def forwarding_proxy(self) -> Proxy | None:
        """The proxy that passes requests in clear text on, if there is one. TLS goes through a tunnel instead."""
        return None if self._secure else self._target.route.proxy

    def dial(self) -> Wire:
        """Return a connection to the upstream, secured already.

        Raises:
            WireError: there is none to be had.
        """
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
                Wire(self.line, connection).receive()
        except WireError as error:
            return error.attempt
        return None

    def _trusted(self) -> tuple[ssl.SSLSocket, _Light, FailedAttempt | None]:
        """Return a connection and the light it is trusted in, and how the bundle alone failed if it did."""
        bundle, system = self._target.ca_certificate, self._target.system_trust
        if not bundle and system:
            light = self._light_of("system")
            return self._shake_hands(light), light, None
        light = self._light_of("bundle")
        try:
            return self._shake_hands(light), light, None
        except WireError as error:
            alone = error.attempt
            if not system or not alone.code.isdecimal() or alone.code in _NAME_MISMATCH:
                raise
        light = self._light_of("system")
        return self._shake_hands(light), light, alone

    def _light_of(self, trust: Trust) -> _Light:
        """Return a way to look. The system's CAs take 20 ms and more to load: only who needs them asks for them."""
        target, system = self._target, trust == "system"
        bundle, certificate = target.ca_certificate, target.client_certificate
        with self.line.during("prepare"):
            if certificate:
                key = target.client_key
                context = tls.with_client_certificate(bundle, system=system, certificate=certificate, key=key)
            else:
                context = tls.platform_context(bundle) if system else tls.bundle_context(bundle)
        return _Light(trust, context)

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
            raise WireError(replace(attempt, system_trust=light.trust == "system")) from error
        return connection
