"""The ports: what the engine asks of the rooms that do I/O. Eager and finished values, few verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.core.model import (
        Audit,
        CaReference,
        Change,
        Feature,
        Gateway,
        LiveState,
        Outcome,
        Served,
        ToolCall,
        Waited,
    )


class Store(Protocol):
    """A system that holds live state. It does not decide what to change, and does not print."""

    features: ClassVar[frozenset[Feature]]

    def read(self) -> LiveState:
        """Return everything the store holds, complete or not at all.

        Raises:
            StoreError: it could not be read.
        """
        ...

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        """Carry the changes out and return exactly one outcome for each, in order.

        A change whose `before.token` no longer matches is refused, and so is a create whose name exists by now. With
        `Feature.ATOMIC` it is all of them or none; without it the engine hands over one change at a time.

        Raises:
            StoreError: nothing could be attempted at all.
        """
        ...

    def canonical(self, gateway: Gateway) -> Gateway:
        """Return what `read` would give back after storing `gateway`. Pure and idempotent."""
        ...

    def close(self) -> None:
        """Release the store's resources."""
        ...


@runtime_checkable
class Incremental(Protocol):
    """What a store may offer besides, so that looking after it costs in proportion to what changed."""

    def read_named(self, names: Collection[str]) -> LiveState:
        """Return those rows that `read` would show under these names.

        Raises:
            StoreError: they could not be read.
        """
        ...

    def version(self) -> str:
        """Return a text that differs whenever `read` might answer differently; empty where that cannot be told.

        Raises:
            StoreError: the store is not there any more.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """What a store behind a wire knows besides: how much of a run's time is not ours."""

    @property
    def waited(self) -> Waited:
        """What the other side took so far."""
        ...


@runtime_checkable
class ToolCaller(Protocol):
    """What the store of a running platform may offer besides: to use a gateway as the platform's users do."""

    def call_tool(self, gateway: str, tool: str) -> ToolCall:
        """Call a tool, without arguments, of the gateway of this name, through the platform. Failures are answers."""
        ...


@runtime_checkable
class Serving(Protocol):
    """What the store of a platform that reads it in its own time may offer besides: to wait until it has."""

    def served(self, names: Collection[str]) -> tuple[Served, ...]:
        """Return what the platform makes of these gateways, once it has looked at each since the last `apply`.

        It ends in bounded time, whatever the platform does. Where the platform cannot be asked, it is nothing.
        """
        ...


@runtime_checkable
class CaKeeper(Protocol):
    """What a store may offer besides: the CA certificates that its platform keeps (`tls.caFrom`)."""

    def ca_certificates(self, reference: CaReference) -> bytes:
        """Return the PEM text that an object of the platform holds.

        Raises:
            InputError: there is no such object, or nothing under that key.
            StoreError: it could not be read.
        """
        ...


class Signer(Protocol):
    """A private Ed25519 key that may live elsewhere."""

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        ...

    def sign(self, payload: bytes) -> bytes:
        """Return the raw 64-byte Ed25519 signature of `payload`.

        Raises:
            SignerError: the key cannot be used.
        """
        ...
