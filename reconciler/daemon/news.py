"""What a worker is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.core.lease import Fence
    from reconciler.core.model import Change, DesiredState
    from reconciler.core.observation import Observation
    from reconciler.examining import Lookup


@dataclass(frozen=True, slots=True)
class Revised:
    """The tree was looked at: what it wants in this target, and which gateways may be others (None: any)."""

    desired: DesiredState
    touched: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Led:
    """Whether this process writes to the target, with which fence (None: its store has no room for a lease).

    Where it does not, `who` says who does, or why nobody knows.
    """

    leads: bool
    fence: Fence | None = None
    who: str = ""


@dataclass(frozen=True, slots=True)
class Preflighted:
    """The upstream of a change was looked at; `held` says why the change may not be made, or nothing."""

    change: Change
    desired: DesiredState
    held: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An upstream was looked at."""

    lookup: Lookup
    observation: Observation


News = Revised | Led | Preflighted | Seen
