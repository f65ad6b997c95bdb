"""Certificates that were altered on purpose or by accident never become trust without a word."""

from __future__ import annotations

import base64
import ssl
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateBuilder, Name, NameAttribute
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.pem import read_pem
from reconciler.core.problems import Problem, Severity
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime

if TYPE_CHECKING:
    from reconciler.core.model import TrustBundle

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
LIFETIME = Lifetime.around(NOW)
ROOT = Authority.root("Root", LIFETIME)
INTERMEDIATE = ROOT.issue_authority("Intermediate")
SHA256_WITH_RSA, MD5_WITH_RSA = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010104")


def build(*texts: str) -> tuple[TrustBundle | None, tuple[Problem, ...]]:
    files = [read_pem(f"{number}.pem", text.encode()) for number, text in enumerate(texts)]
    bundle, problems = build_bundle(files, NOW)
    return bundle, (*problems, *(problem for file in files for problem in file.problems))


def encoded(authority: Authority) -> bytes:
    return authority.certificate.public_bytes(Encoding.DER)


def block(der: bytes) -> str:
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"


def loaded(text: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    return context.cert_store_stats()["x509"]


def rsa_root() -> bytes:
    key, name = rsa.generate_private_key(65537, 2048), named("Old Root")
    builder = CertificateBuilder(name, name, key.public_key(), 5, LIFETIME.not_before, LIFETIME.not_after)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def made(subject: str, issuer: str, serial: int) -> str:
    public, valid = ROOT.key.public_key(), (LIFETIME.not_before, LIFETIME.not_after)
    builder = CertificateBuilder(named(issuer), named(subject), public, serial + 1, *valid)
    return block(builder.sign(ROOT.key, hashes.SHA256()).public_bytes(Encoding.DER))


def named(common_name: str) -> Name:
    return Name([NameAttribute(NameOID.COMMON_NAME, common_name)])


def test_an_altered_intermediate_is_refused_beside_the_root_that_did_not_sign_it() -> None:
    altered = bytearray(encoded(INTERMEDIATE))
    altered[-1] ^= 1
    bundle, problems = build(ROOT.pem, block(bytes(altered)))
    assert bundle is None
    assert [(problem.code, problem.location.file) for problem in problems] == [("bundle-bad-signature", "1.pem")]


def test_an_intermediate_of_a_namesake_is_not_called_altered() -> None:
    bundle, problems = build(Authority.root("Root", LIFETIME).pem, INTERMEDIATE.pem)
    assert bundle is not None
    assert [problem.code for problem in problems] == ["bundle-missing-root"]


def test_a_root_that_signed_itself_with_md5_is_a_root_with_a_note() -> None:
    text = block(rsa_root().replace(SHA256_WITH_RSA, MD5_WITH_RSA))
    bundle, problems = build(text)
    assert bundle is not None
    assert [certificate.root for certificate in bundle.certificates] == [True]
    (note,) = [problem for problem in problems if problem.code == "root-weak-self-signature"]
    assert note.severity is Severity.INFO
    assert "MD5, which could not be checked here" in note.message


def test_many_intermediates_below_many_namesakes_are_refused_before_any_signature_is_checked() -> None:
    namesakes = [made("Issuer", "Issuer", number) for number in range(20)]
    children = [made(f"Child {number}", "Issuer", number) for number in range(100)]
    bundle, problems = build("\n".join(namesakes), "\n".join(children))
    assert bundle is None
    assert [problem.code for problem in problems] == ["bundle-too-large"]
    assert "20 certificates are named CN=Issuer" in problems[0].message


@given(st.data())
def test_whatever_is_accepted_of_an_altered_certificate_loads_and_is_counted_right(data: st.DataObject) -> None:
    der = bytearray(encoded(data.draw(st.sampled_from([ROOT, INTERMEDIATE]))))
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(der) - 1))
        if data.draw(st.booleans()):
            der[index] = data.draw(st.integers(0, 255))
        else:
            del der[index]
    bundle, problems = build(block(bytes(der)), ROOT.pem)
    assert bundle is not None or any(problem.severity is Severity.ERROR for problem in problems)
    if bundle is not None:
        assert loaded(bundle.pem) == len(bundle.certificates)


@given(st.data())
def test_a_root_altered_in_what_it_signed_is_refused_or_is_no_longer_a_root(data: st.DataObject) -> None:
    der, signed = bytearray(encoded(ROOT)), ROOT.certificate.tbs_certificate_bytes
    start = der.index(signed)
    der[data.draw(st.integers(start, start + len(signed) - 1))] ^= data.draw(st.integers(1, 255))
    bundle, _ = build(block(bytes(der)))
    if bundle is not None:
        assert [certificate.root for certificate in bundle.certificates] == [False]
