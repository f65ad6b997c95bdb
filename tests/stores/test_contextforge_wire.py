"""The way to ContextForge: where it is, how we are let in, and what late, lost and refused answers are taken for."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from contextforge_site import Front, Site, passed_on, wanted
from contract import AUDIT, created, deleted, statuses, updated
from live_contextforge import alone, running_contextforge
from raw_servers import RawServer, http, speaking_http

from reconciler.composition import access
from reconciler.core.model import Action
from reconciler.demo.upstreams import Upstream
from reconciler.errors import InputError, StoreBusyError, StoreError
from reconciler.probes.tls import load_identity
from reconciler.stores import open_store

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from live_contextforge import ContextForge
    from raw_servers import Request

    from reconciler.core.ports import Store
    from reconciler.demo.pki import Authority

    Serve = Callable[..., RawServer]

TOKEN = {"RECONCILER_CONTEXTFORGE_TOKEN": "opaque"}
LIST = "GET /v1/gateways"


@pytest.fixture
def site(contextforge: ContextForge) -> Iterator[Site]:
    with Site(contextforge) as site:
        yield site


@pytest.fixture(scope="module")
def plain() -> Iterator[Upstream]:
    with Upstream("plain", None, {"pay": "Pay an invoice"}) as server:
        yield server


# Where it is


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("contextforge+https://", "has no host"),
        ("contextforge+https:///v1", "has no host"),
        ("contextforge+https://gateway.example:port", "no such port"),
        ("contextforge+https://gateway.example:99999", "no such port"),
        ("contextforge+https://[::1", "has no host"),
        ("contextforge+https://me:hunter2@gateway.example", "has a user name or password"),
        ("contextforge+https://gateway.example?token=hunter2", "has more than a host"),
        ("contextforge+https://gateway.example/#hunter2", "has more than a host"),
        ("contextforge+https://gateway.example/ä", "has more than a host"),
        ("contextforge+http://gateway.example", "would send the token unencrypted"),
        ("contextforge+http://127.0.0.1.example", "would send the token unencrypted"),
    ],
)
def test_a_url_that_leads_nowhere_or_would_give_the_token_away_is_refused(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        open_store(url, create=False, access=access(TOKEN, None))
    assert "hunter2" not in f"{refusal.value} {refusal.value.fix}"


@pytest.mark.parametrize(
    "url",
    [
        "contextforge+https://gateway.example",
        "contextforge+https://gateway.example:4444/mcp-gateway/",
        "contextforge+http://localhost:4444",
        "contextforge+http://127.0.0.2",
        "contextforge+http://[::1]:4444",
    ],
)
def test_nothing_is_sent_when_a_store_is_opened(url: str) -> None:
    open_store(url, create=False, access=access(TOKEN, None)).close()


@pytest.mark.parametrize("environ", [{}, {"RECONCILER_CONTEXTFORGE_TOKEN": " "}])
def test_without_a_token_it_is_said_what_to_set_and_what_it_must_be_allowed(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match="there is no token") as refusal:
        open_store("contextforge+https://gateway.example", create=False, access=access(environ, None))
    for word in ("RECONCILER_CONTEXTFORGE_TOKEN_FILE", "gateways.read", "gateways.delete", "POST /v1/tokens"):
        assert word in refusal.value.fix


def test_a_token_of_several_lines_is_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\r\nX-Injected: two\n")
    environ = {"RECONCILER_CONTEXTFORGE_TOKEN_FILE": str(file)}
    with pytest.raises(InputError, match="characters that no token has") as refusal:
        open_store("contextforge+https://gateway.example", create=False, access=access(environ, None))
    assert "Injected" not in str(refusal.value)


def test_a_token_is_read_from_a_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{site.environ.pop('RECONCILER_CONTEXTFORGE_TOKEN')}\n")
    site.environ["RECONCILER_CONTEXTFORGE_TOKEN_FILE"] = str(file)
    assert site.open().read().gateways == {}


def test_the_private_ca_of_the_platform_itself_is_trusted_from_a_file_and_nothing_else_is(
    site: Site, root: Authority, tmp_path: Path, serve: Serve
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    identity = root.issue_server(["localhost"])
    load_identity(context, identity.certificate_pem, identity.key_pem)
    front = Front(site.platform)
    url = f"https://localhost:{serve(speaking_http(front), context).port}"
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED") as refusal:
        site.open(url).read()
    assert "RECONCILER_CONTEXTFORGE_CA_FILE" in refusal.value.fix
    assert front.calls == []
    (tmp_path / "ca.pem").write_text(root.pem)
    site.environ["RECONCILER_CONTEXTFORGE_CA_FILE"] = str(tmp_path / "ca.pem")
    assert site.open(url).read().gateways == {}


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_used_is_said_to_be_one(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    environ = {**TOKEN, "RECONCILER_CONTEXTFORGE_CA_FILE": str(file)}
    with pytest.raises(InputError, match="RECONCILER_CONTEXTFORGE_CA_FILE cannot be used"):
        open_store("contextforge+https://gateway.example", create=False, access=access(environ, None))


# What comes back


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http(302, location="https://elsewhere.example/"), "sends us elsewhere"),
        (http(200, "<html>"), "not a list of gateways"),
        (http(200, "[]"), "not a list of gateways"),
        (http(200, json.dumps({"gateways": [{}]})), "not a list of gateways"),
        (http(200, json.dumps({"gateways": [], "nextCursor": "more"})), "only a part of its gateways"),
        (http(200, json.dumps({"gateways": [{"id": "1", "name": "\ud800"}]})), "not a list of gateways"),
        (http(404), "it has no such thing"),
        (http(500, json.dumps({"detail": "\x1b[31mred"})), r"answered 500: it failed \(\\x1b\[31mred\)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[", "broke off the connection"),
        (b"SSH-2.0-OpenSSH\r\n", "broke off the connection"),
        (b"", "broke off the connection"),
    ],
)
def test_an_answer_that_is_not_the_whole_list_is_never_taken_for_it(serve: Serve, answer: bytes, said: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    url = f"contextforge+http://127.0.0.1:{serve(talk).port}"
    store = open_store(url, create=False, access=access(TOKEN, None))
    with pytest.raises(StoreError, match=said):
        store.read()
    store.close()


def test_a_platform_that_is_not_there_is_said_to_be_unreachable() -> None:
    store = open_store("contextforge+http://127.0.0.1:1", create=False, access=access(TOKEN, None))
    with pytest.raises(StoreError, match="cannot be reached"):
        store.read()
    store.close()


def test_a_create_and_an_update_whose_answers_are_lost_are_found_to_have_been_made(
    site: Site, plain: Upstream, serve: Serve
) -> None:
    def lost(request: Request, answer: httpx.Response) -> bytes:
        return b"" if request.method in ("POST", "PUT") else passed_on(answer)

    store = site.open(f"http://127.0.0.1:{serve(speaking_http(Front(site.platform, altered=lost))).port}")
    gateway = wanted("payments", plain.url)
    assert statuses(store.apply([created(gateway)], AUDIT)) == ["applied"]
    held = store.read().gateways["payments"]
    assert statuses(store.apply([updated(held, replace(gateway, description="new"))], AUDIT)) == ["applied"]
    assert (site.row("payments")["description"], site.row("payments")["version"]) == ("new", 2)


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE])
def test_what_the_platform_has_not_done_in_time_and_did_not_do_is_a_failure(
    site: Site, plain: Upstream, serve: Serve, action: Action
) -> None:
    silent = serve(lambda connection: [*iter(lambda: connection.recv(65536), b"")])
    mute = wanted("payments", f"http://localhost:{silent.port}/mcp")
    store = site.hurried([], seconds=0.5)
    if action is Action.UPDATE:
        site.applied(replace(mute, url=plain.url))
        change = updated(store.read().gateways["payments"], mute)
    else:
        change = created(mute)
    before = site.rows()
    (outcome,) = store.apply([change], AUDIT)
    assert (outcome.status, outcome.reason.partition(":")[0]) == (
        "failed",
        "ContextForge did not answer within 0.5 s",
    )
    assert site.rows() == before


def test_a_change_costs_one_call_and_what_was_read_is_asked_for_again_only_before_a_refusal(
    site: Site, plain: Upstream, serve: Serve
) -> None:
    front = Front(site.platform)
    store = site.open(f"http://127.0.0.1:{serve(speaking_http(front)).port}")
    store.read()
    for name in "abc":
        assert statuses(store.apply([created(wanted(name, f"{plain.url}?{name}"))], AUDIT)) == ["applied"]
    assert front.calls == [LIST, *["POST /v1/gateways"] * 3]
    front.calls.clear()
    (outcome,) = store.apply([created(wanted("a", f"{plain.url}?again"))], AUDIT)
    assert (outcome.status, front.calls) == ("refused", [LIST])


def test_what_somebody_else_wrote_meanwhile_is_found_before_it_is_overwritten_or_deleted(
    site: Site, plain: Upstream
) -> None:
    site.applied(wanted("payments", plain.url), wanted("search", f"{plain.url}?search"))
    held = site.store.read().gateways
    site.put("payments", description="theirs")
    site.api.delete(f"/v1/gateways/{site.row('search')['id']}").raise_for_status()
    for change, said in (
        (updated(held["payments"], wanted("payments", plain.url, description="ours")), "changed since"),
        (deleted(held["payments"]), "changed since"),
        (updated(held["search"], wanted("search", plain.url)), "deleted since"),
    ):
        (outcome,) = site.store.apply([change], AUDIT)
        assert outcome.status == "refused"
        assert said in outcome.reason
    assert site.row("payments")["description"] == "theirs"


def test_after_an_answer_that_all_would_get_the_rest_is_skipped_without_a_call(
    site: Site, plain: Upstream, serve: Serve
) -> None:
    revoked = http(401, json.dumps({"detail": "Token has been revoked"}))
    front = Front(site.platform, lambda request: revoked if request.method == "POST" else None)
    store = site.open(f"http://127.0.0.1:{serve(speaking_http(front)).port}")
    fleet = [wanted(name, f"{plain.url}?{name}") for name in "abc"]
    outcomes = site.apply(*fleet, store=store)
    assert statuses(outcomes) == ["failed", "skipped", "skipped"]
    assert front.calls == [LIST, "POST /v1/gateways"]
    assert "401: it does not accept the token (Token has been revoked)" in outcomes[0].reason
    assert "not tried, because of `a`" in outcomes[2].reason
    front.instead = lambda _request: None
    assert statuses(site.apply(*fleet, store=store)) == ["applied"] * 3


# Rate limits


@pytest.fixture
def frugal(run_directory: Path) -> Iterator[Site]:
    """A platform that bears few calls; it is not emptied, for that would cost some."""
    directory = run_directory / "frugal"
    settings = {"RATE_LIMITING_ENABLED": "true", "RATE_LIMIT_LOW_RPM": "100"}
    with running_contextforge(directory, **settings) as running, alone(directory), Site(running, emptied=False) as site:
        yield site


def read_on(store: Store) -> None:
    for _ in range(200):
        assert store.read().gateways == {}


def test_the_platforms_count_of_calls_is_kept_and_a_refusal_is_waited_for_once(frugal: Site) -> None:
    pauses: list[float] = []
    store = frugal.hurried(pauses)
    with pytest.raises(StoreBusyError, match="429"):
        read_on(store)
    # Not having waited, it is refused: after the pause that the count asks for, and after that of the refusal.
    assert pauses == pytest.approx([60, 60], abs=2)
    assert store.waited.paused == pytest.approx(120, abs=4)


def test_a_lock_out_is_not_waited_for_and_nothing_more_is_sent(site: Site, serve: Serve) -> None:
    locked = http(429, json.dumps({"error": "Account locked"}), retry_after="900")
    front = Front(site.platform, lambda _request: locked)
    pauses: list[float] = []
    store = site.hurried(pauses, f"http://127.0.0.1:{serve(speaking_http(front)).port}")
    for _ in range(3):
        with pytest.raises(StoreBusyError, match="429: it has had too many calls") as refusal:
            store.read()
    assert "RATE_LIMIT_LOW_RPM" in refusal.value.fix
    assert (front.calls, pauses) == ([LIST], [])


def test_a_short_refusal_is_waited_out_and_the_call_repeated(site: Site, serve: Serve) -> None:
    refusals = [http(429, retry_after="7")]
    front = Front(site.platform, lambda _request: refusals.pop() if refusals else None)
    pauses: list[float] = []
    store = site.hurried(pauses, f"http://127.0.0.1:{serve(speaking_http(front)).port}")
    assert store.read().gateways == {}
    assert front.calls == [LIST, LIST]
    assert pauses == pytest.approx([7], abs=1)
