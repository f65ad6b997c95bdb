"""What differs is shown by path, and what could be a secret is not shown on either side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import gateways

from reconciler.core.canonical import document
from reconciler.core.differences import (
    AUTH_TYPES,
    HARMLESS,
    MODES,
    PURPOSES,
    Difference,
    differences,
    shown_document,
    shown_signature,
)
from reconciler.core.model import Auth, ContextForgeOptions, Gateway, KuadrantOptions, SecretReference, Transport
from reconciler.core.urls import shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = Gateway("a", "https://a.example/mcp", Transport.SSE)
BEARER = replace(PLAIN, auth=Auth("bearer", (), (("token", SecretReference("env", "OLD")),)))
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/gateway.v1.schema.json").read_text())


def odd(value: str) -> Any:
    """Return text where a gateway from a manifest has an enum or a flag, as a store does that found something else."""
    return cast("Any", value)


def shown(before: Gateway, after: Gateway) -> list[tuple[str, object, object]]:
    return [(each.path, each.before, each.after) for each in differences(before, after)]


def test_each_field_is_a_path_with_both_sides() -> None:
    after = replace(
        BEARER,
        enabled=False,
        tags=("x",),
        client_key=SecretReference("secretKeyRef", "tls", "key.pem"),
        auth=Auth("bearer", (), (("token", SecretReference("env", "NEW")),)),
        contextforge=ContextForgeOptions(team="payments"),
        kuadrant=KuadrantOptions(prefix="pay_"),
    )
    assert shown(BEARER, after) == [
        ("enabled", True, False),
        ("tags", (), ("x",)),
        ("client_key", None, "secretKeyRef:tls/key.pem"),
        ("auth.token", "env:OLD", "env:NEW"),
        ("contextforge.team", "", "payments"),
        ("kuadrant.prefix", "", "pay_"),
    ]


def test_another_kind_of_auth_shows_what_comes_and_what_goes() -> None:
    basic = Auth("basic", (("username", "me"),), (("password", SecretReference("file", "/run/pw")),))
    assert shown(BEARER, replace(PLAIN, auth=basic)) == [
        ("auth.type", "bearer", "basic"),
        ("auth.token", "env:OLD", None),
        ("auth.username", None, "me"),
        ("auth.password", None, "file:/run/pw"),
    ]


def test_the_headers_of_auth_are_told_from_its_fields() -> None:
    headers = Auth("headers", (), (("name", SecretReference("env", "A")), ("token", SecretReference("env", "B"))))
    assert shown(PLAIN, replace(PLAIN, auth=headers))[1:] == [
        ("auth.headers.name", None, "env:A"),
        ("auth.headers.token", None, "env:B"),
    ]


def test_a_gateway_alone_shows_what_it_says() -> None:
    alone = differences(None, replace(BEARER, description="Payments"))
    assert {each.path: each.after for each in alone} == {
        "url": "https://a.example/mcp",
        "transport": "sse",
        "description": "Payments",
        "enabled": True,
        "visibility": "private",
        "system_trust": True,
        "auth.type": "bearer",
        "auth.token": "env:OLD",
        "contextforge.mode": "cache",
    }
    assert differences(BEARER, None) == tuple(
        Difference(each.path, each.after, None) for each in differences(None, BEARER)
    )
    assert differences(None, None) == ()


def properties(gateway: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every property of the kinds of auth."""
    for name, kind in gateway["$defs"].items():
        if name.startswith("auth") and name != "auth":
            yield from ((field, schema) for field, schema in kind["properties"].items() if isinstance(schema, dict))


def test_what_is_harmless_is_what_the_schema_says() -> None:
    found = list(properties(SCHEMA))
    assert {name for name, field in found if not field.get("writeOnly")} == HARMLESS | {"headers"}
    assert {name.removesuffix("From") for name, field in found if field.get("writeOnly")} == PURPOSES
    assert set(SCHEMA["$defs"]["auth"]["properties"]["type"]["enum"]) == AUTH_TYPES
    assert set(SCHEMA["$defs"]["contextforge"]["properties"]["mode"]["enum"]) == MODES


@pytest.mark.parametrize("key", ["token", "password", "X-Api-Key", "unknown", "clientSecret", ""])
def test_a_setting_that_no_manifest_has_is_not_shown_on_any_side(key: str) -> None:
    held = replace(PLAIN, auth=Auth("bearer", ((key, "hunter2"),)))
    for pair in ((held, PLAIN), (PLAIN, held), (held, replace(PLAIN, auth=Auth("bearer", ((key, "hunter3"),))))):
        found = differences(*pair)
        assert "(sensitive)" in str(found)
        assert "hunter" not in str(found) + str([shown_document(each, pair[1]) for each in pair])


def test_of_a_url_in_a_store_nothing_is_shown_that_a_manifest_could_not_have() -> None:
    held = replace(PLAIN, url="https://me:hunter2@a.example/mcp?tenant=b&api_key=hunter2")
    seen = "https://(sensitive)@a.example/mcp?tenant=b&api_key=(sensitive)"
    assert shown(held, PLAIN) == [("url", seen, "https://a.example/mcp")]
    assert "hunter2" not in str(differences(held, None)) + str(shown_document(held, None))


def test_the_token_url_of_oauth_is_a_url_too() -> None:
    held, wanted = (
        replace(PLAIN, auth=Auth("oauth", (("tokenUrl", f"https://{user}sso.example/token"),)))
        for user in ("me:hunter2@", "")
    )
    assert shown(held, wanted) == [
        ("auth.tokenUrl", "https://(sensitive)@sso.example/token", "https://sso.example/token")
    ]


def test_what_a_store_could_not_read_is_called_that() -> None:
    held = Gateway(
        "a",
        "https://a.example/mcp",
        transport=odd("unknown:hunter2"),
        description="unknown:b'hunter2'",
        enabled=odd("unknown:hunter2"),
        tags=("unknown:hunter2",),
        passthrough_headers=("unknown:hunter2",),
        auth=Auth(odd("unknown:hunter2")),
        contextforge=ContextForgeOptions(mode="hunter2"),
        kuadrant=KuadrantOptions(hint="unknown:hunter2"),
    )
    found = differences(held, PLAIN)
    assert {(each.path, each.before) for each in found} == {
        ("transport", "(unknown)"),
        ("description", "(unknown)"),
        ("enabled", "(unknown)"),
        ("tags", ("(unknown)",)),
        ("passthrough_headers", ("(unknown)",)),
        ("auth.type", "(unknown)"),
        ("contextforge.mode", "(unknown)"),
        ("kuadrant.hint", "(unknown)"),
    }
    assert "hunter2" not in str(shown_document(held, PLAIN))


@pytest.mark.parametrize(
    ("signature", "seen"), [("", ""), ("0f" * 64, "0f" * 64), ("hunter2", "(unknown)"), ("unknown:rsa:x", "(unknown)")]
)
def test_what_is_no_signature_is_not_repeated(signature: str, seen: str) -> None:
    assert shown_signature(signature) == seen


def test_a_description_in_git_may_begin_with_that_word() -> None:
    wanted = replace(PLAIN, description="unknown: ask the owner")
    assert shown(PLAIN, wanted) == [("description", "", "unknown: ask the owner")]
    assert shown(replace(wanted, enabled=False), wanted) == [("enabled", False, True)]


def test_a_header_with_a_value_is_no_name_of_one() -> None:
    held = replace(PLAIN, passthrough_headers=("X-Id", "Authorization: Bearer hunter2"))
    assert shown(held, PLAIN) == [("passthrough_headers", ("X-Id", "(sensitive)"), ())]


@given(gateways, gateways)
def test_what_differs_is_what_the_documents_say(one: Gateway, other: Gateway) -> None:
    found = differences(one, other)
    assert bool(found) == (document(one) != document(other))
    differing = {name for name, value in document(one).items() if document(other)[name] != value}
    assert {each.path.partition(".")[0] for each in found} == differing


@given(gateways)
def test_what_git_says_is_shown_but_for_the_settings_of_auth(gateway: Gateway) -> None:
    seen = shown_document(gateway, gateway)
    written = document(gateway)
    for each in (seen, written):
        each["auth"].pop("settings")
    assert seen == {**written, "url": shown_url(gateway.url)}


@given(gateways, st.sampled_from(sorted(HARMLESS)))
def test_every_other_setting_of_auth_is_redacted(gateway: Gateway, harmless: str) -> None:
    settings = (*gateway.auth.settings, (harmless, "shown"))
    seen = shown_document(replace(gateway, auth=replace(gateway.auth, settings=settings)), None)["auth"]["settings"]
    assert seen.pop(harmless) == "shown"
    assert all(value == "(sensitive)" for key, value in seen.items() if key not in HARMLESS)
