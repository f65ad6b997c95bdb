"""A CA is rotated at a live server while a client calls a tool without pause: no gap before, during or after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.signing import Keyring
from reconciler.demo.caller import Caller
from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream
from reconciler.signers import find_signer

if TYPE_CHECKING:
    from pathlib import Path

    from terminal import Terminal

STORE = ("--store", "sqlite:///gateways.db")
CALLS = 5


def trust(terminal: Terminal, url: str, *bundle: str) -> None:
    """Have the manifest trust these CAs alone, and probe before anything is written."""
    for number, text in enumerate(bundle):
        terminal.write(f"gateways/ca-{number}.pem", text)
    tls = {"caCertificates": [f"ca-{number}.pem" for number in range(len(bundle))], "systemTrust": False}
    required = {"mode": "required", "timeout": "20s", "requireTools": ["charge"]}
    terminal.gateway("payments", url=url, transport="streamable-http", tls=tls, verify=required)


def keyring(tmp_path: Path) -> Keyring:
    signer = find_signer(None, {"RECONCILER_SIGNING_KEY_FILE": str(tmp_path / "signing.key")})
    assert signer is not None
    return Keyring.of_raw({"signing key": signer.public_key})


def test_a_tool_is_called_without_pause_while_its_ca_is_rotated(
    terminal: Terminal, root: Authority, tmp_path: Path
) -> None:
    new = Authority.root("Payments Root CA", root.lifetime)
    tools = {"charge": "Charge a card"}
    store = f"sqlite:///{terminal.directory}/gateways.db"
    with Upstream("payments", root.issue_server(["localhost"]), tools, json_response=True) as upstream:
        trust(terminal, upstream.url, root.pem)
        terminal("apply", "gateways", *STORE)
        with Caller(store, "payments", keyring(tmp_path), "charge") as caller:
            caller.await_calls(CALLS)
            trust(terminal, upstream.url, new.pem)
            assert "held" in terminal("apply", "gateways", *STORE, expect=6).out, "too early: it would break"
            caller.await_calls(CALLS)
            trust(terminal, upstream.url, root.pem, new.pem)
            terminal("apply", "gateways", *STORE)
            caller.await_calls(CALLS)
            upstream.switch_certificate(new.issue_server(["localhost"]))
            caller.await_calls(CALLS)
            assert terminal("verify", *STORE).code == 0
            trust(terminal, upstream.url, new.pem)
            terminal("apply", "gateways", *STORE)
            caller.await_calls(CALLS)
            trust(terminal, upstream.url, root.pem)
            held = terminal("apply", "gateways", *STORE, expect=6).out
            assert "CaRotated" in held, "and no way back to a CA that signs nothing any more"
            caller.await_calls(CALLS)
    assert caller.failures == []
    assert caller.calls >= 6 * CALLS
