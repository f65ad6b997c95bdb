"""The prober of a run: rows become probe targets, references become credentials, and every failure an observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.observation import McpObservation, Observation, ProbeTarget
from reconciler.credentials import credentials, resolve
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.model import Gateway, VerifyPolicy


@dataclass(frozen=True, slots=True)
class UpstreamProber:
    """Looks at upstreams with at most `concurrency` connections at a time; `on_done` is told of each result."""

    environ: Mapping[str, str]
    now: datetime
    on_done: Callable[[Observation], None] | None = None
    concurrency: int = 50

    def __call__(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        """Return one observation per subject, in order. A credential that is not there is an observation too."""
        from reconciler.probes import probe_all

        prepared = [self._prepared(gateway, policy) for gateway, policy in subjects]
        targets = [each for each in prepared if isinstance(each, ProbeTarget)]
        for each in prepared:
            if self.on_done is not None and isinstance(each, Observation):
                self.on_done(each)
        seen = iter(probe_all(targets, self.now, concurrency=self.concurrency, on_done=self.on_done))
        return [next(seen) if isinstance(each, ProbeTarget) else each for each in prepared]

    def _prepared(self, gateway: Gateway, policy: VerifyPolicy) -> ProbeTarget | Observation:
        try:
            carried = credentials(gateway.auth, self.environ)
            client_key = resolve(gateway.client_key, self.environ) if gateway.client_key else ""
        except InputError as error:
            missing = McpObservation(False, "CredentialsMissing", str(error), error.fix)
            return Observation(gateway.name, gateway.url, None, missing, 0.0)
        return ProbeTarget(
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
        )
