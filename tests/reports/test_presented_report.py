"""What a server presents, as a CA file that every reader reads alike, and as words."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis
from reconciler.core.pem import read_pem
from reconciler.core.presented import Endpoint, Fetched, read_chain
from reconciler.demo.pki import Authority, Lifetime, self_signed
from reconciler.reports.presented import as_document, as_pem, as_text
from reconciler.reports.style import Style

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
VALID = Lifetime.around(NOW, days=100)
ROOT = Authority.root("Root", VALID)
ISSUING = ROOT.issue_authority("Issuing")
SERVER = ISSUING.issue_server(["payments.internal", "10.0.0.7"]).chain[0]
STRANGER = Authority.root("Stranger", VALID)
ENDPOINT = Endpoint("payments.internal", 8443)
UNKNOWN = Diagnosis("CaUnknown", "nobody knows it")


def fetched(*certificates: x509.Certificate, refusal: Diagnosis | None = UNKNOWN) -> Fetched:
    chain = read_chain(ENDPOINT.place, [each.public_bytes(Encoding.DER) for each in certificates])
    return Fetched(ENDPOINT, chain, refusal)


def colons(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex(":").upper()


# The CA file --------------------------------------------------------------------------------------------------------


def test_the_ca_file_says_what_it_is_and_that_nobody_verified_it() -> None:
    seen = fetched(SERVER, ISSUING.certificate, ROOT.certificate)
    assert as_pem(ENDPOINT, seen.chain.trustable, NOW).splitlines() == [
        (
            "# NOT VERIFIED: presented by payments.internal:8443 on 2026-11-21; "
            "compare the fingerprint by another channel before trusting it"
        ),
        "# subject: CN=Issuing",
        f"# sha256 fingerprint: {colons(ISSUING.certificate)}",
        *ISSUING.pem.splitlines(),
        "# subject: CN=Root",
        f"# sha256 fingerprint: {colons(ROOT.certificate)}",
        *ROOT.pem.splitlines(),
    ]


_HOSTILE = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            [
                "-----",
                "--",
                "BEGIN ",
                "END ",
                "end",
                "CERTIFICATE",
                "PRIVATE KEY",
                "-----BEGIN CERTIFICATE-----",
                "-----END RSA PRIVATE KEY-----",
                "PuTTY-User-Key-File-2: ssh-rsa",
                "<<<<<<< HEAD",
                f"MII{'A' * 60}",
                "\n",
                "\r",
                "\u202e",
                "é",
            ]
        ),
    ),
    max_size=6,
).map("".join)


@given(subject=_HOSTILE, host=_HOSTILE)
def test_no_name_in_a_comment_is_anything_but_a_comment(subject: str, host: str) -> None:
    seen = fetched(SERVER, ISSUING.certificate, ROOT.certificate)
    certificates = [replace(each, subject=printable(subject)) for each in seen.chain.trustable]
    text = as_pem(Endpoint(printable(host), 443), certificates, NOW)

    assert all(line.startswith("#") for line in text.splitlines() if " " in line and "CERTIFICATE-----" not in line)
    ours = read_pem("ca.pem", text.encode())
    assert ours.problems == ()
    assert [each.sha256 for each in ours.certificates] == [each.sha256 for each in certificates]
    assert len(x509.load_pem_x509_certificates(text.encode())) == 2
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=text)
    assert context.cert_store_stats()["x509_ca"] == 2


def test_an_ordinary_name_stands_as_it_is() -> None:
    names = ["CN=End Entity CA,O=Pay-ments", "CN=xn--zrich-kva.example", "CN=TREND MICRO", "CN=--"]
    for name in names:
        certificate = replace(fetched(*self_signed(["a"], VALID).chain).chain.trustable[0], subject=name)
        assert f"# subject: {name}\n" in as_pem(ENDPOINT, [certificate], NOW)


# The summary --------------------------------------------------------------------------------------------------------


def test_the_summary_shows_the_chain_in_order() -> None:
    lines = as_text(fetched(SERVER, ISSUING.certificate, ROOT.certificate), NOW).splitlines()
    assert lines[:13] == [
        "payments.internal:8443 presents 3 certificates, not verified:",
        "  1. CN=payments.internal",
        "     for payments.internal, 10.0.0.7",
        "     issued by CN=Issuing",
        "     expires 2027-03-01 (in 100 days)",
        f"     sha256 {colons(SERVER)}",
        "  2. CN=Issuing",
        "     issued by CN=Root",
        "     expires 2027-03-01 (in 100 days)",
        f"     sha256 {colons(ISSUING.certificate)}",
        "  3. CN=Root (Root CA)",
        "     expires 2027-03-01 (in 100 days)",
        f"     sha256 {colons(ROOT.certificate)}",
    ]
    assert not any("was not presented" in line for line in lines)
    assert "trust on first use" in "\n".join(lines[13:])


def test_a_root_that_is_missing_is_asked_for() -> None:
    text = as_text(fetched(SERVER, ISSUING.certificate), NOW)
    assert "the root (CN=Root) was not presented: get it from whoever runs that CA" in text
    assert "an intermediate alone works only where partial chains are allowed" in text
    assert "a CA file is needed" in text


def test_a_server_that_sends_its_own_certificate_alone() -> None:
    text = as_text(fetched(SERVER), NOW)
    assert "No CA certificate was presented, so there is none to save. The issuer (CN=Issuing)" in text


def test_where_the_systems_cas_suffice_nothing_is_asked_for() -> None:
    text = as_text(fetched(SERVER, ISSUING.certificate, refusal=None), NOW)
    assert "no CA file is needed for this server" in text
    assert "get it from" not in text


def test_another_reason_than_the_ca_is_told() -> None:
    text = as_text(fetched(SERVER, refusal=Diagnosis("NameMismatch", "It is not for that name.")), NOW)
    assert "does not get through: It is not for that name." in text


def test_a_self_signed_server_is_said_to_be_pinned() -> None:
    text = as_text(fetched(*self_signed(["payments.internal"], VALID).chain), NOW)
    assert "CN=payments.internal (self-signed)" in text
    assert "pins exactly this certificate" in text
    assert "was not presented" not in text


def test_a_stranger_and_a_chain_cut_short_are_named_as_such() -> None:
    text = as_text(fetched(SERVER, *[ISSUING.certificate] * 8, STRANGER.certificate, ROOT.certificate), NOW)
    assert text.count("not part of this chain") == 1
    assert "The server sent more certificates than these." in text
    assert "was not presented" not in text


def test_no_name_moves_a_cursor() -> None:
    odd = Authority.root("\x1b[2J\u202egpj\n# subject: CN=Good", VALID)
    seen = fetched(odd.issue_server(["payments.internal"]).chain[0], odd.certificate)
    for line in f"{as_text(seen, NOW)}\n{as_pem(ENDPOINT, seen.chain.trustable, NOW)}".splitlines():
        assert line.isprintable(), line
        assert not line.startswith("# subject: CN=Good")


def test_many_names_are_cut_short() -> None:
    server = ROOT.issue_server([f"n{number}.internal" for number in range(14)]).chain[0]
    assert "n9.internal and 4 more\n" in as_text(fetched(server), NOW)


def test_colour_is_for_terminals() -> None:
    assert "\x1b[33mnot verified\x1b[0m" in as_text(fetched(SERVER), NOW, Style(colour=True))


# The document -------------------------------------------------------------------------------------------------------


def test_the_published_document() -> None:
    document = as_document(fetched(SERVER, ISSUING.certificate))
    certificates = document.pop("certificates")
    assert document == {
        "format_version": "1.0",
        "host": "payments.internal",
        "port": 8443,
        "server_name": "payments.internal",
        "verified": False,
        "system_trusted": False,
        "truncated": False,
        "missing_issuer": "CN=Root",
        "diagnostics": [],
    }
    assert [each["role"] for each in certificates] == ["leaf", "intermediate"]
    assert list(certificates[1]) == [
        "subject",
        "issuer",
        "sha256",
        "not_before",
        "not_after",
        "root",
        "ca",
        "file",
        "line",
        "role",
    ]
    assert (certificates[1]["file"], certificates[1]["line"]) == ("payments.internal:8443", 2)


def test_the_document_of_a_complete_chain_that_the_system_trusts() -> None:
    document = as_document(fetched(SERVER, ISSUING.certificate, ROOT.certificate, refusal=None))
    assert (document["system_trusted"], document["verified"], document["missing_issuer"]) == (True, False, None)


def test_what_cannot_be_read_is_a_diagnostic() -> None:
    chain = read_chain(ENDPOINT.place, [b"\x30\x00"])
    document = as_document(Fetched(ENDPOINT, chain, UNKNOWN))
    assert document["certificates"] == []
    assert [each["code"] for each in document["diagnostics"]] == ["unreadable-certificate"]
