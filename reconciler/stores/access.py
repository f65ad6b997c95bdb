"""What stores behind a wire are given beyond their URL: settings, secrets at the last moment, and a seal for them.

All of it comes from the composition root, so that no store reads the process's environment by itself. Nothing here is
shown in any representation.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.core.model import SecretReference
    from reconciler.core.ports import Signer

BROKER: Final = "RECONCILER_BROKER"
"""Where the broker of a platform tells what it makes of what was written."""

BROKER_TIMEOUT: Final = "RECONCILER_BROKER_TIMEOUT"
"""For how many seconds it is asked."""

_PURPOSE: Final = b"mcp-gateway-reconciler: the key that seals what stands for secrets"


@dataclass(frozen=True, slots=True)
class Access:
    """How a store gets what it must not keep.

    `environ` has the store's own credential and the CA of its platform. `secret` returns the secret that a reference
    points at, or raises an InputError that names only the place. `seal` returns a keyed digest of a text, which tells
    whoever has no key nothing; None where there is no key.
    """

    environ: Mapping[str, str] = field(repr=False)
    secret: Callable[[SecretReference], str] = field(repr=False)
    seal: Callable[[str], str] | None = field(default=None, repr=False)


def sealed_by(signer: Signer) -> Callable[[str], str]:
    """Return a function from a text to its HMAC-SHA256 in hex, under a key that only the signing key leads to.

    An Ed25519 signature is deterministic and secret as long as nobody publishes it, so the hash of one over a fixed
    text is a key. It is asked for once, and only if there is something to seal.
    """

    @cache
    def key() -> bytes:
        return sha256(signer.sign(_PURPOSE)).digest()

    return lambda text: hmac.digest(key(), text.encode("utf-8", "surrogatepass"), "sha256").hex()
