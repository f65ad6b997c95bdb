"""The demonstration's own PKI and servers: strict certificates, and servers that come and go cleanly."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest
from raw_servers import NOW, VALID, server_context, target

from reconciler.core.model import Transport
from reconciler.demo.pki import Authority, Identity
from reconciler.demo.upstreams import Upstream
from reconciler.errors import ReconcilerError
from reconciler.probes import probe


def shake_hands(server: Identity, client: ssl.SSLContext) -> None:
    """Let the two shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server_context(server).wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)


def test_certificates_satisfy_the_strictest_checks(root: Authority, issuing: Authority) -> None:
    strict = ssl.create_default_context(cadata=root.pem)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    for authority in (root, issuing, issuing.issue_authority("Third")):
        shake_hands(authority.issue_server(["localhost"]), strict)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(issuing.issue_server(["localhost"]).leaf_only(), strict)


def test_keys_do_not_show() -> None:
    authority = Authority.root("A", VALID)
    assert "PRIVATE" not in repr(authority.issue_server(["localhost"]))
    assert "key" not in repr(authority)


@pytest.mark.parametrize("transport", list(Transport))
def test_a_server_stops_although_streams_are_open(root: Authority, transport: Transport) -> None:
    context = ssl.create_default_context(cadata=root.pem)
    before = threading.active_count()
    with (
        Upstream("payments", root.issue_server(["localhost"]), {}, transport=transport) as upstream,
        ExitStack() as held,
    ):
        for _ in range(3):
            plain = held.enter_context(socket.create_connection(("127.0.0.1", upstream.port)))
            stream = held.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            stream.sendall(b"GET /sse HTTP/1.1\r\nhost: localhost:1\r\naccept: text/event-stream\r\n\r\n")
            assert stream.recv(100).startswith(b"HTTP/1.1 ")
        upstream.stop()
        upstream.stop()
    assert threading.active_count() == before
    seen = probe(target(upstream.url, transport=transport, ca_certificate=root.pem), NOW)
    assert seen.tls is not None
    assert seen.tls.reason == "ConnectionRefused"


def test_a_plain_server_has_no_certificate_to_switch(root: Authority) -> None:
    with Upstream("payments", None, {}) as upstream, pytest.raises(ReconcilerError, match="plain HTTP"):
        upstream.switch_certificate(root.issue_server(["localhost"]))


def test_a_server_that_was_never_started_can_be_stopped() -> None:
    Upstream("payments", None, {}).stop()


def test_without_the_sdk_it_says_what_to_install() -> None:
    program = """
import sys
sys.modules["mcp_types"] = None
from reconciler.demo.upstreams import Upstream
from reconciler.errors import ReconcilerError
try:
    Upstream("payments", None, {})
except ReconcilerError as error:
    print(error, error.fix)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "mcp_types is not installed" in done.stdout
    assert "pip install 'mcp-gateway-reconciler[demo]'" in done.stdout


def test_looking_for_the_probes_does_not_load_what_probes_need() -> None:
    program = (
        "import reconciler.probes, sys; print([m for m in ('ssl', 'httpcore', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
