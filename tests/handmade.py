"""Certificates made by hand, right or wrong in every detail, and what OpenSSL says to a server that shows them."""

from __future__ import annotations

import ssl
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from raw_servers import VALID

from reconciler.demo.pki import Identity, Lifetime
from reconciler.probes.tls import load_identity

if TYPE_CHECKING:
    from collections.abc import Iterable

Extension = tuple[x509.ExtensionType, bool]

UP_TO_3_12 = ssl.VerifyFlags(0)
"""What `ssl.create_default_context` asks of a chain up to Python 3.12, and ContextForge with it."""

SINCE_3_13 = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
"""The same from Python 3.13 on."""

_USAGES = (
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


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    """Return a name of one part, or the empty one."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def usage(*allowed: str) -> Extension:
    """Return a critical keyUsage."""
    return x509.KeyUsage(**{each: each in allowed for each in _USAGES}), True


def key_id(key: ec.EllipticCurvePrivateKey) -> Extension:
    """Return the subjectKeyIdentifier of a key."""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False


def authority_id(key: ec.EllipticCurvePrivateKey) -> Extension:
    """Return the authorityKeyIdentifier of what a key signs."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False


def ca_extensions(key: ec.EllipticCurvePrivateKey) -> dict[str, Extension]:
    """Return what a faultless CA has, by name, to be changed."""
    return {
        "basic": (x509.BasicConstraints(ca=True, path_length=None), True),
        "usage": usage("key_cert_sign", "crl_sign"),
        "id": key_id(key),
    }


class HandmadeCa:
    """A CA with just these extensions, below `parent` if there is one. Another of the same key is cross-signed."""

    def __init__(
        self,
        subject: str,
        *extensions: Extension,
        key: ec.EllipticCurvePrivateKey | None = None,
        parent: HandmadeCa | None = None,
        lifetime: Lifetime = VALID,
    ) -> None:
        self.subject = subject
        self.key = key or new_key()
        issuer = parent or self
        self.certificate = sign(subject, self.key, issuer.subject, issuer.key, extensions, lifetime)

    @classmethod
    def faultless(
        cls,
        subject: str,
        *extensions: Extension,
        key: ec.EllipticCurvePrivateKey | None = None,
        parent: HandmadeCa | None = None,
        lifetime: Lifetime = VALID,
    ) -> HandmadeCa:
        """Return one that OpenSSL's strict checks pass, with more extensions if any are given."""
        key = key or new_key()
        above = [authority_id(parent.key)] if parent else []
        every = [*ca_extensions(key).values(), *above, *extensions]
        return cls(subject, *every, key=key, parent=parent, lifetime=lifetime)

    @property
    def pem(self) -> str:
        """The certificate as PEM text, without a final line end."""
        return self.certificate.public_bytes(Encoding.PEM).decode().strip()

    def server(self, host: str, *sent: HandmadeCa) -> Identity:
        """Return the faultless identity of a server that sends these CAs too."""
        key = new_key()
        extensions = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            usage("digital_signature"),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName([host_name(host)]), False),
            key_id(key),
            authority_id(self.key),
        ]
        leaf = sign("server", key, self.subject, self.key, extensions, VALID)
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return Identity((leaf, *(each.certificate for each in sent)), key_pem)


def sign(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    extensions: Iterable[Extension],
    lifetime: Lifetime,
) -> x509.Certificate:
    """Return a certificate of exactly this."""
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(lifetime.not_before).not_valid_after(lifetime.not_after)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256())


def host_name(host: str) -> x509.GeneralName:
    """Return a host as subjectAltName has it."""
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def verify_code(trusted: str, server: Identity, host: str, flags: ssl.VerifyFlags = UP_TO_3_12) -> int:
    """Return OpenSSL's verdict on a server in a real handshake, in memory: 0, or its verification error."""
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_identity(listening, server.certificate_pem, server.key_pem)
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    calling.verify_flags |= flags
    calling.load_verify_locations(cadata=trusted)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, peer = calling.wrap_bio(down, up, server_hostname=host), listening.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        try:
            client.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return error.verify_code
        except ssl.SSLWantReadError:
            _advance(peer)
        else:
            return 0
    raise AssertionError("the handshake neither ended nor failed")


def _advance(peer: ssl.SSLObject) -> None:
    with suppress(ssl.SSLWantReadError):
        peer.do_handshake()
