"""What is right in each manifest and wrong in all of them together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lint import lint
from reconciler.core.model import DesiredGateway, Gateway, Transport, TrustBundle
from reconciler.core.pem import read_pem
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime

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


def found(*fleet: DesiredGateway) -> list[Problem]:
    return list(lint({each.gateway.name: each for each in fleet}, BUNDLES))


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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://mcp.example/mcp", ["plain-http"]),
        ("http://10.0.0.7:8080/mcp", ["plain-http"]),
        ("http://localhost.example/mcp", ["plain-http"]),
        ("http://[2001:db8::1]/mcp", ["plain-http"]),
        ("http://localhost:8080/mcp", []),
        ("http://127.0.0.1/mcp", []),
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


@given(fleets)
def test_nothing_found_here_is_an_error_and_each_points_at_a_manifest(fleet: list[DesiredGateway]) -> None:
    files = {each.location for each in fleet}
    for problem in found(*fleet):
        assert problem.severity is Severity.WARNING
        assert problem.location in files
        assert problem.fix


@given(fleets)
def test_a_gateway_less_is_never_a_problem_more(fleet: list[DesiredGateway]) -> None:
    assert len(found(*fleet[1:])) <= len(found(*fleet))
