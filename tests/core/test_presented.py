"""What the certificates of a presented chain are to each other, whatever a server sends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.presented import MAX_CERTIFICATES, Endpoint, read_chain
from reconciler.demo.pki import Authority, Lifetime, self_signed

if TYPE_CHECKING:
    from reconciler.core.presented import PresentedChain

VALID = Lifetime.around(datetime(2026, 11, 21, 12, tzinfo=UTC))
ROOT = Authority.root("Root", VALID)
ISSUING = ROOT.issue_authority("Issuing")
SERVER = ISSUING.issue_server(["payments.internal", "10.0.0.7"]).chain[0]
STRANGER = Authority.root("Stranger", VALID)
NAMESAKE = Authority.root("Issuing", VALID)


def read(*certificates: x509.Certificate) -> PresentedChain:
    return read_chain("payments:443", [each.public_bytes(Encoding.DER) for each in certificates])


def trusted(chain: PresentedChain) -> list[str]:
    return [each.subject for each in chain.trustable]


def test_positions_and_roles() -> None:
    chain = read(SERVER, ISSUING.certificate, ROOT.certificate)
    assert [(each.role, each.certificate.file, each.certificate.line) for each in chain.members] == [
        ("leaf", "payments:443", 1),
        ("intermediate", "payments:443", 2),
        ("root", "payments:443", 3),
    ]
    assert chain.members[0].names == ("payments.internal", "10.0.0.7")


def test_the_order_after_the_first_does_not_matter() -> None:
    chain = read(SERVER, ROOT.certificate, ISSUING.certificate)
    assert trusted(chain) == ["CN=Root", "CN=Issuing"]
    assert chain.missing_issuer is None


@pytest.mark.parametrize("odd", [STRANGER, NAMESAKE])
def test_a_ca_that_issued_nothing_in_the_chain_is_shown_and_not_to_be_trusted(odd: Authority) -> None:
    chain = read(SERVER, ISSUING.certificate, odd.certificate)
    assert [each.linked for each in chain.members] == [True, True, False]
    assert trusted(chain) == ["CN=Issuing"]
    assert chain.missing_issuer == "CN=Root"


def test_another_servers_certificate_is_no_ca() -> None:
    chain = read(SERVER, ROOT.issue_server(["other.internal"]).chain[0])
    assert [each.role for each in chain.members] == ["leaf", "leaf"]
    assert trusted(chain) == []


def test_a_root_beside_its_cross_signed_twin_completes_the_chain() -> None:
    key = ROOT.key.public_key()
    cross = (
        x509.CertificateBuilder()
        .subject_name(ROOT.certificate.subject)
        .issuer_name(STRANGER.certificate.subject)
        .public_key(key)
        .serial_number(7)
        .not_valid_before(VALID.not_before)
        .not_valid_after(VALID.not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(STRANGER.key, hashes.SHA256())
    )
    assert read(SERVER, ISSUING.certificate, cross).missing_issuer == "CN=Stranger"
    both = read(SERVER, ISSUING.certificate, cross, ROOT.certificate)
    assert both.missing_issuer is None
    assert trusted(both) == ["CN=Issuing", "CN=Root", "CN=Root"]


def test_a_certificate_sent_twice_is_trusted_once() -> None:
    chain = read(SERVER, ISSUING.certificate, ISSUING.certificate)
    assert len(chain.members) == 3
    assert trusted(chain) == ["CN=Issuing"]


@pytest.mark.parametrize("ca", [True, False])
def test_a_self_signed_server_is_pinned(ca: bool) -> None:
    chain = read(*self_signed(["payments.internal"], VALID, ca=ca).chain)
    assert chain.pinned
    assert [each.role for each in chain.members] == ["leaf"]
    assert trusted(chain) == ["CN=payments.internal"]
    assert chain.missing_issuer is None
    assert not read(SERVER).pinned


def test_only_so_many_are_looked_at() -> None:
    exact = read(SERVER, *[ISSUING.certificate] * (MAX_CERTIFICATES - 1))
    assert (len(exact.members), exact.truncated, exact.missing_issuer) == (MAX_CERTIFICATES, False, "CN=Root")
    over = read(SERVER, *[ISSUING.certificate] * MAX_CERTIFICATES)
    assert (len(over.members), over.truncated, over.missing_issuer) == (MAX_CERTIFICATES, True, None)


def test_the_last_certificate_says_where_its_issuer_is() -> None:
    issuer = x509.UniformResourceIdentifier("http://pki.internal/root.crt\x1b[2J")
    responder = x509.UniformResourceIdentifier("http://ocsp.internal")
    places = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, responder),
        x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.DNSName("pki.internal")),
        *[x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, issuer)] * 5,
    ]
    server = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payments")]))
        .issuer_name(ROOT.certificate.subject)
        .public_key(ISSUING.key.public_key())
        .serial_number(8)
        .not_valid_before(VALID.not_before)
        .not_valid_after(VALID.not_after)
        .add_extension(x509.AuthorityInformationAccess(places), critical=False)
        .sign(ROOT.key, hashes.SHA256())
    )
    assert read(server).issuer_urls == (r"http://pki.internal/root.crt\x1b[2J",) * 3
    assert read(server, ROOT.certificate).issuer_urls == ()


def test_a_certificate_that_cannot_be_read_is_a_problem_and_the_rest_is_shown() -> None:
    chain = read_chain("payments:443", [SERVER.public_bytes(Encoding.DER), b"\x30\x03nonsense"])
    assert [(each.certificate.subject) for each in chain.members] == ["CN=payments.internal"]
    assert [(each.code, each.location.file, each.location.line) for each in chain.problems] == [
        ("unreadable-certificate", "payments:443", 2)
    ]


@given(st.lists(st.binary(max_size=200), max_size=MAX_CERTIFICATES + 2))
def test_no_bytes_raise_anything(sent: list[bytes]) -> None:
    chain = read_chain("payments:443", sent)
    assert len(chain.problems) == min(len(sent), MAX_CERTIFICATES)
    assert (chain.trustable, chain.pinned, chain.missing_issuer) == ((), False, None)


@given(st.data())
def test_a_server_whose_certificate_was_altered_raises_nothing(data: st.DataObject) -> None:
    der = bytearray(SERVER.public_bytes(Encoding.DER))
    der[data.draw(st.integers(0, len(der) - 1))] ^= data.draw(st.integers(1, 255))
    chain = read_chain("payments:443", [bytes(der), ISSUING.certificate.public_bytes(Encoding.DER)])
    assert len(chain.members) + len(chain.problems) == 2


@pytest.mark.parametrize(
    ("endpoint", "place", "name", "sni"),
    [
        (Endpoint("payments", 8443), "payments:8443", "payments", "payments"),
        (Endpoint("payments", 8443, "other"), "payments:8443", "other", "other"),
        (Endpoint("10.0.0.7", 443), "10.0.0.7:443", "10.0.0.7", ""),
        (Endpoint("::1", 443), "[::1]:443", "::1", ""),
        (Endpoint("fe80::1%eth0", 443), "[fe80::1%eth0]:443", "fe80::1", ""),
        (Endpoint("10.0.0.7", 443, "payments"), "10.0.0.7:443", "payments", "payments"),
    ],
)
def test_what_a_server_is_asked_for(endpoint: Endpoint, place: str, name: str, sni: str) -> None:
    assert (endpoint.place, endpoint.name, endpoint.sni) == (place, name, sni)
