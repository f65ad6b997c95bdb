"""Is a webhook from who it says? Each forge signs in its own way; every comparison takes constant time.

GitHub: `X-Hub-Signature-256`, HMAC-SHA256 of the body (docs.github.com, "Validating webhook deliveries").
Gitea, Forgejo: `X-Gitea-Signature`, the same without a prefix. GitLab: `X-Gitlab-Token`, the secret itself.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_LIMIT: Final = 5 * 1024 * 1024
"""Bytes. GitHub sends 25 MB at the most and a push a few KB; what is longer is no push."""

_SIGNED: Final = (("x-hub-signature-256", "sha256="), ("x-gitea-signature", ""), ("x-forgejo-signature", ""))


def is_genuine(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Return whether a request was sent by somebody who knows the secret. Header names are in lower case."""
    if not secret:
        return False
    expected = hmac.digest(secret.encode(), body, "sha256").hex()
    for name, prefix in _SIGNED:
        if name in headers:
            return same(headers[name], prefix + expected)
    return same(headers.get("x-gitlab-token", ""), secret)


def same(given: str, expected: str) -> bool:
    """Return whether two texts are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode(), expected.encode())
