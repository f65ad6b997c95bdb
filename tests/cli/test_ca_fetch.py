"""`reconciler ca fetch`, as typed: standard output can be saved as a CA file, and people are told what it is worth."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from raw_servers import VALID, forwarding, server_context

from reconciler.core.chains import fingerprint
from reconciler.demo.pki import Authority, Identity, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw_servers import RawServer
    from terminal import Terminal

    Serve = Callable[..., RawServer]

NAMES = ["localhost", "127.0.0.1"]


def listen(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.fixture
def present(serve: Serve) -> Callable[[Identity], str]:
    """Start a server that presents an identity, and return its host and port."""
    return lambda identity: f"localhost:{serve(listen, server_context(identity)).port}"


def full_chain(root: Authority, issuing: Authority) -> Identity:
    server = issuing.issue_server(NAMES)
    return Identity((*server.chain, root.certificate), server.key_pem)


def test_what_is_fetched_can_be_inspected_normalized_and_trusted(
    terminal: Terminal, present: Callable[[Identity], str], root: Authority, issuing: Authority
) -> None:
    server = present(full_chain(root, issuing))
    fetched = terminal("ca", "fetch", server)
    terminal.write("ca.pem", fetched.out)
    inspected = terminal("ca", "inspect", "-o", "json", "ca.pem").document
    assert [each["sha256"] for each in inspected["certificates"]] == [
        fingerprint(root.certificate),
        fingerprint(issuing.certificate),
    ]
    assert inspected["diagnostics"] == []
    assert terminal("ca", "normalize", "ca.pem").out == f"{root.pem}\n{issuing.pem}\n"

    context = ssl.create_default_context(cadata=fetched.out)
    host, port = server.split(":")
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host):
        pass


def test_the_warning_comes_first_in_the_file_and_to_the_person(
    terminal: Terminal, present: Callable[[Identity], str], issuing: Authority
) -> None:
    server = present(issuing.issue_server(NAMES))
    fetched = terminal("ca", "fetch", f"https://{server}/mcp")
    assert fetched.out.startswith(f"# NOT VERIFIED: presented by {server} on ")
    assert fetched.out.endswith(f"{issuing.pem}\n")
    assert fetched.out.count("BEGIN CERTIFICATE") == 1
    assert f"{server} presents 2 certificates, not verified:" in fetched.err
    assert "the root (CN=Payments Root CA) was not presented" in fetched.err
    assert "openssl x509 -noout -fingerprint -sha256 -in FILE" in fetched.err
    assert "a CA file is needed" in fetched.err


def test_the_fingerprint_is_the_one_that_openssl_prints(
    terminal: Terminal, present: Callable[[Identity], str], issuing: Authority
) -> None:
    terminal.write("ca.pem", terminal("ca", "fetch", present(issuing.issue_server(NAMES))).out)
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "ca.pem"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
    assert f"# sha256 fingerprint: {printed}\n" in (terminal.directory / "ca.pem").read_text()


def test_a_server_without_intermediates_gives_an_empty_file_and_the_reason(
    terminal: Terminal, present: Callable[[Identity], str], issuing: Authority
) -> None:
    server = present(issuing.issue_server(NAMES).leaf_only())
    fetched = terminal("ca", "fetch", server)
    assert fetched.out == ""
    assert "No CA certificate was presented" in fetched.err
    assert "# subject: CN=localhost\n" in terminal("ca", "fetch", server, "--all").out


def test_everything_is_printed_if_that_is_asked_for(
    terminal: Terminal, present: Callable[[Identity], str], root: Authority, issuing: Authority
) -> None:
    fetched = terminal("ca", "fetch", "--all", present(full_chain(root, issuing)))
    subjects = [line for line in fetched.out.splitlines() if line.startswith("# subject")]
    assert subjects == [
        "# subject: CN=localhost",
        "# subject: CN=Payments Issuing CA",
        "# subject: CN=Payments Root CA",
    ]


def test_a_self_signed_server_is_pinned(terminal: Terminal, present: Callable[[Identity], str]) -> None:
    server = self_signed(NAMES, VALID, ca=False)
    fetched = terminal("ca", "fetch", present(server))
    assert "pins exactly this certificate" in fetched.err
    terminal.write("pinned.pem", fetched.out)
    inspected = terminal("ca", "inspect", "-o", "json", "pinned.pem").document
    assert [each["sha256"] for each in inspected["certificates"]] == [fingerprint(server.chain[0])]


def test_a_server_of_a_public_ca_needs_no_file(
    terminal: Terminal, present: Callable[[Identity], str], public_ca: Authority
) -> None:
    server = present(public_ca.issue_server(NAMES))
    assert "no CA file is needed for this server" in terminal("ca", "fetch", server).err
    assert terminal("ca", "fetch", "-o", "json", server).document["system_trusted"] is True


def test_machines_get_one_document_and_nothing_else(
    terminal: Terminal, present: Callable[[Identity], str], issuing: Authority
) -> None:
    server = present(issuing.issue_server(NAMES))
    fetched = terminal("ca", "fetch", "-o", "json", server, "--server-name", "payments.internal")
    assert fetched.err == ""
    document = fetched.document
    assert (document["host"], f"{document['host']}:{document['port']}") == ("localhost", server)
    assert document["server_name"] == "payments.internal"
    assert (document["verified"], document["system_trusted"]) == (False, False)
    assert [each["role"] for each in document["certificates"]] == ["leaf", "intermediate"]
    assert document["missing_issuer"] == "CN=Payments Root CA"
    assert document["diagnostics"] == []


def test_a_name_may_be_called_at_an_address(terminal: Terminal, serve: Serve, root: Authority) -> None:
    port = serve(listen, server_context(root.issue_server(["payments.invalid"]))).port
    fetched = terminal("ca", "fetch", f"payments.invalid:{port}", "--connect-to", "127.0.0.1")
    assert f"payments.invalid:{port} presents 1 certificate" in fetched.err


def test_an_ipv6_address_stands_in_brackets(terminal: Terminal, serve: Serve, issuing: Authority) -> None:
    # An IPv4 address mapped into IPv6 needs the whole path of an IPv6 one, and no IPv6 interface.
    port = serve(listen, server_context(issuing.issue_server(NAMES))).port
    fetched = terminal("ca", "fetch", f"[::ffff:127.0.0.1]:{port}")
    assert fetched.out.startswith(f"# NOT VERIFIED: presented by [::ffff:127.0.0.1]:{port} on ")


def test_hostile_names_stay_within_their_comment(terminal: Terminal, present: Callable[[Identity], str]) -> None:
    hostile = Authority.root("\x1b[2J\n-----BEGIN CERTIFICATE-----\nPuTTY-User-Key-File-2: \u202e", VALID)
    server = hostile.issue_server(NAMES)
    fetched = terminal("ca", "fetch", present(Identity((*server.chain, hostile.certificate), server.key_pem)))
    assert not set("\x1b\u202e") & set(fetched.out + fetched.err)
    assert fetched.out.isascii()
    terminal.write("ca.pem", fetched.out)
    inspected = terminal("ca", "inspect", "-o", "json", "ca.pem").document
    assert [each["sha256"] for each in inspected["certificates"]] == [fingerprint(hostile.certificate)]


def test_the_file_is_printed_and_people_are_not_talked_to_if_they_want_quiet(
    terminal: Terminal, present: Callable[[Identity], str], issuing: Authority
) -> None:
    fetched = terminal("ca", "fetch", "-q", present(issuing.issue_server(NAMES)))
    assert fetched.err == ""
    assert "BEGIN CERTIFICATE" in fetched.out


def test_a_server_that_cannot_be_reached_ends_with_1(terminal: Terminal, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    failed = terminal("ca", "fetch", f"localhost:{port}", expect=1)
    assert failed.err.startswith(f"error: Nothing listens on localhost:{port}.\n  fix: Start the server")
    silent = terminal("ca", "fetch", f"localhost:{serve(listen).port}", "--timeout", "300ms", expect=1)
    assert "--timeout is the limit" in silent.err
    assert failed.out + silent.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["::1"],
        ["payments:https"],
        ["http://payments"],
        ["payments", "--timeout", "5"],
        ["payments", "--timeout", "0s"],
        ["payments", "--connect-to", "other.internal"],
        ["payments", "--server-name", "payments:443"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(terminal: Terminal, arguments: list[str]) -> None:
    failed = terminal("ca", "fetch", *arguments, expect=64)
    assert "Error: " in failed.err


def test_nothing_heavy_is_imported_to_explain_itself(terminal: Terminal) -> None:
    program = (
        "import sys; from reconciler.cli import run; run(['ca', 'fetch', '--help']); "
        "sys.exit(bool({'cryptography', 'httpcore', 'ssl'} & set(sys.modules)))"
    )
    subprocess.run(
        [sys.executable, "-c", program], cwd=terminal.directory, env=dict(os.environ), capture_output=True, check=True
    )


def test_the_proxy_of_the_environment_leads_to_the_server_and_is_named(
    terminal: Terminal, serve: Serve, root: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = serve(listen, server_context(root.issue_server(["payments.invalid"])))
    proxy = serve(forwarding({"payments.invalid:8443": upstream.port}, []))
    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{proxy.port}")
    fetched = terminal("ca", "fetch", "payments.invalid:8443", "--all")
    assert fetched.out.count("BEGIN CERTIFICATE") == 1
    assert f"called through the proxy localhost:{proxy.port} (HTTPS_PROXY)" in fetched.err
