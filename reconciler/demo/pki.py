"""A throwaway PKI: private certificate authorities, and servers with certificates of theirs.

Keys are P-256 and live in memory only. Certificates satisfy OpenSSL's strict checks (subject and authority key ids,
critical basicConstraints, keyUsage), the default from Python 3.13 on. `self_signed` is the exception on purpose: it
looks like what `openssl req -x509` makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_CA_USAGE = ("key_cert_sign", "crl_sign")
_LEAF_USAGE = ("digital_signature",)
_ALL_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a certificate is valid; both moments are aware."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def around(cls, now: datetime, days: float = 365) -> Lifetime:
        """Return a lifetime that began an hour before `now`."""
        return cls(now - timedelta(hours=1), now + timedelta(days=days))

    @classmethod
    def expired(cls, now: datetime) -> Lifetime:
        """Return a lifetime that ended a day before `now`."""
        return cls(now - timedelta(days=30), now - timedelta(days=1))

    @classmethod
    def future(cls, now: datetime) -> Lifetime:
        """Return a lifetime that begins a day after `now`."""
        return cls(now + timedelta(days=1), now + timedelta(days=30))


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its key, ready to be used by a server or a client. `chain` is what is sent, leaf first."""

    chain: tuple[x509.Certificate, ...]
    key_pem: str = field(repr=False)

    @property
    def certificate_pem(self) -> str:
        """The chain as PEM text, leaf first."""
        return "\n".join(pem(certificate) for certificate in self.chain)

    @property
    def leaf_pem(self) -> str:
        """The leaf alone as PEM text."""
        return pem(self.chain[0])

    def leaf_only(self) -> Identity:
        """Return the same identity on a server that forgets its intermediates."""
        return replace(self, chain=self.chain[:1])


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority. `above` are the intermediates between it and its root, itself included if it is one."""

    certificate: x509.Certificate
    lifetime: Lifetime
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @classmethod
    def root(cls, name: str, lifetime: Lifetime) -> Authority:
        """Return a new root. A second one of the same name has another key: a rotated CA."""
        key = _new_key()
        subject = _name(name)
        builder = _ca_builder(subject, key, lifetime).issuer_name(subject)
        return cls(builder.sign(key, hashes.SHA256()), lifetime, key)

    @property
    def subject(self) -> str:
        """The subject in RFC 4514 form."""
        return self.certificate.subject.rfc4514_string()

    @property
    def pem(self) -> str:
        """The certificate as PEM text, without a final line end."""
        return pem(self.certificate)

    def issue_authority(self, name: str, lifetime: Lifetime | None = None) -> Authority:
        """Return an intermediate below this one."""
        key = _new_key()
        valid = lifetime or self.lifetime
        certificate = self._sign(_ca_builder(_name(name), key, valid))
        return Authority(certificate, valid, key, (certificate, *self.above))

    def issue_server(self, names: Sequence[str], lifetime: Lifetime | None = None) -> Identity:
        """Return an identity for a server reachable under `names`, host names or IP addresses."""
        return self._issue(names, ExtendedKeyUsageOID.SERVER_AUTH, lifetime)

    def issue_client(self, name: str, lifetime: Lifetime | None = None) -> Identity:
        """Return an identity for a TLS client."""
        return self._issue([name], ExtendedKeyUsageOID.CLIENT_AUTH, lifetime)

    def _issue(self, names: Sequence[str], purpose: x509.ObjectIdentifier, lifetime: Lifetime | None) -> Identity:
        key = _new_key()
        builder = (
            _builder(_name(names[0]), key, lifetime or self.lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(_LEAF_USAGE), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(_alternative_names(names), critical=False)
        )
        return Identity((self._sign(builder), *self.above), _key_pem(key))

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.issuer_name(self.certificate.subject).add_extension(issuer_id, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def self_signed(names: Sequence[str], lifetime: Lifetime, *, ca: bool = True) -> Identity:
    """Return what `openssl req -x509 -addext subjectAltName=…` makes: CA:TRUE unless told otherwise, no usage."""
    key = _new_key()
    subject = _name(names[0])
    certificate = (
        _builder(subject, key, lifetime)
        .issuer_name(subject)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(_alternative_names(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity((certificate,), _key_pem(key))


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate as PEM text without a final line end."""
    return certificate.public_bytes(Encoding.PEM).decode().strip()


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().strip()


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: Lifetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(lifetime.not_before)
        .not_valid_after(lifetime.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _ca_builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: Lifetime) -> x509.CertificateBuilder:
    return (
        _builder(subject, key, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(_CA_USAGE), critical=True)
    )


def _usage(allowed: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _ALL_USAGES})


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
