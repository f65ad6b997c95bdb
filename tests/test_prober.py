"""The prober of a run: rows become targets with their credentials, and whatever fails is an observation, in order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from raw_servers import NOW, Script, server_context, speaking_http

from reconciler.core.model import Auth, Gateway, SecretReference, Transport, VerifyPolicy
from reconciler.demo.upstreams import Upstream
from reconciler.prober import UpstreamProber

if TYPE_CHECKING:
    from collections.abc import Callable

    from raw_servers import RawServer

    from reconciler.core.observation import Observation
    from reconciler.demo.pki import Authority

PATIENT = VerifyPolicy(timeout_seconds=20.0)
BEARER = Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),))


def gateway(name: str, url: str, root: Authority, **fields: object) -> Gateway:
    plain = Gateway(name, url, Transport.STREAMABLE_HTTP, ca_certificate=root.pem, system_trust=False)
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_observations_come_in_the_order_asked_for_and_each_is_told_of(
    root: Authority, serve: Callable[..., RawServer]
) -> None:
    server = serve(speaking_http(Script()), server_context(root.issue_server(["localhost"])))
    up = gateway("up", f"https://localhost:{server.port}/mcp", root)
    without_token = replace(up, name="without-token", auth=BEARER)
    without_key = replace(up, name="without-key", client_key=SecretReference("file", "/nowhere/client.key"))
    fleet = [without_token, up, without_key, replace(up, name="up-too")]
    told: list[Observation] = []
    seen = UpstreamProber({}, NOW, told.append)([(each, PATIENT) for each in fleet])
    assert [(each.name, each.ok) for each in seen] == [
        ("without-token", False), ("up", True), ("without-key", False), ("up-too", True),
    ]  # fmt: skip
    assert sorted(each.name for each in told) == sorted(each.name for each in fleet)


def test_a_missing_credential_is_an_observation_that_says_which(root: Authority) -> None:
    wanted = gateway("a", "https://localhost:1/mcp", root, auth=BEARER)
    (seen,) = UpstreamProber({}, NOW)([(wanted, PATIENT)])
    assert (seen.name, seen.url, seen.tls) == ("a", wanted.url, None)
    assert seen.mcp is not None
    assert (seen.mcp.ok, seen.mcp.reason) == (False, "CredentialsMissing")
    assert "environment variable TOKEN is empty or not set" in seen.mcp.message
    assert seen.mcp.fix


def test_a_row_without_half_of_its_credentials_does_not_end_the_look_at_the_others(root: Authority) -> None:
    fleet = [gateway(name, "https://localhost:1/mcp", root, auth=Auth("bearer")) for name in "ab"]
    seen = UpstreamProber({}, NOW)([(each, PATIENT) for each in fleet])
    assert [each.mcp.reason for each in seen if each.mcp] == ["CredentialsMissing"] * 2


def test_nothing_to_look_at_is_nothing_seen() -> None:
    assert UpstreamProber({}, NOW)([]) == []


def test_credentials_reach_the_upstream(root: Authority, serve: Callable[..., RawServer]) -> None:
    script = Script()
    server = serve(speaking_http(script), server_context(root.issue_server(["localhost"])))
    wanted = gateway("a", f"https://localhost:{server.port}/mcp", root, auth=BEARER)
    (seen,) = UpstreamProber({"TOKEN": "s3cret"}, NOW)([(wanted, PATIENT)])
    assert seen.ok, seen
    assert {request.headers["authorization"] for request in script.requests} == {"Bearer s3cret"}
    assert "s3cret" not in repr(seen)


def test_a_client_certificate_is_shown_with_the_key_that_is_found_at_the_last_moment(root: Authority) -> None:
    me = root.issue_client("reconciler")
    with Upstream(
        "mutual", root.issue_server(["localhost"]), {"charge": "Charge a card"}, client_authority=root.pem
    ) as upstream:
        wanted = gateway(
            "a",
            upstream.url,
            root,
            client_certificate=me.certificate_pem,
            client_key=SecretReference("env", "CLIENT_KEY"),
        )
        (known,) = UpstreamProber({"CLIENT_KEY": me.key_pem}, NOW)([(wanted, PATIENT)])
        (unknown,) = UpstreamProber({}, NOW)([(replace(wanted, client_certificate="", client_key=None), PATIENT)])
    assert known.ok, known
    assert not unknown.ok


def test_the_policy_of_the_manifest_is_asked_of_the_upstream(root: Authority, serve: Callable[..., RawServer]) -> None:
    server = serve(speaking_http(Script()), server_context(root.issue_server(["localhost"])))
    wanted = gateway("a", f"https://localhost:{server.port}/mcp", root)
    policies = [VerifyPolicy("report", 20.0, tools) for tools in (("charge",), ("charge", "refund"))]
    met, unmet = UpstreamProber({}, NOW)([(wanted, policy) for policy in policies])
    assert met.ok
    assert unmet.mcp is not None
    assert "refund" in unmet.mcp.message
