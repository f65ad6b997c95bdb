"""Kuadrant's MCP Gateway as a store: everything is read at once, and written one gateway after the other.

A cluster has no transactions over several objects, so each gateway stands for itself: it is judged as a whole before
any of it is written, each write names the version that it starts from, and what breaks off half-way is seen, and put
right, by the next pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from reconciler.core.kuadrant_platform import KUBERNETES
from reconciler.core.model import Action, LiveState, Outcome
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.stores.kuadrant.broker import broker_of
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.failures import TOO_MANY, UNAVAILABLE, CallError
from reconciler.stores.kubernetes.fencing import obey
from reconciler.stores.kubernetes.marks import mapping
from reconciler.stores.kubernetes.objects import CONFIG_MAP, NAME, SECRET, WRITTEN
from reconciler.stores.kubernetes.rows import Parts, by_gateway, canonical, decoded, live_gateway, token
from reconciler.stores.kubernetes.watching import ReferenceWatch
from reconciler.stores.kubernetes.wire import Wire
from reconciler.stores.kubernetes.writing import Patience, Writer
from reconciler.stores.obstacles import obstacles
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from reconciler.core.lease import Fence
    from reconciler.core.model import Audit, CaReference, Change, Gateway, Served
    from reconciler.core.ports import CaListener
    from reconciler.stores.access import Access
    from reconciler.stores.kuadrant.broker import Broker
    from reconciler.stores.kubernetes.address import Address


_ORDER: Final = (Action.DELETE, Action.UPDATE, Action.CREATE)
"""A prefix or a host name is free for a create once those before have given it up."""


_NOTHING: Final = Parts()

BROKER_SECONDS: Final = 180.0
"""How long the broker may take: for its Pod to be given the new configuration, and for its look of every minute."""

_NOT_YET: Final = (
    "give it time: a changed Secret reaches the broker's Pod within 90 s, and it looks at every server once a minute;"
    " if that was over, see `kubectl logs deployment/mcp-gateway` for why it would not load its configuration"
)


class KubernetesStore:
    """Live state in one namespace of a cluster."""

    features: ClassVar = KUBERNETES.features

    def __init__(self, address: Address, patience: Patience | None = None, *, broker: Broker | None = None) -> None:
        self._address = address
        self._wire = Wire(address)
        self._writer = Writer(self._wire, patience or Patience())
        self._broker = broker

    def read(self) -> LiveState:
        """Return all registrations of the namespace, ours and others', by name and in the order of the names.

        Raises:
            StoreBusyError: the API has too much to do.
            StoreError: they could not be read.
        """
        try:
            found = self._everything()
            complete = {name: self._writer.completed(parts) for name, parts in found.items()}
        except CallError as error:
            raise _as_busy(error) from None
        return LiveState({name: live_gateway(name, parts, self._wire.namespace) for name, parts in complete.items()})

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        """Make the changes one by one, deletions first, whatever becomes of the others.

        Raises:
            LeaseHeldError: the lease of the audit's fence is another's by now.
            StoreBusyError: the API has too much to do.
            StoreError: the API cannot be reached, or does not let us in.
        """
        try:
            names = sorted({name for change in changes for name in (change.name, change.held_as)})
            before = {name: self._writer.parts(name) for name in names if NAME.fullmatch(name)}
        except CallError as error:
            raise _as_busy(error) from None
        tokens = {name: token(parts) for name, parts in before.items() if parts.objects}
        reasons = list(obstacles(changes, tokens, {}))
        with self._wire.only_after(self._obedience(audit.fence)):
            return self._made(changes, reasons, before)

    def judge(self, changes: Sequence[Change]) -> dict[str, str]:
        """Return why the API server would not take changes as things are, by name: its dry run of each of them.

        Raises:
            StoreBusyError: the API has too much to do.
            StoreError: it could not be asked.
        """
        try:
            before = self._everything() if changes else {}
            found = {each.name: self._writer.foreseen(each, before.get(each.name, _NOTHING)) for each in changes}
        except CallError as error:
            raise _as_busy(error) from None
        return {name: why for name, why in found.items() if why}

    def _everything(self) -> dict[str, Parts]:
        return by_gateway({kind: self._wire.all(kind) for kind in WRITTEN})

    def _obedience(self, fence: Fence | None) -> Callable[[], None] | None:
        return None if fence is None else lambda: obey(self._wire, fence)

    def _made(self, changes: Sequence[Change], reasons: Sequence[str], before: Mapping[str, Parts]) -> list[Outcome]:
        made: dict[int, Outcome] = {}
        for index in sorted(range(len(changes)), key=lambda each: _ORDER.index(changes[each].action)):
            change = changes[index]
            made[index] = (
                Outcome(change.name, change.action, "refused", reasons[index])
                if reasons[index]
                else self._writer.make(change, before.get(change.held_as) or _NOTHING)
            )
        return [made[index] for index in range(len(changes))]

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return what the cluster shows after it was given `gateway`."""
        return canonical(gateway)

    def served(self, names: Collection[str]) -> tuple[Served, ...]:
        """Return what the broker makes of these gateways, once it must have what was written and has looked at it."""
        if self._broker is None:
            return ()
        known_as = {f"{self._wire.namespace}/{name}": name for name in names}  # what the controller calls them
        written = {key: self._writer.taken_up.get(name) for key, name in known_as.items()}
        found = (replace(each, gateway=known_as[each.gateway]) for each in self._broker.wait_for(written))
        return tuple(replace(each, fix=_NOT_YET) if each.status == "unknown" else each for each in found)

    def ca_certificates(self, reference: CaReference) -> bytes:
        """Return the PEM text that a ConfigMap or a Secret of the namespace holds.

        Raises:
            InputError: there is no such object, or nothing under that key.
            StoreError: it could not be read.
        """
        kind = SECRET if reference.kind == "secretKeyRef" else CONFIG_MAP
        found = self._wire.get(kind, reference.name)
        if found is None:
            raise InputError(f"there is no {kind.kind} `{reference.name}` in namespace `{self._wire.namespace}`")
        plain = text_of(mapping(found.get("data")).get(reference.key))
        text = decoded(found, reference.key) if kind is SECRET else plain
        if not text:
            raise InputError(f"the {kind.kind} `{reference.name}` has nothing under `{reference.key}`")
        return text.encode("utf-8", "replace")

    def watch_ca_certificates(self, references: Collection[CaReference], listener: CaListener) -> Callable[[], None]:
        """Watch these objects on connections of their own, and return what ends that."""
        return ReferenceWatch(self._address, references, listener).close

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()


def open_kubernetes(
    url: str,
    *,
    create: bool,  # noqa: ARG001 - a cluster is there already
    access: Access | None = None,
) -> KubernetesStore:
    """Return the namespace that `url` names. Nothing is sent yet.

    Raises:
        InputError: the URL is none, lightkube is not installed, there is no usable way into the cluster, or the
            broker's URL is none.
    """
    if access is None:
        raise InputError("a Kubernetes store is opened without access to the environment, which says where it is")
    return KubernetesStore(address_of(url, access.environ), broker=broker_of(access, BROKER_SECONDS))


def _as_busy(error: CallError) -> StoreError:
    return StoreBusyError(str(error), fix=error.fix) if error.status in (TOO_MANY, UNAVAILABLE) else error
