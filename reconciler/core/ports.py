"""The ports: what the engine asks of the rooms that do I/O. Eager and finished values, few verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.model import Audit, Change, Feature, Gateway, LiveState, Outcome


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
