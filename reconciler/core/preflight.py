"""Which changes may only be made once their upstream was looked at, and what speaks against one that was.

change                                                       made only if
-----------------------------------------------------------  ----------------------------------------------------
one of a gateway with `verify.mode: required`                its upstream works with what would be written
a gateway is put back on, with `onToolsChange: disable`      its tools are the reviewed ones, or some of those

The second keeps a safety measure: a gateway is taken off because of its tools, and who puts it back on (an apply, a
rollback, a restarted daemon) need not know of that. So the tools themselves are asked, wherever it is done from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from reconciler.core.model import Action
from reconciler.core.verification import Verified, unreviewed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.core.model import Change, DesiredState, VerifyPolicy
    from reconciler.core.observation import Observation

    Mode = Literal["report", "off"]


@dataclass(frozen=True, slots=True)
class Held:
    """A change that is not made: what was seen, `why` in one sentence without its end, and what to do about it."""

    observation: Observation
    why: str
    fix: str


def is_required(change: Change, policy: VerifyPolicy) -> bool:
    """Return whether a change may be made only once its upstream was looked at."""
    if change.after is None or not change.after.enabled:
        return False
    written = change.action is Action.CREATE or bool(change.fields)
    return (policy.mode == "required" and written) or puts_back_on(change, policy)


def puts_back_on(change: Change, policy: VerifyPolicy) -> bool:
    """Return whether a change puts a gateway on that goes off when its tools are not the reviewed ones."""
    guarded = policy.on_tools_change == "disable" and policy.tools_lock is not None and policy.mode != "off"
    was_off = change.before is not None and not change.before.gateway.enabled
    return guarded and was_off and change.after is not None and change.after.enabled


def proviso(known: str = "") -> str:
    """Return on what condition a gateway is put back on; `known` is what the last look at its tools said."""
    last = f"; last seen: {known}" if known else ""
    return f"stays off unless its tools are the reviewed ones when this is applied{last}"


def objection(change: Change, policy: VerifyPolicy, seen: Observation) -> Held | None:
    """Return what speaks against a change whose upstream was looked at, as it would be after it."""
    if policy.mode == "required" and not seen.ok:
        reason, fix = _failure(seen)
        return Held(seen, f"held, because the upstream would not work with it ({reason})", fix)
    return _about_tools(change, policy, seen) if puts_back_on(change, policy) else None


def looked_at_least(desired: DesiredState, changes: Iterable[Change]) -> DesiredState:
    """Return the desired state for who does not want upstreams looked at: only gateways that are put back on are."""
    gateways = dict(desired.gateways)
    for change in changes:
        if (wanted := gateways.get(change.name)) is not None:
            mode: Mode = "report" if puts_back_on(change, wanted.verify) else "off"
            gateways[change.name] = replace(wanted, verify=replace(wanted.verify, mode=mode))
    return replace(desired, gateways=gateways)


def _about_tools(change: Change, policy: VerifyPolicy, seen: Observation) -> Held | None:
    file = policy.tools_lock.file if policy.tools_lock is not None else ""
    changes = Verified(change.name, seen.url, seen, policy=policy).tool_changes
    if changes is None and seen.ok:
        return Held(seen, f"left off, because {file} cannot be read", "`reconciler validate` says why")
    if changes is None:
        reason, fix = _failure(seen)
        return Held(seen, f"left off, because its upstream did not say which tools it has ({reason})", fix)
    if not unreviewed(changes):
        return None
    from reconciler.core.toolchanges import summary

    why = f"left off, because its tools are not those of {file}: {summary(changes)}"
    return Held(seen, why, f"what you agree with, `reconciler lock {change.name}` writes down; commit that")


def _failure(seen: Observation) -> tuple[str, str]:
    """Return the reason of a look that failed, and what it says and advises."""
    part = seen.mcp or seen.tls
    return (part.reason, f"{part.message} {part.fix}".strip()) if part else ("NoAnswer", "")
