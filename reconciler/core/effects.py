"""What a change means for whoever calls the tools behind a gateway: which ones appear, vanish, or get another name.

A gateway platform makes a tool's name of the gateway's and the tool's own (`payments-charge` in ContextForge, the
prefix and the tool in Kuadrant), so what renames a gateway renames every tool of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import Change, Gateway


@dataclass(frozen=True, slots=True)
class KnownTools:
    """What is known of tools, by the name of the gateway: those seen last, or only how many, and those required.

    Names are as the upstream says them.
    """

    seen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    required: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolEffect:
    """What comes of the tools of `gateway`: `names` are those that are known, `count` how many there are, if known."""

    effect: Literal["appear", "vanish", "rename"]
    gateway: str
    names: tuple[str, ...]
    count: int | None


def tool_effect(change: Change, known: KnownTools) -> ToolEffect | None:
    """Return what a change does to tools; None where it does nothing, or nothing is known of them."""
    before, after = (change.before.gateway if change.before else None), change.after
    if _serves(before) and not _serves(after):
        return _seen("vanish", change.held_as, known)
    if _serves(after) and not _serves(before):
        return _seen("appear", change.held_as, known) or _required(change.name, known)
    if before and after and _serves(after) and _prefixes(before) != _prefixes(after):
        return _seen("rename", change.held_as, known)
    return None


def replaces(change: Change) -> bool:
    """Return whether a registration in Kubernetes has to be deleted and made anew for a change to the row.

    Kuadrant never changes a prefix, and of another route's registration the old entry would stay behind.
    """
    if change.before is None or change.after is None or change.held_as != change.name:
        return False
    before, after = change.before.gateway.kuadrant, change.after.kuadrant
    moved = bool(before.route and after.route) and before.route != after.route
    return moved or (bool(before.prefix) and before.prefix != after.prefix)


def _serves(gateway: Gateway | None) -> bool:
    return gateway is not None and gateway.enabled is True


def _prefixes(gateway: Gateway) -> tuple[str, str]:
    return gateway.name, gateway.kuadrant.prefix


def _seen(effect: Literal["appear", "vanish", "rename"], gateway: str, known: KnownTools) -> ToolEffect | None:
    names = tuple(sorted(known.seen.get(gateway, ())))
    count = len(names) or known.counts.get(gateway, 0)
    return ToolEffect(effect, gateway, names, count) if count else None


def _required(gateway: str, known: KnownTools) -> ToolEffect | None:
    names = tuple(sorted(known.required.get(gateway, ())))
    return ToolEffect("appear", gateway, names, None) if names else None
