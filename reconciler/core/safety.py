"""Guards over a plan. Each prints its figures and the way past it. Creates never count.

Deleting is the one thing that cannot be looked at afterwards, so the guards are about deletions first, then about
updates that touch nearly everything at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.model import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.planning import Plan


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one apply may delete or update. Percentages are of our gateways in the store, and count once
    `min_existing` of them exist; `max_deletes` is absolute (None: no cap).
    """

    max_delete_percent: int = 30
    max_update_percent: int = 30
    max_deletes: int | None = None
    min_existing: int = 10
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guard's answer. `message` and `fix` are empty when it passed."""

    guard: str
    limit: int
    actual: int
    message: str = ""
    fix: str = ""

    @property
    def passed(self) -> bool:
        """Whether the plan may go on as far as this guard is concerned."""
        return not self.message


def judge(plan: Plan, limits: Limits) -> tuple[Verdict, ...]:
    """Return every guard's verdict on the plan."""
    return tuple(_verdicts(plan, limits))


def _verdicts(plan: Plan, limits: Limits) -> Iterator[Verdict]:
    deletes = plan.count(Action.DELETE)
    yield _empty(plan, deletes, limits)
    yield _share("max_delete_percent", deletes, plan.existing, limits.max_delete_percent, limits.min_existing)
    yield _share("max_update_percent", _intended(plan), plan.existing, limits.max_update_percent, limits.min_existing)
    if limits.max_deletes is not None:
        yield _cap(deletes, limits.max_deletes)


def _intended(plan: Plan) -> int:
    """Return how many updates git asked for. Healing what somebody else changed must never be held up by its amount.

    Nor is a row changed by being signed for the first time.
    """
    healing = (Reason.DRIFT, Reason.TAMPERING, Reason.ADOPTED, Reason.UNSIGNED)
    return sum(change.action is Action.UPDATE and change.reason not in healing for change in plan.changes)


def _empty(plan: Plan, deletes: int, limits: Limits) -> Verdict:
    if plan.desired or not deletes or limits.allow_empty:
        return Verdict("empty_set", 1, plan.desired)
    return Verdict(
        "empty_set",
        1,
        0,
        f"no gateway at all is wanted, and {deletes} would be deleted",
        "if everything really is to go, pass --allow-empty; otherwise check the path",
    )


def _share(guard: str, count: int, existing: int, limit: int, min_existing: int) -> Verdict:
    percent = -(-count * 100 // existing) if existing else 0
    if existing < min_existing or percent <= limit:
        return Verdict(guard, limit, percent)
    verb = "deleted" if guard == "max_delete_percent" else "updated"
    option = f"--{guard.replace('_', '-')}"
    return Verdict(
        guard,
        limit,
        percent,
        f"{count} of {existing} gateways would be {verb}: {percent} %, and the limit is {limit} %",
        f"look at the plan again; if it is meant, pass {option} {percent}",
    )


def _cap(deletes: int, limit: int) -> Verdict:
    if deletes <= limit:
        return Verdict("max_deletes", limit, deletes)
    return Verdict(
        "max_deletes",
        limit,
        deletes,
        f"{deletes} gateways would be deleted, and the limit is {limit}",
        f"look at the plan again; if it is meant, pass --max-deletes {deletes}",
    )
