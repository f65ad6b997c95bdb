"""What Kubernetes refuses of a gateway for Kuadrant is told while it is still a manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.core.effects import replaces
from reconciler.core.lint import TargetScope
from reconciler.core.model import (
    Action,
    Auth,
    Change,
    DesiredGateway,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    Reason,
    SecretReference,
    Transport,
)
from reconciler.core.platforms import check_platforms
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.targets import Membership

ROUTED = KuadrantOptions(route="payments")
IN_CLUSTER = SecretReference("secretKeyRef", "payments", "header")


def wanted(name: str = "payments", **fields: Any) -> DesiredGateway:
    gateway = Gateway(name, f"https://{name}.example/mcp", Transport.STREAMABLE_HTTP, kuadrant=ROUTED)
    return DesiredGateway(replace(gateway, **fields), Location(f"{name}.yaml", 3))


def problems(*fleet: DesiredGateway) -> list[Problem]:
    scope = TargetScope("cluster", "kubernetes", ".", {}, Location("reconciler.yaml"))
    return list(check_platforms(Membership(fleet, [scope]), {}))


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"kuadrant": KuadrantOptions()}, "route-missing", "/spec/kuadrant"),
        ({"kuadrant": KuadrantOptions(hostname="h.example")}, "parent-missing", "/spec/kuadrant/hostname"),
        (
            {"kuadrant": replace(ROUTED, user_specific_list=True)},
            "prefix-missing",
            "/spec/kuadrant/userSpecificList",
        ),
        (
            {"auth": Auth("bearer", (), (("token", SecretReference("env", "T")),))},
            "credential-outside-cluster",
            "/spec/auth",
        ),
        (
            {"url": "https://10.0.0.1:8443/mcp", "kuadrant": KuadrantOptions(hostname="h.example", parent="g")},
            "address-not-named",
            "/spec/url",
        ),
    ],
)
def test_what_kubernetes_would_refuse_is_an_error_with_its_place(
    fields: dict[str, Any], code: str, pointer: str
) -> None:
    (problem,) = problems(wanted(**fields))
    assert (problem.code, problem.severity, problem.gateways) == (code, Severity.ERROR, ("payments",))
    assert problem.location.pointer == pointer
    assert problem.fix


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kuadrant": KuadrantOptions(hostname="h.example", parent="g")},
        {"kuadrant": replace(ROUTED, prefix="p_", user_specific_list=True)},
        {"auth": Auth("bearer", (), (("token", IN_CLUSTER),))},
        {"url": "https://10.0.0.1:8443/mcp"},
    ],
)
def test_what_kubernetes_takes_is_no_problem(fields: dict[str, Any]) -> None:
    assert problems(wanted(**fields)) == []


def test_copies_of_a_ca_are_counted_where_they_weigh() -> None:
    text = "c" * 20_000
    (problem,) = problems(*(wanted(f"gw-{number}", ca_certificate=text) for number in range(6)))
    assert (problem.code, problem.severity) == ("bundle-shared-by-many", Severity.INFO)
    assert "6 x 20,000 = 120,000 of the 1,048,576 bytes" in problem.message
    assert "caCertBundleRef" in problem.fix
    assert problems(*(wanted(f"gw-{number}", ca_certificate=text) for number in range(5))) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (KuadrantOptions("a_", "r"), KuadrantOptions("b_", "r"), True),
        (KuadrantOptions("a_", "r"), KuadrantOptions("", "r"), True),
        (KuadrantOptions("", "r"), KuadrantOptions("b_", "r"), False),
        (KuadrantOptions("a_", "r"), KuadrantOptions("a_", "s"), True),
        (KuadrantOptions("a_", "r"), KuadrantOptions("a_", "r", hint="new"), False),
    ],
)
def test_another_prefix_or_route_replaces_the_registration(
    before: KuadrantOptions, after: KuadrantOptions, expected: bool
) -> None:
    held, new = (wanted(kuadrant=options).gateway for options in (before, after))
    change = Change(Action.UPDATE, "payments", Reason.MANIFEST_CHANGED, LiveGateway(held, "", None, ""), new)
    assert replaces(change) is expected
    assert not replaces(replace(change, action=Action.CREATE, before=None))
    assert not replaces(replace(change, name="renamed", after=replace(new, name="renamed")))
