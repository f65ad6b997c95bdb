"""One certificate, read once: every field that anything here looks at, inside one guard.

Certificates are hostile. A name, an extension or a key may fail to decode long after the certificate itself was
accepted, so all of it is read at parse time, and what cannot be read is a problem with its reason. Nothing here depends
on the time of day, and nothing decides whether a certificate is fit for its purpose (`reconciler.core.fitness` does).

Source: RFC 5280 sections 4.1 and 4.2; names compare as in OpenSSL's canonical form (`X509_NAME_cmp`).
"""

from __future__ import annotations

import string
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from reconciler.core import der
from reconciler.core.hostile import printable
from reconciler.core.model import Certificate
from reconciler.core.problems import Location, Problem, Rule, Severity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

UNREADABLE_CERTIFICATE = Rule(
    "unreadable-certificate",
    Severity.ERROR,
    "A certificate with a broken field is refused by some TLS libraries and half understood by others.",
)

Name = tuple[tuple[tuple[str, str], ...], ...]
"""A distinguished name in the form in which equal names are equal: parts of (OID, text), sorted within each RDN."""

_ExtensionT = TypeVar("_ExtensionT", bound=x509.ExtensionType)

_Extensions = Mapping[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]

# What OpenSSL processes (X509_supported_extension); a critical extension outside of it is verification error 34.
_SUPPORTED_CRITICAL = frozenset(
    {
        "2.16.840.1.113730.1.1",  # Netscape certificate type
        "2.5.29.15",  # key usage
        "2.5.29.17",  # subject alternative name
        "2.5.29.19",  # basic constraints
        "2.5.29.30",  # name constraints
        "2.5.29.31",  # revocation list distribution points
        "2.5.29.32",  # certificate policies
        "2.5.29.33",  # policy mappings
        "2.5.29.36",  # policy constraints
        "2.5.29.37",  # extended key usage
        "2.5.29.54",  # inhibit any policy
        "1.3.6.1.5.5.7.48.1.5",  # OCSP no check
    }
)
_NO_TEXT = frozenset({"OctetString", "UTCTime", "GeneralizedTime", "VisibleString"})
"""What OpenSSL takes for no value of a name: whatever is not in its `B_ASN1_PRINTABLE`."""

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Check(Enum):
    """What came of checking a signature. Uncheckable: the algorithm is not supported here."""

    GOOD = "good"
    BAD = "bad"
    UNCHECKABLE = "uncheckable"


_ITS_OWN = (Check.GOOD, Check.UNCHECKABLE)


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """The basicConstraints extension. `path_length` counts the intermediates allowed below; None is no limit."""

    ca: bool
    critical: bool
    path_length: int | None


Subtree = str | IPv4Network | IPv6Network
"""What a name constraint is about: a DNS name as written, in lower case, or a network."""


@dataclass(frozen=True, slots=True)
class NameConstraints:
    """The DNS names and networks of the nameConstraints extension; the other kinds of names say nothing of a host."""

    permitted: tuple[Subtree, ...]
    excluded: tuple[Subtree, ...]


@dataclass(frozen=True, slots=True)
class ParsedCertificate:
    """A certificate and the facts a trust decision needs.

    `self_signature` is None where subject and issuer differ. `may_sign` is keyUsage's keyCertSign and `purposes` the
    OIDs of extendedKeyUsage, each None where the extension is missing. `unknown_critical` are OIDs. `hash` is the name
    of the signature's hash, or empty. `issuer_key` and `key_id` are the authority and subject key identifiers, or
    empty; `issuer_serial` is the serial number that the former may name as well. `server_names` says whether
    subjectAltName has a DNS name or IP address, `no_names` that it is there and empty. `name_constraints` is None where
    there are none on hosts. `explicit_curve` says that the key spells its curve out.
    """

    certificate: Certificate
    subject: Name
    issuer: Name
    version: int
    serial: int
    hash: str
    key: str
    key_id: bytes
    issuer_key: bytes
    issuer_serial: int | None
    self_signature: Check | None
    basic_constraints: BasicConstraints | None
    may_sign: bool | None
    purposes: frozenset[str] | None
    server_names: bool
    no_names: bool
    name_constraints: NameConstraints | None
    unknown_critical: tuple[str, ...]
    has_extensions: bool
    explicit_curve: bool
    encoded: x509.Certificate = field(repr=False)

    @property
    def self_signed(self) -> bool:
        """Whether the certificate is its own issuer, as far as that can be checked."""
        return self.self_signature in _ITS_OWN

    @property
    def location(self) -> Location:
        """Where the certificate's block begins."""
        return Location(self.certificate.file, self.certificate.line)


def load(data: bytes) -> x509.Certificate:
    """Return the certificate of a DER encoding. What the library thinks of other people's serials is not printed.

    Raises:
        ValueError: it is none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(data)


def parse(data: bytes, location: Location) -> ParsedCertificate | Problem:
    """Return the certificate of one complete DER encoding, or the problem why it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(data, location)
    except Exception as error:  # noqa: BLE001 - the library's errors for hostile fields are of a dozen classes
        message = f"the certificate cannot be read: {printable(str(error)) or type(error).__name__}"
        return UNREADABLE_CERTIFICATE.at(location, message, fix="ask whoever issued it for a correct certificate")


def issued(certificate: x509.Certificate, key: CertificatePublicKeyTypes) -> Check:
    """Return whether `key` made the certificate's signature."""
    try:
        _verify(certificate, key)
    except UnsupportedAlgorithm:
        return Check.UNCHECKABLE
    except (InvalidSignature, ValueError, TypeError):
        return Check.BAD
    return Check.GOOD


def _verify(certificate: x509.Certificate, key: CertificatePublicKeyTypes) -> None:
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    match key:
        case rsa.RSAPublicKey():
            key.verify(signature, signed, _rsa_padding(certificate), _hash(certificate))
        case ec.EllipticCurvePublicKey():
            key.verify(signature, signed, ec.ECDSA(_hash(certificate)))
        case dsa.DSAPublicKey():
            key.verify(signature, signed, _hash(certificate))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, signed)
        case _:
            raise UnsupportedAlgorithm("keys of this kind are not checked")


def _rsa_padding(certificate: x509.Certificate) -> padding.AsymmetricPadding:
    scheme = certificate.signature_algorithm_parameters
    if isinstance(scheme, padding.AsymmetricPadding):
        return scheme
    if _hash(certificate).name == "md5":  # `cryptography` names the hash, but gives no padding to check it with
        raise UnsupportedAlgorithm("signatures with MD5 are not checked")
    raise TypeError("not an RSA signature")


def _hash(certificate: x509.Certificate) -> hashes.HashAlgorithm:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None:
        raise TypeError("a signature without a hash")
    return algorithm


def _read(data: bytes, location: Location) -> ParsedCertificate:
    encoded = x509.load_der_x509_certificate(data)
    outline = der.outline(data)
    if outline is None or outline.inner != outline.outer:
        raise ValueError("its inner and outer signature algorithms differ")
    key = encoded.public_key()
    subject, issuer = canonical_name(encoded.subject), canonical_name(encoded.issuer)
    self_signature = issued(encoded, key) if subject == issuer else None
    extensions = {extension.oid: extension for extension in encoded.extensions}
    constraints = _value(extensions, x509.BasicConstraints)
    usage = _value(extensions, x509.KeyUsage)
    purposes = _value(extensions, x509.ExtendedKeyUsage)
    authority = _value(extensions, x509.AuthorityKeyIdentifier)
    names = _value(extensions, x509.SubjectAlternativeName)
    return ParsedCertificate(
        certificate=_model(
            encoded,
            location,
            root=self_signature in _ITS_OWN,
            ca=constraints is not None and constraints.ca,
        ),
        subject=subject,
        issuer=issuer,
        version=encoded.version.value + 1,
        serial=encoded.serial_number,
        hash=_hash_name(encoded),
        key=_key_name(key),
        key_id=_subject_key(extensions),
        issuer_key=(authority.key_identifier or b"") if authority is not None else b"",
        issuer_serial=authority.authority_cert_serial_number if authority is not None else None,
        self_signature=self_signature,
        basic_constraints=_basic_constraints(extensions),
        may_sign=usage.key_cert_sign if usage is not None else None,
        purposes=frozenset(oid.dotted_string for oid in purposes) if purposes is not None else None,
        server_names=names is not None and any(isinstance(name, x509.DNSName | x509.IPAddress) for name in names),
        no_names=names is not None and not list(names),
        name_constraints=_name_constraints(extensions),
        unknown_critical=_unknown_critical(extensions),
        has_extensions=bool(extensions),
        explicit_curve=isinstance(key, ec.EllipticCurvePublicKey) and outline.explicit_curve,
        encoded=encoded,
    )


def _model(encoded: x509.Certificate, location: Location, *, root: bool, ca: bool) -> Certificate:
    return Certificate(
        subject=_shown(encoded.subject),
        issuer=_shown(encoded.issuer),
        sha256=encoded.fingerprint(SHA256()).hex(),
        not_before=encoded.not_valid_before_utc,
        not_after=encoded.not_valid_after_utc,
        root=root,
        ca=ca,
        pem=encoded.public_bytes(Encoding.PEM).decode("ascii").strip(),
        file=location.file,
        line=location.line,
    )


def _shown(name: x509.Name) -> str:
    return printable(name.rfc4514_string()) or "(empty name)"


def canonical_name(name: x509.Name) -> Name:
    """Return a name as OpenSSL compares it: letter case and runs of white space do not matter."""
    return tuple(tuple(sorted((part.oid.dotted_string, _folded(part)) for part in rdn)) for rdn in name.rdns)


def _folded(part: x509.NameAttribute[str | bytes]) -> str:
    if part._type.name in _NO_TEXT:  # noqa: SLF001 - the public interface does not tell
        raise ValueError(f"a part of a name is of the type {part._type.name}, which is no text")  # noqa: SLF001
    text = part.value if isinstance(part.value, str) else part.value.hex()
    return " ".join(text.split()).translate(_LOWER)


def _value(extensions: _Extensions, kind: type[_ExtensionT]) -> _ExtensionT | None:
    found = extensions.get(kind.oid)
    return found.value if found is not None and isinstance(found.value, kind) else None


def _basic_constraints(extensions: _Extensions) -> BasicConstraints | None:
    value = _value(extensions, x509.BasicConstraints)
    if value is None:
        return None
    return BasicConstraints(value.ca, extensions[value.oid].critical, value.path_length)


def _subject_key(extensions: _Extensions) -> bytes:
    value = _value(extensions, x509.SubjectKeyIdentifier)
    return value.digest if value is not None else b""


def _name_constraints(extensions: _Extensions) -> NameConstraints | None:
    value = _value(extensions, x509.NameConstraints)
    if value is None:
        return None
    permitted, excluded = _subtrees(value.permitted_subtrees), _subtrees(value.excluded_subtrees)
    return NameConstraints(permitted, excluded) if permitted or excluded else None


def _subtrees(names: Iterable[x509.GeneralName] | None) -> tuple[Subtree, ...]:
    values = [name.value for name in names or () if isinstance(name, x509.DNSName | x509.IPAddress)]
    return tuple(
        value.translate(_LOWER) if isinstance(value, str) else value
        for value in values
        if isinstance(value, str | IPv4Network | IPv6Network)
    )


def _unknown_critical(extensions: _Extensions) -> tuple[str, ...]:
    critical = {oid.dotted_string for oid, extension in extensions.items() if extension.critical}
    return tuple(sorted(critical - _SUPPORTED_CRITICAL))


def _hash_name(encoded: x509.Certificate) -> str:
    algorithm = encoded.signature_hash_algorithm
    return algorithm.name if algorithm is not None else ""


def _key_name(key: CertificatePublicKeyTypes) -> str:
    """Return the kind and size of a key, as in `RSA 2048` or `secp256r1`."""
    match key:
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case dsa.DSAPublicKey():
            return f"DSA {key.key_size}"
        case ec.EllipticCurvePublicKey():
            return key.curve.name
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")
