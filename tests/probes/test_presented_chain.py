"""What servers present to whoever asks, on real sockets, and what is said of those that present nothing."""

from __future__ import annotations

import ssl
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_servers import NAMES, NOW, VALID, demanding, deserted_port, hang, outdated, server_context, speechless

from reconciler.core.chains import fingerprint
from reconciler.core.presented import MAX_CERTIFICATES, Endpoint, Fetched
from reconciler.demo.pki import Authority, Identity, Lifetime, self_signed
from reconciler.errors import ReconcilerError
from reconciler.probes.presented import fetch, parse_endpoint, parse_host

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from raw_servers import RawServer

    Serve = Callable[..., RawServer]


def look(port: int, host: str = "localhost", *, server_name: str = "", timeout: float = 20.0) -> Fetched:
    return fetch(Endpoint(host, port, server_name), timeout, NOW)


@pytest.fixture
def fetched(serve: Serve) -> Callable[[Identity], Fetched]:
    """Start a server that presents an identity, and look at it."""
    return lambda identity: look(serve(hang, server_context(identity)).port)


def refused(port: int, timeout: float = 20.0) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as caught:
        look(port, timeout=timeout)
    return caught.value


# Chains -------------------------------------------------------------------------------------------------------------


def test_a_chain_nobody_trusts_is_read_all_the_same(fetched: Callable[[Identity], Fetched], issuing: Authority) -> None:
    server = issuing.issue_server(NAMES)
    seen = fetched(server)
    assert [each.certificate.sha256 for each in seen.chain.members] == [fingerprint(each) for each in server.chain]
    assert [each.role for each in seen.chain.members] == ["leaf", "intermediate"]
    assert seen.chain.members[0].names == tuple(NAMES)
    assert seen.chain.missing_issuer == "CN=Payments Root CA"
    assert seen.refusal is not None
    assert seen.refusal.reason == "CaUnknown"


def test_a_server_that_sends_its_root_leaves_nothing_missing(
    fetched: Callable[[Identity], Fetched], root: Authority, issuing: Authority
) -> None:
    server = issuing.issue_server(NAMES)
    chain = fetched(Identity((*server.chain, root.certificate), server.key_pem)).chain
    assert [each.role for each in chain.members] == ["leaf", "intermediate", "root"]
    assert chain.missing_issuer is None
    assert [each.subject for each in chain.trustable] == ["CN=Payments Issuing CA", "CN=Payments Root CA"]


def test_a_server_that_sends_its_certificate_alone_leaves_nothing_to_trust(
    fetched: Callable[[Identity], Fetched], issuing: Authority
) -> None:
    chain = fetched(issuing.issue_server(NAMES).leaf_only()).chain
    assert (chain.trustable, chain.missing_issuer) == ((), "CN=Payments Issuing CA")


@pytest.mark.parametrize("ca", [True, False])
def test_a_self_signed_server_is_its_own_and_only_anchor(fetched: Callable[[Identity], Fetched], ca: bool) -> None:
    server = self_signed(NAMES, VALID, ca=ca)
    seen = fetched(server)
    assert seen.chain.pinned
    assert [each.sha256 for each in seen.chain.trustable] == [fingerprint(server.chain[0])]
    assert seen.refusal is not None
    assert seen.refusal.reason == "SelfSigned"


def test_an_expired_chain_is_read_too(fetched: Callable[[Identity], Fetched], issuing: Authority) -> None:
    seen = fetched(issuing.issue_server(NAMES, Lifetime.expired(NOW)))
    assert len(seen.chain.members) == 2
    assert not seen.system_trusted


def test_a_chain_of_a_hundred_is_cut_short(fetched: Callable[[Identity], Fetched], root: Authority) -> None:
    chain = fetched(deep(root, 99)).chain
    assert (len(chain.members), chain.truncated) == (MAX_CERTIFICATES, True)
    assert chain.missing_issuer is None


def test_a_chain_beyond_all_measure_is_not_read(serve: Serve, root: Authority) -> None:
    server = deep(root, 3)
    giant = Identity((server.chain[0], *server.chain[1:] * 100), server.key_pem)
    failed = refused(serve(hang, server_context(giant)).port)
    assert "EXCESSIVE_MESSAGE_SIZE" in str(failed)


def deep(root: Authority, intermediates: int) -> Identity:
    """Return a server below that many intermediates, CA 0 the farthest from it."""
    authority = root
    for number in range(intermediates):
        authority = authority.issue_authority(f"CA {number}")
    return authority.issue_server(NAMES)


# Names --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def by_name(serve: Serve, root: Authority) -> tuple[int, list[str | None]]:
    """Start a server of two sites, and return its port and the names it is asked for."""
    asked: list[str | None] = []
    context = server_context(root.issue_server(["default.internal"]))
    other = server_context(root.issue_server(["payments.internal"]))

    def pick(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked.append(name)
        if name == "payments.internal":
            connection.context = other

    context.sni_callback = pick
    return serve(hang, context).port, asked


@pytest.mark.parametrize(
    ("host", "server_name", "subject", "sent"),
    [
        ("localhost", "", "CN=default.internal", "localhost"),
        ("localhost", "payments.internal", "CN=payments.internal", "payments.internal"),
        ("127.0.0.1", "payments.internal", "CN=payments.internal", "payments.internal"),
        ("127.0.0.1", "", "CN=default.internal", None),
        ("localhost", "127.0.0.1", "CN=default.internal", None),
        ("::ffff:127.0.0.1", "", "CN=default.internal", None),
    ],
)
def test_a_server_is_asked_for_the_name_and_never_for_an_address(
    by_name: tuple[int, list[str | None]], host: str, server_name: str, subject: str, sent: str | None
) -> None:
    port, asked = by_name
    seen = look(port, host, server_name=server_name)
    assert seen.chain.members[0].certificate.subject == subject
    assert asked == [sent]


def test_another_address_may_be_called_for_a_name_that_nobody_knows(serve: Serve, root: Authority) -> None:
    port = serve(hang, server_context(root.issue_server(["payments.invalid"]))).port
    seen = fetch(Endpoint("payments.invalid", port, connect_to="127.0.0.1"), 20.0, NOW)
    assert seen.chain.place == f"payments.invalid:{port}"
    assert seen.chain.members[0].certificate.subject == "CN=payments.invalid"


# The system's CAs ---------------------------------------------------------------------------------------------------


def test_a_server_of_a_public_ca_needs_no_ca_file(fetched: Callable[[Identity], Fetched], public_ca: Authority) -> None:
    seen = fetched(public_ca.issue_authority("Public Issuing CA").issue_server(NAMES))
    assert seen.system_trusted
    assert [each.subject for each in seen.chain.trustable] == ["CN=Public Issuing CA"]


def test_a_public_ca_does_not_help_under_another_name(
    fetched: Callable[[Identity], Fetched], public_ca: Authority
) -> None:
    seen = fetched(public_ca.issue_server(["payments.internal"]))
    assert seen.refusal is not None
    assert seen.refusal.reason == "NameMismatch"
    assert "is not for localhost; it is for payments.internal" in seen.refusal.message


def test_no_request_is_sent_even_to_a_server_that_is_trusted(serve: Serve, public_ca: Authority) -> None:
    heard: SimpleQueue[bytes] = SimpleQueue()

    def hear(connection: socket.socket) -> None:
        said = b""
        with suppress(OSError):  # a client that leaves before it has read the session tickets is seen to reset
            said = connection.recv(65536)
        heard.put(said)

    assert look(serve(hear, server_context(public_ca.issue_server(NAMES))).port).system_trusted
    assert heard.get(timeout=20) == b""


# Client certificates ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_client_certificate_presents_its_chain_first(
    serve: Serve, public_ca: Authority, version: ssl.TLSVersion
) -> None:
    context = demanding(public_ca.issue_server(NAMES))
    context.maximum_version = version
    seen = look(serve(hang, context).port)
    assert [each.certificate.subject for each in seen.chain.members] == ["CN=localhost"]
    # TLS 1.3 asks after the handshake. Before, it is part of it, and proves nothing while it is unfinished.
    assert seen.system_trusted is (version is ssl.TLSVersion.TLSv1_3)


# No chain at all ----------------------------------------------------------------------------------------------------


def test_plain_http(serve: Serve) -> None:
    failed = refused(serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")).port)
    assert "does not speak TLS" in str(failed)
    assert "-servername localhost" in failed.fix
    assert "spec." not in failed.fix


def test_nothing_listens() -> None:
    port = deserted_port()
    failed = refused(port)
    assert str(failed) == f"Nothing listens on localhost:{port}."
    assert "spec." not in failed.fix
    assert failed.exit_code == 1


def test_a_server_that_says_nothing(serve: Serve) -> None:
    failed = refused(serve(hang).port, timeout=0.5)
    assert "said nothing" in str(failed)
    assert "--timeout" in failed.fix


def test_a_connection_that_is_cut(serve: Serve) -> None:
    assert "closed the connection during the TLS handshake" in str(refused(serve(lambda c: c.recv(1)).port))


def test_a_server_that_has_no_cipher_in_common(serve: Serve, root: Authority) -> None:
    context = speechless(root.issue_server(NAMES))
    failed = refused(serve(hang, context).port)
    assert "no cipher" in str(failed)
    assert "spec." not in failed.fix


def test_a_server_of_tls_1_1(serve: Serve, root: Authority) -> None:
    context = outdated(root.issue_server(NAMES))
    assert "TLS 1.1 or older" in str(refused(serve(hang, context).port))


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(ReconcilerError, match=r"payments\.invalid cannot be resolved") as caught:
        fetch(Endpoint("payments.invalid", 443), 3.0, NOW)
    assert "getent hosts payments.invalid" in caught.value.fix
    assert "spec." not in caught.value.fix


# Reading addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("payments.internal", "payments.internal", 443),
        ("payments.internal:8443", "payments.internal", 8443),
        ("https://payments.internal:8443/mcp?a=b#c", "payments.internal", 8443),
        ("HTTPS://payments.internal/@scope", "payments.internal", 443),
        ("10.0.0.7:8443", "10.0.0.7", 8443),
        ("[::1]:8443", "::1", 8443),
        ("[::1]", "::1", 443),
        ("zürich.example", "xn--zrich-kva.example", 443),
    ],
)
def test_a_server_is_written_as_people_write_it(text: str, host: str, port: int) -> None:
    assert parse_endpoint(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":8443",
        "payments:",
        "payments:0",
        "payments:00",
        "payments:65536",
        "payments:-1",
        "payments:https",
        "payments/mcp",
        "payments?x",
        "::1",
        "[::1",
        "http://payments",
        "ftp://payments",
        "https://",
        "https:///mcp",
        "user:secret@payments",
        "https://user:secret@payments/",
        "pay ments",
        "pay\nments",
        "pay\x00ments",
        "pay\\ments",
        "a..b",
        f"{'a' * 64}.example",
    ],
)
def test_what_is_no_server_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)write|https|port") as caught:
        parse_endpoint(text)
    assert "secret" not in str(caught.value)


@given(st.one_of(st.text(max_size=80), st.from_regex(r"[\]\[A-Za-z0-9._:%-]{1,80}", fullmatch=True)))
def test_whatever_is_taken_for_a_server_can_be_asked_for(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        return
    assert 0 < endpoint.port < 65536
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=endpoint.name)
    assert asking.server_hostname == endpoint.name


@pytest.mark.parametrize(("text", "host"), [("payments.internal", "payments.internal"), ("::1", "::1")])
def test_a_server_name_is_a_host(text: str, host: str) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["", "payments:443", "[::1]:443", "https://payments", "pay ments", "a/b"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="without a port"):
        parse_host(text)
