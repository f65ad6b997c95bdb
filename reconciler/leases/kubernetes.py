"""Leases in a Kubernetes cluster: an object of kind Lease, renewed and taken over as client-go's leader election does.

No clock is compared with another's. Whoever wants the lease watches it: only when it has stood still, by his own
monotonic clock, for as long as it says that it lasts, it is over. So one who comes new waits for that long, whatever
times the object shows. A write names the version that was read, so of two who ask at once one is told that he is late.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

from reconciler.clock import now
from reconciler.core.hostile import printable
from reconciler.core.lease import HEARTBEAT_SECONDS, LEASE_SECONDS, Fence, Reign, acquired, held, taken
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.failures import CONFLICT, CallError
from reconciler.stores.kubernetes.fencing import LEASE, lease_name, standing_of
from reconciler.stores.kubernetes.marks import mapping
from reconciler.stores.kubernetes.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.stores.kubernetes.fencing import Standing

    Found = Mapping[str, Any]

_TRIES: Final = 3
"""How often a write is repeated that somebody else's, on the same object, came before."""


class KubernetesLease:
    """A lease in a namespace of a cluster. `holder` names this process for people: `host:pid`."""

    def __init__(self, wire: Wire, name: str, holder: str, seconds: float = LEASE_SECONDS) -> None:
        self._wire = wire
        self._name = name
        self._holder = printable(holder)
        self._seconds = max(1, math.ceil(seconds))  # the object knows whole seconds, and at least one
        self._seen: Standing | None = None
        self._seen_at = 0.0

    def acquire(self) -> Fence:
        """Take the lease, and return what every write has to carry from now on.

        Raises:
            LeaseHeldError: somebody holds it, this process included, or was seen holding it too short a time ago.
            StoreError: it could not be asked for.
        """
        found = self._found()
        last, moment = self._observed(found), time.monotonic()
        new = acquired(last, self._holder, moment, self._seconds)
        if new is None:
            raise held(self._name, last, moment)
        try:
            self._take(found, new)
        except CallError as error:
            if error.status != CONFLICT:
                raise
            raise held(self._name, None, moment) from None
        return Fence(self._name, new.token)

    def renew(self, fence: Fence) -> None:
        """Prolong the lease.

        Raises:
            LeaseHeldError: it is another's by now.
            StoreError: it could not be asked for; it may still be ours.
        """
        if not self._change(fence, {"renewTime": _moment()}):
            raise taken(fence)

    def release(self, fence: Fence) -> None:
        """Give the lease back. One that is another's by now is left alone.

        Raises:
            StoreError: it could not be given back; it ends by itself.
        """
        self._change(fence, {"holderIdentity": "", "renewTime": _moment()})

    def reign(self) -> Reign | None:
        """Return how the lease stands, or None when nobody ever held it. Its time is that of this host's own clock.

        Raises:
            StoreError: it could not be asked for.
        """
        last = self._observed(self._found())
        return last if last is not None and last.token else None

    def close(self) -> None:
        """Let go of the connection."""
        self._wire.close()

    def _found(self) -> Found | None:
        return self._wire.get(LEASE, lease_name(self._name))

    def _observed(self, found: Found | None) -> Reign | None:
        """Return the reign as seen from here: renewed when we first saw it as it is."""
        if found is None:
            return None
        standing = standing_of(found)
        if standing != self._seen:
            self._seen, self._seen_at = standing, time.monotonic()
        return Reign(standing.holder, standing.token, self._seen_at, standing.seconds)

    def _take(self, found: Found | None, new: Reign) -> None:
        moment = _moment()
        spec = {
            "holderIdentity": new.holder,
            "leaseDurationSeconds": self._seconds,
            "acquireTime": moment,
            "renewTime": moment,
            "leaseTransitions": new.token,
        }
        if found is None:
            content = {"apiVersion": LEASE.api, "kind": LEASE.kind, "metadata": {"name": lease_name(self._name)}}
            self._wire.create(LEASE, {**content, "spec": spec})
        else:
            self._wire.replace(LEASE, _with(found, spec))

    def _change(self, fence: Fence, spec: Found, tries: int = _TRIES) -> bool:
        """Change the lease if it is still that of the fence, and return whether it was."""
        found = self._found()
        standing = standing_of(found or {})
        if found is None or (standing.token, standing.holder) != (fence.token, self._holder):
            return False
        try:
            self._wire.replace(LEASE, _with(found, spec))
        except CallError as error:
            if error.status != CONFLICT or tries == 1:
                raise
            return self._change(fence, spec, tries - 1)
        return True


def open_kubernetes_lease(
    url: str, environ: Mapping[str, str], name: str, holder: str, seconds: float = LEASE_SECONDS
) -> KubernetesLease:
    """Return a lease in the namespace of a store's URL. Nothing is sent yet.

    Raises:
        InputError: the URL is none, lightkube is not installed, or there is no usable way into the cluster.
    """
    wire = Wire(address_of(url, environ), seconds=HEARTBEAT_SECONDS, tries=1)
    return KubernetesLease(wire, name, holder, seconds)


def _with(found: Found, spec: Found) -> Found:
    """Return an object with some fields of its spec as given, of the version that was read, and the rest as it was."""
    return {**found, "spec": {**mapping(found.get("spec")), **spec}}


def _moment() -> str:
    """Return the present moment as Kubernetes' MicroTime, for people and for other programs to see."""
    return now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
