"""From the facts of a failed attempt to words that a person can act on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core import chains
from reconciler.core.diagnosis import diagnose, trusted
from reconciler.core.observation import UNREACHABLE, FailedAttempt
from reconciler.core.routes import Proxy, Route
from reconciler.demo.pki import Authority, Identity, Lifetime, self_signed

if TYPE_CHECKING:
    from reconciler.core.observation import Phase

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HOST = "payments.internal"
VALID = Lifetime.around(NOW)
ROOT = Authority.root("Payments Root CA", VALID)
ISSUING = ROOT.issue_authority("Payments Issuing CA")
OTHER = Authority.root("Other Root CA", VALID)
SERVER = ISSUING.issue_server([HOST, "payments.example"])


def refused(
    code: str, identity: Identity, bundle: str = "", *, host: str = HOST, system: bool = False
) -> FailedAttempt:
    chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in identity.chain)
    return FailedAttempt(host, 8443, "handshake", code, chain=chain, bundle=bundle, system_trust=system)


def signal(code: str, phase: Phase = "handshake", host: str = HOST) -> FailedAttempt:
    return FailedAttempt(host, 8443, phase, code, detail="some detail", seconds=1.5)


# Chains -------------------------------------------------------------------------------------------------------------


def test_a_server_that_forgets_its_intermediate_is_told_which_one() -> None:
    found = diagnose(refused("20", SERVER.leaf_only(), ROOT.pem), NOW)
    assert found.reason == "IntermediateMissing"
    assert "its issuer, CN=Payments Issuing CA, is not in the bundle" in found.message
    assert "CN=Payments Root CA" in found.message, "it says what the bundle holds"
    assert "have the server send it" in found.fix


def test_a_wrong_ca_is_told_apart_by_the_names_of_both() -> None:
    found = diagnose(refused("20", SERVER, OTHER.pem), NOW)
    assert found.reason == "CaUnknown"
    assert "issued by CN=Payments Root CA" in found.message
    assert "CN=Other Root CA" in found.message


@pytest.mark.parametrize("code", ["7", "20"])
def test_a_ca_of_the_same_name_with_another_key_is_recognised(code: str) -> None:
    old = Authority.root("Payments Root CA", VALID)
    found = diagnose(refused(code, SERVER, old.pem), NOW)
    assert found.reason == "CaRotated"
    assert "holds CN=Payments Root CA, but with another key" in found.message
    assert chains.fingerprint(old.certificate)[:16] in found.message
    assert "did not sign CN=Payments Issuing CA" in found.message


def test_a_rotated_root_is_recognised_when_the_server_sends_it() -> None:
    sends_root = Identity((*SERVER.chain, ROOT.certificate), SERVER.key_pem)
    assert diagnose(refused("19", sends_root, OTHER.pem), NOW).reason == "CaUnknown"
    old = Authority.root("Payments Root CA", VALID)
    assert diagnose(refused("19", sends_root, old.pem), NOW).reason == "CaRotated"


def test_an_unknown_root_is_shown_with_its_fingerprint() -> None:
    sends_root = Identity((*SERVER.chain, ROOT.certificate), SERVER.key_pem)
    found = diagnose(refused("19", sends_root, OTHER.pem), NOW)
    assert chains.fingerprint(ROOT.certificate) in found.message


def test_an_intermediate_without_its_root_in_the_bundle_names_the_root() -> None:
    found = diagnose(refused("2", SERVER, ISSUING.pem), NOW)
    assert found.reason == "RootMissing"
    assert "Add the certificate of CN=Payments Root CA" in found.fix


def test_a_self_signed_certificate_is_shown_with_its_fingerprint() -> None:
    server = self_signed([HOST], VALID)
    found = diagnose(refused("18", server, ROOT.pem), NOW)
    assert found.reason == "SelfSigned"
    assert chains.fingerprint(server.chain[0]) in found.message
    assert "add exactly this certificate" in found.fix


def test_a_self_signed_certificate_that_was_replaced_is_recognised() -> None:
    old, new = self_signed([HOST], VALID), self_signed([HOST], VALID)
    assert diagnose(refused("18", new, old.certificate_pem), NOW).reason == "CaRotated"


def test_names_compare_without_case_and_spacing_as_openssl_does() -> None:
    odd = Authority.root("payments  ROOT ca", VALID)
    assert diagnose(refused("20", SERVER, odd.pem), NOW).reason == "CaRotated"


def test_without_a_bundle_the_message_says_so() -> None:
    found = diagnose(refused("20", SERVER, "", system=True), NOW)
    assert found.reason == "CaUnknown"
    assert "not in the bundle, which is empty, nor among the system's CAs" in found.message
    assert "-CAfile" not in found.fix


def test_a_long_bundle_is_summed_up() -> None:
    bundle = "\n".join(Authority.root(f"Root {number}", VALID).pem for number in range(9))
    message = diagnose(refused("20", SERVER, bundle), NOW).message
    assert "CN=Root 4" in message
    assert "CN=Root 5" not in message
    assert "and 4 more" in message


# Names and dates ----------------------------------------------------------------------------------------------------


def test_a_wrong_host_is_answered_with_the_names_there_are() -> None:
    found = diagnose(refused("62", SERVER, ROOT.pem, host="localhost"), NOW)
    assert found.reason == "NameMismatch"
    assert "is not for localhost; it is for payments.internal, payments.example" in found.message


def test_an_expired_leaf_is_named_with_its_date_and_our_clock() -> None:
    server = ROOT.issue_server([HOST], Lifetime(NOW - timedelta(days=90), NOW - timedelta(days=12)))
    found = diagnose(refused("10", server, ROOT.pem), NOW)
    assert found.reason == "CertificateExpired"
    assert "CN=payments.internal, the certificate of payments.internal:8443" in found.message
    assert "expired on 2026-11-09 12:00 UTC, 12 days ago (the clock here says 2026-11-21 12:00 UTC)" in found.message
    assert "Renew it at the server." in found.fix


def test_an_expired_intermediate_is_not_blamed_on_the_leaf() -> None:
    issuing = ROOT.issue_authority("Old Issuing CA", Lifetime.expired(NOW))
    found = diagnose(refused("10", issuing.issue_server([HOST], VALID), ROOT.pem), NOW)
    assert "CN=Old Issuing CA, sent by payments.internal:8443" in found.message


def test_an_expired_root_in_the_bundle_is_fixed_in_the_manifest() -> None:
    root = Authority.root("Old Root CA", Lifetime.expired(NOW))
    found = diagnose(refused("10", root.issue_server([HOST], VALID), root.pem), NOW)
    assert "CN=Old Root CA, in the bundle" in found.message
    assert "spec.tls.caCertificates" in found.fix


def test_a_certificate_of_the_future_makes_one_look_at_the_clock() -> None:
    found = diagnose(refused("9", ROOT.issue_server([HOST], Lifetime.future(NOW)), ROOT.pem), NOW)
    assert found.reason == "CertificateNotYetValid"
    assert "is not valid before 2026-11-22 12:00 UTC" in found.message
    assert "clock" in found.fix


def test_an_expiry_that_our_clock_does_not_see_is_still_an_expiry() -> None:
    assert diagnose(refused("10", SERVER, ROOT.pem), NOW).reason == "CertificateExpired"


# Codes and signals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("25", "PathTooLong"),
        ("26", "WrongPurpose"),
        ("34", "UnknownExtension"),
        ("47", "NameConstraint"),
        ("66", "WeakKey"),
        ("68", "WeakSignature"),
        ("79", "NotACa"),
        ("999", "VerificationFailed"),
    ],
)
def test_other_codes_have_words_of_their_own(code: str, reason: str) -> None:
    found = diagnose(refused(code, SERVER, ROOT.pem), NOW)
    assert found.reason == reason
    assert f"code {code}" in found.message


@pytest.mark.parametrize(
    ("code", "phase", "reason"),
    [
        ("WRONG_VERSION_NUMBER", "handshake", "NotTls"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "request", "ClientCertificateRequired"),
        ("TLSV1_ALERT_UNKNOWN_CA", "request", "ClientCertificateRefused"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "handshake", "NoSharedCipher"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "handshake", "TlsTooOld"),
        ("TLSV1_UNRECOGNIZED_NAME", "handshake", "NameNotServed"),
        ("UNEXPECTED_EOF_WHILE_READING", "handshake", "ConnectionClosed"),
        ("ECONNRESET", "handshake", "ConnectionClosed"),
        ("ECONNREFUSED", "connect", "ConnectionRefused"),
        ("ENETUNREACH", "connect", "HostUnreachable"),
        ("EAI_NONAME", "resolve", "HostUnknown"),
        ("ETIMEDOUT", "resolve", "HostUnknown"),
        ("ETIMEDOUT", "connect", "ConnectTimeout"),
        ("ETIMEDOUT", "handshake", "HandshakeTimeout"),
        ("ETIMEDOUT", "request", "AnswerTimeout"),
        ("KEY_VALUES_MISMATCH", "prepare", "TrustUnusable"),
        ("EMFILE", "connect", "ConnectFailed"),
        ("SOMETHING_NEW", "handshake", "HandshakeFailed"),
        ("SOMETHING_NEW", "request", "ConnectionFailed"),
    ],
)
def test_a_signal_becomes_a_reason(code: str, phase: Phase, reason: str) -> None:
    found = diagnose(signal(code, phase), NOW)
    assert found.reason == reason
    assert "{" not in found.message + found.fix, "no template is left unfilled"
    assert (reason in UNREACHABLE) is (phase in ("resolve", "connect"))


def test_a_hang_says_in_which_phase_and_how_long() -> None:
    assert "no TLS handshake within 1.5 s" in diagnose(signal("ETIMEDOUT"), NOW).message
    assert "No TCP connection" in diagnose(signal("ETIMEDOUT", "connect"), NOW).message
    assert "closed the connection during the TLS handshake after 1.5 s" in diagnose(signal("ECONNRESET"), NOW).message


ONLY = "-no-CApath -no-CAstore"
NAMED = f"-servername {HOST} -verify_hostname {HOST}"
PROXY = Proxy("proxy.example", 3128, "HTTPS_PROXY", "Basic c2VjcmV0")


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, f"-connect {HOST}:8443 {NAMED} -CAfile bundle.pem {ONLY}"),
        ({"host": "::1"}, f"-connect [::1]:8443 -verify_ip ::1 -CAfile bundle.pem {ONLY}"),
        ({"system_trust": True}, f"-connect {HOST}:8443 {NAMED} -CAfile bundle.pem"),
        ({"bundle": ""}, f"-connect {HOST}:8443 {NAMED} -no-CAfile {ONLY}"),
        (
            {"client_certificate": True},
            f"-connect {HOST}:8443 {NAMED} -CAfile bundle.pem {ONLY} -cert client.crt -key client.key",
        ),
        ({"route": Route(address="10.0.0.7")}, f"-connect 10.0.0.7:8443 {NAMED} -CAfile bundle.pem {ONLY}"),
        (
            {"route": Route(proxy=PROXY)},
            f"-connect {HOST}:8443 -proxy proxy.example:3128 {NAMED} -CAfile bundle.pem {ONLY}",
        ),
    ],
)
def test_the_fix_ends_with_the_command_that_shows_the_same(change: dict[str, Any], options: str) -> None:
    fix = diagnose(replace(refused("20", SERVER, OTHER.pem), **change), NOW).fix
    assert fix.endswith(f"To see the same: openssl s_client {options} -verify_return_error -showcerts </dev/null")


def test_what_is_no_tls_is_shown_by_curl() -> None:
    plain = replace(signal("ETIMEDOUT", "request"), secure=False)
    assert diagnose(plain, NOW).fix.endswith(f"To see the same: curl -v http://{HOST}:8443/")
    past_dns = replace(plain, route=Route(address="10.0.0.7"))
    assert f"curl -v --resolve {HOST}:8443:10.0.0.7 http://" in diagnose(past_dns, NOW).fix


@pytest.mark.parametrize("alert", ["SSLV3", "TLSV1", "TLSV13", "TLS"])
def test_an_alert_is_known_whatever_the_release_calls_it(alert: str) -> None:
    assert diagnose(signal(f"{alert}_ALERT_UNKNOWN_CA", "request"), NOW).reason == "ClientCertificateRefused"


def test_a_refusal_after_the_server_has_shown_its_certificate_is_about_ours() -> None:
    shown = refused("SSLV3_ALERT_HANDSHAKE_FAILURE", SERVER, ROOT.pem)
    assert diagnose(shown, NOW).reason == "ClientCertificateRequired"
    assert diagnose(replace(shown, client_certificate=True), NOW).reason == "ClientCertificateRefused"
    assert diagnose(replace(shown, chain=()), NOW).reason == "NoSharedCipher"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ECONNREFUSED", "ProxyUnreachable"),
        ("EAI_NONAME", "ProxyUnreachable"),
        ("ETIMEDOUT", "ProxyUnreachable"),
        ("HTTP_407", "ProxyWantsCredentials"),
        ("HTTP_403", "ProxyRefused"),
        ("HTTP_502", "ProxyRefused"),
        ("NOT_HTTP", "NotAProxy"),
    ],
)
def test_a_proxy_in_the_way_is_told_apart_from_the_upstream(code: str, reason: str) -> None:
    found = diagnose(replace(signal(code, "proxy"), route=Route(proxy=PROXY)), NOW)
    assert found.reason == reason
    assert reason in UNREACHABLE
    assert "proxy.example:3128" in found.message
    assert f"NO_PROXY={HOST}" in found.fix
    assert found.fix.endswith(f"To see the same: curl -v --proxy http://proxy.example:3128 https://{HOST}:8443/")
    assert "c2VjcmV0" not in f"{found}"


def test_the_way_that_was_taken_is_named_where_it_may_matter() -> None:
    assert "It was called" not in diagnose(signal("ECONNRESET"), NOW).message
    found = diagnose(replace(signal("ECONNRESET"), route=Route(proxy=PROXY)), NOW)
    assert found.message.endswith("It was called through the proxy proxy.example:3128 (HTTPS_PROXY).")
    found = diagnose(replace(signal("ECONNRESET"), route=Route(address="10.0.0.7")), NOW)
    assert found.message.endswith("It was called at 10.0.0.7 (--resolve).")


def test_trust_thanks_to_the_system_says_what_the_bundle_lacks() -> None:
    assert trusted("a:1", "bundle", None, NOW).reason == "Trusted"
    found = trusted("a:1", "system", refused("20", SERVER, OTHER.pem), NOW)
    assert found.reason == "SystemTrustOnly"
    assert "issued by CN=Payments Root CA" in found.message


# Hostile certificates -----------------------------------------------------------------------------------------------


def test_names_in_certificates_cannot_play_tricks_on_a_terminal() -> None:
    evil = Authority.root("evil\x1b[2J\u202eAC\n" + "x" * 40, VALID).issue_server([HOST])
    found = diagnose(refused("20", evil, ROOT.pem), NOW)
    assert found.message.isprintable()
    assert chains.present(evil.chain[0].public_bytes(Encoding.DER)).issuer.isprintable()


def test_a_presented_certificate_is_described() -> None:
    server = ROOT.issue_server([HOST, "127.0.0.1"])
    seen = chains.present(server.chain[0].public_bytes(Encoding.DER))
    assert (seen.subject, seen.issuer) == (f"CN={HOST}", "CN=Payments Root CA")
    assert (seen.names, seen.self_signed) == ((HOST, "127.0.0.1"), False)
    assert (seen.not_before, seen.not_after) == (VALID.not_before, VALID.not_after)
    assert seen.sha256 == chains.fingerprint(server.chain[0])
    assert chains.present(ROOT.certificate.public_bytes(Encoding.DER)).self_signed


def test_an_unreadable_certificate_still_has_a_fingerprint() -> None:
    seen = chains.present(b"no certificate")
    assert seen.subject == chains.UNREADABLE
    assert len(seen.sha256) == 64


@given(st.lists(st.binary(max_size=60), max_size=4).map(tuple), st.sampled_from(["10", "18", "20", "62", "99"]))
def test_no_chain_breaks_a_diagnosis(chain: tuple[bytes, ...], code: str) -> None:
    attempt = FailedAttempt(HOST, 443, "handshake", code, chain=chain, bundle="no PEM either")
    assert diagnose(attempt, NOW).reason


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_no_damaged_certificate_breaks_a_diagnosis(position: int, value: int) -> None:
    der = bytearray(SERVER.chain[0].public_bytes(Encoding.DER))
    der[position % len(der)] = value
    attempt = FailedAttempt(HOST, 443, "handshake", "20", chain=(bytes(der),), bundle=ROOT.pem)
    assert diagnose(attempt, NOW).reason
    assert chains.present(bytes(der)).sha256


def test_certificates_that_sign_each_other_in_a_ring_do_not_trap_the_walk() -> None:
    first, second = Authority.root("A", VALID), Authority.root("B", VALID)
    ring = (_reissued(first, second), _reissued(second, first))
    path = chains.walk(ring, ())
    assert (len(path.certificates), path.anchored) == (2, False)


def _reissued(subject: Authority, by: Authority) -> x509.Certificate:
    """Return `subject`'s name and key in a certificate that `by` signed."""
    builder = x509.CertificateBuilder(
        issuer_name=by.certificate.subject,
        subject_name=subject.certificate.subject,
        public_key=subject.key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=VALID.not_before,
        not_valid_after=VALID.not_after,
    )
    return builder.sign(by.key, SHA256())
