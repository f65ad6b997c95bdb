"""What docs/consuming.md says is run as it stands there: every block, in its order, in one program."""

from __future__ import annotations

import re
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reconciler.core.signing import public_text
from reconciler.demo.upstreams import Upstream
from reconciler.errors import TamperingError
from reconciler.signers import find_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terminal import Terminal

    from reconciler.demo.pki import Authority

PAGE = Path(__file__).parents[2] / "docs" / "consuming.md"
BLOCKS = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
LITERAL = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture
def key(terminal: Terminal, root: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store with the gateway `payments`, whose upstream answers; the public key that it is signed with."""
    signer = find_signer(None, {"RECONCILER_SIGNING_KEY_FILE": str(terminal.directory.parent / "signing.key")})
    assert signer is not None
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as upstream:
        terminal.write("gateways/root.pem", root.pem)
        tls = {"caCertificates": ["root.pem"], "systemTrust": False}
        terminal.gateway("payments", url=upstream.url, transport="streamable-http", tls=tls)
        terminal.write(
            "reconciler.yaml",
            "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: x}\n"
            "spec: {path: gateways, store: 'sqlite:///gateways.db'}\n",
        )
        terminal("keys", "add", "2026")
        terminal("apply")
        monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
        yield public_text(signer.public_key)


def run(key: str) -> dict[str, Any]:
    """Run the page, with the key in it replaced by ours, and a message to send."""
    known: dict[str, Any] = {"message": HELLO}
    assert LITERAL in "".join(BLOCKS)
    for block in BLOCKS:
        exec(block.replace(LITERAL, key), known)  # noqa: S102 - our own page
    return known


def test_every_block_of_the_page_runs(key: str) -> None:
    assert len(BLOCKS) == 4
    known = run(key)
    assert known["answer"].status_code in (httpx.codes.OK, httpx.codes.NOT_ACCEPTABLE)
    assert isinstance(known["context"], ssl.SSLContext)
    assert known["context"].verify_mode is ssl.CERT_REQUIRED


def test_the_page_refuses_a_row_that_is_not_what_was_signed(key: str, terminal: Terminal) -> None:
    with closing(sqlite3.connect(terminal.directory / "gateways.db")) as database, database:
        database.execute("UPDATE gateways SET url = 'https://evil.example/mcp'")
    with pytest.raises(TamperingError, match="the signature of the row of payments is invalid, so nothing is trusted"):
        run(key)
