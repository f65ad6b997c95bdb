"""A Python gateway that consumes the store: trust is what was signed, and there is no way back to less than that."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from raw_servers import VALID

from reconciler.client import open_client, trust_context
from reconciler.core.model import Action, Audit, Change, Gateway, LiveGateway, Reason, Stamp, Transport
from reconciler.core.records import sign_record
from reconciler.core.signing import Keyring, generate, load_private_key, public_text
from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream
from reconciler.errors import InputError, StoreError, TamperingError
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAIR, STRANGER = generate(), generate()
KEYRING = Keyring.of_raw({"ours": PAIR.public})
NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
EVIL = Authority.root("Evil Root", VALID)


def sign(text: str, private: bytes = PAIR.private) -> str:
    return load_private_key(private).sign(text.encode()).hex() if text else ""


class Key:
    """A signer over our key, or over that of a stranger."""

    def __init__(self, private: bytes = PAIR.private) -> None:
        self._key = load_private_key(private)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload)


def row(root: Authority, url: str = "https://localhost:1/mcp", **changes: Any) -> LiveGateway:
    """Return a row as it is written: signed, bundle and all."""
    fields: dict[str, Any] = {"ca_certificate": root.pem, "system_trust": False} | changes
    gateway = Gateway("payments", url, Transport.STREAMABLE_HTTP, **fields)
    stamp = Stamp("me", "a.yaml", "", "")
    return LiveGateway(gateway, sign(gateway.ca_certificate), stamp, "t", sign_record(Key(), gateway, stamp))


def moved(found: LiveGateway) -> LiveGateway:
    """Return the row with the genuine bundle of another gateway, signature and all."""
    return replace(found, gateway=replace(found.gateway, ca_certificate=EVIL.pem), signature=sign(EVIL.pem))


def trusts(context: ssl.SSLContext, authority: Authority) -> bool:
    return authority.certificate.public_bytes(Encoding.DER) in context.get_ca_certs(binary_form=True)


def test_a_signed_bundle_is_trusted_alone_where_the_row_says_so(root: Authority) -> None:
    context = trust_context(row(root), KEYRING)
    assert trusts(context, root)
    assert len(context.get_ca_certs()) == 1
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_signed_bundle_is_trusted_besides_the_system_where_the_row_says_so(root: Authority) -> None:
    assert trusts(trust_context(row(root, system_trust=True), KEYRING), root)


def test_a_row_without_a_bundle_has_the_trust_of_the_system(root: Authority) -> None:
    context = trust_context(row(root, ca_certificate="", system_trust=True), KEYRING)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not trusts(context, root)


def test_a_row_that_trusts_nothing_is_not_given_the_systems_trust(root: Authority) -> None:
    assert trust_context(row(root, ca_certificate=""), KEYRING).get_ca_certs() == []


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda found: replace(found, signature=""), "missing"),
        (lambda found: replace(found, signature="5f" * 64), "invalid"),
        (lambda found: replace(found, signature=found.signature.upper()), "invalid"),
        (lambda found: replace(found, signature="unknown:rsa:abc"), "invalid"),
        (lambda found: replace(found, signature=sign(found.gateway.ca_certificate, STRANGER.private)), "invalid"),
        (lambda found: with_bundle(found, f"{found.gateway.ca_certificate}\n"), "invalid"),
        (lambda found: with_bundle(found, EVIL.pem), "invalid"),
        (lambda found: with_bundle(found, ""), "invalid"),
        (lambda found: replace(with_bundle(found, ""), signature=""), "invalid"),
        (lambda found: replace(found, record=""), "missing"),
        (lambda found: replace(found, record=sign("x")), "invalid"),
        (lambda found: replace(found, stamp=None), "invalid"),
        (lambda found: replace(found, gateway=replace(found.gateway, url="https://evil.example")), "invalid"),
        (lambda found: replace(found, gateway=replace(found.gateway, system_trust=True)), "invalid"),
        (moved, "invalid"),
    ],
    ids=["removed", "made up", "upper case", "unknown", "a stranger's", "a line end more", "swapped", "emptied",
         "emptied and unsigned", "unsigned row", "made up row", "nobody's", "another URL", "more trust", "moved"],
)  # fmt: skip
def test_what_was_not_signed_is_not_trusted(root: Authority, forge: object, said: str) -> None:
    assert callable(forge)
    with pytest.raises(TamperingError, match=f"of payments is {said}, so nothing is trusted") as refused:
        trust_context(forge(row(root)), KEYRING)
    assert refused.value.fix


def with_bundle(found: LiveGateway, text: str) -> LiveGateway:
    return replace(found, gateway=replace(found.gateway, ca_certificate=text))


def test_without_a_key_to_check_with_nothing_is_trusted(root: Authority) -> None:
    with pytest.raises(TamperingError, match="unknown"):
        trust_context(row(root), Keyring.of({}))


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"charge": "Charge a card"}) as server:
        yield server


def stored(directory: Path, found: LiveGateway) -> str:
    """Write the row into a store of its own and return its URL."""
    url = f"sqlite:///{directory}/gateways.db"
    store = open_store(url, create=True)
    stamp = found.stamp
    change = Change(
        Action.CREATE, "payments", Reason.ADDED, None, found.gateway, found.signature, stamp, record=found.record
    )
    (outcome,) = store.apply([change], Audit("me", "test", NOW))
    store.close()
    assert outcome.status == "applied"
    return url


def test_a_client_reaches_the_upstream_with_the_trust_of_the_store(
    tmp_path: Path, root: Authority, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://localhost:9")
    hello = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    accept = {"accept": "application/json, text/event-stream"}
    with open_client(stored(tmp_path, row(root, upstream.url)), "payments", KEYRING) as client:
        answer = client.post("/mcp", json=hello, headers=accept)
    assert answer.status_code == 200
    assert "serverInfo" in answer.text


def test_without_a_keyring_that_of_the_repository_counts(
    tmp_path: Path, root: Authority, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = stored(tmp_path, row(root, upstream.url))
    (tmp_path / "keys").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TamperingError, match="unknown"):
        open_client(url, "payments")
    document = {"apiVersion": "reconciler/v1", "metadata": {"name": "x"}}
    trusted = {"keys": [{"name": "ours", "publicKey": public_text(PAIR.public)}]}
    (tmp_path / "reconciler.yaml").write_text(json.dumps({**document, "kind": "Config", "spec": {"path": "."}}))
    (tmp_path / "keys/trusted.yaml").write_text(json.dumps({**document, "kind": "Keyring", "spec": trusted}))
    open_client(url, "payments").close()


def test_another_servers_certificate_is_refused(tmp_path: Path, root: Authority, upstream: Upstream) -> None:
    upstream.switch_certificate(EVIL.issue_server(["localhost"]))
    url = stored(tmp_path, row(root, upstream.url))
    with open_client(url, "payments", KEYRING) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY"):
        client.get("/mcp")


def test_a_forged_row_opens_no_client(tmp_path: Path, root: Authority, upstream: Upstream) -> None:
    url = stored(tmp_path, replace(row(root, upstream.url), record=sign("x", STRANGER.private)))
    with pytest.raises(TamperingError):
        open_client(url, "payments", KEYRING)


def test_a_gateway_that_is_not_there_is_named(tmp_path: Path, root: Authority) -> None:
    with pytest.raises(InputError, match="no gateway named refunds"):
        open_client(stored(tmp_path, row(root)), "refunds", KEYRING)


def test_a_store_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(StoreError):
        open_client(f"sqlite:///{tmp_path}/x.db", "payments", KEYRING)


@pytest.mark.parametrize(
    "url", ["https://[::1/mcp", "https:///mcp", "ftp://localhost/mcp", "no url at all", "", "https://\0/"]
)
def test_a_row_whose_url_is_none_is_an_error_of_ours(tmp_path: Path, root: Authority, url: str) -> None:
    with pytest.raises(InputError, match="as the URL of payments is none"):
        open_client(stored(tmp_path, row(root, url)), "payments", KEYRING)
