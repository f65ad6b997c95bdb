"""Fields in words: nothing of the schemas is left out, and people find what they mean by what they type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.fields import FORMS, Field, Fields
from reconciler.reports.explanations import field_document, field_text
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXTS = load_schemas().texts
FIELDS = Fields(TEXTS)
EVERY = [field for root in FIELDS.kinds.values() for field in root.walk()]


def schemas_within(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping of a JSON Schema, whatever it is there for."""
    if isinstance(schema, dict):
        yield schema
        for key, inner in schema.items():
            if key not in ("examples", "default"):
                yield from schemas_within(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from schemas_within(inner)


def one(word: str) -> Field:
    (field,) = FIELDS.find(word)
    return field


@pytest.mark.parametrize("field", EVERY, ids=lambda field: f"{field.kind}.{field.path}")
def test_every_field_is_explained_by_its_own_path_in_its_own_words(field: Field) -> None:
    assert FIELDS.find(field.word) == (field,)
    assert FIELDS.find(f"{field.kind.lower()}.{field.path}" if field.path else field.kind.lower()) == (field,)
    text = field_text(field)
    assert text.startswith(field.word)
    assert " ".join(field.description.split()) in " ".join(text.split())
    assert all(inner.path in text for inner in field.fields)
    described = field_document(field)["field"]
    assert (described["path"], described["description"]) == (field.path, field.description)
    assert [inner["path"] for inner in described["fields"]] == [inner.path for inner in field.fields]
    assert json.loads(json.dumps(described)) == described


@pytest.mark.parametrize("kind", FIELDS.kinds)
def test_every_property_of_a_schema_is_a_field(kind: str) -> None:
    described = {(field.path.rpartition(".")[2], field.description) for field in FIELDS.kinds[kind].walk()}
    schema = json.loads(TEXTS[kind])
    for each in schemas_within(schema):
        for name, inner in each.get("properties", {}).items():
            if isinstance(inner, dict) and "description" in inner:
                assert (name, inner["description"]) in described


def test_what_every_branch_of_auth_says_is_there() -> None:
    auth = one("spec.auth")
    definitions = json.loads(TEXTS["Gateway"])["$defs"]
    branches = {name: each for name, each in definitions.items() if name.startswith("auth") and name != "auth"}
    assert sorted(meaning for _, meaning in auth.variants) == sorted(each["description"] for each in branches.values())
    assert {field.variant for field in auth.fields} == {"", "bearer", "basic", "headers", "queryParameter", "oauth"}
    text = field_text(auth)
    for variant, meaning in auth.variants:
        assert f"type: {variant}  {meaning}" in text
    assert "beside   type: basic" in field_text(one("spec.auth.username"))


@pytest.mark.parametrize("kind", FIELDS.kinds)
def test_no_two_fields_of_a_kind_have_the_same_path(kind: str) -> None:
    paths = [field.path for field in FIELDS.kinds[kind].walk()]
    assert len(paths) == len(set(paths))


def test_every_pattern_has_words_and_no_words_are_left_over() -> None:
    documents = [json.loads(text) for text in TEXTS.values()]
    forbidden = {each["not"].get("pattern") for text in documents for each in schemas_within(text) if "not" in each}
    patterns = {
        each["pattern"] for text in documents for each in schemas_within(text) if isinstance(each.get("pattern"), str)
    }
    assert set(FORMS) == patterns - forbidden


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("spec.url", "spec.url"),
        ("Gateway.spec.url", "spec.url"),
        ("GATEWAY.spec.url", "spec.url"),
        ("Config.spec.targets", "Config.spec.targets"),
        ("spec.targets", "Config.spec.targets"),
        ("defaults.spec.transport", "Defaults.spec.transport"),
        ("Defaults.transport", "Defaults.spec.transport"),
        ("Gateway", "Gateway"),
        ("config", "Config"),
        ("caCertificates", "spec.tls.caCertificates"),
        ("tls.caCertificates", "spec.tls.caCertificates"),
        ("owner", "Config.spec.owner"),
        ("spec.auth.headers.name", "spec.auth.headers[].name"),
        ("headers[].name", "spec.auth.headers[].name"),
        ("spec.auth.headers[0].name", "spec.auth.headers[].name"),
        ("spec.auth.headers.0.name", "spec.auth.headers[].name"),
        ("spec.tags", "spec.tags"),
        ("spec.tags[]", "spec.tags[]"),
        ("spec.tags[3]", "spec.tags[]"),
        ("metadata.labels", "metadata.labels"),
        ("metadata.labels.team", "metadata.labels.*"),
        ("metadata.labels.example.com/team", "metadata.labels.*"),
        ("metadata.annotations.reconciler/prune", "metadata.annotations.reconciler/prune"),
        ("metadata.annotations.wiki", "metadata.annotations.*"),
        ("Config.spec.rules.plain-http", "Config.spec.rules.*"),
    ],
)
def test_a_word_finds_the_field_that_is_meant(word: str, expected: str) -> None:
    assert one(word).word == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("mode", ["spec.verify.mode", "spec.contextforge.mode"]),
        ("store", ["Config.spec.store", "Config.spec.targets[].store"]),
        ("secretKeyRef.key", None),
    ],
)
def test_a_word_that_could_be_several_fields_finds_them_all(word: str, expected: list[str] | None) -> None:
    found = [field.word for field in FIELDS.find(word)]
    assert len(found) > 1
    assert all(each.endswith(word) for each in found)
    assert expected in (None, found)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("spec.tls.caCertificate", "spec.tls.caCertificates"),
        ("cacertificates", "spec.tls.caCertificates"),
        ("Spec.URL", "spec.url"),
        ("tls.systemtrust", "spec.tls.systemTrust"),
        ("Config.spec.targts", "Config.spec.targets"),
        ("pasthroughHeaders", "spec.passthroughHeaders"),
    ],
)
def test_the_nearest_field_is_suggested_first(word: str, expected: str) -> None:
    assert FIELDS.find(word) == ()
    assert FIELDS.near(word)[0] == expected


def test_what_is_near_to_nothing_gets_no_suggestion() -> None:
    assert FIELDS.near("qqqqqqqq") == ()


@given(st.text(max_size=50) | st.lists(st.sampled_from(["spec", ".", "[]", "[0]", "tls", "*", "Config"])).map("".join))
def test_no_word_is_too_strange(word: str) -> None:
    known = {field.word for field in EVERY}
    assert {field.word for field in FIELDS.find(word)} <= known
    assert set(FIELDS.near(word)) <= known


@pytest.mark.parametrize(
    ("word", "type_", "default", "allowed", "limits"),
    [
        ("spec.enabled", "boolean", True, (), ()),
        ("spec.visibility", "string", "private", ("public", "team", "private"), ()),
        ("kind", "string", None, ("Gateway",), ()),
        ("metadata.labels", "mapping of strings to strings", None, (), ("at most 32 keys",)),
        ("contextforge.team", "string or null", None, (), ("at most 64 characters",)),
        ("spec.auth.scopes", "list of strings", None, (), ("at most 64 items", "no item twice")),
        ("spec.auth.headers", "list of objects", None, (), ("at least 1 item", "at most 32 items")),
        ("limits.maxDeletePercent", "integer", 30, (), ("0 or more", "100 or less")),
        ("spec.verify.timeout", "string", "5s", (), ("a number above zero and `ms`, `s` or `m`",)),
        ("Config.spec", "object", None, (), ("`store` and `targets` not beside each other",)),
        (
            "tls.clientKeyFrom",
            "object",
            None,
            (),
            ("exactly one of `env`, `file`, `secretKeyRef`", "a reference to a secret, never the secret"),
        ),
    ],
)
def test_what_a_field_takes_is_said_in_words(
    word: str, type_: str, default: object, allowed: tuple[str, ...], limits: tuple[str, ...]
) -> None:
    field = one(word)
    assert (field.type, field.default, field.allowed) == (type_, default, allowed)
    assert set(limits) <= set(field.limits)
    if not limits:
        assert field.limits == ()


def test_what_cannot_stand_alone_says_what_it_needs() -> None:
    (limit,) = one("spec.tls").limits
    assert limit.split("; ") == [
        "`clientCertificate` needs `clientKeyFrom` beside it",
        "`clientKeyFrom` needs `clientCertificate` beside it",
    ]


def test_required_fields_are_marked() -> None:
    assert [field.path for field in one("Gateway.spec").fields if field.required] == ["spec.url"]
    assert "string, required" in field_text(one("spec.url"))
    assert "required" not in field_text(one("spec.enabled"))


def test_a_kind_shows_the_fields_of_both_its_halves() -> None:
    text = field_text(one("Gateway"))
    for path in ("apiVersion", "metadata.name", "spec.url", "spec.tls", "spec.kuadrant"):
        assert f"\n  {path} " in text
    assert "spec.tls.caCertificates" not in text
