"""The prober of a run: rows become probe targets, references become credentials, and every failure an observation.

A server that says 401 is believed once: references are resolved anew, a token is fetched anew, and if that gives other
credentials than before, the upstream is looked at again with those.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from reconciler.core.observation import Diagnosis, McpObservation, Observation, ProbeTarget
from reconciler.core.routes import Resolved, route_to
from reconciler.credentials import credentials, resolve
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.model import Gateway, VerifyPolicy
    from reconciler.core.oauth import Token, TokenRequest
    from reconciler.core.observation import ToolRequest

    _Subject = tuple[Gateway, VerifyPolicy]
    _Trust = tuple[str, bool, str]
    _Fetch = Callable[[], Token | Diagnosis]

_SAFETY_SECONDS: Final = 10.0
_FAILURE_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Kept:
    """The last answer of a token endpoint, and until when it holds on the monotonic clock."""

    lock: Lock = field(default_factory=Lock)
    answer: Token | Diagnosis | None = None
    until: float = 0.0


class Tokens:
    """Access tokens, each fetched once for all who need it, and kept for as long as it holds. For use by threads.

    A refusal is kept for a while too: a fleet behind one identity provider asks it once, not a thousand times.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[tuple[TokenRequest, _Trust], _Kept] = {}

    def get(self, request: TokenRequest, trust: _Trust, fetch: _Fetch, stale: str = "") -> Token | Diagnosis:
        """Return the token for `request`, which `fetch` gets if there is none, or only the `stale` one.

        `trust` is what the endpoint is trusted by: a token that came over another trust is another token.
        """
        with self._lock:
            kept = self._kept.setdefault((request, trust), _Kept())
        with kept.lock:
            answer = kept.answer
            known = not isinstance(answer, Diagnosis) and answer is not None and answer.value == stale
            if answer is None or known or monotonic() >= kept.until:
                kept.answer = answer = fetch()
                seconds = _FAILURE_SECONDS if isinstance(answer, Diagnosis) else answer.seconds - _SAFETY_SECONDS
                kept.until = monotonic() + seconds
            return answer


@dataclass(frozen=True, slots=True)
class UpstreamProber:
    """Looks at upstreams with at most `concurrency` connections at a time; `on_done` is told of each result.

    `resolved` are addresses to call in place of what the DNS says. `keep_definitions` asks for the whole definitions
    of tools, for who compares or writes them down; `call` for a tool to be called.
    """

    environ: Mapping[str, str]
    now: datetime
    on_done: Callable[[Observation], None] | None = None
    concurrency: int = 50
    resolved: Resolved = ()
    keep_definitions: bool = False
    call: ToolRequest | None = None
    tokens: Tokens = field(default_factory=Tokens)

    def __call__(self, subjects: Sequence[_Subject]) -> list[Observation]:
        """Return one observation per subject, in order. A credential that is not there is an observation too."""
        from reconciler.probes import all_at_once

        return all_at_once(self._look, subjects, self.concurrency, self.on_done)

    def _look(self, subject: _Subject) -> Observation:
        from reconciler.probes import probe

        gateway, policy = subject
        target = self._prepared(gateway, policy)
        if isinstance(target, Diagnosis):
            return _untried(gateway, target)
        seen = probe(target, self.now)
        if seen.mcp is None or seen.mcp.reason != "Unauthorized":
            return seen
        renewed = self._prepared(gateway, policy, stale=target)
        if isinstance(renewed, Diagnosis) or renewed == target:
            return seen
        return probe(renewed, self.now)

    def _prepared(
        self, gateway: Gateway, policy: VerifyPolicy, stale: ProbeTarget | None = None
    ) -> ProbeTarget | Diagnosis:
        """Return the target with its credentials, other ones than those of the `stale` target if there are any."""
        try:
            route = route_to(gateway.url, self.environ, self.resolved)
        except InputError as error:
            return Diagnosis("ProxyUnusable", f"{error}.", error.fix)
        try:
            carried = credentials(gateway.auth, self.environ)
            client_key = resolve(gateway.client_key, self.environ) if gateway.client_key else ""
        except InputError as error:
            return Diagnosis("CredentialsMissing", str(error), error.fix)
        target = ProbeTarget(
            name=gateway.name,
            url=gateway.url,
            transport=gateway.transport,
            ca_certificate=gateway.ca_certificate,
            system_trust=gateway.system_trust,
            client_certificate=gateway.client_certificate,
            client_key=client_key,
            headers=carried.headers,
            query=carried.query,
            timeout_seconds=policy.timeout_seconds,
            require_tools=policy.require_tools,
            route=route,
            keep_definitions=self.keep_definitions or policy.tools_lock is not None,
            call=self.call,
        )
        return self._with_token(target, carried.token, stale) if carried.token else target

    def _with_token(
        self, target: ProbeTarget, request: TokenRequest, stale: ProbeTarget | None
    ) -> ProbeTarget | Diagnosis:
        from reconciler.probes.token import fetch_token

        try:
            route = route_to(request.url, self.environ, self.resolved)
        except InputError as error:
            return Diagnosis("ProxyUnusable", f"{error}.", error.fix)
        trust = (target.ca_certificate, target.system_trust, target.client_certificate)
        refused = stale.headers[-1][1].removeprefix("Bearer ") if stale else ""
        token = self.tokens.get(request, trust, lambda: fetch_token(request, target, route, self.now), refused)
        if isinstance(token, Diagnosis):
            return token
        return replace(target, headers=(("Authorization", f"Bearer {token.value}"),))


def _untried(gateway: Gateway, found: Diagnosis) -> Observation:
    failed = McpObservation(False, found.reason, found.message, found.fix)
    return Observation(gateway.name, gateway.url, None, failed, 0.0)
