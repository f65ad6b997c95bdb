"""`reconciler verify`, as typed: from where it looks, and what it shows while it does."""

from __future__ import annotations

import os
import pty
import sys
from typing import TYPE_CHECKING

import pytest
from raw_servers import Script, forwarding, server_context, speaking_http

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw_servers import RawServer
    from terminal import Terminal

    from reconciler.demo.pki import Authority

STORE = ("--store", "sqlite:///gateways.db")


@pytest.fixture
def planned(terminal: Terminal, serve: Callable[..., RawServer], root: Authority) -> int:
    """Start a server whose name no DNS knows, write a manifest that requires it, and return its port."""
    upstream = serve(speaking_http(Script()), server_context(root.issue_server(["payments.invalid"])))
    terminal.write("gateways/root.pem", root.pem)
    url = f"https://payments.invalid:{upstream.port}/mcp"
    tls = {"caCertificates": ["root.pem"], "systemTrust": False}
    verify = {"mode": "required", "timeout": "20s"}
    terminal.gateway("payments", url=url, transport="streamable-http", tls=tls, verify=verify)
    return upstream.port


@pytest.fixture
def port(terminal: Terminal, planned: int) -> int:
    """Return the port of that server, once its gateway is in the store."""
    terminal("apply", "gateways", *STORE, "--no-verify")
    return planned


def test_a_new_server_is_verified_before_the_dns_moves(terminal: Terminal, port: int) -> None:
    given = f"payments.invalid:{port}:127.0.0.1"
    assert "HostUnknown" in terminal("verify", *STORE, expect=6).out
    assert "at 127.0.0.1 (--resolve)" in terminal("verify", *STORE, "--resolve", given).out
    (gateway,) = terminal("verify", *STORE, "--resolve", given, "-o", "json").document["gateways"]
    assert (gateway["ready"], gateway["via"]) == (True, {"proxy": "", "address": "127.0.0.1"})


def test_an_apply_probes_the_address_given_before_it_writes(terminal: Terminal, planned: int) -> None:
    held = terminal("apply", "gateways", *STORE, expect=6).out
    assert "held, because the upstream would not work with it (HostUnknown)" in held
    applied = terminal("apply", "gateways", *STORE, "--resolve", f"payments.invalid:{planned}:127.0.0.1").out
    assert "1 of 1 upstream answered" in applied


@pytest.mark.parametrize("text", ["payments.invalid", "payments.invalid:443", "payments.invalid:443:nowhere"])
def test_what_cannot_be_resolved_so_is_a_usage_error(terminal: Terminal, text: str) -> None:
    assert "write HOST:PORT:ADDRESS" in terminal("verify", *STORE, "--resolve", text, expect=64).err


def test_the_proxy_of_the_environment_is_taken_and_shown(
    terminal: Terminal, serve: Callable[..., RawServer], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(forwarding({f"payments.invalid:{port}": port}, []))
    for name in ("https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret@localhost:{proxy.port}")
    seen = terminal("verify", *STORE)
    assert f"through the proxy localhost:{proxy.port} (HTTPS_PROXY)" in seen.out
    assert "s3cret" not in seen.out + seen.err
    (gateway,) = terminal("verify", *STORE, "-o", "json").document["gateways"]
    assert gateway["via"] == {"proxy": f"localhost:{proxy.port}", "address": ""}
    monkeypatch.setenv("NO_PROXY", ".invalid")
    assert "HostUnknown" in terminal("verify", *STORE, expect=6).out


def test_a_bar_moves_on_a_terminal_and_nowhere_else(
    terminal: Terminal, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--resolve", f"payments.invalid:{port}:127.0.0.1")
    assert "verifying" not in terminal("verify", *STORE, *given).err
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", buffering=1) as screen, os.fdopen(ours, "rb", buffering=0) as shown:
        monkeypatch.setattr(sys, "stderr", screen)
        terminal("verify", *STORE, *given)
        assert b"verifying upstreams" in shown.read(4096)


def test_a_long_look_says_how_far_it_is_in_a_log(
    terminal: Terminal, serve: Callable[..., RawServer], root: Authority
) -> None:
    upstream = serve(speaking_http(Script()), server_context(root.issue_server(["localhost"])))
    terminal.write("gateways/root.pem", root.pem)
    tls = {"caCertificates": ["root.pem"], "systemTrust": False}
    for number in range(100):
        url = f"https://localhost:{upstream.port}/mcp/{number}"
        terminal.gateway(f"g{number}", url=url, transport="streamable-http", tls=tls, verify={"timeout": "60s"})
    terminal("apply", "gateways", *STORE, "--no-verify")
    said = terminal("verify", *STORE).err
    assert said.count("verifying upstreams:") == 10
    assert "verifying upstreams: 100 of 100" in said
    assert "verifying" not in terminal("verify", *STORE, "-q").err
