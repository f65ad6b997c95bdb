"""Just enough DER to say what a blob is and where it ends; whatever is a certificate is parsed by `cryptography`.

It reads tags and lengths one level at a time, never recurses and never raises: what is not DER has no elements.

Source: X.690 sections 8.1 and 10.1 (definite lengths only, as DER demands).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SEQUENCE: Final = 0x30
PRIVATE_KEY: Final = "private key"

_INTEGER, _BIT_STRING, _OCTET_STRING, _OID, _VERSION = 0x02, 0x03, 0x04, 0x06, 0xA0
_TIMES = (0x17, 0x18)
_ATTRIBUTES = 0xA0
_REQUESTS = ((_INTEGER, SEQUENCE, SEQUENCE), (_INTEGER, SEQUENCE, SEQUENCE, _ATTRIBUTES))

_LONG_LENGTH = 0x80
_MAX_LENGTH_BYTES = 4
_PKCS12_VERSION = b"\3"
_PKCS7 = bytes.fromhex("2a864886f70d0107")
_EC_KEY = bytes.fromhex("2a8648ce3d0201")
_ALGORITHM = 2  # an algorithm's identifier and its parameters
_SIGNED = 2  # what is signed, and the algorithm
_KEY = 5  # behind serial number, algorithm, issuer, validity and subject


class Element(NamedTuple):
    """One tag and its content; `whole` is the encoding with its header. `missing` counts the bytes that are not there.

    `missing` is zero for a complete element.
    """

    tag: int
    content: bytes
    whole: bytes
    missing: int = 0


def first(data: bytes) -> Element | None:
    """Return the element `data` begins with, or None if it begins with none."""
    if len(data) < 2:  # noqa: PLR2004 - a tag and a length
        return None
    length, start = data[1], 2
    if length >= _LONG_LENGTH:
        count = length - _LONG_LENGTH
        start += count
        if not 1 <= count <= _MAX_LENGTH_BYTES or len(data) < start:
            return None
        length = int.from_bytes(data[2:start])
    whole = data[: start + length]
    return Element(data[0], whole[start:], whole, start + length - len(whole))


def after(data: bytes) -> bytes:
    """Return what follows the first element."""
    element = first(data)
    return data[len(element.whole) :] if element is not None else b""


def elements(data: bytes, limit: int = 8) -> tuple[Element, ...]:
    """Return the first complete elements of `data`, `limit` of them at the most."""
    return tuple(islice(_complete(data), limit))


def _complete(data: bytes) -> Iterator[Element]:
    while (element := first(data)) is not None and not element.missing:
        yield element
        data = data[len(element.whole) :]


def kind(data: bytes) -> str:
    """Return what a DER blob is, from its outermost elements.

    One of "private key", "PKCS#12 key store", "PKCS#7 bundle", "public key", "certificate", "unknown". A request or a
    revocation list is built like a certificate and counts as one here; `signed_kind` tells them apart.
    """
    outer = first(data)
    inner = elements(outer.content, 2) if outer is not None and outer.tag == SEQUENCE else ()
    shape = tuple(element.tag for element in inner)
    if shape[:1] == (_INTEGER,):
        return "PKCS#12 key store" if inner[0].content == _PKCS12_VERSION else PRIVATE_KEY
    if shape[:1] == (_OID,):
        return "PKCS#7 bundle" if inner[0].content.startswith(_PKCS7) else "unknown"
    if shape[:2] == (SEQUENCE, _OCTET_STRING):
        return PRIVATE_KEY
    if shape[:2] == (SEQUENCE, _BIT_STRING):
        return "public key"
    return "certificate" if shape[:1] == (SEQUENCE,) else "unknown"


def signed_kind(data: bytes) -> str:
    """Return what is built like a certificate: "certificate", "certificate request" or "revocation list"."""
    outer = first(data)
    signed = first(outer.content) if outer is not None else None
    shape = tuple(element.tag for element in elements(signed.content, 4)) if signed is not None else ()
    if any(tag in _TIMES for tag in shape):
        return "revocation list"
    return "certificate request" if shape in _REQUESTS else "certificate"


class Outline(NamedTuple):
    """What a certificate says of its signature and key, encoded: the inner and outer algorithm, and the key."""

    inner: bytes
    outer: bytes
    key: bytes

    @property
    def explicit_curve(self) -> bool:
        """Whether this is an elliptic curve key that spells its curve out instead of naming it (RFC 5480 2.1.1)."""
        algorithm = first(self.key)
        parts = elements(algorithm.content, _ALGORITHM) if algorithm is not None else ()
        return len(parts) == _ALGORITHM and parts[0].content == _EC_KEY and parts[1].tag == SEQUENCE


def outline(certificate: bytes) -> Outline | None:
    """Return the outline of a certificate; None where it has none.

    Source: RFC 5280 section 4.1.
    """
    outer = elements(certificate)
    parts = elements(outer[0].content) if outer else ()
    if len(parts) < _SIGNED:
        return None
    fields = [element for element in elements(parts[0].content) if element.tag != _VERSION]
    return Outline(fields[1].whole, parts[1].whole, fields[_KEY].content) if len(fields) > _KEY else None
