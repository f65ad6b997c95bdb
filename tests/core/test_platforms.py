"""What a platform refuses, changes or ignores is told where one of its targets takes the gateway, and only there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import desired_fleets

from reconciler.core.contextforge_platform import slug
from reconciler.core.lint import TargetScope
from reconciler.core.model import (
    Auth,
    ContextForgeOptions,
    DesiredGateway,
    Gateway,
    KuadrantOptions,
    SecretReference,
    Transport,
    TrustBundle,
    VerifyPolicy,
    Visibility,
)
from reconciler.core.pem import read_pem
from reconciler.core.platforms import check_platforms
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.targets import Membership
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime, self_signed

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
SECRET = SecretReference("env", "SECRET")


def bundle(pem: str) -> TrustBundle:
    built, problems = build_bundle([read_pem("ca.pem", pem.encode())], NOW)
    assert built is not None, problems
    return built


CA = bundle(Authority.root("Root", Lifetime.around(NOW)).pem)
PINNED = bundle(self_signed(["mcp.example"], Lifetime.around(NOW), ca=False).leaf_pem)
BUNDLES = {each.pem: each for each in (CA, PINNED)}


def wanted(name: str = "payments", **fields: Any) -> DesiredGateway:
    gateway = replace(Gateway(name, f"https://{name}.example/mcp", Transport.STREAMABLE_HTTP), **fields)
    return DesiredGateway(gateway, Location(f"{name}.yaml", 3))


def auth(kind: Any, *names: str) -> Auth:
    return Auth(kind, (), tuple((name, SECRET) for name in names))


def found(
    scheme: str, *fleet: DesiredGateway, bundles: Mapping[str, TrustBundle] = BUNDLES, selector: str = ""
) -> list[Problem]:
    labels = {"environment": selector} if selector else {}
    if scheme == KUBERNETES:
        fleet = tuple(routed(each) for each in fleet)
    target = TargetScope("target", scheme, ".", labels, Location("reconciler.yaml", 5))
    return list(check_platforms(Membership(fleet, [target]), bundles))


def routed(each: DesiredGateway) -> DesiredGateway:
    """Name the route without which Kubernetes takes nothing at all."""
    return replace(each, gateway=replace(each.gateway, kuadrant=replace(each.gateway.kuadrant, route="shared")))


CONTEXTFORGE = "contextforge+https"
KUBERNETES = "kubernetes"
FILE = "kuadrant+file"
SCHEMES = (CONTEXTFORGE, KUBERNETES, FILE)
LONG = wanted("n" * 63)
FITTING, TOO_LONG = "t" * 64, "t" * 65


@pytest.mark.parametrize(
    ("gateway", "contextforge", "kubernetes", "file"),
    [
        pytest.param(wanted(), "", "", "", id="plain"),
        pytest.param(wanted(ca_certificate=CA.pem), "", "", "", id="private CA"),
        pytest.param(wanted(auth=auth("bearer", "token")), "", "credential-outside-cluster", "", id="bearer"),
        pytest.param(
            wanted(auth=auth("queryParameter", "value")),
            "",
            "auth-unsupported-by-platform credential-outside-cluster",
            "auth-unsupported-by-platform",
            id="query parameter",
        ),
        pytest.param(
            wanted(auth=auth("headers", "Authorization", "X-Tenant")),
            "",
            "auth-unsupported-by-platform credential-outside-cluster",
            "auth-unsupported-by-platform",
            id="two headers",
        ),
        pytest.param(
            wanted(auth=auth("headers", "authorization")), "", "credential-outside-cluster", "", id="the one header"
        ),
        pytest.param(
            wanted(system_trust=False, ca_certificate=CA.pem),
            "unsupported-by-store",
            "unsupported-by-store",
            "unsupported-by-store",
            id="bundle only",
        ),
        pytest.param(wanted(transport=Transport.SSE), "", "unsupported-by-store", "unsupported-by-store", id="SSE"),
        pytest.param(
            wanted(visibility=Visibility.PUBLIC), "", "unsupported-by-store", "unsupported-by-store", id="visibility"
        ),
        pytest.param(
            wanted(auth=Auth("bearer", (), (("token", SecretReference("secretKeyRef", "s", "k")),))),
            "unsupported-by-store",
            "",
            "unsupported-by-store",
            id="Kubernetes secret",
        ),
        pytest.param(
            wanted(client_certificate=CA.pem),
            "client-certificate-not-used-by-platform",
            "unsupported-by-store",
            "unsupported-by-store",
            id="client certificate alone",
        ),
        pytest.param(
            wanted(client_certificate=CA.pem, ca_certificate=CA.pem),
            "",
            "unsupported-by-store",
            "unsupported-by-store",
            id="client certificate with a CA",
        ),
        pytest.param(
            wanted(contextforge=ContextForgeOptions("direct_proxy"), ca_certificate=CA.pem),
            "bundle-not-used-by-platform",
            "",
            "",
            id="direct proxy with a CA",
        ),
        pytest.param(wanted(contextforge=ContextForgeOptions("direct_proxy")), "", "", "", id="direct proxy"),
        pytest.param(
            replace(LONG, verify=VerifyPolicy(require_tools=(TOO_LONG,))),
            "name-too-long-for-platform",
            "",
            "",
            id="129 characters",
        ),
        pytest.param(replace(LONG, verify=VerifyPolicy(require_tools=(FITTING,))), "", "", "", id="128 characters"),
        pytest.param(
            replace(wanted("a-----b"), verify=VerifyPolicy(require_tools=("t" * 124,))), "", "", "", id="as a slug"
        ),
        pytest.param(wanted(url="https://127.0.0.1:8443/mcp"), "host-rewritten", "", "", id="127.0.0.1"),
        pytest.param(wanted(url="http://127.0.0.1"), "host-rewritten", "", "", id="127.0.0.1 alone"),
        pytest.param(wanted(url="https://localhost:8443/mcp"), "", "", "", id="localhost"),
        pytest.param(wanted(url="https://127.0.0.1.example/mcp"), "", "", "", id="a name of digits"),
        pytest.param(wanted(url="https://[2001:db8::1]/mcp"), "host-refused-by-platform", "", "", id="IPv6"),
        pytest.param(wanted(url="https://0.0.0.0/mcp"), "host-refused-by-platform", "", "", id="no address"),
        pytest.param(wanted(url="http://169.254.169.254?a"), "host-refused-by-platform", "", "", id="metadata"),
        pytest.param(wanted(url="https://100.64.0.1:80/"), "host-refused-by-platform", "", "", id="first shared"),
        pytest.param(wanted(url="https://100.127.255.255"), "host-refused-by-platform", "", "", id="last shared"),
        pytest.param(wanted(url="https://100.63.0.1/"), "", "", "", id="before the shared"),
        pytest.param(wanted(url="https://100.128.0.1/"), "", "", "", id="after the shared"),
        pytest.param(wanted(ca_certificate=PINNED.pem), "", "pinned-certificate-refused", "", id="pinned server"),
        pytest.param(wanted(ca_certificate="A" * 65_536), "", "", "", id="64 KiB"),
        pytest.param(wanted(ca_certificate="A" * 65_537), "", "bundle-too-large-for-platform", "", id="a byte more"),
        pytest.param(wanted(tags=tuple("abcdefghij")), "", "", "", id="ten tags"),
        pytest.param(wanted(tags=tuple("abcdefghijk")), "", "too-many-tags-for-platform", "", id="eleven tags"),
    ],
)
def test_what_each_platform_makes_of_a_gateway(
    gateway: DesiredGateway, contextforge: str, kubernetes: str, file: str
) -> None:
    codes = [[problem.code for problem in found(scheme, gateway)] for scheme in SCHEMES]
    assert codes == [expected.split() for expected in (contextforge, kubernetes, file)]


@pytest.mark.parametrize(
    ("names", "kind", "kept_back"),
    [
        (("X-Request-Id", "traceparent", "Authorization"), "none", ""),
        (("X-Request-Id", "Authorization"), "bearer", "`Authorization`"),
        (("authorization",), "basic", "`authorization`"),
        (("Authorization",), "oauth", ""),
        (("X_Request_Id", "Host", "Content-Type"), "none", "`X_Request_Id`, `Host`, `Content-Type`"),
        (("TE", "Upgrade", "Trailer", "Connection", "X-A"), "none", "`TE`, `Upgrade`, `Trailer` and 1 more"),
    ],
)
def test_headers_that_contextforge_keeps_back_are_named(names: tuple[str, ...], kind: str, kept_back: str) -> None:
    problems = found(CONTEXTFORGE, wanted(passthrough_headers=names, auth=auth(kind)))
    messages = [f"ContextForge will not pass on {kept_back} to `payments`"] if kept_back else []
    assert [(each.code, each.message) for each in problems] == [("header-not-passed", each) for each in messages]


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (wanted("pay-ments"), wanted("pay--ments"), True),
        (wanted("pay-ments"), wanted("payments"), False),
        (wanted("pay-ments"), wanted("pay--ments", visibility=Visibility.PUBLIC), False),
        (
            wanted("pay-ments", visibility=Visibility.TEAM, contextforge=ContextForgeOptions(team="a")),
            wanted("pay--ments", visibility=Visibility.TEAM, contextforge=ContextForgeOptions(team="b")),
            False,
        ),
        (
            wanted("pay-ments", contextforge=ContextForgeOptions(team="a")),
            wanted("pay--ments", contextforge=ContextForgeOptions(team="b")),
            True,
        ),
    ],
)
def test_names_that_differ_in_their_hyphens_alone_clash_for_one_audience(
    one: DesiredGateway, other: DesiredGateway, clash: bool
) -> None:
    problems = found(CONTEXTFORGE, one, other)
    assert [problem.code for problem in problems] == ["duplicate-slug"] * clash
    for problem in problems:
        assert problem.severity is Severity.ERROR
        assert (
            problem.message == "ContextForge writes `pay-ments` and `pay--ments` (pay--ments.yaml) both as `pay-ments`"
        )
        assert set(problem.gateways) == {"pay-ments", "pay--ments"}


@pytest.mark.parametrize("scheme", [KUBERNETES, FILE, "sqlite"])
def test_elsewhere_a_name_is_what_is_written(scheme: str) -> None:
    assert found(scheme, wanted("pay-ments"), wanted("pay--ments")) == []


def test_names_clash_only_within_a_target() -> None:
    one, other = wanted("pay-ments"), replace(wanted("pay--ments"), labels=(("environment", "test"),))
    assert found(CONTEXTFORGE, one, other, selector="test") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("payments", "payments"), ("a--b---c", "a-b-c"), ("Gw One", "gw-one"), ("gw_one", "gw-one"), ("-a-", "a")],
)
def test_slugs_are_those_of_contextforge(name: str, expected: str) -> None:
    assert slug(name) == expected


@pytest.mark.parametrize("scheme", [KUBERNETES, FILE])
def test_two_of_one_prefix_are_told(scheme: str) -> None:
    one, other = (wanted(name, kuadrant=KuadrantOptions("pay_")) for name in "ab")
    (problem,) = found(scheme, one, other, wanted("c"), wanted("d"))
    assert (problem.code, problem.severity) == ("duplicate-prefix", Severity.WARNING)
    assert problem.message == "`b` has the prefix `pay_` of `a` (a.yaml)"


def test_bundles_that_do_not_fit_into_one_secret_are_told_at_the_target() -> None:
    fleet = [wanted(f"g{index}", ca_certificate=chr(ord("B") + index) * 65_536) for index in range(16)]
    assert found(KUBERNETES, *fleet) == []
    (problem,) = found(KUBERNETES, *fleet, wanted("last", ca_certificate="A"))
    assert (problem.code, problem.location) == ("bundles-too-large-for-platform", Location("reconciler.yaml", 5))
    assert "1,048,577 bytes together; a Secret holds 1,048,576" in problem.message


def test_a_pinned_certificate_is_named() -> None:
    (problem,) = found(KUBERNETES, wanted(ca_certificate=PINNED.pem))
    assert (
        problem.message
        == f"Kuadrant refuses {PINNED.certificates[0].subject} in the bundle of `payments`: it is not a CA certificate"
    )


def test_the_features_are_told_as_the_plan_would() -> None:
    (problem,) = found(KUBERNETES, wanted(transport=Transport.SSE))
    assert problem.message == "`payments` uses transport: sse, which a kubernetes store cannot hold"


@given(desired_fleets, st.sampled_from(["sqlite", "postgresql", "memory", "", "contextforged+https", "kubernetesque"]))
def test_a_store_of_our_own_takes_everything(fleet: list[DesiredGateway], scheme: str) -> None:
    assert found(scheme, *fleet) == []


@given(desired_fleets, st.sampled_from(SCHEMES))
def test_nothing_is_said_of_what_the_target_does_not_take(fleet: list[DesiredGateway], scheme: str) -> None:
    others = [replace(each, labels=()) for each in fleet]
    assert found(scheme, *others, selector="production") == []


@given(desired_fleets, st.sampled_from(SCHEMES))
def test_each_thing_is_said_once_however_many_targets_there_are(fleet: list[DesiredGateway], scheme: str) -> None:
    target = TargetScope("target", scheme, ".", {}, Location("reconciler.yaml"))
    once, twice = (list(check_platforms(Membership(fleet, [target] * count), {})) for count in (1, 2))
    assert once == twice
    assert len(set(once)) == len(once)


@given(st.permutations([wanted(name, kuadrant=KuadrantOptions("p_")) for name in ("a-b", "a--b", "a---b")]))
def test_the_order_of_the_manifests_decides_nothing(fleet: list[DesiredGateway]) -> None:
    for scheme, code in ((CONTEXTFORGE, "duplicate-slug"), (KUBERNETES, "duplicate-prefix")):
        problems = found(scheme, *fleet)
        assert {problem.code for problem in problems} == {code}
        assert {problem.location.file for problem in problems} == {"a-b.yaml", "a--b.yaml"}
