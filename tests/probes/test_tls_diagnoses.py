"""Every way in which TLS goes wrong, on real sockets, and what is said about it."""

from __future__ import annotations

import socket
import ssl
import struct
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from raw_servers import (
    NAMES,
    NOW,
    VALID,
    Script,
    demanding,
    deserted_port,
    hang,
    outdated,
    server_context,
    speaking_http,
    speechless,
    target,
)

from reconciler.core.chains import fingerprint
from reconciler.core.diagnosis import diagnose
from reconciler.core.observation import UNREACHABLE, TlsObservation
from reconciler.demo.pki import Authority, Identity, Lifetime, self_signed
from reconciler.probes import probe
from reconciler.probes.wire import Line, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw_servers import RawServer

    Serve = Callable[..., RawServer]


def observed(url: str, **options: object) -> TlsObservation:
    """Probe `url` and return what TLS showed; nothing is asked of a server that failed."""
    seen = probe(target(url, **options), NOW)
    assert seen.tls is not None
    assert (seen.mcp is None) is not seen.tls.ok
    return seen.tls


@pytest.fixture
def present(serve: Serve) -> Callable[[Identity], str]:
    """Start an MCP server that presents an identity, and return its URL."""
    return lambda identity: f"https://localhost:{serve(speaking_http(Script()), server_context(identity)).port}/mcp"


# Good ---------------------------------------------------------------------------------------------------------------


def test_a_chain_to_the_bundle_is_trusted_by_the_bundle_alone(
    present: Callable[[Identity], str], root: Authority, issuing: Authority
) -> None:
    server = issuing.issue_server(NAMES)
    seen = observed(present(server), ca_certificate=root.pem, system_trust=True)
    assert (seen.ok, seen.code, seen.reason, seen.trust) == (True, "", "Trusted", "bundle")
    assert [each.sha256 for each in seen.chain] == [fingerprint(each) for each in server.chain]
    assert seen.chain[0].names == tuple(NAMES)
    assert seen.version == "TLSv1.3"
    assert seen.cipher.startswith("TLS_")


@pytest.mark.parametrize("ca", [True, False])
def test_a_pinned_self_signed_certificate_is_trusted(present: Callable[[Identity], str], ca: bool) -> None:
    server = self_signed(NAMES, VALID, ca=ca)
    assert observed(present(server), ca_certificate=server.certificate_pem).ok


def test_a_bundle_with_the_intermediate_helps_a_server_that_forgets_it(
    present: Callable[[Identity], str], root: Authority, issuing: Authority
) -> None:
    server = issuing.issue_server(NAMES).leaf_only()
    assert observed(present(server), ca_certificate=f"{issuing.pem}\n{root.pem}").ok


def test_an_address_is_checked_against_the_addresses_of_the_certificate(serve: Serve, root: Authority) -> None:
    port = serve(speaking_http(Script()), server_context(root.issue_server(["localhost"]))).port
    seen = observed(f"https://127.0.0.1:{port}/mcp", ca_certificate=root.pem)
    assert (seen.code, seen.reason) == ("64", "NameMismatch")
    port = serve(speaking_http(Script()), server_context(root.issue_server(NAMES))).port
    assert observed(f"https://127.0.0.1:{port}/mcp", ca_certificate=root.pem).ok


# Chains that are refused --------------------------------------------------------------------------------------------


def test_a_wrong_ca(present: Callable[[Identity], str], issuing: Authority) -> None:
    other = Authority.root("Other Root CA", VALID)
    seen = observed(present(issuing.issue_server(NAMES)), ca_certificate=other.pem)
    assert (seen.ok, seen.code, seen.reason, seen.trust) == (False, "20", "CaUnknown", "none")
    assert "CN=Payments Root CA" in seen.message
    assert [each.subject for each in seen.chain] == ["CN=localhost", "CN=Payments Issuing CA"]


def test_a_rotated_ca_of_the_same_name(present: Callable[[Identity], str], root: Authority) -> None:
    old = Authority.root("Payments Root CA", VALID)
    seen = observed(present(root.issue_server(NAMES)), ca_certificate=old.pem)
    assert (seen.ok, seen.reason) == (False, "CaRotated")


def test_a_missing_intermediate(present: Callable[[Identity], str], root: Authority, issuing: Authority) -> None:
    seen = observed(present(issuing.issue_server(NAMES).leaf_only()), ca_certificate=root.pem)
    assert (seen.code, seen.reason, len(seen.chain)) == ("20", "IntermediateMissing", 1)
    assert "CN=Payments Issuing CA" in seen.message


def test_a_bundle_without_the_root(present: Callable[[Identity], str], issuing: Authority) -> None:
    seen = observed(present(issuing.issue_server(NAMES)), ca_certificate=issuing.pem)
    assert (seen.code, seen.reason) == ("2", "RootMissing")


def test_a_root_that_is_sent_but_not_bundled(present: Callable[[Identity], str], root: Authority) -> None:
    server = root.issue_server(NAMES)
    sends_root = Identity((*server.chain, root.certificate), server.key_pem)
    seen = observed(present(sends_root), ca_certificate=Authority.root("Other", VALID).pem)
    assert (seen.code, seen.reason) == ("19", "CaUnknown")
    assert fingerprint(root.certificate) in seen.message


def test_a_self_signed_certificate(present: Callable[[Identity], str], root: Authority) -> None:
    server = self_signed(NAMES, VALID)
    seen = observed(present(server), ca_certificate=root.pem)
    assert (seen.code, seen.reason) == ("18", "SelfSigned")
    assert fingerprint(server.chain[0]) in seen.message
    assert seen.chain[0].self_signed


def test_no_trust_at_all(present: Callable[[Identity], str], root: Authority) -> None:
    assert observed(present(root.issue_server(NAMES))).reason == "CaUnknown"


def test_an_expired_certificate(present: Callable[[Identity], str], root: Authority) -> None:
    seen = observed(present(root.issue_server(NAMES, Lifetime.expired(NOW))), ca_certificate=root.pem)
    assert (seen.code, seen.reason) == ("10", "CertificateExpired")
    assert seen.chain[0].not_after < NOW


def test_an_expired_root_in_the_bundle(present: Callable[[Identity], str]) -> None:
    root = Authority.root("Old Root CA", Lifetime.expired(NOW))
    seen = observed(present(root.issue_server(NAMES, VALID)), ca_certificate=root.pem)
    assert (seen.code, seen.reason) == ("10", "CertificateExpired")
    assert "CN=Old Root CA, in the bundle" in seen.message


def test_a_certificate_that_is_not_valid_yet(present: Callable[[Identity], str], root: Authority) -> None:
    seen = observed(present(root.issue_server(NAMES, Lifetime.future(NOW))), ca_certificate=root.pem)
    assert (seen.code, seen.reason) == ("9", "CertificateNotYetValid")


def test_a_wrong_host(present: Callable[[Identity], str], root: Authority) -> None:
    seen = observed(present(root.issue_server(["payments.internal"])), ca_certificate=root.pem)
    assert (seen.code, seen.reason) == ("62", "NameMismatch")
    assert "it is for payments.internal" in seen.message


# Thanks to the system -----------------------------------------------------------------------------------------------


def test_trust_without_a_bundle_comes_from_the_system(present: Callable[[Identity], str], public_ca: Authority) -> None:
    url = present(public_ca.issue_server(NAMES))
    seen = observed(url, system_trust=True)
    assert (seen.ok, seen.reason, seen.trust) == (True, "Trusted", "system")
    assert not observed(url, system_trust=False).ok


def test_trust_in_spite_of_the_bundle_is_named_as_such(
    present: Callable[[Identity], str], public_ca: Authority, root: Authority
) -> None:
    seen = observed(present(public_ca.issue_server(NAMES)), ca_certificate=root.pem, system_trust=True)
    assert (seen.ok, seen.code, seen.reason, seen.trust) == (True, "", "SystemTrustOnly", "system")
    assert "With the bundle alone: localhost:" in seen.message
    assert "CN=Public Root CA" in seen.message


def test_system_trust_does_not_help_where_nobody_knows_the_ca(
    present: Callable[[Identity], str], public_ca: Authority, root: Authority
) -> None:
    server = Authority.root("Nobody", VALID).issue_server(NAMES)
    seen = observed(present(server), ca_certificate=root.pem, system_trust=True)
    assert (seen.ok, seen.reason) == (False, "IntermediateMissing")
    assert "nor among the system's CAs" in seen.message
    assert public_ca.subject not in seen.message


# Client certificates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_that_is_demanded(serve: Serve, root: Authority, version: ssl.TLSVersion) -> None:
    context = demanding(root.issue_server(NAMES), root.pem)
    context.maximum_version = version
    url = f"https://localhost:{serve(speaking_http(Script()), context).port}/mcp"

    seen = observed(url, ca_certificate=root.pem)
    assert (seen.ok, seen.reason) == (False, "ClientCertificateRequired")
    assert "client certificate" in seen.message
    assert seen.chain[0].subject == "CN=localhost"

    ours = root.issue_client("reconciler")
    known = observed(url, ca_certificate=root.pem, client_certificate=ours.certificate_pem, client_key=ours.key_pem)
    assert known.ok


def test_a_client_certificate_that_is_refused(serve: Serve, root: Authority) -> None:
    port = serve(speaking_http(Script()), demanding(root.issue_server(NAMES), root.pem)).port
    foreign = Authority.root("Other Root CA", VALID).issue_client("reconciler")
    seen = observed(
        f"https://localhost:{port}/mcp",
        ca_certificate=root.pem,
        client_certificate=foreign.certificate_pem,
        client_key=foreign.key_pem,
    )
    assert (seen.ok, seen.reason) == (False, "ClientCertificateRefused")


def test_a_client_key_that_does_not_fit(present: Callable[[Identity], str], root: Authority) -> None:
    url = present(root.issue_server(NAMES))
    ours, other = root.issue_client("a"), root.issue_client("b")
    seen = observed(url, ca_certificate=root.pem, client_certificate=ours.leaf_pem, client_key=other.key_pem)
    assert (seen.ok, seen.reason) == (False, "TrustUnusable")


@pytest.mark.parametrize("bundle", ["not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "é"])
def test_a_bundle_that_openssl_cannot_use(present: Callable[[Identity], str], root: Authority, bundle: str) -> None:
    seen = observed(present(root.issue_server(NAMES)), ca_certificate=bundle)
    assert (seen.ok, seen.reason) == (False, "TrustUnusable")


# Too old, too weak --------------------------------------------------------------------------------------------------


def test_no_cipher_in_common(serve: Serve, root: Authority) -> None:
    context = speechless(root.issue_server(NAMES))
    seen = observed(f"https://localhost:{serve(hang, context).port}/mcp", ca_certificate=root.pem)
    assert (seen.ok, seen.reason, seen.chain) == (False, "NoSharedCipher", ())


# Not TLS at all -----------------------------------------------------------------------------------------------------


def reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_plain_http_on_the_port(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")).port
    seen = observed(f"https://localhost:{port}/mcp")
    assert (seen.code, seen.reason) == ("WRONG_VERSION_NUMBER", "NotTls")
    assert "http://" in seen.fix


def test_another_protocol_on_the_port(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")).port
    assert observed(f"https://localhost:{port}/mcp").reason == "NotTls"


@pytest.mark.parametrize("talk", [reset, lambda connection: connection.recv(1)])
def test_a_connection_that_is_cut_during_the_handshake(serve: Serve, talk: Callable[[socket.socket], None]) -> None:
    seen = observed(f"https://localhost:{serve(talk).port}/mcp")
    assert seen.reason == "ConnectionClosed"
    assert "during the TLS handshake" in seen.message


def test_a_server_that_hangs(serve: Serve) -> None:
    seen = observed(f"https://localhost:{serve(hang).port}/mcp", timeout_seconds=0.5)
    assert (seen.code, seen.reason) == ("ETIMEDOUT", "HandshakeTimeout")


def test_a_port_where_nothing_listens() -> None:
    port = deserted_port()
    seen = observed(f"https://localhost:{port}/mcp")
    assert (seen.code, seen.reason) == ("ECONNREFUSED", "ConnectionRefused")
    assert seen.reason in UNREACHABLE


def test_a_port_that_does_not_answer() -> None:
    with socket.socket() as listener, socket.socket() as queued:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued.connect(listener.getsockname())
        with socket.socket() as also:
            also.setblocking(False)
            also.connect_ex(listener.getsockname())
            port = listener.getsockname()[1]
            seen = observed(f"https://127.0.0.1:{port}/mcp", timeout_seconds=0.5)
    assert (seen.code, seen.reason) == ("ETIMEDOUT", "ConnectTimeout")


def test_a_resolver_that_hangs() -> None:
    asked, answered = Event(), Event()

    def look_up(*_: object, **__: object) -> list[tuple[Any, ...]]:
        asked.set()
        answered.wait()
        return []

    line = Line(target("https://payments.internal/mcp", timeout_seconds=0.3), "payments.internal", 443, look_up=look_up)
    with pytest.raises(WireError) as failed:
        line.connect()
    answered.set()
    assert asked.is_set()
    found = diagnose(failed.value.attempt, NOW)
    assert found.reason == "HostUnknown"
    assert "Resolving the name payments.internal took longer than 0.3 s" in found.message
    assert found.fix.endswith("To see the same: getent hosts payments.internal")


def test_a_name_that_nobody_knows() -> None:
    seen = observed("https://payments.invalid/mcp", timeout_seconds=3)
    assert seen.reason == "HostUnknown"
    assert "getent hosts payments.invalid" in seen.fix


def test_a_server_of_tls_1_1(serve: Serve, root: Authority) -> None:
    context = outdated(root.issue_server(NAMES))
    seen = observed(f"https://localhost:{serve(hang, context).port}/mcp", ca_certificate=root.pem)
    assert seen.reason == "TlsTooOld"
