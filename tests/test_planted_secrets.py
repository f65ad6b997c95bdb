"""Secrets go to the upstream and nowhere else: no output, no error, no cache and no database ever holds one."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

import click
import pytest
from raw_servers import Request, Script, http, server_context, speaking_http
from repositories import commit

from reconciler.cli import _COMMANDS, cli, run
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
FORMATS: Final = ("json", "sarif", "github", "junit", "codequality")
IN_STORE: Final = " ".join(STORE)
THEIR_KEY: Final = "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU="

EVERY: Final[dict[str, tuple[str, ...]]] = {
    "init": ("init made --quiet",),
    "validate": (
        "validate gateways",
        *(f"validate gateways -o {name}" for name in FORMATS),
        *(f"validate gateways --output-file {name}=report.{name}" for name in FORMATS),
    ),
    "fmt": ("fmt gateways --diff", "fmt gateways --check", "fmt gateways"),
    "explain": (
        *(f"explain {name} --path gateways" for name in AUTH),
        "explain bearer --path gateways -o json",
        "explain tokenFrom",
    ),
    "plan": (
        *(f"plan gateways {IN_STORE} --prune {form}" for form in ("", "-o json", "-o markdown", "--out plan.json")),
        *(f"plan gateways --base main {form}" for form in ("", "-o json", "-o markdown")),
    ),
    "apply": (f"apply gateways {IN_STORE}", "apply plan.json -o json", f"apply gateways {IN_STORE} -o json --prune"),
    "adopt": (f"adopt bearer --path gateways {IN_STORE}", f"adopt basic --path gateways {IN_STORE} -o json"),
    "verify": (f"verify --path gateways {IN_STORE}", f"verify --path gateways {IN_STORE} -o json"),
    "call": (
        f"call bearer charge --path gateways {IN_STORE}",
        f"call bearer charge --path gateways {IN_STORE} -o json",
    ),
    "lock": (f"lock bearer --path gateways {IN_STORE}", f"lock bearer --path gateways {IN_STORE} -o json"),
    "comment": ("comment gateways/bearer.yaml", "comment gateways/bearer.yaml -o json"),
    "watch": ("watch -o jsonl --help",),  # it does not end by itself; the tests of the daemon type it
    "drift": (f"drift {IN_STORE}", f"drift {IN_STORE} -o json"),
    "status": (f"status {IN_STORE}", f"status bearer {IN_STORE}", f"status {IN_STORE} -o json"),
    "dump": (f"dump dumped {IN_STORE}",),
    "history": (
        f"history {IN_STORE}",
        f"history {IN_STORE} -o json",
        *(f"history show {number} {IN_STORE} {form}" for number in (1, 2) for form in ("", "-o json")),
    ),
    "rollback": (
        f"rollback 2 {IN_STORE} --dry-run",
        f"rollback 2 {IN_STORE} --dry-run -o json",
        f"rollback 2 {IN_STORE}",
        f"rollback 3 {IN_STORE} -o json",
    ),
    "ca": (
        "ca inspect gateways/root.pem",
        "ca inspect gateways/root.pem -o json",
        "ca normalize gateways/root.pem",
        "ca fetch localhost:{port}",
        "ca fetch localhost:{port} -o json",
    ),
    "keys": (
        "keys generate one.key",
        "keys generate other.key -o json",
        *(f"keys list {IN_STORE} {form}" for form in ("", "-o json")),
        f"keys add ours --path gateways {IN_STORE}",
        f"keys add theirs --path gateways {IN_STORE} --public-key {THEIR_KEY} -o json",
        *(
            f"keys retire {name} --path gateways {IN_STORE} {form}"
            for name, form in (("ours", ""), ("theirs", "-o json"))
        ),
        *(f"keys rotate --path gateways {IN_STORE} {form}" for form in ("--dry-run", "-o json")),
        *(f"keys verify --path gateways {IN_STORE} {form}" for form in ("", "-o json")),
    ),
    "demo": ("demo --help",),  # it plays with keys and servers of its own, and is told nothing of ours
}
"""What is typed of each command, every output format among it: a new command or format needs a line here."""

ENDINGS: Final = (0, 3, 4, 5, 6)


def spellings(secret: str) -> list[str]:
    """Return what a leak of this secret could look like."""
    return [secret, quote_plus(secret), b64encode(f"me:{secret}".encode()).decode(), secret.replace("\n", "\\n")]


def lines_of(key: str) -> list[str]:
    """Return the encoded lines of a PEM key, each of which would be a leak."""
    return [line for line in key.splitlines() if not line.startswith("-----")]


class Watch:
    """Types commands, and keeps everything that they print."""

    def __init__(self, terminal: Terminal, port: int, root: Authority) -> None:
        self.terminal = terminal
        self.port = port
        self.secrets = [spelling for secret in PLANTED.values() for spelling in spellings(secret)]
        self.secrets += lines_of((terminal.directory.parent / "signing.key").read_text())
        self._url = f"https://localhost:{port}/mcp"
        self._printed: list[str] = []
        terminal.write("gateways/root.pem", root.pem)

    def __call__(self, *arguments: str, expect: int = 0) -> None:
        ended = self.terminal(*arguments, expect=expect)
        self._printed += [ended.out, ended.err]

    def whatever(self, line: str) -> None:
        """Type a line that may end in any of the ways that are documented."""
        capsys = self.terminal._capsys
        capsys.readouterr()
        code = run(line.format(port=self.port).split())
        captured = capsys.readouterr()
        assert code in ENDINGS, f"{line} ended with {code}:\n{captured.out}\n{captured.err}"
        self._printed += [captured.out, captured.err]

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

    def leaks(self, besides: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """Return where which secret was found: in what was printed, or in a file that a run left behind.

        Keys hold secrets, and so do the files in `besides`.
        """
        top = self.terminal.directory.parent
        texts = {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        assert {"work/x.db", "signing.key"} <= texts.keys()
        assert any(name.startswith("cache/") for name in texts)
        read = {name: text for name, text in texts.items() if not name.endswith(".key") and name not in besides}
        read |= {f"output {number}: {text[:60]!r}": text.encode() for number, text in enumerate(self._printed)}
        return [(name, each) for name, text in read.items() for each in self.secrets if each.encode() in text]


@pytest.fixture
def watched(
    terminal: Terminal, root: Authority, serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Request], bytes]], Watch]:
    """Start a server that answers so, plant the secrets, and watch."""
    for name, secret in PLANTED.items():
        monkeypatch.setenv(name, secret)
    context = server_context(root.issue_server(["localhost"]))
    return lambda respond: Watch(terminal, serve(speaking_http(respond), context).port, root)


def test_nothing_leaks_while_all_goes_well(watched: Callable[..., Watch]) -> None:
    script = Script()
    watch = watched(script)
    watch.every_command(verified=0)
    assert watch.leaks() == []
    sent = [f"{request.path} {request.headers}" for request in script.requests]
    for secret in PLANTED.values():
        assert any(spelling in text for text in sent for spelling in spellings(secret)), "it never went out"


def options(command: click.Command) -> Iterator[str]:
    """Yield what can be asked of `-o`, beside text."""
    for parameter in command.params:
        if parameter.name == "output" and isinstance(parameter.type, click.Choice):
            yield from (f"-o {name}" for name in parameter.type.choices if name != "text")


def test_every_command_is_typed_in_every_format() -> None:
    assert EVERY.keys() == _COMMANDS.keys()
    for name, lines in EVERY.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {}
        for words in [*options(command), *inner]:
            assert any(words in line for line in lines), f"{name} {words} is not typed"
        for word, each in inner.items():
            for words in options(each):
                assert any(f" {word} " in line and words in line for line in lines), f"{name} {word} {words}"


def test_nothing_leaks_whatever_is_typed(watched: Callable[..., Watch]) -> None:
    watch = watched(Script())
    for name, auth in AUTH.items():
        watch.gateway(name, auth=auth)
    watch.whatever(f"apply gateways {IN_STORE}")
    commit(watch.terminal.directory)
    for name, auth in AUTH.items():
        watch.gateway(name, auth=auth, description="another")
    for line in (line for lines in EVERY.values() for line in lines):
        watch.whatever(line)
    for name in ("one.key", "other.key", "made/.reconciler/signing.key"):
        watch.secrets += lines_of((watch.terminal.directory / name).read_text())
    assert watch.leaks() == []


PLANT: Final = "planted-in-a-row-6e"
KEY: Final = "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"
POISON: Final[dict[str, tuple[Any, ...]]] = {
    "url": (
        "https://me:{}@localhost:9/mcp",
        "https://localhost:9/mcp?api_key={}",
        "https://localhost:9/mcp?tenant=b&accessToken={}",
    ),
    "description": (b"{}",),
    "transport": ("{}",),
    "enabled": ("{}",),
    "visibility": ("{}",),
    "tags": ("{}", '{{"token": "{}"}}', '["a", {{"token": "{}"}}]'),
    "passthrough_headers": ("{}", '["Authorization: Bearer {}"]'),
    "ca_certificate": ("{}", KEY),
    "ca_certificate_sig": ("{}",),
    "record_sig": ("{}",),
    "signing_algorithm": ("{}",),
    "system_trust": ("{}",),
    "client_cert": ("{}", KEY),
    "client_key_reference": ("{}", KEY, '{{"value": "{}"}}', '{{"env": "A", "value": "{}"}}'),
    "auth_type": ("{}",),
    "auth_reference": (
        "{}",
        '{{"token": "{}"}}',
        '{{"settings": {{"token": "{}"}}, "secrets": {{}}}}',
        '{{"settings": {{"X-Api-Key": "{}"}}, "secrets": {{}}}}',
        '{{"settings": {{"tokenUrl": "https://me:{}@sso.example/token"}}, "secrets": {{}}}}',
        '{{"settings": {{}}, "secrets": {{"token": "{}"}}}}',
        '{{"settings": {{}}, "secrets": {{"token": {{"value": "{}"}}}}}}',
    ),
    "kuadrant": ("{}", '{{"token": "{}"}}'),
    "created_at": ("{}",),
    "created_by": ("{}",),
    "created_via": ("{}",),
    "modified_at": ("{}",),
    "modified_by": ("{}",),
    "modified_via": ("{}",),
    "version": ("{}",),
    "digest": ("{}",),
    "protected": ("{}",),
    "stamped_at": ("{}",),
}
"""What somebody with another tool may put where no secret belongs, by column; the secret goes into the braces."""

TEXT: Final = {"id", "gateway_id", "name", "slug", "gateway_mode", "team_id", "owner", "manifest", "revision"}
"""Columns whose text is a name or a choice: it is shown, as are a description and tags that are well-formed."""


def columns() -> dict[str, str]:
    """Return the table of each column of the store that was written last."""
    with closing(sqlite3.connect("x.db")) as database:
        tables = ("reconciler_stamps", "gateways")
        return {row[1]: table for table in tables for row in database.execute(f"PRAGMA table_info({table})")}


def poison(name: str, column: str, value: str | bytes) -> None:
    """Write past us, into one column of a row."""
    table = columns()[column]
    key = "name = ?" if table == "gateways" else "gateway_id = (SELECT id FROM gateways WHERE name = ?)"
    with closing(sqlite3.connect("x.db")) as database, database:
        database.execute(f"UPDATE {table} SET {column} = ? WHERE {key}", (value, name))  # noqa: S608 - our own columns


def planted(shape: str | bytes, secret: str) -> str | bytes:
    """Return what is written into a column for a shape that it may have."""
    return shape.format(secret) if isinstance(shape, str) else shape.replace(b"{}", secret.encode())


@pytest.fixture
def poisoned(watched: Callable[..., Watch]) -> Watch:
    """A store with a secret in every column, each in the row of a gateway of its own."""
    watch = watched(Script())
    places = [(column, shape) for column, shapes in POISON.items() for shape in shapes]
    for number in range(len(places)):
        watch.terminal.gateway(f"g{number}", url="https://localhost:9/mcp", transport="sse")
    commit(watch.terminal.directory)
    watch.whatever(f"apply gateways {IN_STORE} --no-verify")
    for number, (column, shape) in enumerate(places):
        secret = f"{PLANT}-{column}-{number}-"
        watch.secrets.append(secret)
        poison(f"g{number}", column, planted(shape, secret))
    return watch


def test_a_secret_is_planted_in_every_column(poisoned: Watch) -> None:
    assert POISON.keys() | TEXT == columns().keys()
    assert not POISON.keys() & TEXT
    held = (poisoned.terminal.directory / "x.db").read_bytes()
    assert all(secret.encode() in held for secret in poisoned.secrets if secret.startswith(PLANT))


OF_A_STORE: Final = ("plan", "adopt", "verify", "drift", "status", "dump", "apply", "history", "rollback")


def test_what_somebody_planted_in_a_row_is_shown_by_no_command(poisoned: Watch) -> None:
    for line in (line for name in OF_A_STORE for line in EVERY[name]):
        poisoned.whatever(line.replace("bearer", "g40").replace("basic", "g41"))
    assert poisoned.leaks(besides=("work/x.db", "work/x.db-wal")) == []


def test_what_somebody_planted_is_not_shown_when_its_gateway_is_deleted(poisoned: Watch) -> None:
    for path in (poisoned.terminal.directory / "gateways").glob("g*.yaml"):
        path.unlink()
    for line in EVERY["plan"][:4]:
        poisoned.whatever(f"{line} --allow-empty")
    assert poisoned.leaks(besides=("work/x.db", "work/x.db-wal")) == []


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
