"""What is true of a gateway, in Kubernetes' terms: conditions, each since when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is true of a gateway, is not, or is not known.

    `type` and `reason` are CamelCase words for machines, `message` is for people. `observed_revision` is the revision
    that was looked at. `since` is when `status` last flipped, aware; a new reason alone does not move it.
    """

    type: str
    status: Status
    reason: str
    message: str
    observed_revision: str
    since: datetime


def carried_over(previous: Condition | None, new: Condition) -> Condition:
    """Return `new`, with the `since` of `previous` (of the same type, or None) if the status did not flip."""
    if previous is None or previous.status != new.status:
        return new
    return replace(new, since=previous.since)
