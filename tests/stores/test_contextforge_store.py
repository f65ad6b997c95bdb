"""The ContextForge store against ContextForge itself: the port's promises, reading everything, and writing it back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from contextforge_site import OWNER, Site, wanted
from contract import AUDIT, PortContract, a_gateway, statuses
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from raw_servers import VALID, Script, json_rpc, speaking_http

from reconciler.core.model import Auth, Gateway, Reason, SecretReference, Stamp, ToolCall, Transport, Visibility
from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream
from reconciler.errors import StoreError
from reconciler.stores.contextforge.wire import USER_AGENT
from reconciler.uptake import tool_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live_contextforge import ContextForge
    from raw_servers import RawServer

    from reconciler.core.ports import Store


@pytest.fixture
def site(contextforge: ContextForge) -> Iterator[Site]:
    with Site(contextforge) as site:
        yield site


@pytest.fixture(scope="module")
def upstream(root: Authority) -> Iterator[Upstream]:
    """An MCP server that only those can reach who trust `root`."""
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Upstream]:
    """An MCP server without TLS: for it the platform stores any text as a bundle."""
    with Upstream("plain", None, {"pay": "Pay an invoice"}) as server:
        yield server


@pytest.fixture(scope="module")
def older() -> Iterator[Upstream]:
    """The same with the older transport."""
    with Upstream("older", None, {"pay": "Pay an invoice"}, transport=Transport.SSE) as server:
        yield server


class TestContextForgeStore(PortContract):
    @pytest.fixture
    def opened(self, site: Site, plain: Upstream, older: Upstream) -> Callable[[], Store]:
        self.urls = {Transport.STREAMABLE_HTTP: plain.url, Transport.SSE: older.url}
        return site.open

    def a_gateway(self, name: str, **fields: Any) -> Gateway:
        """The platform connects before it stores, and takes a URL once."""
        transport = fields.get("transport", Transport.STREAMABLE_HTTP)
        return a_gateway(name, **{"url": f"{self.urls[transport]}?for={name}", **fields})

    def test_when_one_of_five_is_refused_the_others_are_written(self, store: Store) -> None:
        outcomes = store.apply(self.five_of_which_the_third_is_refused(store), AUDIT)
        assert statuses(outcomes) == ["applied", "applied", "refused", "applied", "applied"]
        live = store.read().gateways
        assert list(live) == ["a", "b", "c", "d"]
        assert live["d"].gateway.description == "new"


# Reading


def test_everything_that_a_manifest_can_say_comes_back(site: Site, root: Authority, plain: Upstream) -> None:
    client = root.issue_client("gateway")
    site.environ["CLIENT_KEY"] = client.key_pem
    with Upstream("mutual", root.issue_server(["localhost"]), {"pay": "Pay"}, client_authority=root.pem) as mutual:
        full = wanted(
            "payments",
            mutual.url,
            description="Zahlungen & mehr: <b>täglich</b>",
            tags=("finance", "team:payments"),
            passthrough_headers=("X-Request-Id", "X-Tenant"),
            ca_certificate=root.pem,
            client_certificate=client.certificate_pem,
            client_key=SecretReference("env", "CLIENT_KEY"),
        )
        site.applied(full, wanted("inventory", plain.url, enabled=False))
        assert site.live("payments").gateway == replace(full, description="Zahlungen & mehr: täglich")
        assert "result" in site.call("payments-pay")
        site.applied(
            replace(full, client_certificate="", client_key=None, url=f"{plain.url}?payments", ca_certificate="")
        )
        row = site.row("payments")
        assert not row["clientCert"]
        assert not row["clientKey"]
        assert not row["caCertificate"]
        assert not row["caCertificateSig"]


def test_a_loopback_address_is_planned_as_the_platform_rewrites_it(site: Site, plain: Upstream) -> None:
    site.applied(wanted("payments", plain.url.replace("localhost", "127.0.0.1")))
    assert site.row("payments")["url"] == plain.url


def test_a_gateway_that_is_switched_off_there_is_drift_and_switched_on_again(site: Site, plain: Upstream) -> None:
    gateway = wanted("payments", plain.url)
    site.applied(gateway)
    site.api.post(f"/v1/gateways/{site.row('payments')['id']}/state", params={"activate": False}).raise_for_status()
    (drift,) = site.plan(gateway).drift
    assert (drift.name, drift.reason, drift.fields) == ("payments", Reason.TAMPERING, ("enabled",))
    site.applied(gateway)
    assert site.row("payments")["enabled"] is True


def test_a_bundle_that_was_typed_in_is_shown_as_it_is_and_replaced_by_the_reviewed_one(
    site: Site, root: Authority, upstream: Upstream
) -> None:
    typed = root.pem.replace("\n", "\r\n")
    gateway = wanted("payments", upstream.url, ca_certificate=root.pem)
    site.post(upstream.url, name="payments", ca_certificate=typed, ca_certificate_sig=site.platform.sign(typed))
    assert site.live("payments").gateway.ca_certificate == typed
    (conflict,) = site.plan(gateway).conflicts
    assert (conflict.owner, conflict.fields) == ("", ("ca_certificate",))
    assert statuses(site.apply(gateway, adopt=frozenset({"payments"}))) == ["applied"]
    assert site.row("payments")["caCertificate"] == root.pem
    assert site.plan(gateway).in_sync


def test_of_several_rows_of_one_name_the_one_with_a_stamp_is_meant(site: Site, plain: Upstream) -> None:
    gateway = wanted("payments", plain.url)
    site.applied(gateway)
    site.post(f"{plain.url}?theirs", name="payments", visibility="private")
    assert site.plan(gateway).in_sync
    site.applied()
    assert [row["visibility"] for row in site.rows()] == ["private"]


def test_rows_of_one_name_without_a_stamp_are_a_conflict_that_names_them(site: Site, plain: Upstream) -> None:
    ids = sorted(
        site.post(f"{plain.url}?{visibility}", name="payments", visibility=visibility)["id"]
        for visibility in ("public", "private")
    )
    for adopt in (frozenset[str](), frozenset({"payments"})):
        (conflict,) = site.plan(wanted("payments", plain.url), adopt=adopt).conflicts
        assert conflict.owner == f"2 rows of this name: {ids[0]}, {ids[1]}"
    assert site.apply(wanted("payments", plain.url)) == ()


def test_a_slug_may_be_taken_for_another_audience(site: Site, plain: Upstream) -> None:
    site.post(f"{plain.url}?theirs", name="Pay Ments", visibility="private")
    site.applied(wanted("pay-ments", plain.url))
    (outcome,) = site.apply(wanted("pay-ments", plain.url), wanted("pay-ments-2", f"{plain.url}?2"))
    assert outcome.status == "applied"


# Marks


def test_marks_that_an_edit_by_hand_loses_are_put_back_and_never_allow_a_deletion(site: Site, plain: Upstream) -> None:
    gateway = wanted("payments", plain.url, tags=("finance",))
    site.applied(gateway)
    tags = ["managed-by:platform_team", "finance", "reconciler:digest", "reconciler:prune", "reconciler:revision"]
    site.put("payments", tags=tags)
    assert site.live("payments").stamp == Stamp("platform_team", "", "", "", protected=True)
    labelled = [{"id": "managed-by:platform-team", "label": f"managed-by:{OWNER}"}, *tags[1:]]
    site.put("payments", tags=[tag if isinstance(tag, dict) else {"id": tag, "label": tag} for tag in labelled])
    assert site.live("payments").stamp == Stamp(OWNER, "", "", "", protected=True)
    assert [orphan.why for orphan in site.plan().orphans] == ["protected"]
    site.applied(gateway)
    assert site.live("payments").stamp == Stamp(
        OWNER,
        "gateways/payments.yaml",
        "main@sha1:1111",
        site.live("payments").stamp.digest,  # type: ignore[union-attr]
    )


def test_rows_without_marks_are_left_alone(site: Site, plain: Upstream) -> None:
    theirs = site.post(plain.url, name="theirs", tags=["ours-not"])
    site.applied(wanted("ours", f"{plain.url}?ours"))
    site.applied()
    assert [(row["id"], row["version"]) for row in site.rows()] == [(theirs["id"], 1)]


def test_who_wrote_a_row_is_known_by_user_agent(site: Site, plain: Upstream) -> None:
    site.applied(wanted("payments", plain.url))
    assert site.row("payments")["createdUserAgent"] == USER_AGENT


# Writing


def test_a_bundle_that_does_not_fit_is_the_upstreams_failure_and_changes_nothing(
    site: Site, root: Authority, upstream: Upstream, plain: Upstream
) -> None:
    right = wanted("payments", upstream.url, ca_certificate=root.pem)
    site.applied(right)
    before = site.live("payments")
    wrong = replace(right, ca_certificate=Authority.root("Another CA", VALID).pem)
    failed, created = site.apply(wrong, wanted("search", plain.url))
    assert (failed.status, created.status) == ("failed", "applied")
    assert "ContextForge answered 502: it could not connect to the upstream, and changed nothing" in failed.reason
    assert "CERTIFICATE_VERIFY_FAILED" in failed.reason
    assert site.live("payments") == before


def test_a_gateway_whose_upstream_is_down_is_not_created_switched_off_or_not(site: Site) -> None:
    (outcome,) = site.apply(wanted("payments", "http://localhost:1/mcp", enabled=False))
    assert outcome.status == "failed"
    assert "All connection attempts failed" in outcome.reason
    assert site.rows() == []


def test_a_gateway_whose_upstream_is_gone_can_be_described_and_switched_off(site: Site, root: Authority) -> None:
    site.environ["VALUE"] = "opaque"
    with Upstream("short-lived", root.issue_server(["localhost"]), {"pay": "Pay"}) as server:
        bearer = Auth("bearer", (), (("token", SecretReference("env", "VALUE")),))
        gateway = wanted("payments", server.url, ca_certificate=root.pem, auth=bearer)
        site.applied(gateway)
    site.applied(replace(gateway, description="gone"))
    site.applied(replace(gateway, enabled=False))


def test_a_rename_keeps_the_row_and_its_tools(site: Site, plain: Upstream) -> None:
    site.applied(wanted("payments", plain.url))
    before = site.row("payments")["id"]
    site.applied(wanted("billing", plain.url))
    assert site.row("billing")["id"] == before
    tools = site.api.get("/v1/tools").json()
    assert [tool["name"] for tool in tools if tool["gatewayId"] == before] == ["billing-pay"]


def test_the_team_of_a_gateway_is_found_by_its_name(site: Site, plain: Upstream) -> None:
    team = site.api.post("/v1/teams/", json={"name": "Payments Team"}).raise_for_status().json()
    try:
        gateway = wanted("payments", plain.url, visibility=Visibility.TEAM)
        named = replace(gateway, contextforge=replace(gateway.contextforge, team="payments-team"))
        site.applied(named)
        site.applied(replace(named, description="described"))
        assert site.row("payments")["teamId"] == team["id"]
        lost = replace(gateway, name="lost", contextforge=replace(gateway.contextforge, team="nobody"))
        none = replace(gateway, name="none", url=f"{plain.url}?none")
        refused = site.apply(replace(named, description="described"), lost, none)
        assert [(each.name, each.status) for each in refused] == [("lost", "refused"), ("none", "refused")]
        assert "the token sees no teams called `nobody`" in refused[0].reason
    finally:
        site.api.delete(f"/v1/gateways/{site.row('payments')['id']}")
        site.api.delete(f"/v1/teams/{team['id']}").raise_for_status()


def test_a_description_like_a_script_is_refused_with_what_the_platform_does_not_say(
    site: Site, plain: Upstream
) -> None:
    (outcome,) = site.apply(wanted("payments", plain.url, description="javascript:alert(1)"))
    assert outcome.status == "failed"
    assert "422" in outcome.reason
    assert "EXPOSE_ERROR_DETAILS=true" in outcome.reason


def test_a_gateway_that_the_platform_does_not_list_is_told_of_when_its_name_is_wanted(
    site: Site, plain: Upstream
) -> None:
    basic = {"auth_type": "basic", "auth_username": "me", "auth_password": "with:colon"}
    hidden = site.post(plain.url, name="payments")
    site.api.put(f"/v1/gateways/{hidden['id']}", json=basic)
    assert site.rows() == []
    (outcome,) = site.apply(wanted("payments", f"{plain.url}?again"))
    assert outcome.status == "refused"
    assert "has a gateway of this name" in outcome.reason
    assert "cannot list it" in outcome.reason
    site.api.put(f"/v1/gateways/{hidden['id']}", json={"auth_type": "bearer", "auth_token": "x"})


# Tampering


def test_an_unsigned_bundle_a_swapped_one_and_a_replayed_signature_are_healed(
    site: Site, root: Authority, upstream: Upstream
) -> None:
    gateway = wanted("payments", upstream.url, ca_certificate=root.pem)
    site.applied(gateway)
    attacker = f"{root.pem}\n{Authority.root('Attacker', VALID).pem}"
    for tampered in (
        {"ca_certificate_sig": ""},
        {"ca_certificate": attacker},
        {"ca_certificate": attacker, "ca_certificate_sig": "00" * 64},
    ):
        site.put("payments", **tampered)
        assert [(drift.name, drift.reason) for drift in site.plan(gateway).drift] == [("payments", Reason.TAMPERING)]
        site.applied(gateway)
        assert "result" in site.call("payments-pay")


def test_a_row_that_lost_its_record_or_bears_that_of_another_is_healed(site: Site, plain: Upstream) -> None:
    gateway, other = wanted("payments", plain.url), wanted("search", f"{plain.url}?search")
    site.applied(gateway, other)
    records = {
        name: [tag for tag in site.row(name)["tags"] if "record" in tag["id"]] for name in ("payments", "search")
    }
    assert [len(tag["id"]) for tag in records["payments"]] == [len("reconciler:record-1:") + 64] * 2
    for theirs in ([], records["search"], records["payments"][:1]):
        rest = [tag for tag in site.row("payments")["tags"] if "record" not in tag["id"]]
        site.put("payments", tags=[*rest, *theirs])
        assert [(drift.name, drift.reason) for drift in site.plan(gateway, other).drift] == [
            ("payments", Reason.TAMPERING)
        ]
        site.applied(gateway, other)
    site.put("payments", tags=site.row("payments")["tags"][::-1])
    assert site.plan(gateway, other).in_sync


# Proof


def test_a_tool_that_is_called_through_the_platform_answers_or_it_is_said_why_not(
    site: Site, root: Authority, upstream: Upstream
) -> None:
    site.applied(wanted("payments", upstream.url, ca_certificate=root.pem))
    caller = tool_caller(site.engine())
    assert caller.call_tool("payments", "pay") == ToolCall("payments", "pay", "answered")
    assert caller.call_tool("payments", "refund").status == "absent"
    assert caller.call_tool("nobody", "pay").status == "absent"
    site.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = site.platform.token_for("gateways.read")
    refused = tool_caller(site.engine(store=site.open())).call_tool("payments", "pay")
    assert refused.status == "failed"
    assert "give it the scope tools.read" in refused.reason


CALLING = ("gateways.read", "tools.read", "tools.execute", "servers.use")


@pytest.mark.parametrize(("visibility", "status"), [("private", "failed"), ("public", "answered")])
def test_a_token_of_no_team_calls_public_tools_only_and_keys_are_not_blamed_for_it(
    site: Site, plain: Upstream, visibility: str, status: str
) -> None:
    site.applied(wanted("payments", plain.url, visibility=Visibility(visibility)))
    site.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = site.platform.token_for(*CALLING)
    call = tool_caller(site.engine(store=site.open())).call_tool("payments", "pay")
    assert call.status == status
    assert "ED25519" not in call.reason
    if status == "failed":
        assert "Tool not found" in call.reason
        assert "a token that is bound to no team calls tools of public gateways only" in call.reason
        assert "set `visibility: public` in its manifest" in call.reason


def test_the_owners_token_of_a_team_calls_private_tools(site: Site, plain: Upstream) -> None:
    site.applied(wanted("payments", plain.url, visibility=Visibility.PRIVATE))
    team = site.api.post("/v1/teams/", json={"name": "Payments Team"}).raise_for_status().json()
    try:
        site.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = site.platform.token_for(*CALLING, team=team["id"])
        call = tool_caller(site.engine(store=site.open())).call_tool("payments", "pay")
    finally:
        site.api.delete(f"/v1/teams/{team['id']}").raise_for_status()
    assert call == ToolCall("payments", "pay", "answered")


def test_another_signing_key_than_the_platforms_looks_right_until_a_tool_is_called(
    contextforge: ContextForge, root: Authority, upstream: Upstream
) -> None:
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with Site(contextforge, signing_key=key) as site:
        site.applied(wanted("payments", upstream.url, ca_certificate=root.pem))
        call = tool_caller(site.engine()).call_tool("payments", "pay")
        assert call.status == "failed"
        assert "ED25519_PRIVATE_KEY" in call.reason


def test_what_a_tool_complains_of_is_told_too(site: Site, serve: Callable[..., RawServer]) -> None:
    tools = {"tools": [{"name": "pay", "inputSchema": {"type": "object"}}]}
    complaint = {"content": [{"type": "text", "text": "an amount is missing\n"}], "isError": True}
    script = Script(
        {
            "tools/list": lambda request: json_rpc(request, tools),
            "tools/call": lambda request: json_rpc(request, complaint),
        }
    )
    site.applied(wanted("payments", f"http://localhost:{serve(speaking_http(script)).port}/mcp"))
    call = tool_caller(site.engine()).call_tool("payments", "pay")
    assert call == ToolCall("payments", "pay", "failed", r"the tool said `an amount is missing\n`")


# Tokens


def test_a_token_that_may_only_read_is_enough_to_plan_and_says_what_it_lacks(site: Site, plain: Upstream) -> None:
    site.applied(wanted("payments", plain.url))
    site.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = site.platform.token_for("gateways.read")
    reader = site.open()
    assert site.plan(wanted("payments", plain.url), store=reader).in_sync
    changed, created = site.apply(
        wanted("payments", plain.url, description="new"), wanted("search", f"{plain.url}?s"), store=reader
    )
    assert (changed.status, created.status) == ("failed", "failed")
    assert "give it the scope gateways.update" in changed.reason
    assert "give it the scope gateways.create" in created.reason


def test_a_token_that_is_not_accepted_ends_with_what_to_set(site: Site) -> None:
    site.environ["RECONCILER_CONTEXTFORGE_TOKEN"] = "never-issued"  # noqa: S105 - it is none
    with pytest.raises(StoreError, match="401: it does not accept the token") as refusal:
        site.open().read()
    assert "RECONCILER_CONTEXTFORGE_TOKEN_FILE" in refusal.value.fix
    assert "never-issued" not in f"{refusal.value} {refusal.value.fix}"
