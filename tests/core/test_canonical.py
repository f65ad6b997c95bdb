"""Equal gateways are equal bytes, different ones are not, and no field is forgotten."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from strategies import gateways

from reconciler.core.canonical import canonical_json, digest, document, text_digest
from reconciler.core.model import (
    Auth,
    ContextForgeOptions,
    Gateway,
    KuadrantOptions,
    SecretReference,
    Transport,
    Visibility,
)

REFERENCE = SecretReference("env", "TOKEN")
GATEWAY = Gateway(
    "a",
    "https://a.example/mcp",
    Transport.SSE,
    client_key=SecretReference("secretKeyRef", "n", "k"),
    auth=Auth("bearer", (), (("token", REFERENCE),)),
)

OTHER: dict[type, dict[str, Any]] = {
    Gateway: {
        "name": "b",
        "url": "https://b.example/mcp",
        "transport": Transport.STREAMABLE_HTTP,
        "description": "d",
        "enabled": False,
        "visibility": Visibility.TEAM,
        "tags": ("t",),
        "passthrough_headers": ("X-A",),
        "ca_certificate": "PEM",
        "system_trust": False,
        "client_certificate": "PEM",
        "client_key": REFERENCE,
        "auth": Auth(),
        "contextforge": ContextForgeOptions("direct_proxy"),
        "kuadrant": KuadrantOptions("p_"),
    },
    Auth: {
        "type": "oauth",
        "settings": (("clientId", "c"),),
        "secrets": (("token", SecretReference("env", "OTHER")),),
    },
    ContextForgeOptions: {"mode": "direct_proxy", "team": "t"},
    KuadrantOptions: {
        "prefix": "p_",
        "route": "r",
        "category": ("c",),
        "hint": "h",
        "hostname": "h.example",
        "parent": "p",
        "parent_namespace": "n",
        "listener": "l",
        "user_specific_list": True,
    },
    SecretReference: {"kind": "env", "name": "m", "key": "l"},
}
"""For every field of every noun in a gateway, a value that `GATEWAY` does not have."""

ATTRIBUTES = {
    Auth: "auth",
    ContextForgeOptions: "contextforge",
    KuadrantOptions: "kuadrant",
    SecretReference: "client_key",
}


def changed(noun: type, name: str) -> Gateway:
    """Return the gateway with one field of one of its nouns changed."""
    change = {name: OTHER[noun][name]}
    if noun is Gateway:
        return replace(GATEWAY, **change)
    attribute = ATTRIBUTES[noun]
    return replace(GATEWAY, **{attribute: replace(getattr(GATEWAY, attribute), **change)})


@pytest.mark.parametrize(("noun", "name"), [(noun, field.name) for noun in OTHER for field in fields(noun)], ids=str)
def test_no_field_of_a_gateway_is_forgotten(noun: type, name: str) -> None:
    other = changed(noun, name)
    assert other != GATEWAY
    assert digest(document(other)) != digest(document(GATEWAY))


def test_the_document_has_the_names_of_the_fields_in_their_order() -> None:
    assert list(document(GATEWAY)) == [field.name for field in fields(Gateway)]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (SecretReference("env", "N"), {"env": "N"}),
        (SecretReference("file", "/run/s"), {"file": "/run/s"}),
        (SecretReference("secretKeyRef", "n", "k"), {"secretKeyRef": {"name": "n", "key": "k"}}),
        (None, None),
    ],
    ids=["env", "file", "secretKeyRef", "none"],
)
def test_a_reference_is_written_as_in_a_manifest(reference: SecretReference | None, expected: object) -> None:
    assert document(replace(GATEWAY, client_key=reference))["client_key"] == expected


def test_certificates_are_digests_and_not_walls_of_base64() -> None:
    gateway = replace(GATEWAY, ca_certificate="abc")
    assert document(gateway)["ca_certificate"] == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert (text_digest(""), document(GATEWAY)["client_certificate"]) == ("", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None, "é"]}, '{"a":[true,null,"é"],"b":1}'),
        ('\u20ac$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        ({"\x7f": "\u2028"}, '{"\x7f":"\u2028"}'),
    ],
    ids=["sorted and minimal", "the example of the RFC", "nothing escaped in vain"],
)
def test_json_is_canonical_as_in_rfc_8785(value: object, text: str) -> None:
    assert canonical_json(value) == text


def test_a_digest_is_that_of_the_canonical_json() -> None:
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@given(gateways)
def test_the_document_is_plain_json_and_comes_back_from_it(gateway: Gateway) -> None:
    written = document(gateway)
    assert json.loads(canonical_json(written)) == written


@given(gateways)
@example(GATEWAY)
def test_equal_gateways_have_equal_digests_whatever_order_they_were_written_in(gateway: Gateway) -> None:
    shuffled = dict(reversed(document(replace(gateway)).items()))
    assert digest(shuffled) == digest(document(gateway))


@given(gateways, gateways, st.sampled_from([field.name for field in fields(Gateway)]))
def test_different_gateways_have_different_digests(one: Gateway, two: Gateway, name: str) -> None:
    mixed = replace(one, **{name: getattr(two, name)})
    assume(mixed != one)
    assert digest(document(mixed)) != digest(document(one))
