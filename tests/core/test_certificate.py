"""One certificate: every field read at once, or a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from reconciler.core.certificate import BasicConstraints, Check, NameConstraints, ParsedCertificate, issued, parse
from reconciler.core.problems import Location, Problem
from reconciler.demo.pki import Authority, Lifetime, self_signed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
LIFETIME = Lifetime.around(NOW)
ROOT = Authority.root("Root", LIFETIME)
HERE = Location("ca.pem", 7)
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def named(*texts: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in texts])


def certificate(
    *extensions: tuple[x509.ExtensionType, bool],
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
    key: CertificateIssuerPrivateKeyTypes = EC_KEY,
    signer: CertificateIssuerPrivateKeyTypes | None = None,
) -> x509.Certificate:
    subject = subject if subject is not None else named("Subject")
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(LIFETIME.not_before)
        .not_valid_after(LIFETIME.not_after)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = signer or key
    hashless = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(signer, None if hashless else hashes.SHA256())


def der(source: x509.Certificate) -> bytes:
    return source.public_bytes(Encoding.DER)


def read(source: x509.Certificate | bytes) -> ParsedCertificate:
    result = parse(source if isinstance(source, bytes) else der(source), HERE)
    assert isinstance(result, ParsedCertificate), result
    return result


def refusal(data: bytes) -> str:
    result = parse(data, HERE)
    assert isinstance(result, Problem)
    assert (result.code, result.location, result.fix != "") == ("unreadable-certificate", HERE, True)
    return result.message


def test_the_facts_of_a_ca_are_read() -> None:
    found = read(ROOT.certificate)
    assert found.basic_constraints == BasicConstraints(ca=True, critical=True, path_length=None)
    assert (found.version, found.hash, found.key) == (3, "sha256", "secp256r1")
    assert (found.may_sign, found.purposes, found.server_names, found.unknown_critical) == (True, None, False, ())
    assert found.key_id == x509.SubjectKeyIdentifier.from_public_key(ROOT.key.public_key()).digest
    assert found.location == HERE
    assert found.self_signed


def test_the_facts_of_a_server_certificate_are_read() -> None:
    found = read(ROOT.issue_server(["mcp.example.com"]).chain[0])
    assert (found.may_sign, found.server_names, found.self_signature) == (False, True, None)
    assert found.purposes == frozenset({ExtendedKeyUsageOID.SERVER_AUTH.dotted_string})
    assert found.issuer_key == read(ROOT.certificate).key_id
    assert (found.certificate.ca, found.certificate.root) == (False, False)


def test_what_is_missing_is_none_or_empty() -> None:
    found = read(certificate())
    assert (found.basic_constraints, found.may_sign, found.purposes) == (None, None, None)
    assert (found.key_id, found.issuer_key, found.issuer_serial) == (b"", b"", None)
    assert (found.has_extensions, found.no_names, found.name_constraints, found.explicit_curve) == (
        False,
        False,
        None,
        False,
    )


def test_the_names_that_a_ca_is_limited_to_are_read_and_other_kinds_are_left() -> None:
    network = ip_network("10.0.0.0/8")
    permitted = [x509.DNSName(".Corp.example"), x509.IPAddress(network), x509.RFC822Name("corp.example")]
    found = read(certificate((x509.NameConstraints(permitted, [x509.DNSName("")]), True)))
    assert found.name_constraints == NameConstraints((".corp.example", network), ("",))
    mail = x509.NameConstraints([x509.RFC822Name("corp.example")], None)
    assert read(certificate((mail, True))).name_constraints is None


def test_an_issuer_may_be_named_by_its_serial_number() -> None:
    other = x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(named("Root"))], 99)
    assert read(certificate((other, False))).issuer_serial == 99


def test_an_alternative_name_without_names_is_noticed() -> None:
    empty = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x00")
    assert read(certificate((empty, False))).no_names


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (RSA_KEY, "RSA 2048"),
        (EC_KEY, "secp256r1"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ed448.Ed448PrivateKey.generate(), "Ed448"),
        (dsa.generate_private_key(2048), "DSA 2048"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_self_signature_is_checked_with_every_kind_of_key(key: CertificateIssuerPrivateKeyTypes, name: str) -> None:
    found = read(certificate(key=key))
    assert (found.key, found.self_signature, found.certificate.root) == (name, Check.GOOD, True)


def test_pss_signatures_are_checked_too() -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    builder = x509.CertificateBuilder().subject_name(named("PSS")).issuer_name(named("PSS"))
    builder = builder.public_key(RSA_KEY.public_key()).serial_number(1)
    builder = builder.not_valid_before(LIFETIME.not_before).not_valid_after(LIFETIME.not_after)
    assert read(builder.sign(RSA_KEY, hashes.SHA256(), rsa_padding=pss)).self_signature is Check.GOOD


@pytest.mark.parametrize("signer", [ROOT.key, RSA_KEY], ids=["the same kind of key", "another kind of key"])
def test_a_signature_by_another_key_is_bad(signer: CertificateIssuerPrivateKeyTypes) -> None:
    found = read(certificate(signer=signer))
    assert (found.self_signature, found.self_signed, found.certificate.root) == (Check.BAD, False, False)


def test_the_issuer_is_who_signed() -> None:
    child = ROOT.issue_authority("Child").certificate
    assert issued(child, ROOT.key.public_key()) is Check.GOOD
    assert issued(child, EC_KEY.public_key()) is Check.BAD


def test_names_are_equal_as_openssl_has_it() -> None:
    one = read(certificate(subject=named("Example  Root")))
    other = read(certificate(subject=named("example root ")))
    third = read(certificate(subject=named("example roots")))
    assert one.subject == other.subject != third.subject


def test_the_order_of_a_name_matters_and_that_within_a_part_does_not() -> None:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "b")]
    together, backwards = (x509.Name([x509.RelativeDistinguishedName(each)]) for each in (parts, parts[::-1]))
    assert read(certificate(subject=together)).subject == read(certificate(subject=backwards)).subject
    assert (
        read(certificate(subject=x509.Name(parts))).subject != read(certificate(subject=x509.Name(parts[::-1]))).subject
    )


def test_names_are_shown_without_what_deceives_a_terminal() -> None:
    found = read(certificate(subject=named("evil\x1b[2J\u202etxt")))
    assert found.certificate.subject == r"CN=evil\x1b[2J\u202etxt"


@pytest.mark.parametrize(
    ("extension", "known"),
    [
        (x509.NameConstraints([x509.DNSName("example.com")], None), True),
        (x509.PolicyConstraints(0, None), True),
        (x509.InhibitAnyPolicy(0), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), False),
        (x509.SubjectKeyIdentifier(b"1"), False),
    ],
)
def test_critical_extensions_that_openssl_refuses_are_listed(extension: x509.ExtensionType, known: bool) -> None:
    expected = () if known else (extension.oid.dotted_string,)
    assert read(certificate((extension, True))).unknown_critical == expected
    assert read(certificate((extension, False))).unknown_critical == ()


def test_a_serial_number_of_zero_is_read_without_a_warning() -> None:
    assert read(der(certificate()).replace(b"\x02\x01\x07", b"\x02\x01\x00", 1)).serial == 0


def test_both_kinds_of_self_signed_server_certificates_are_read() -> None:
    for ca in (True, False):
        found = read(self_signed(["mcp.internal"], LIFETIME, ca=ca).chain[0])
        assert (found.certificate.root, found.certificate.ca, found.server_names) == (True, ca, True)


SHA256_WITH_ECDSA = bytes.fromhex("06082a8648ce3d040302")
P256 = bytes.fromhex("06082a8648ce3d030107")

BROKEN = {
    "not a certificate": b"\x30\x03\x02\x01\x01",
    "version 4": der(certificate()).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1),
    "inner and outer algorithm differ": der(certificate()).replace(
        SHA256_WITH_ECDSA, bytes.fromhex("06082a8648ce3d040303"), 1
    ),
    "unknown curve": der(certificate()).replace(P256, bytes.fromhex("06082a8648ce3d03017f"), 1),
    "undecodable name": der(certificate(subject=named("xyz"))).replace(b"\x0c\x03xyz", b"\x0c\x03\xff\xfe\xfd"),
    "broken basicConstraints": der(
        certificate((x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"\x30\x03\x01\x01\x7f"), True))
    ),
    "duplicate extension": der(
        certificate(
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), False),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.5"), b"\5\0"), False),
        )
    ).replace(b"\x06\x03\x2a\x03\x05", b"\x06\x03\x2a\x03\x04"),
    "month 13": der(certificate()).replace(LIFETIME.not_before.strftime("%y%m").encode(), b"2613", 1),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_refused_with_a_reason(data: bytes) -> None:
    assert refusal(data).startswith("the certificate cannot be read: ")


def test_the_reason_says_what_is_broken() -> None:
    assert "inner and outer signature algorithms differ" in refusal(BROKEN["inner and outer algorithm differ"])
