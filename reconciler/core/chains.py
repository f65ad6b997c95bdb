"""Certificates as servers send them, and the way from a leaf to a trust anchor, walked offline.

OpenSSL gives the verdict; this module tells the story behind it: which issuer is missing, which one was found under the
right name with the wrong key. Certificates of a peer are hostile: any of their fields may fail to decode, and then the
certificate is shown as unreadable, by its fingerprint.

Source: RFC 5280 sections 4.1.2.4 (names) and 6.1 (paths); names compare as in OpenSSL's canonical form.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.core.certificate import Check, canonical_name, issued, load
from reconciler.core.hostile import printable
from reconciler.core.observation import PresentedCertificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

UNREADABLE = "(unreadable certificate)"

_MAX_NAMES = 50
_BROKEN_HASHES = frozenset({"sha1", "md5"})
_WEAKEST_MODULUS = 2048
_WEAKEST_CURVE = 224
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Path:
    """The way up from a leaf, as far as it goes.

    `certificates` starts with the leaf. It ends at an `anchor` (self-signed, in the bundle), or where nothing that was
    sent or bundled has issued the last one. `namesakes` are bundled certificates that carry the missing issuer's name
    but another key.
    """

    certificates: tuple[x509.Certificate, ...]
    anchored: bool
    namesakes: tuple[x509.Certificate, ...] = ()

    @property
    def last(self) -> x509.Certificate:
        """The certificate the way ends at."""
        return self.certificates[-1]


@lru_cache(maxsize=512)
def present(der: bytes) -> PresentedCertificate:
    """Return what is known of a certificate; an unreadable one has only its fingerprint.

    The last ones are remembered: the upstreams of a fleet send the same intermediates.
    """
    fingerprint = sha256(der).hexdigest()
    certificate = readable(der)
    if certificate is None:
        return PresentedCertificate(UNREADABLE, UNREADABLE, fingerprint, _NEVER, _NEVER, (), self_signed=False)
    return PresentedCertificate(
        subject=subject(certificate),
        issuer=issuer(certificate),
        sha256=fingerprint,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        names=alternative_names(certificate),
        self_signed=self_signed(certificate),
    )


def readable(der: bytes) -> x509.Certificate | None:
    """Return the certificate if every field that is used here decodes."""
    try:
        certificate = load(der)
        _ = (certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key())
        _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    except _UNREADABLE:
        return None
    return certificate


def bundled(pem: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a bundle's text; none if there is no text or it cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    except _UNREADABLE:
        return ()
    return tuple(certificate for each in found if (certificate := readable(each.public_bytes(Encoding.DER))))


def subject(certificate: x509.Certificate) -> str:
    """Return the subject in RFC 4514 form, printable."""
    return printable(certificate.subject.rfc4514_string()) or "(empty subject)"


def issuer(certificate: x509.Certificate) -> str:
    """Return the issuer in RFC 4514 form, printable."""
    return printable(certificate.issuer.rfc4514_string()) or "(empty issuer)"


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the hex SHA-256 of the DER."""
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses of subjectAltName, printable, fifty at the most."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return tuple(printable(name) for name in [*dns, *addresses][:_MAX_NAMES])


def self_signed(certificate: x509.Certificate) -> bool:
    """Return whether the certificate is its own issuer, by name and by signature."""
    return canonical_name(certificate.subject) == canonical_name(certificate.issuer) and _issued(
        certificate, certificate
    )


def weak_key(certificate: x509.Certificate) -> str:
    """Return what makes the key too weak for OpenSSL's security level 2, or the empty string.

    Source: NIST SP 800-57 part 1, table 2: 112 bits of security.
    """
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"a key on {key.curve.name}" if key.key_size < _WEAKEST_CURVE else ""
    if isinstance(key, rsa.RSAPublicKey | dsa.DSAPublicKey):
        kind = "an RSA" if isinstance(key, rsa.RSAPublicKey) else "a DSA"
        return f"{kind} key of {key.key_size} bits" if key.key_size < _WEAKEST_MODULUS else ""
    return ""


def broken_hash(certificate: x509.Certificate) -> str:
    """Return the broken hash that the certificate's issuer signed it with, or the empty string."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    broken = algorithm is not None and algorithm.name in _BROKEN_HASHES and certificate.subject != certificate.issuer
    return algorithm.name.upper() if broken and algorithm else ""


def walk(sent: Sequence[x509.Certificate], bundle: Sequence[x509.Certificate]) -> Path:
    """Walk from the first certificate sent to a trust anchor, over all that was sent and bundled."""
    path = [sent[0]]
    while not self_signed(path[-1]):
        above = next(_issuers(path[-1], [*bundle, *sent]), None)
        if above is None or above in path:
            break
        path.append(above)
    last = path[-1]
    anchored = last in bundle and self_signed(last)
    return Path(tuple(path), anchored, () if anchored else _namesakes(last, bundle))


def _issuers(certificate: x509.Certificate, among: Iterable[x509.Certificate]) -> Iterator[x509.Certificate]:
    name = canonical_name(certificate.issuer)
    return (one for one in among if canonical_name(one.subject) == name and _issued(certificate, one))


def _namesakes(certificate: x509.Certificate, bundle: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    name = canonical_name(certificate.issuer)
    return tuple(one for one in bundle if canonical_name(one.subject) == name and not _issued(certificate, one))


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    """Return whether the key of `by` made the signature. What cannot be checked here does not count."""
    return issued(certificate, by.public_key()) is Check.GOOD
