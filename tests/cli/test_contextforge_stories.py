"""A person with manifests and a ContextForge: everything that the command line does with it, against the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live_contextforge import ADMIN
from raw_servers import VALID
from typed_pages import follow

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_contextforge import ContextForge
    from terminal import Terminal

SECRET = "hunter2-of-the-upstream"  # noqa: S105 - a fixture
PAGE = Path(__file__).parents[2] / "docs/contextforge.md"
PATH = ("--path", "gateways")
NO_CHANGES = "No changes. The store holds exactly what git says"


class Platform:
    """What somebody else does there, by the API."""

    def __init__(self, platform: ContextForge) -> None:
        self._platform = platform

    def rows(self) -> dict[str, Any]:
        with self._platform.client() as api:
            answer = api.get("/v1/gateways", params={"limit": 0, "include_inactive": True})
        return {row["name"]: row for row in answer.raise_for_status().json()}

    def put(self, name: str, **fields: Any) -> None:
        identifier = self.rows()[name]["id"]
        with self._platform.client() as api:
            api.put(f"/v1/gateways/{identifier}", json=fields).raise_for_status()

    def post(self, name: str, url: str, **fields: Any) -> None:
        spec = {"name": name, "url": url, "transport": "STREAMABLEHTTP", "visibility": "public", **fields}
        with self._platform.client() as api:
            api.post("/v1/gateways", json=spec).raise_for_status()


@pytest.fixture
def platform(contextforge: ContextForge) -> Platform:
    return Platform(contextforge)


@pytest.fixture(scope="module")
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture
def at(
    contextforge_terminal: Terminal, root: Authority, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """Two gateways in git: one behind a private CA, with a credential, and one that is switched off."""
    monkeypatch.setenv("TOKEN_OF_PAYMENTS", SECRET)
    contextforge_terminal.write("gateways/root.pem", root.pem)
    write(
        contextforge_terminal,
        "payments",
        upstream.url,
        auth={"type": "bearer", "tokenFrom": {"env": "TOKEN_OF_PAYMENTS"}},
    )
    write(contextforge_terminal, "search", f"{upstream.url}?search", enabled=False, tags=["search"])
    return contextforge_terminal


def write(terminal: Terminal, name: str, url: str, **spec: object) -> None:
    given = {"transport": "streamable-http", "visibility": "public", "tls": {"caCertificates": ["root.pem"]}, **spec}
    terminal.gateway(name, url=url, **given)


def test_an_apply_writes_proves_and_says_whose_the_time_was_and_a_second_one_does_nothing(
    at: Terminal, platform: Platform
) -> None:
    applied = at("apply", "gateways", "--prove-with", "pay")
    assert "✓ create payments applied" in applied.out
    assert "✓ call pay of payments answered" in applied.out
    assert "Proof: 1 of 1 gateway answered through the platform." in applied.out
    assert " s of it was the platform's, in " in applied.out
    again = at("apply", "gateways", "--prove-with", "pay", "-o", "json").document
    assert again["outcomes"] == []
    assert "proof" not in again
    assert NO_CHANGES in at("plan", "gateways", "--detailed-exitcode").out
    at("status")
    assert (platform.rows()["payments"]["version"], platform.rows()["search"]["enabled"]) == (1, False)


def test_the_document_of_an_apply_has_the_proof_and_the_platforms_time(at: Terminal) -> None:
    document = at("apply", "gateways", "--prove-with", "pay", "-o", "json").document
    assert document["proof"] == [{"gateway": "payments", "tool": "pay", "status": "answered", "reason": ""}]
    assert document["platform"]["calls"] >= 4
    assert document["platform"]["seconds"] > 0
    assert document["platform"]["paused_seconds"] == 0


def test_a_tool_that_no_gateway_has_proves_nothing_and_a_store_without_a_platform_cannot_be_asked(
    at: Terminal, platform: Platform
) -> None:
    refused = at("apply", "gateways", "--store", "sqlite:///x.db", "--prove-with", "pay", expect=3)
    assert "a sqlite store calls no tools" in refused.err
    assert "· call refund of payments absent" in at("apply", "gateways", "--prove-with", "refund", expect=6).out
    assert set(platform.rows()) == {"payments", "search"}


def test_no_secret_is_in_a_plan_an_answer_a_history_or_a_dump(at: Terminal, contextforge: ContextForge) -> None:
    said = [at("plan", "gateways"), at("plan", "gateways", "-o", "json"), at("apply", "gateways", "-o", "json")]
    said += [at("history", *PATH), at("history", "show", "1", *PATH), at("status", *PATH), at("dump", "out")]
    for ended in said:
        for secret in (SECRET, contextforge.token):
            assert secret not in ended.out + ended.err
    written = [path.read_bytes() for path in Path().rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for content in written for secret in (SECRET, contextforge.token))


def test_what_somebody_changed_there_is_named_by_drift_and_healed_by_apply(at: Terminal, platform: Platform) -> None:
    at("apply", "gateways")
    platform.put("payments", ca_certificate_sig="")
    drifted = at("drift", expect=0)
    assert "payments" in drifted.out
    assert "tampering" in at("plan", "gateways").out
    at("apply", "gateways", "--prove-with", "pay")
    assert "payments" not in at("drift").out


def test_a_rotated_secret_is_planned_by_name_and_sent(
    at: Terminal, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    at("apply", "gateways")
    monkeypatch.setenv("TOKEN_OF_PAYMENTS", "rotated")
    planned = at("plan", "gateways")
    assert "~ update payments  a secret has another value" in planned.out
    at("apply", "gateways")
    assert NO_CHANGES in at("plan", "gateways").out
    assert platform.rows()["payments"]["version"] == 2


def test_what_is_there_already_is_adopted_and_what_is_not_ours_is_never_pruned(
    at: Terminal, platform: Platform, upstream: Upstream
) -> None:
    platform.post(
        "payments",
        upstream.url,
        description="typed in",
        ca_certificate=Path("gateways/root.pem").read_text(),
    )
    platform.post("Somebody Elses", f"{upstream.url}?theirs", ca_certificate=Path("gateways/root.pem").read_text())
    assert "payments" in at("apply", "gateways", expect=5).out
    typed = platform.rows()["payments"]["id"]
    at("adopt", "payments", "--path", "gateways")
    assert platform.rows()["payments"]["id"] == typed
    at.remove("search")
    at("apply", "gateways", "--prune")
    assert set(platform.rows()) == {"payments", "Somebody Elses"}


def test_a_dump_plans_empty_and_names_what_no_manifest_can_describe(
    at: Terminal, platform: Platform, upstream: Upstream
) -> None:
    at("apply", "gateways")
    platform.post("Somebody Elses", f"{upstream.url}?theirs", ca_certificate=Path("gateways/root.pem").read_text())
    dumped = at("dump", "out", expect=5)
    assert "Somebody Elses" in dumped.err
    assert "1 left out" in dumped.out
    assert "tokenFrom: {env: TOKEN_OF_PAYMENTS}" in Path("out/payments.yaml").read_text()
    assert NO_CHANGES in at("plan", "out", "--detailed-exitcode").out


def test_a_pipeline_that_only_plans_needs_no_more_than_to_read(
    at: Terminal, contextforge: ContextForge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(contextforge.token_for("gateways.read"))
    at("apply", "gateways")
    monkeypatch.delenv("RECONCILER_CONTEXTFORGE_TOKEN")
    monkeypatch.setenv("RECONCILER_CONTEXTFORGE_TOKEN_FILE", str(token))
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    assert NO_CHANGES in at("plan", "gateways", "--detailed-exitcode").out


def test_a_token_that_has_expired_ends_with_how_to_log_in_and_nothing_of_it(
    at: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_CONTEXTFORGE_TOKEN", "expired-token")
    refused = at("apply", "gateways", expect=1)
    assert "401: it does not accept the token" in refused.err
    assert "POST /v1/tokens" in refused.err
    assert "expired-token" not in refused.out + refused.err


def test_one_gateway_that_cannot_be_written_leaves_the_others_and_has_our_own_diagnosis(
    at: Terminal, platform: Platform, upstream: Upstream
) -> None:
    at.write("gateways/other.pem", Authority.root("Some Other CA", VALID).pem)
    write(at, "broken", f"{upstream.url}?broken", tls={"caCertificates": ["other.pem"]}, verify={"mode": "report"})
    applied = at("apply", "gateways", expect=5)
    assert "✗ create broken failed: ContextForge answered 502" in applied.out
    assert "CN=Payments Root CA" in applied.out
    assert "CN=Some Other CA" in applied.out
    assert set(platform.rows()) == {"payments", "search"}
    (broken, *_) = at("history", "show", "1", "-o", "json", *PATH).document["changes"]
    assert (broken["name"], broken["status"]) == ("broken", "failed")


BY_HAND = """
import os, httpx
headers = {"Authorization": "Bearer " + open(os.environ["HOME"] + "/contextforge-token").read().strip()}
with httpx.Client(base_url=os.environ["GATEWAY"], headers=headers, trust_env=False) as api:
    row, = api.get("/v1/gateways").json()
    api.put("/v1/gateways/" + row["id"], json={"description": "by hand"}).raise_for_status()
"""


def test_the_page_goes_as_it_says(contextforge: ContextForge, root: Authority, tmp_path: Path) -> None:
    home, directory = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    directory.mkdir()
    for name, text in {
        "login.json": json.dumps({"email": ADMIN, "password": contextforge.password}),
        "contextforge-ed25519.pem": contextforge.signing_key,
        "payments-ca.pem": root.pem,
        "by_hand.py": BY_HAND,
    }.items():
        (home / name).touch(mode=0o600)
        (home / name).write_text(text)
    environ = {
        "HOME": str(home),
        "GATEWAY": contextforge.url,
        "USER": "ada",
        **{f"GIT_{who}_{what}": f"ada@{what.lower()}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    contextforge.empty()
    with Upstream("payments", root.issue_server(["localhost"]), {"charge": "Charge a card"}) as upstream:
        page = PAGE.read_text().replace("https://gateway.example", contextforge.url)
        page = page.replace("https://payments.internal.example:8443/mcp", upstream.url)
        differing = follow(page, directory, environ)
        assert differing == [], "\n".join(differing)
    contextforge.empty()
