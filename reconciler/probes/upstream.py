"""One look at one upstream, and many at a time. This is the only place that orders the steps of a probe.

TLS comes first, and MCP over the same connection only if TLS is good. A failure of any kind is an `Observation`.
"""

from __future__ import annotations

from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote_plus

from reconciler.core.observation import Diagnosis, McpObservation, Observation, TlsObservation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from reconciler.core.observation import FailedAttempt, ProbeTarget
    from reconciler.probes.channel import Address
    from reconciler.probes.dialer import Dialer

Subject = TypeVar("Subject")

_Seen = tuple[TlsObservation | None, McpObservation | None]

_SHORTEST_SECRET = 4
_SHORTEST_PART = 12


def probe(target: ProbeTarget, now: datetime) -> Observation:
    """Look at one upstream, for `target.timeout_seconds` at the most. `now` is aware; it dates certificates."""
    start = monotonic()
    try:
        tls, mcp = _look(target, now)
    except Exception as error:  # noqa: BLE001 - one odd upstream must not end the look at a thousand others
        tls, mcp = None, _failed(_unforeseen(error))
    return Observation(target.name, target.url, tls, _without_secrets(mcp, target), monotonic() - start, target.route)


def probe_all(
    targets: Sequence[ProbeTarget],
    now: datetime,
    concurrency: int = 50,
    on_done: Callable[[Observation], None] | None = None,
) -> list[Observation]:
    """Look at every upstream, at most `concurrency` at a time, and return the observations in the order of the targets.

    `on_done` is called in the calling thread with each observation as it comes in.
    """
    return all_at_once(lambda target: probe(target, now), targets, concurrency, on_done)


def all_at_once(
    look: Callable[[Subject], Observation],
    subjects: Sequence[Subject],
    concurrency: int,
    on_done: Callable[[Observation], None] | None = None,
) -> list[Observation]:
    """Return what `look` makes of every subject, in their order, looking at `concurrency` of them at a time."""
    if not subjects:
        return []
    pool = ThreadPoolExecutor(min(concurrency, len(subjects)), thread_name_prefix="probe")
    try:
        pending = [pool.submit(look, subject) for subject in subjects]
        for done in as_completed(pending):
            if on_done:
                on_done(done.result())
        return [done.result() for done in pending]
    finally:
        pool.shutdown(cancel_futures=True)


def _look(target: ProbeTarget, now: datetime) -> _Seen:
    from reconciler.core.refusals import unusable_url
    from reconciler.probes.channel import Address
    from reconciler.probes.dialer import Dialer
    from reconciler.probes.wire import WireError

    try:
        address = Address.parse(target.url, target.query)
    except ValueError:
        return None, _failed(unusable_url())
    secure = address.scheme == "https"
    dialer = Dialer(target, address.host, address.port, secure=secure)
    try:
        tls = dialer.open(now)
    except WireError as error:
        return _unconnected(error.attempt, secure=secure, now=now)
    mcp = _converse(dialer, address, target, now)
    late = dialer.late_refusal()
    return (_refused_late(tls, late, now), None) if tls and late else (tls, mcp)


def _converse(dialer: Dialer, address: Address, target: ProbeTarget, now: datetime) -> McpObservation:
    from reconciler.core.handshake import converse
    from reconciler.probes.channel import Channel
    from reconciler.probes.mcp import CARRIERS, hold

    channel = Channel(dialer, address, target.headers)
    carrier = CARRIERS[target.transport](channel, target.url, now)
    try:
        conversation = converse(
            target.require_tools,
            revision=target.revision,
            keep_definitions=target.keep_definitions,
            request=target.call,
        )
        return hold(conversation, carrier.exchange)
    finally:
        carrier.close()
        channel.close()
        dialer.close()


def _unconnected(attempt: FailedAttempt, *, secure: bool, now: datetime) -> _Seen:
    from reconciler.core.chains import present
    from reconciler.core.diagnosis import diagnose

    found = diagnose(attempt, now)
    if not secure:
        return None, _failed(found)
    chain = tuple(present(der) for der in attempt.chain)
    return TlsObservation(False, attempt.code, found.reason, found.message, found.fix, chain), None


def _refused_late(tls: TlsObservation, attempt: FailedAttempt, now: datetime) -> TlsObservation:
    from reconciler.core.diagnosis import diagnose

    found = diagnose(attempt, now)
    return replace(
        tls, ok=False, code=attempt.code, reason=found.reason, message=found.message, fix=found.fix, trust="none"
    )


def _failed(found: Diagnosis) -> McpObservation:
    return McpObservation(ok=False, reason=found.reason, message=found.message, fix=found.fix)


def _unforeseen(error: Exception) -> Diagnosis:
    return Diagnosis(
        "ProbeFailed",
        f"The probe itself failed with {type(error).__name__}; nothing was learnt about the upstream.",
        "Please report this as a bug.",
    )


def _without_secrets(mcp: McpObservation | None, target: ProbeTarget) -> McpObservation | None:
    """Blot out credentials that a peer repeats in its error texts: it is the one place where they could come back."""
    if mcp is None or mcp.ok:
        return mcp
    message = mcp.message
    for secret in _spellings(target):
        message = _blotted(message, secret)
    return replace(mcp, message=message)


def _spellings(target: ProbeTarget) -> Iterator[str]:
    """Yield the credentials in every form in which a peer has them."""
    for _, value in (*target.headers, *target.query):
        scheme, _, bare = value.rpartition(" ")
        yield from (value, quote_plus(value), bare)
        if scheme == "Basic":
            with suppress(ValueError):  # a header of the user's own need not be base64
                yield b64decode(bare).decode("utf-8", "surrogateescape").partition(":")[2]


def _blotted(message: str, secret: str) -> str:
    """Return the message without the secret, and without the beginning of one that was cut off with the text."""
    shortest = max(min(len(secret), _SHORTEST_PART), _SHORTEST_SECRET)
    for length in range(min(len(secret), len(message)), shortest - 1, -1):
        if secret[:length] in message:
            return message.replace(secret[:length], "***")
    return message
