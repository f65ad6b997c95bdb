"""The ports: what the engine asks of the rooms that do I/O. Eager and finished values, few verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

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
    from reconciler.errors import StoreError


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
class Judging(Protocol):
    """What the store of a platform that judges what it is given may offer besides: its word on what is only planned."""

    def judge(self, changes: Sequence[Change]) -> Mapping[str, str]:
        """Return why the platform would not take changes as things are, by name. Nothing is written.

        Nothing is said where whoever asks may not write, and so may not have anything judged.

        Raises:
            StoreError: it could not be asked.
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


class CaListener(Protocol):
    """Whoever wants to know when CA certificates change that a platform keeps. Called from a thread of the watch."""

    def changed(self, references: frozenset[CaReference]) -> None:
        """Look again: these may hold something else now. It is said of all of them when a watch begins (again)."""
        ...

    def broke_off(self, error: StoreError) -> None:
        """Nothing is heard of a change for now; the watch is tried again."""
        ...


@runtime_checkable
class CaWatcher(Protocol):
    """What a `CaKeeper` may offer besides: to say when what it keeps changes, and not only when it is asked."""

    def watch_ca_certificates(self, references: Collection[CaReference], listener: CaListener) -> Callable[[], None]:
        """Watch these, whatever becomes of the store, and return what ends that."""
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


@runtime_checkable
class BatchSigner(Signer, Protocol):
    """A signer for which many signatures at once are cheaper than one after the other."""

    def sign_all(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the signatures of the payloads, in order.

        Raises:
            SignerError: the key cannot be used.
        """
        ...
