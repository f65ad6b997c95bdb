"""What a manifest needs and a store lacks is an error before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import gateways

from reconciler.core.features import NEEDS, lacking
from reconciler.core.model import (
    Auth,
    DesiredGateway,
    DesiredState,
    Feature,
    Gateway,
    SecretReference,
    Transport,
    Visibility,
)
from reconciler.core.problems import Location, Problem, Severity

EVERY = frozenset(Feature)
IN_KUBERNETES = SecretReference("secretKeyRef", "s", "k")
PLAIN = Gateway("plain", "https://a.example/mcp", Transport.STREAMABLE_HTTP)


def state(*fleet: Gateway) -> DesiredState:
    return DesiredState({each.name: DesiredGateway(each, Location(f"{each.name}.yaml", 7)) for each in fleet})


def problems(features: frozenset[Feature], *fleet: Gateway) -> list[Problem]:
    return list(lacking(state(*fleet), features, "tiny"))


@pytest.mark.parametrize(
    ("feature", "fields"),
    [
        (Feature.BUNDLE_ONLY_TRUST, {"system_trust": False}),
        (Feature.CLIENT_CERTIFICATE, {"client_certificate": "PEM"}),
        (Feature.PASSTHROUGH_HEADERS, {"passthrough_headers": ("X-A",)}),
        (Feature.SSE_TRANSPORT, {"transport": Transport.SSE}),
        (Feature.SECRET_KEY_REFERENCE, {"client_key": IN_KUBERNETES}),
        (Feature.SECRET_KEY_REFERENCE, {"auth": Auth("bearer", (), (("token", IN_KUBERNETES),))}),
        (Feature.VISIBILITY, {"visibility": Visibility.TEAM}),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Feature) else "",
)
def test_a_need_is_named_with_the_manifest_the_feature_and_the_store(feature: Feature, fields: dict[str, Any]) -> None:
    needy = replace(PLAIN, name="needy", **fields)
    (problem,) = problems(EVERY - {feature}, PLAIN, needy)
    assert (problem.code, problem.severity) == ("unsupported-by-store", Severity.ERROR)
    assert problem.message == f"`needy` uses {feature}, which a tiny store cannot hold"
    assert (problem.location.file, problem.location.line) == ("needy.yaml", 7)
    assert problems(EVERY, PLAIN, needy) == []


def test_a_plain_gateway_fits_into_every_store() -> None:
    assert problems(frozenset(), PLAIN) == []


def test_every_need_of_every_gateway_is_named() -> None:
    one = replace(PLAIN, name="one", transport=Transport.SSE, system_trust=False)
    two = replace(PLAIN, name="two", passthrough_headers=("X-A",))
    assert sorted(problem.location.file for problem in problems(frozenset(), one, two)) == [
        "one.yaml", "one.yaml", "two.yaml",
    ]  # fmt: skip


def test_every_feature_that_a_manifest_can_need_has_its_question() -> None:
    ours = {Feature.BUNDLE_SIGNATURE, Feature.RECORD_SIGNATURE, Feature.RENAME, Feature.ATOMIC}
    assert EVERY - NEEDS.keys() == ours, "what the reconciler needs, and no manifest asks for"


@given(gateways, st.sets(st.sampled_from(Feature)), st.sampled_from(Feature))
def test_a_richer_store_never_refuses_more(gateway: Gateway, held: set[Feature], more: Feature) -> None:
    assert len(problems(frozenset(held | {more}), gateway)) <= len(problems(frozenset(held), gateway))
    assert problems(EVERY, gateway) == []
