"""What each gateway platform makes of a gateway, told before anything is written: what it refuses, changes or ignores.

Rules are data, in a module for each platform: limits that concern one gateway, and conflicts between all the gateways
of one target. Nothing here speaks to a platform, and what the schema of the manifest already refuses is not said again
(names, tags, categories, hints and prefixes fit every platform by their patterns).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.contextforge_platform import CONTEXTFORGE
from reconciler.core.features import lacking
from reconciler.core.kuadrant_platform import KUADRANT_FILE, KUBERNETES
from reconciler.core.model import DesiredState, Feature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.lint import TargetScope
    from reconciler.core.model import DesiredGateway, TrustBundle
    from reconciler.core.platform import Platform
    from reconciler.core.problems import Problem
    from reconciler.core.targets import Membership

_PLATFORMS: Final[Mapping[str, Platform]] = {
    "contextforge+http": CONTEXTFORGE,
    "contextforge+https": CONTEXTFORGE,
    "kuadrant+file": KUADRANT_FILE,
    "kubernetes": KUBERNETES,
}
"""By the scheme of the store's URL."""


def platform_of(scheme: str) -> Platform | None:
    """Return the platform behind the scheme of a store URL, or None for a store of our own."""
    return _PLATFORMS.get(scheme)


def check_platforms(membership: Membership, bundles: Mapping[str, TrustBundle]) -> Iterator[Problem]:
    """Yield what the platforms of the targets will not take, or not as it is written, each thing once."""
    return iter(
        dict.fromkeys(
            problem
            for target, taken in membership.taken()
            if (platform := platform_of(target.scheme)) is not None
            for problem in _check(platform, target, taken, bundles)
        )
    )


def _check(
    platform: Platform, target: TargetScope, taken: Sequence[DesiredGateway], bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    desired = DesiredState({wanted.gateway.name: wanted for wanted in taken})
    said_better = {Feature.OTHER_AUTH}  # `auth-unsupported-by-platform` names the type, and is among the limits
    yield from lacking(desired, platform.features | said_better, target.scheme)
    for limit in platform.limits:
        for wanted in filter(limit.concerns, taken):
            yield limit.rule.at(wanted.location, limit.found(wanted), fix=limit.fix, gateways=(wanted.gateway.name,))
    for check in platform.checks:
        yield from check(target, taken, bundles)
