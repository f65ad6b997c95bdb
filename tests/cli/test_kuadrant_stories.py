"""The file of a Kuadrant broker, as it is typed: every command over it, and what the broker says of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kuadrant_broker import KuadrantBroker, load
from raw_servers import VALID
from typed_pages import follow

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terminal import Terminal

README = Path(__file__).parents[2] / "README.md"
ANY = ("--max-delete-percent", "100", "--max-update-percent", "100", "--allow-empty")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "mcp-gateway"
    directory.mkdir()
    return directory / "config.yaml"


@pytest.fixture
def store(config: Path) -> tuple[str, str]:
    return ("--store", f"kuadrant+file://{config}")


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture
def terminal(terminal: Terminal, root: Authority, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal.write("gateways/root.pem", root.pem)
    monkeypatch.setenv("TOKEN", "hunter2")
    return terminal


def gateway(terminal: Terminal, name: str, **spec: Any) -> None:
    """Write a manifest of a gateway as a broker can have it."""
    given = {"url": f"https://{name}.example/mcp", "transport": "streamable-http", **spec}
    terminal.gateway(name, **given)


def full(terminal: Terminal, name: str, **spec: Any) -> None:
    gateway(
        terminal,
        name,
        **{
            "description": "Payment tools",
            "tags": ["finance"],
            "tls": {"caCertificates": ["root.pem"]},
            "auth": {"type": "bearer", "tokenFrom": {"env": "TOKEN"}},
            "kuadrant": {
                "prefix": f"{name.replace('-', '_')}_",
                "category": ["money"],
                "hint": "h",
                "hostname": f"{name}.local",
            },
            **spec,
        },
    )


def servers(config: Path) -> dict[str, dict[str, Any]]:
    return {server["name"]: server for server in load(config.read_bytes())["servers"]}


def test_from_git_into_the_file_and_nothing_the_second_time(
    terminal: Terminal, config: Path, store: tuple[str, str], root: Authority
) -> None:
    full(terminal, "payments")
    terminal("apply", "gateways", *store)
    server = servers(config)["payments"]
    assert (server["credential"], server["cacert"]) == ("Bearer hunter2", f"{root.pem.strip()}\n")
    before = config.stat()
    assert "No changes." in terminal("apply", "gateways", *store).out
    assert config.stat() == before
    terminal("plan", "gateways", *store, "--detailed-exitcode")
    assert "hunter2" not in (config.parent / "config.yaml.reconciler.json").read_text()


def test_what_the_file_cannot_hold_is_said_before_anything_is_written(
    terminal: Terminal, config: Path, store: tuple[str, str]
) -> None:
    gateway(terminal, "one", transport="sse")
    gateway(terminal, "two", tls={"systemTrust": False, "caCertificates": ["root.pem"]})
    gateway(terminal, "three", visibility="public", passthroughHeaders=["X-Request-Id"])
    gateway(terminal, "four", auth={"type": "queryParameter", "name": "key", "valueFrom": {"env": "TOKEN"}})
    gateway(terminal, "five", auth={"type": "bearer", "tokenFrom": {"secretKeyRef": {"name": "a", "key": "b"}}})
    ended = terminal("apply", "gateways", *store, expect=3)
    for what in (
        "`one` uses transport: sse",
        "`two` uses tls.systemTrust: false",
        "`three` uses visibility",
        "`three` uses passthroughHeaders",
        "`four` uses auth beyond the header Authorization",
        "`five` uses secretKeyRef",
    ):
        assert f"{what}, which a kuadrant+file store cannot hold" in ended.err
    assert servers(config) == {}


def test_validate_knows_the_platform_of_the_config_file(terminal: Terminal, config: Path) -> None:
    gateway(terminal, "one", url="https://same.example/a", kuadrant={"route": "one"})
    gateway(terminal, "two", url="https://same.example/b")
    terminal.write(
        "reconciler.yaml",
        "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: c}\n"
        f"spec: {{path: gateways, store: 'kuadrant+file://{config}'}}\n",
    )
    said = terminal("validate").out
    assert "[route-not-used-by-platform]" in said
    assert "calls of `two` go to same.example, as those of `one` do [duplicate-hostname]" in said


def test_a_file_of_somebody_else_is_dumped_adopted_and_then_in_sync(
    terminal: Terminal, config: Path, store: tuple[str, str], root: Authority
) -> None:
    pem = "".join(f"    {line}\n" for line in root.pem.splitlines())
    config.write_text(
        "servers:\n- name: search\n  url: https://search.local/mcp\n  hostname: search.mcp\n  prefix: s_\n  caCert: |\n"
        f"{pem}  tags: [docs]\nvirtualServers:\n- {{name: team/tools, tools: [s_find]}}\n"
    )
    before = config.read_bytes()
    terminal("dump", "dumped", *store)
    terminal("apply", "dumped", *store, "--no-verify", expect=5)
    assert config.read_bytes() == before
    terminal("adopt", "search", "--path", "dumped", *store, "--no-verify")
    assert load(config.read_bytes())["virtual"] == ["team/tools"]
    assert (config.parent / "config.yaml.previous").read_bytes() == before
    terminal("plan", "dumped", *store, "--detailed-exitcode")


def test_a_new_gateway_in_a_file_of_somebody_else_waits_for_an_adoption(
    terminal: Terminal, config: Path, store: tuple[str, str]
) -> None:
    config.write_text("servers:\n- {name: search, url: http://search.local/mcp, hostname: search.local}\n")
    gateway(terminal, "one")
    ended = terminal("apply", "gateways", *store, expect=1)
    assert "does not say that it is the reconciler's" in ended.err
    assert "`reconciler adopt NAME…`" in ended.err


def test_what_was_dumped_plans_empty(terminal: Terminal, store: tuple[str, str]) -> None:
    full(terminal, "payments")
    gateway(terminal, "search", enabled=False)
    terminal("apply", "gateways", *store)
    terminal("dump", "dumped", *store)
    assert "No changes." in terminal("plan", "dumped", *store, "--detailed-exitcode").out


def test_drift_is_seen_and_healed(terminal: Terminal, config: Path, store: tuple[str, str]) -> None:
    full(terminal, "payments")
    terminal("apply", "gateways", *store)
    before = config.read_bytes()
    config.write_bytes(before.replace(b"https://payments", b"https://evil"))
    assert "payments" in terminal("drift", "--path", "gateways", *store, "--detailed-exitcode", expect=2).out
    terminal("apply", "gateways", *store, *ANY)
    assert config.read_bytes() == before


def test_a_ca_that_somebody_exchanged_is_tampering(terminal: Terminal, config: Path, store: tuple[str, str]) -> None:
    full(terminal, "payments")
    terminal("apply", "gateways", *store)
    before = config.read_text()
    evil = "".join(f"    {line}\n" for line in Authority.root("Evil", VALID).pem.splitlines())
    start, end = before.index("    -----BEGIN"), before.index("virtualServers: []")
    config.write_text(before[:start] + evil + before[end:])
    assert "tamper" in terminal("drift", "--path", "gateways", *store, "--detailed-exitcode", expect=2).out
    terminal("apply", "gateways", *store, *ANY)
    assert config.read_text() == before


def test_a_secret_that_was_renewed_is_planned_and_written(
    terminal: Terminal, config: Path, store: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full(terminal, "payments")
    terminal("apply", "gateways", *store)
    monkeypatch.setenv("TOKEN", "swordfish")
    planned = terminal("plan", "gateways", *store, "--detailed-exitcode", expect=2).out
    assert "a secret has another value" in planned
    assert "hunter2" not in planned
    assert "swordfish" not in planned
    terminal("apply", "gateways", *store, *ANY)
    assert servers(config)["payments"]["credential"] == "Bearer swordfish"
    terminal("plan", "gateways", *store, "--detailed-exitcode")


def test_history_tells_and_rollback_restores(terminal: Terminal, config: Path, store: tuple[str, str]) -> None:
    full(terminal, "payments")
    terminal("apply", "gateways", *store)
    before = config.read_bytes()
    full(terminal, "payments", url="https://wrong.example/mcp")
    gateway(terminal, "extra")
    terminal("apply", "gateways", *store, *ANY)
    assert "url was https://payments.example/mcp" in terminal("history", "show", "2", "--path", "gateways", *store).out
    terminal("rollback", "2", "--path", "gateways", *store, *ANY, "--no-verify")
    assert config.read_bytes() == before


def test_apply_ends_when_the_broker_has_taken_it_up(
    terminal: Terminal, config: Path, store: tuple[str, str], upstream: Upstream
) -> None:
    full(terminal, "off", enabled=False)
    terminal("apply", "gateways", *store)
    with KuadrantBroker(config) as broker:
        full(terminal, "payments", url=upstream.url, auth={"type": "none"})
        ended = terminal("apply", "gateways", *store, "--broker", broker.url)
        assert "  ✓ payments ready, 3 tools" in ended.out
        assert "Broker: 1 of 1 gateway ready." in ended.out
        full(terminal, "payments", url=upstream.url, auth={"type": "none"}, description="other")
        document = terminal("apply", "gateways", *store, *ANY, "--broker", broker.url, "-o", "json").document
        assert document["broker"] == [{"gateway": "payments", "status": "ready", "tools": 3, "reason": "", "fix": ""}]


def test_a_ca_that_the_broker_cannot_use_ends_with_six_and_says_what_to_do(
    terminal: Terminal, config: Path, store: tuple[str, str], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(terminal, "payments", url=upstream.url, auth={"type": "none"})
    terminal("apply", "gateways", *store)
    with KuadrantBroker(config) as broker:
        monkeypatch.setenv("RECONCILER_BROKER", broker.url)
        terminal.write("gateways/root.pem", Authority.root("Other Root CA", VALID).pem)
        ended = terminal("apply", "gateways", *store, *ANY, "--broker-timeout", "15", expect=6)
    assert "✗ payments not ready: the upstream's certificate is not issued by a CA of its bundle" in ended.out
    assert "fix: name the CA under `tls.caCertificates`" in ended.out


def test_a_store_without_a_broker_is_not_asked_for_one(terminal: Terminal) -> None:
    gateway(terminal, "one")
    ended = terminal("apply", "gateways", "--store", "sqlite:///x.db", "--broker", "http://127.0.0.1:8080", expect=3)
    assert "a sqlite store has no broker" in ended.err


def test_the_quick_start_of_the_readme_goes_as_it_says(tmp_path: Path, config: Path, root: Authority) -> None:
    section = README.read_text().partition("### Kuadrant (broker's file)\n")[2].partition("\n### ")[0]
    key = tmp_path / "reconciler-ed25519.pem"
    directory = tmp_path / "work"
    (directory / "gateways").mkdir(parents=True)
    (directory / "gateways" / "payments-root.pem").write_text(root.pem)
    subprocess.run([sys.executable, "-m", "reconciler", "keys", "generate", str(key), "-q"], check=True)
    open_store(f"kuadrant+file://{config}", create=True).close()
    with (
        KuadrantBroker(config) as broker,
        Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay"}) as upstream,
    ):
        here = {
            "https://payments.internal:8443/mcp": upstream.url,
            "/etc/mcp-gateway/config.yaml": str(config),
            "/run/secrets/reconciler-ed25519.pem": str(key),
            "http://127.0.0.1:8080": broker.url,
        }
        for there, place in here.items():
            assert there in section
            section = section.replace(there, place)
        environ = {"PAYMENTS_TOKEN": "hunter2", "RECONCILER_CACHE_DIR": str(tmp_path / "cache"), "USER": "ada"}
        assert follow(section, directory, environ) == []


def test_a_rotated_ca_is_with_the_broker_at_once(
    terminal: Terminal, config: Path, store: tuple[str, str], root: Authority
) -> None:
    """The figure is printed for people: the promise is 200 ms from the save, and machines that run tests are slow."""
    successor = Authority.root("Payments Root CA G2", VALID)
    for number in range(20):
        full(terminal, f"gw-{number}", enabled=False)
    terminal("apply", "gateways", *store)
    with KuadrantBroker(config) as broker:
        terminal.write("gateways/root.pem", f"{root.pem}\n{successor.pem}")
        saved = time.perf_counter()
        terminal("apply", "gateways", *store, *ANY, "--no-verify")
        broker.wait_until_reloaded(2)
        took = time.perf_counter() - saved
        assert all(server["cacert"].count("BEGIN CERTIFICATE") == 2 for server in broker.config["servers"])
    print(f"rotation of the CA of 20 gateways: with the broker after {1000 * took:.0f} ms")  # noqa: T201 - as said above
