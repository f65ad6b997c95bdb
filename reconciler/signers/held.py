"""A private key in the memory of this process. It is not shown, logged or put into an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.parallel import by_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class HeldKey:
    """A signer over a key that was read from `origin`."""

    def __init__(self, key: Ed25519PrivateKey, origin: str) -> None:
        self._key = key
        self._origin = origin

    def __repr__(self) -> str:
        return f"HeldKey({self._origin!r})"

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        """Return the raw 64-byte Ed25519 signature of `payload`."""
        return self._key.sign(payload)

    def sign_all(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the signatures of the payloads, in order."""
        return by_threads(self._key.sign, payloads)
