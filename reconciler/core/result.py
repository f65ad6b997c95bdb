"""What came of carrying a plan out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.model import Outcome
    from reconciler.core.observation import Observation
    from reconciler.core.planning import Plan
    from reconciler.core.safety import Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """What an apply did. `outcomes` has exactly one entry per change of the plan, in order.

    `verdicts` are the guards'; when one did not pass, nothing was written and `outcomes` is empty. `observations` are
    of the upstreams that were looked at, before (the changes that were `held`, by name) or after.
    """

    plan: Plan
    verdicts: tuple[Verdict, ...]
    outcomes: tuple[Outcome, ...] = ()
    observations: tuple[Observation, ...] = ()
    held: frozenset[str] = frozenset()

    @property
    def refused(self) -> bool:
        """Whether a guard stopped the whole apply."""
        return not all(verdict.passed for verdict in self.verdicts)

    def count(self, status: str) -> int:
        """Return how many outcomes have this status."""
        return sum(outcome.status == status for outcome in self.outcomes)
