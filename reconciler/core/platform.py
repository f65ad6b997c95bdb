"""What a gateway platform is: the features that its stores can have, and what it makes of gateways, as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.problems import Problem

if TYPE_CHECKING:
    from reconciler.core.lint import TargetScope
    from reconciler.core.model import DesiredGateway, Feature, TrustBundle
    from reconciler.core.problems import Rule

Check = Callable[["TargetScope", Sequence["DesiredGateway"], Mapping[str, "TrustBundle"]], Iterator[Problem]]
"""Looks at all the gateways that one target takes; bundles are by their canonical text."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a platform makes of one gateway: whom it concerns, what was found, and what to do."""

    rule: Rule
    concerns: Callable[[DesiredGateway], bool]
    found: Callable[[DesiredGateway], str]
    fix: str


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform's stores can hold, and what it makes of gateways, alone and together."""

    features: frozenset[Feature]
    limits: tuple[Limit, ...]
    checks: tuple[Check, ...] = ()
