"""A bundle before and after: which certificates come, go and stay, and which step of a CA rotation that is.

A rotation without a gap takes three steps, of which git sees two: the new CA is added beside the old one; the servers
get certificates of the new CA, outside of git; the old CA is removed. Only what a chain may end at decides the step:
the roots, or every certificate where a bundle has no root.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from reconciler.core.der import outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.model import Certificate

Step = Literal["adds", "removes", "moves", "replaces", "renews", "reissues", "drops"]

_SAYS: Final[Mapping[Step, str]] = {
    "adds": (
        "step 1 of 3, add the new CA: deploy it everywhere, then reissue the server certificates under it (step 2, "
        "outside of git), then remove the old CA"
    ),
    "removes": "step 3 of 3, remove the old CA: every upstream must have a certificate of a CA that is kept by now",
    "moves": (
        "two steps at once, a CA is added while another one is removed: upstreams still using the removed one fail "
        "at once"
    ),
    "replaces": (
        "a switch in one go, nothing of the old bundle is kept: upstreams still using the old CA fail at once; to "
        "leave no gap, deploy both CAs first"
    ),
    "renews": "a renewal, the same CA and key with a new validity: harmless",
    "reissues": "the roots stay, only intermediates below them change: harmless where servers send their whole chain",
    "drops": "no CA is left in the bundle: an upstream with a certificate of a private CA fails at once",
}


@dataclass(frozen=True, slots=True)
class Rotation:
    """The step that a change of a bundle is, and what that means for whoever deploys it, in words of a sentence."""

    step: Step
    says: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """The certificates of a bundle that come, go and stay, each in the order of its bundle."""

    added: tuple[Certificate, ...]
    removed: tuple[Certificate, ...]
    kept: tuple[Certificate, ...]


def exchange(before: Sequence[Certificate], after: Sequence[Certificate]) -> Exchange:
    """Return what becomes of the certificates of a bundle."""
    old = {certificate.sha256 for certificate in before}
    new = {certificate.sha256 for certificate in after}
    return Exchange(
        added=tuple(certificate for certificate in after if certificate.sha256 not in old),
        removed=tuple(certificate for certificate in before if certificate.sha256 not in new),
        kept=tuple(certificate for certificate in after if certificate.sha256 in old),
    )


def rotation(before: Sequence[Certificate], after: Sequence[Certificate]) -> Rotation | None:
    """Return the step that leads from one bundle to the other; None where there was no bundle, or nothing changes."""
    if not before or {each.sha256 for each in before} == {each.sha256 for each in after}:
        return None
    step = _step(before, after)
    return Rotation(step, _SAYS[step])


def _step(before: Sequence[Certificate], after: Sequence[Certificate]) -> Step:
    if not after:
        return "drops"
    old, new = _authorities(_anchors(before)), _authorities(_anchors(after))
    match bool(new - old), bool(old - new):
        case True, True:
            return "moves" if old & new else "replaces"
        case True, False:
            return "adds"
        case False, True:
            return "removes"
        case _:
            return "reissues" if _prints(_anchors(before)) == _prints(_anchors(after)) else "renews"


def _anchors(bundle: Sequence[Certificate]) -> Sequence[Certificate]:
    return [certificate for certificate in bundle if certificate.root] or bundle


def _prints(certificates: Iterable[Certificate]) -> set[str]:
    return {certificate.sha256 for certificate in certificates}


def _authorities(certificates: Iterable[Certificate]) -> set[tuple[str, bytes]]:
    """Return who the certificates stand for: a renewed one has the subject and the key of the one before."""
    return {(certificate.subject, _key(certificate)) for certificate in certificates}


def _key(certificate: Certificate) -> bytes:
    """Return the encoded public key; the fingerprint where that cannot be read, so that equal means the same."""
    encoded = "".join(line for line in certificate.pem.splitlines() if not line.startswith("-----"))
    try:
        found = outline(binascii.a2b_base64(encoded))
    except ValueError:
        found = None
    return found.key if found is not None else certificate.sha256.encode()
