"""A private key in an environment variable, as ContextForge's `ED25519_PRIVATE_KEY` has it: a PKCS#8 PEM."""

from __future__ import annotations

from reconciler.core.signing import load_private_key
from reconciler.errors import SignerError
from reconciler.signers.held import HeldKey


def key_in_variable(name: str, value: str) -> HeldKey:
    """Return a signer over the key in the variable `name`, whose content is `value`.

    Raises:
        SignerError: the content is no usable key; the message names the variable and shows nothing of it.
    """
    try:
        return HeldKey(load_private_key(value.encode("utf-8", "surrogateescape")), f"env:{name}")
    except SignerError as error:
        raise SignerError(f"environment variable {name}: {error}", fix=error.fix) from None
