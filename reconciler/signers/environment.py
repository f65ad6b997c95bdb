"""A private key in an environment variable, as ContextForge's `ED25519_PRIVATE_KEY` has it: a PKCS#8 PEM."""

from __future__ import annotations

from reconciler.core.signing import load_private_key
from reconciler.errors import SignerError


class EnvironmentKey:
    """A signer over the key in the variable `name`, whose content is `value`.

    Raises:
        SignerError: the content is no usable key; the message names the variable and shows nothing of it.
    """

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        try:
            self._key = load_private_key(value.encode("utf-8", "surrogateescape"))
        except SignerError as error:
            raise SignerError(f"environment variable {name}: {error}", fix=error.fix) from None

    def __repr__(self) -> str:
        return f"EnvironmentKey({self._name!r})"

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        """Return the raw 64-byte Ed25519 signature of `payload`."""
        return self._key.sign(payload)
