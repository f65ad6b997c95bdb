"""The Lease by which several reconcilers agree on one that writes, as the cluster keeps it, and what it forbids.

The token of a reign is the Lease's `leaseTransitions`, which grows with every holder. A cluster has no transaction over
a Lease and the objects that it guards, so the token is compared right before each write. What is left is a process that
stops between that and its write: every write over something that is there names the version that it starts from, so
that it does not undo what a successor did. https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.lease import LEASE_SECONDS
from reconciler.errors import LeaseHeldError
from reconciler.stores.kubernetes.marks import MANAGER, mapping
from reconciler.stores.kubernetes.objects import Kind
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.lease import Fence
    from reconciler.stores.kubernetes.wire import Wire

LEASE: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")

_PART: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_PLAIN: Final = re.compile(f"{_PART}(/{_PART})?")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a Lease says. `renewed` is a time of its holder's clock: it is compared with itself, and with no other."""

    holder: str
    token: int
    seconds: float
    renewed: str


def lease_name(name: str) -> str:
    """Return the name of the Lease for the lease `name`: two never share one, and plain names can be read in it."""
    if _PLAIN.fullmatch(name):
        return f"{MANAGER}.{name.replace('/', '.')}"
    return f"{MANAGER}.sha256.{sha256(name.encode()).hexdigest()[:32]}"


def standing_of(found: Mapping[str, Any]) -> Standing:
    """Return what a Lease says; one that nobody ever held says nothing, and has the token 0."""
    spec = mapping(found.get("spec"))
    return Standing(
        holder=printable(text_of(spec.get("holderIdentity"))),
        token=_number(spec.get("leaseTransitions"), 0),
        seconds=float(_number(spec.get("leaseDurationSeconds"), int(LEASE_SECONDS))),
        renewed=text_of(spec.get("renewTime")),
    )


def obey(wire: Wire, fence: Fence) -> None:
    """See to it that the fence holds at this moment.

    Raises:
        LeaseHeldError: the lease is another's by now.
        CallError: it could not be asked for.
    """
    found = wire.get(LEASE, lease_name(fence.lease))
    standing = standing_of(found or {})
    if standing.token != fence.token or not standing.holder:
        holder = f"`{standing.holder}`" if standing.holder else "nobody"
        raise LeaseHeldError(
            f"the lease `{fence.lease}` is no longer ours: {holder} has it, and nothing more was written",
            fix="nothing needs to be done: whoever has it reconciles",
        )


def _number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
