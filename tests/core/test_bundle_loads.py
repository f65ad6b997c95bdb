"""What passes without an error loads in OpenSSL, and loads exactly as many certificates as are reported."""

from __future__ import annotations

import re
import ssl
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from handmade import HandmadeCa, ca_extensions, name, new_key, usage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_servers import NOW, VALID

from reconciler.core.pem import read_pem
from reconciler.core.problems import has_errors
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

    from reconciler.core.model import TrustBundle


def root_of(key: CertificateIssuerPrivateKeyTypes, subject: str) -> str:
    """Return a root with a key of any kind."""
    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(subject))
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(VALID.not_before).not_valid_after(VALID.not_after)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signs, critical = usage("key_cert_sign")
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(signs, critical=critical).add_extension(identifier, critical=False)
    made = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    return made.public_bytes(Encoding.PEM).decode().strip()


KEY: Final = new_key()
ROOT: Final = HandmadeCa.faultless("Root")
ISSUING: Final = HandmadeCa.faultless("Issuing", parent=ROOT)
POOL: Final = (
    ROOT.pem,
    ISSUING.pem,
    HandmadeCa.faultless("Below", parent=ISSUING).pem,
    HandmadeCa.faultless("Orphan", parent=HandmadeCa.faultless("Absent")).pem,
    HandmadeCa.faultless("Twice", key=KEY).pem,
    HandmadeCa.faultless("Twice", key=KEY, parent=ROOT).pem,
    HandmadeCa.faultless("Root").pem,
    HandmadeCa("Lax", ca_extensions(KEY)["basic"], key=KEY).pem,
    self_signed(["mcp.internal"], VALID).leaf_pem,
    root_of(rsa.generate_private_key(65537, 2048), "RSA"),
    root_of(ec.generate_private_key(ec.SECP384R1()), "P-384"),
    root_of(ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
)
LEAF: Final = ROOT.server("mcp.example").leaf_pem
FROM_S_CLIENT: Final = (
    " 0 s:CN = mcp.example\n   i:CN = Root\n   a:PKEY: id-ecPublicKey, 256 (bit)\n---\nServer certificate"
)


def loaded(text: bytes) -> int:
    """Return how many certificates OpenSSL takes from a file of this text."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(text)
        file.flush()
        context.load_verify_locations(cafile=file.name)
    return context.cert_store_stats()["x509"]


def loaded_as_data(text: str) -> int:
    """Return how many certificates `cadata` takes, as the platforms hand them over."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    return context.cert_store_stats()["x509"]


def accepted(data: bytes) -> tuple[TrustBundle | None, int]:
    """Return the bundle of a file if nothing in it is an error, and how many different certificates were read."""
    file = read_pem("ca.pem", data)
    bundle, problems = build_bundle([file], NOW)
    assert (bundle is None) == has_errors((*file.problems, *problems))
    return bundle, len({certificate.sha256 for certificate in file.certificates})


def spaced(text: str) -> str:
    return text.replace("\n", " \t\n")


def unwrapped(text: str) -> str:
    return re.sub(r"(?<=[A-Za-z0-9+/])\n(?=[A-Za-z0-9+/])", "", text)


certificates = st.sampled_from(POOL)
comments = st.sampled_from(["", "# our roots", "subject=CN = Root", "issuer=/C=DE/O=Größe", FROM_S_CLIENT, "-- end --"])
styles = st.sampled_from([str, spaced, unwrapped])
line_ends = st.sampled_from(["\n", "\r\n"])
byte_order_marks = st.sampled_from([b"", b"\xef\xbb\xbf"])

quiet = settings(suppress_health_check=[HealthCheck.too_slow])


@given(st.lists(st.tuples(comments, certificates, styles), min_size=1, max_size=9), line_ends, byte_order_marks)
@quiet
def test_a_file_with_nothing_but_certificates_and_text_loads_whole(
    parts: list[tuple[str, str, Callable[[str], str]]], line_end: str, mark: bytes
) -> None:
    text = "\n".join(f"{comment}\n{style(certificate)}" for comment, certificate, style in parts)
    data = mark + text.replace("\n", line_end).encode()
    bundle, count = accepted(data)
    assert bundle is not None
    assert len(bundle.certificates) == count == len({certificate for _, certificate, _ in parts})
    assert loaded_as_data(bundle.pem) == count
    if not mark:
        assert loaded(data) == count


def cut(text: str, start: int, end: int) -> str:
    lines = text.split("\n")
    return "\n".join(lines[start : len(lines) - end])


truncated = st.builds(cut, certificates, st.integers(0, 3), st.integers(0, 3))
labels = st.sampled_from(
    ["TRUSTED CERTIFICATE", "X509 CERTIFICATE", "PKCS7", "CERTIFICATE REQUEST", "PRIVATE KEY", "X"]
)
relabelled = st.builds(lambda text, label: text.replace("CERTIFICATE", label), certificates, labels)
markers = st.sampled_from(
    ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----BEGIN", "=====", "<<<<<<< HEAD", ">>>>>>> x"]
)
damage = truncated | relabelled | markers | st.just(LEAF) | st.text(max_size=30)
pieces = st.one_of(*[certificates, st.builds(spaced, certificates), comments] * 3, damage)
separators = st.sampled_from([*["\n"] * 9, "\r\n", "\n\n", "\r", "", " "])
soups = st.lists(st.tuples(pieces, separators), min_size=1, max_size=7).map(lambda parts: "".join(map("".join, parts)))


@given(soups, byte_order_marks)
@quiet
def test_whatever_passes_of_a_damaged_file_loads_with_exactly_the_number_reported(soup: str, mark: bytes) -> None:
    data = mark + soup.encode("utf-8", "surrogatepass")
    bundle, count = accepted(data)
    if bundle is None:
        return
    assert len(bundle.certificates) == count == loaded_as_data(bundle.pem) == loaded(bundle.pem.encode())
    assert count <= soup.count("-----BEGIN CERTIFICATE-----")
    if not mark and not re.search("\r(?!\n)", soup):  # old Macs' line ends are no line ends to OpenSSL
        assert loaded(data) == count


@given(st.lists(certificates, min_size=2, max_size=4))
def test_joined_files_are_refused_with_every_certificate_still_read(joined: list[str]) -> None:
    file = read_pem("ca.pem", "".join(joined).encode())
    assert [problem.code for problem in file.problems] == ["pem-joined-markers"] * (len(joined) - 1)
    assert [certificate.pem for certificate in file.certificates] == joined
