"""What is right in each manifest and wrong in all of them together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import desired_fleets

from reconciler.core.lint import Across, TargetScope, endpoint, lint
from reconciler.core.manifest import Manifest
from reconciler.core.model import (
    Auth,
    DesiredGateway,
    Gateway,
    SecretReference,
    Transport,
    TrustBundle,
    Visibility,
)
from reconciler.core.pem import read_pem
from reconciler.core.problems import Location, Problem, Severity, in_order
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
ROOT = Authority.root("Shared Root", Lifetime.around(NOW))
OTHER = Authority.root("Other Root", Lifetime.around(NOW))


def bundle(*authorities: Authority) -> TrustBundle:
    built, problems = build_bundle([read_pem("ca.pem", "\n".join(each.pem for each in authorities).encode())], NOW)
    assert built is not None, problems
    return built


ONE, TWO, BOTH = bundle(ROOT), bundle(OTHER), bundle(ROOT, OTHER)
BUNDLES = {each.pem: each for each in (ONE, TWO, BOTH)}


def wanted(name: str, environment: str = "", **fields: Any) -> DesiredGateway:
    gateway = replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **fields)
    labels = (("environment", environment),) if environment else ()
    return DesiredGateway(gateway, Location(f"{name}.yaml", 3), labels)


def found(*fleet: DesiredGateway, targets: Sequence[TargetScope] = ()) -> list[Problem]:
    return list(lint(Across({each.gateway.name: each for each in fleet}, BUNDLES, targets=targets)))


def told(*fleet: DesiredGateway) -> list[tuple[str, str]]:
    return [(problem.code, problem.location.file) for problem in found(*fleet)]


def test_gateways_of_their_own_are_fine() -> None:
    fleet = (wanted("a", "test", ca_certificate=ONE.pem), wanted("b", "production", ca_certificate=TWO.pem))
    assert found(*fleet) == []


def test_a_url_belongs_to_one_gateway() -> None:
    url = "https://same.example/mcp"
    problems = found(wanted("a", url=url), wanted("b", url=url), wanted("c"), wanted("d", url=url))
    assert [(each.code, each.location.file) for each in problems] == [("same-url", "b.yaml"), ("same-url", "d.yaml")]
    assert problems[0].message == "`b` has the same URL as `a` (a.yaml)"
    assert problems[0].location.line == 3
    assert problems[0].gateways == ("a", "b")
    assert problems[0].fix == "keep one of the two"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://mcp.example/mcp", "HTTPS://MCP.Example/mcp"),
        ("https://mcp.example/mcp", "https://mcp.example:443/mcp"),
        ("https://mcp.example:443/mcp", "https://mcp.example:0443/mcp"),
        ("http://mcp.example:80/mcp", "http://mcp.example/mcp"),
        ("https://mcp.example", "https://mcp.example/"),
        ("https://mcp.example?a=1", "https://mcp.example/?a=1"),
        ("http://127.0.0.1:8080/mcp", "http://localhost:8080/mcp"),
        ("http://127.0.0.1", "http://LOCALHOST/"),
        ("https://[2001:DB8::1]:443/mcp", "https://[2001:db8::1]/mcp"),
    ],
)
def test_two_spellings_of_a_url_are_one_and_both_are_told(one: str, other: str) -> None:
    problem = next(each for each in found(wanted("a", url=one), wanted("b", url=other)) if each.code == "same-url")
    assert problem.message == f"`b` has the same URL as `a` (a.yaml), written {other} here and {one} there"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://mcp.example/mcp", "http://mcp.example/mcp"),
        ("https://mcp.example/mcp", "https://mcp.example/MCP"),
        ("https://mcp.example/mcp", "https://mcp.example/mcp/"),
        ("https://mcp.example/mcp", "https://mcp.example:8443/mcp"),
        ("http://mcp.example:443/mcp", "http://mcp.example/mcp"),
        ("https://mcp.example:80/mcp", "https://mcp.example/mcp"),
        ("http://127.0.0.10/mcp", "http://localhost/mcp"),
        ("https://mcp.example/mcp?a=1", "https://mcp.example/mcp?a=2"),
    ],
)
def test_urls_that_reach_different_places_are_different(one: str, other: str) -> None:
    assert endpoint(one) != endpoint(other)


@given(
    st.text(max_size=40)
    | st.from_regex(r"(?i)https?://[a-z0-9.\[\]:]{0,12}(:[0-9]{0,5})?([/?].{0,5})?", fullmatch=True)
)
def test_the_form_in_which_urls_are_compared_is_final(url: str) -> None:
    assert endpoint(endpoint(url)) == endpoint(url)


@pytest.mark.parametrize(
    "difference",
    [
        {"auth": Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),))},
        {"visibility": Visibility.PUBLIC},
    ],
)
def test_one_url_may_be_meant_for_other_credentials_or_another_audience(difference: dict[str, Any]) -> None:
    url = "https://same.example/mcp"
    (problem,) = found(wanted("a", url=url), wanted("b", url=url, **difference))
    assert "suppress this" in problem.fix


def test_one_url_in_stores_that_never_meet_is_fine() -> None:
    one, other = (
        wanted("a", "test", url="https://same.example/mcp"),
        wanted("b", "live", url="https://same.example/mcp"),
    )
    apart = [TargetScope(each, "sqlite", ".", {"environment": each}, Location("r.yaml")) for each in ("test", "live")]
    assert found(one, other, targets=apart) == []
    everything = TargetScope("all", "sqlite", ".", {}, Location("r.yaml"))
    assert [each.code for each in found(one, other, targets=[*apart, everything])] == ["same-url"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://mcp.example/mcp", ["plain-http"]),
        ("http://10.0.0.7:8080/mcp", ["plain-http"]),
        ("http://localhost.example/mcp", ["plain-http"]),
        ("http://127.example/mcp", ["plain-http"]),
        ("http://[2001:db8::1]/mcp", ["plain-http"]),
        ("http://localhost:8080/mcp", []),
        ("http://127.0.0.1/mcp", []),
        ("http://LOCALHOST?a=1", []),
        ("http://127.9.9.9/mcp", []),
        ("http://[::1]:8080/mcp", []),
        ("https://mcp.example/mcp", []),
    ],
)
def test_plain_http_is_for_this_machine_alone(url: str, expected: list[str]) -> None:
    assert [problem.code for problem in found(wanted("a", url=url))] == expected


@pytest.mark.parametrize("url", ["http://mcp.example/mcp", "http://localhost/mcp"])
def test_a_bundle_that_no_url_uses_is_named(url: str) -> None:
    assert told(wanted("a", url=url, ca_certificate=ONE.pem)) == [("bundle-without-tls", "a.yaml")]


def test_one_ca_in_two_environments_is_named_with_both() -> None:
    problems = found(
        wanted("a", "production", ca_certificate=ONE.pem),
        wanted("b", "test", ca_certificate=BOTH.pem),
        wanted("c", "test", ca_certificate=ONE.pem),
    )
    (problem,) = problems
    assert (problem.code, problem.severity) == ("ca-in-two-environments", Severity.WARNING)
    assert problem.message == (
        "the CA CN=Shared Root is trusted in 2 environments: production (`a`), test (`b`)"
    )  # fmt: skip
    assert problem.location.file == "b.yaml"
    assert problem.gateways == ("a", "b")


def test_every_shared_ca_is_named() -> None:
    fleet = (wanted("a", "production", ca_certificate=BOTH.pem), wanted("b", "test", ca_certificate=BOTH.pem))
    assert len(found(*fleet)) == 2


@pytest.mark.parametrize("environments", [("test", "test"), ("test", ""), ("", "")])
def test_a_ca_may_be_shared_within_an_environment_and_where_none_is_named(environments: tuple[str, str]) -> None:
    one, two = environments
    assert found(wanted("a", one, ca_certificate=ONE.pem), wanted("b", two, ca_certificate=ONE.pem)) == []


fleets = st.lists(
    st.builds(
        wanted,
        st.sampled_from("abcdef"),
        st.sampled_from(["", "test", "production"]),
        url=st.sampled_from(["https://x.example/mcp", "http://x.example/mcp", "http://localhost/mcp"]),
        ca_certificate=st.sampled_from(["", *BUNDLES]),
    ),
    unique_by=lambda each: each.gateway.name,
)

words = st.text(st.sampled_from("ab-./_1"), max_size=6)
scopes = st.builds(
    TargetScope,
    words,
    st.sampled_from(["sqlite", "contextforge+https", "kuadrant+file", "kubernetes"]),
    st.just(".") | words,
    st.dictionaries(words, words, max_size=2),
    st.just(Location("reconciler.yaml")),
)
specs = st.recursive(
    st.none() | words,
    lambda inner: st.dictionaries(st.sampled_from(["auth", "verify", "transport"]), inner),
    max_leaves=4,
)
manifests = st.lists(
    st.builds(
        Manifest,
        st.sampled_from(["Gateway", "Defaults", "Config"]),
        words,
        st.dictionaries(st.sampled_from(["auth", "verify", "transport"]), specs),
        words,
        st.just(0),
        st.just(1),
    ),
    max_size=5,
)


@given(fleets)
def test_nothing_found_here_is_an_error_and_each_points_at_a_manifest(fleet: list[DesiredGateway]) -> None:
    files = {each.location for each in fleet}
    for problem in found(*fleet):
        assert problem.severity is Severity.WARNING
        assert replace(problem.location, pointer="") in files
        assert problem.fix
        assert problem.gateways


@given(fleets, st.data())
def test_the_order_of_the_manifests_changes_nothing(fleet: list[DesiredGateway], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(fleet))
    assert in_order(found(*shuffled)) == in_order(found(*fleet))


@given(desired_fleets, st.lists(scopes, max_size=4), manifests, st.booleans())
def test_whatever_there_is_lint_tells_of_it_and_never_raises(
    fleet: list[DesiredGateway], targets: list[TargetScope], documents: list[Manifest], whole: bool
) -> None:
    gateways = {each.gateway.name: each for each in fleet}
    for problem in lint(Across(gateways, BUNDLES, documents, frozenset({"a.pem"}), whole, targets)):
        assert problem.message
        assert problem.fix
        assert set(problem.gateways) <= gateways.keys()


@given(fleets)
def test_a_gateway_less_is_never_a_problem_more(fleet: list[DesiredGateway]) -> None:
    assert len(found(*fleet[1:])) <= len(found(*fleet))
