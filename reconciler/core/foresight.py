"""What a platform that judges changes in a dry run says of a plan, told at the manifests before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.problems import Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.model import DesiredState
    from reconciler.core.problems import Problem

REFUSED_BY_PLATFORM = Rule(
    "refused-by-platform",
    Severity.WARNING,
    "The platform judges each change of a plan in a dry run; what it does not take now, an apply could not write.",
)


def refusals(found: Mapping[str, str], desired: DesiredState) -> Iterator[Problem]:
    """Yield what was said against changes, by the names of their gateways, at the manifests."""
    for name, why in sorted(found.items()):
        message = f"the change of `{name}` would be refused: {why}"
        fix = "mend that before the apply, which would leave this gateway as it is"
        yield REFUSED_BY_PLATFORM.at(desired.gateways[name].location, message, fix=fix, gateways=(name,))
