"""Secrets go to the upstream and nowhere else: no output, no error, no cache and no database ever holds one."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

import pytest
from raw_servers import Request, Script, http, server_context, speaking_http

from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from raw_servers import RawServer
    from terminal import Terminal

    from reconciler.demo.pki import Authority

STORE: Final = ("--store", "sqlite:///x.db")
PLANTED: Final = {
    "P_TOKEN": "planted-bearer-token-7f3a",
    "P_PASSWORD": "planted/basic+password=9c",
    "P_HEADER": "planted-header-value-51",
    "P_QUERY": "planted query & value 88",
}
AUTH: Final[dict[str, dict[str, Any]]] = {
    "bearer": {"type": "bearer", "tokenFrom": {"env": "P_TOKEN"}},
    "basic": {"type": "basic", "username": "me", "passwordFrom": {"env": "P_PASSWORD"}},
    "headers": {"type": "headers", "headers": [{"name": "X-Api-Key", "valueFrom": {"env": "P_HEADER"}}]},
    "query": {"type": "queryParameter", "name": "key", "valueFrom": {"env": "P_QUERY"}},
}


def spellings(secret: str) -> list[str]:
    """Return what a leak of this secret could look like."""
    return [secret, quote_plus(secret), b64encode(f"me:{secret}".encode()).decode(), secret.replace("\n", "\\n")]


def lines_of(key: str) -> list[str]:
    """Return the encoded lines of a PEM key, each of which would be a leak."""
    return [line for line in key.splitlines() if not line.startswith("-----")]


class Watch:
    """Types commands, and keeps everything that they print."""

    def __init__(self, terminal: Terminal, url: str, root: Authority) -> None:
        self.terminal = terminal
        self.secrets = [spelling for secret in PLANTED.values() for spelling in spellings(secret)]
        self.secrets += lines_of((terminal.directory.parent / "signing.key").read_text())
        self._url = url
        self._printed: list[str] = []
        terminal.write("gateways/root.pem", root.pem)

    def __call__(self, *arguments: str, expect: int = 0) -> None:
        ended = self.terminal(*arguments, expect=expect)
        self._printed += [ended.out, ended.err]

    def gateway(self, name: str, **spec: Any) -> None:
        trust = {"caCertificates": ["root.pem"], "systemTrust": False, **spec.pop("tls", {})}
        verify = {"mode": "report", "timeout": "20s"}
        given = {"url": f"{self._url}?{name}", "transport": "streamable-http", "tls": trust, "verify": verify, **spec}
        self.terminal.gateway(name, **given)

    def every_command(self, *, verified: int) -> None:
        """Type every command that reads or writes, for people and for machines; `verified` is how looking ends."""
        for form in ("text", "json"):
            for name, auth in AUTH.items():
                self.gateway(name, auth=auth, description=f"for {form}")
            self("validate", "gateways", "-o", form)
            self("plan", "gateways", *STORE, "-o", form)
            self("apply", "gateways", *STORE, "-o", form, expect=verified)
            self("plan", "gateways", *STORE, "-o", form)
            self("verify", "--path", "gateways", *STORE, "-o", form, expect=verified)
            self("status", *STORE, "-o", form)
        for name in AUTH:
            self("status", name, *STORE)

    def leaks(self) -> list[str]:
        """Return where a secret was found: in what was printed, or in a file that a run left behind."""
        top = self.terminal.directory.parent
        texts = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        assert {"work/x.db", "signing.key"} <= texts.keys()
        assert any(name.startswith("cache/") for name in texts)
        del texts["signing.key"]
        printed = {f"output {number}": text.encode() for number, text in enumerate(self._printed)}
        return [name for name, text in (printed | texts).items() for each in self.secrets if each.encode() in text]


@pytest.fixture
def watched(
    terminal: Terminal, root: Authority, serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Request], bytes]], Watch]:
    """Start a server that answers so, plant the secrets, and watch."""
    for name, secret in PLANTED.items():
        monkeypatch.setenv(name, secret)
    context = server_context(root.issue_server(["localhost"]))
    return lambda respond: Watch(
        terminal, f"https://localhost:{serve(speaking_http(respond), context).port}/mcp", root
    )  # fmt: skip


def test_nothing_leaks_while_all_goes_well(watched: Callable[..., Watch]) -> None:
    script = Script()
    watch = watched(script)
    watch.every_command(verified=0)
    assert watch.leaks() == []
    sent = [f"{request.path} {request.headers}" for request in script.requests]
    for secret in PLANTED.values():
        assert any(spelling in text for text in sent for spelling in spellings(secret)), "it never went out"


def repeated(request: Request) -> str:
    """Return everything a request has told its server."""
    basic = {value for value in PLANTED.values() if b64encode(f"me:{value}".encode()).decode() in str(request.headers)}
    return " ".join([request.path, *request.headers.values(), *basic])


def in_an_error(request: Request) -> bytes:
    error = {"code": -32000, "message": f"who is {repeated(request)}?"}
    return http(200, json.dumps({"jsonrpc": "2.0", "id": request.call.get("id"), "error": error}),
                content_type="application/json")  # fmt: skip


def in_a_body(request: Request) -> bytes:
    return http(401, f"who is {repeated(request)}?", content_type="text/plain")


def in_a_challenge(request: Request) -> bytes:
    return http(401, WWW_Authenticate=f'Bearer error="{repeated(request)}"')


def in_a_redirect(request: Request) -> bytes:
    return http(302, location=f"/login?{quote_plus(repeated(request))}")


def in_a_content_type(request: Request) -> bytes:
    return http(200, "x", content_type=f"text/{repeated(request)}")


@pytest.mark.parametrize("respond", [in_an_error, in_a_body, in_a_challenge, in_a_redirect, in_a_content_type])
def test_nothing_leaks_where_a_server_repeats_what_it_was_told(
    watched: Callable[..., Watch], respond: Callable[[Request], bytes]
) -> None:
    watch = watched(respond)
    watch.every_command(verified=6)
    assert watch.leaks() == []


def test_no_beginning_of_a_long_secret_leaks_where_a_message_is_cut(
    watched: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P_TOKEN", "eyJhbGciOiJFZERTQSJ9." + "c2VjcmV0" * 100)
    watch = watched(in_an_error)
    watch.secrets.append("c2VjcmV0")
    watch.every_command(verified=6)
    assert watch.leaks() == []


def test_nothing_leaks_where_a_secret_cannot_be_sent(
    watched: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watched(Script())
    for name in ("P_TOKEN", "P_HEADER"):
        monkeypatch.setenv(name, f"planted-part-one-{name}\nplanted-part-two")
    watch.secrets += ["planted-part-one", "planted-part-two"]
    watch.every_command(verified=6)
    assert watch.leaks() == []


def test_nothing_leaks_where_one_of_several_secrets_is_missing(
    watched: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watched(Script())
    monkeypatch.delenv("P_PASSWORD")
    watch.every_command(verified=6)
    assert watch.leaks() == []


@pytest.fixture
def mutual(root: Authority) -> Iterator[Upstream]:
    with Upstream(
        "mutual", root.issue_server(["localhost"]), {"charge": "Charge"}, client_authority=root.pem
    ) as server:
        yield server


def test_the_key_of_a_client_certificate_leaks_nowhere(
    watched: Callable[..., Watch], root: Authority, mutual: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = root.issue_client("reconciler")
    watch = watched(Script())
    watch.secrets += lines_of(me.key_pem)
    watch.terminal.write("gateways/me.crt", me.certificate_pem)
    reference = {"clientCertificate": "me.crt", "clientKeyFrom": {"env": "P_KEY"}}
    watch.gateway("mutual", url=mutual.url, tls=reference)
    monkeypatch.setenv("P_KEY", me.key_pem)
    watch.every_command(verified=0)
    monkeypatch.setenv("P_KEY", me.key_pem.replace("A", "B"))
    watch.secrets += lines_of(me.key_pem.replace("A", "B"))
    for form in ("text", "json"):
        watch("verify", "mutual", "--path", "gateways", *STORE, "-o", form, expect=6)
        watch("status", *STORE, "-o", form)
    assert watch.leaks() == []


def test_a_signing_key_in_the_environment_leaks_nowhere_whole_or_damaged(
    watched: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watched(Script())
    key = (watch.terminal.directory.parent / "signing.key").read_text()
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    monkeypatch.setenv("RECONCILER_SIGNING_KEY", key)
    watch.every_command(verified=0)
    (secret,) = lines_of(key)
    for damaged in (key.replace("\n", "\\n"), secret, key[:-30], key.replace("PRIVATE", "RSA PRIVATE"), key + key):
        monkeypatch.setenv("RECONCILER_SIGNING_KEY", damaged)
        watch("plan", "gateways", *STORE, expect=1)
    for reference in (key, f"env:{key}", f"file:{key}"):
        monkeypatch.setenv("RECONCILER_SIGNING_KEY_FILE", reference)
        watch("apply", "gateways", *STORE, expect=1)
    assert watch.leaks() == []
