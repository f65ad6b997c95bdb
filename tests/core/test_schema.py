"""The schemas are sound, two validators agree on them, and every refusal is a sentence that says what to do."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from reconciler.core.manifest import KINDS
from reconciler.core.schema import Finding, Schemas
from reconciler.core.strict_yaml import PROBLEM_LIMIT
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = Any

SCHEMAS = load_schemas()
EXAMPLES = Path(__file__).parents[2] / "examples"
REFERENCE = {"env": "TOKEN"}
METADATA = {
    "name": "payments",
    "labels": {"team": "payments", "example.com/tier": "1"},
    "annotations": {"reconciler/prune": "disabled", "reconciler/suspend-until": "2026-12-24T00:00:00Z", "note": "x y"},
}
SPEC = {
    "transport": "sse",
    "description": "Payment tools",
    "enabled": True,
    "visibility": "team",
    "tags": ["payments", "eu:west"],
    "passthroughHeaders": ["X-Request-Id"],
    "tls": {
        "caCertificates": ["root.pem", "../issuing.CRT"],
        "systemTrust": False,
        "clientCertificate": "client.crt",
        "clientKeyFrom": {"file": "/run/secrets/key"},
    },
    "auth": {"type": "bearer", "tokenFrom": REFERENCE},
    "verify": {"mode": "required", "timeout": "5s", "requireTools": ["charge"], "toolsLock": "payments.tools.json"},
    "contextforge": {"mode": "direct_proxy", "team": None},
    "kuadrant": {"prefix": "payments_", "route": "payments-route", "category": ["finance"], "hint": "Payment tools"},
}
URL = "https://payments.internal:8443/mcp?tenant=7"
LIMITS = {"maxDeletePercent": 30, "maxUpdatePercent": 30, "maxDeletes": 5, "minExisting": 10, "allowEmpty": False}
TARGET = {"name": "eu", "store": "sqlite:///eu.db", "path": "eu", "selector": {"a": "b"}, "policy": "sync"}
KEY = {"name": "first", "publicKey": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}
WINDOWED = {**KEY, "roles": ["bundle"], "notBefore": "2026-01-01", "notAfter": "2027-01-01T12:00:00Z"}
CONFIG = {
    "owner": "platform-team",
    "path": "gateways",
    "targets": [{**TARGET, "limits": LIMITS}],
    "signing": {"keyFrom": {"file": "signing.key"}, "allowUnsigned": False},
    "expiryWarningDays": 30,
}
AUTH = [
    {"type": "none"},
    {"type": "bearer", "tokenFrom": {"secretKeyRef": {"name": "payments", "key": "token"}}},
    {"type": "basic", "username": "svc", "passwordFrom": REFERENCE},
    {"type": "headers", "headers": [{"name": "X-Api-Key", "valueFrom": REFERENCE}]},
    {"type": "queryParameter", "name": "api_key", "valueFrom": REFERENCE},
    {
        "type": "oauth",
        "tokenUrl": "https://sso.example/token",
        "clientId": "c",
        "clientSecretFrom": REFERENCE,
        "scopes": ["a", "b"],
    },
]


def document(kind: str, spec: Json, metadata: Json = METADATA) -> Json:
    return {"apiVersion": "reconciler/v1", "kind": kind, "metadata": metadata, "spec": spec}


SOUND: list[Json] = [
    document("Gateway", {**SPEC, "url": URL}),
    document("Defaults", SPEC),
    document("Config", CONFIG, {"name": "gateways"}),
    document("Keyring", {"keys": [KEY, WINDOWED]}, {"name": "trusted"}),
    document("Config", {"store": "postgresql://db.example/gateways"}, {"name": "gateways"}),
    *(document("Gateway", {"url": URL, "auth": auth}) for auth in AUTH),
    *(example for kind in KINDS for example in json.loads(SCHEMAS.texts[kind])["examples"]),
    *(
        document
        for path in sorted(EXAMPLES.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document.get("apiVersion") == "reconciler/v1"
    ),
]


def nodes(node: Json) -> Iterator[Json]:
    yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_sound_and_describes_every_field_with_an_example(kind: str) -> None:
    schema = json.loads(SCHEMAS.texts[kind])
    jsonschema.Draft202012Validator.check_schema(schema)
    definitions = schema["$defs"]

    def check(place: str, field: Json) -> None:
        if field is True or field is False:
            return
        target = {**definitions[field["$ref"].rpartition("/")[2]], **field} if "$ref" in field else field
        assert target.get("description"), place
        assert target.get("examples"), place
        for key, value in {**target.get("properties", {}), **target.get("patternProperties", {})}.items():
            check(f"{place}.{key}", value)
        for key in ("items", "additionalProperties", "propertyNames"):
            check(f"{place}[{key}]", target.get(key, False))

    for place, field in (*schema["properties"].items(), *definitions.items()):
        check(place, field)


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_in_a_schema_fits_its_own_field(kind: str) -> None:
    schema = json.loads(SCHEMAS.texts[kind])
    described = [node for node in nodes(schema) if isinstance(node, dict) and "description" in node]
    assert described
    for node in described:
        for sample in node.get("examples", ()):
            jsonschema.Draft202012Validator({**node, "$defs": schema["$defs"]}).validate(sample)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mapping_is_closed_and_every_string_and_list_is_bounded(kind: str) -> None:
    for node in nodes(json.loads(SCHEMAS.texts[kind])):
        if not isinstance(node, dict) or "description" not in node:
            continue
        kinds = node.get("type", ())
        if "object" in kinds and "allOf" not in node:
            assert "additionalProperties" in node, node["description"]
        if "array" in kinds:
            assert "maxItems" in node, node["description"]
        if "string" in kinds:
            assert "maxLength" in node or re.search(r"\{\d", node.get("pattern", "")), node["description"]


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_mean_the_same_to_every_reader(kind: str) -> None:
    r"""`\d`, `\s` and `\w` differ between dialects, and `$` is the very end only where nothing else uses the sign."""
    patterns = [node["pattern"] for node in nodes(json.loads(SCHEMAS.texts[kind])) if _has_pattern(node)]
    assert patterns
    for pattern in patterns:
        assert not re.search(r"\\[dswDSWbB]", pattern), pattern
        assert not re.search(r"\$(?!$|\))", pattern), pattern


def _has_pattern(node: Json) -> bool:
    return isinstance(node, dict) and isinstance(node.get("pattern"), str)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Keyring"])
def test_secret_references_are_marked_and_their_names_end_in_from(kind: str) -> None:
    seen = 0
    for node in nodes(json.loads(SCHEMAS.texts[kind])):
        for name, field in node.get("properties", {}).items() if isinstance(node, dict) else ():
            if isinstance(field, dict):
                refers = set(field.get("properties", ())) >= {"env", "file"} or "/reference" in field.get("$ref", "")
                assert field.get("writeOnly", False) is refers is (name.endswith("From") and name != "caFrom"), name
                seen += refers
    assert seen


def test_gateways_and_defaults_share_their_definitions() -> None:
    gateways, defaults = (json.loads(SCHEMAS.texts[kind]) for kind in ("Gateway", "Defaults"))
    assert gateways["$defs"] == defaults["$defs"]
    own = gateways["properties"]["spec"]["properties"]
    assert {key: own[key] for key in own if key != "url"} == defaults["properties"]["spec"]["properties"]
    assert "required" not in defaults["properties"]["spec"]


@pytest.mark.parametrize("value", SOUND, ids=lambda value: f"{value['kind']} {value['metadata']['name']}")
def test_both_validators_accept_what_is_sound(value: Json) -> None:
    assert SCHEMAS.accepts(value["kind"], value)
    jsonschema.Draft202012Validator(json.loads(SCHEMAS.texts[value["kind"]])).validate(value)


SCRAPS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2000),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.sampled_from(
        ["none", "basic", "a.pem", "5s", "\u0661s", "2026-12-24T00:00:00Z\n", "http://x\r", "http://[::1]:1/"]
    ),
    st.builds(list),
    st.builds(dict),
    st.lists(st.fixed_dictionaries({"env": st.just("A")}) | st.just("a.pem"), max_size=3),
)
NAMES = st.sampled_from(
    ["url", "kind", "status", "token", "env", "x", "name\n", "store", "reconciler/prun", "type", ""]
)


@st.composite
def damaged(draw: st.DrawFn) -> Json:
    """A sound document with something changed, removed, repeated or added somewhere."""
    value = copy.deepcopy(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 3))):
        places = [node for node in nodes(value) if node and isinstance(node, (dict, list))]
        node = draw(st.sampled_from(places))
        if isinstance(node, list):
            node.append(copy.deepcopy(draw(SCRAPS | st.sampled_from(node))))
            continue
        key = draw(st.sampled_from(sorted(node)))
        match draw(st.sampled_from(["change", "remove", "add", "stretch"])):
            case "change":
                node[key] = draw(SCRAPS)
            case "remove":
                del node[key]
            case "add":
                node[draw(NAMES)] = draw(SCRAPS)
            case _:
                node[key] = str(node[key]) + draw(st.sampled_from(["\n", " ", "@", "\u0660", "x" * 5000]))
    return value


@given(damaged(), st.sampled_from(KINDS))
@example(document("Gateway", {"url": "http://x\n"}), "Gateway")
@example(document("Gateway", {"url": URL, "tls": {"caCertificates": ["a.pem\n"]}}), "Gateway")
@example(document("Gateway", {"url": URL, "tags": ["\u0661\u0661"]}), "Gateway")
def test_the_validators_agree_and_every_refusal_is_explained(value: Json, kind: str) -> None:
    accepted = SCHEMAS.accepts(kind, value)
    findings = SCHEMAS.explain(kind, value)
    unexplained = [finding for finding in findings if finding.message == "the schema refuses this document"]
    assert bool(unexplained) is accepted
    assert all(finding.message and finding.fix for finding in findings)
    assert len(findings) <= PROBLEM_LIMIT


@given(damaged(), st.sampled_from(KINDS))
def test_the_deciding_validator_says_what_the_untouched_reference_says(value: Json, kind: str) -> None:
    """Except for a text that ends in a line end, where Python's `$` is not the end that JSON Schema means."""
    reference = jsonschema.Draft202012Validator(json.loads(SCHEMAS.texts[kind]))
    texts = [node for node in nodes(value) if isinstance(node, str)]
    keys = [key for node in nodes(value) if isinstance(node, dict) for key in node]
    assume(not any(text.endswith("\n") for text in (*texts, *keys)))
    assert SCHEMAS.accepts(kind, value) == reference.is_valid(value)


def explain(spec: Json, kind: str = "Gateway") -> list[Finding]:
    base = {"url": URL} if kind == "Gateway" else {}
    value = document(kind, {**base, **spec}, {"name": "x"})
    assert not SCHEMAS.accepts(kind, value)
    return SCHEMAS.explain(kind, value)


@pytest.mark.parametrize(
    ("spec", "code", "pointer", "message", "fix"),
    [
        ({"trasport": "sse"}, "unknown-field", "/trasport", "unknown field `trasport`", "did you mean `transport`?"),
        (
            {"passthrough_headers": []},
            "unknown-field",
            "/passthrough_headers",
            "unknown field `passthrough_headers`",
            "did you mean `passthroughHeaders`?",
        ),
        (
            {"transport": "SSE"},
            "wrong-value",
            "/transport",
            "`SSE` is not one of: streamable-http, sse",
            "did you mean `sse`?",
        ),
        (
            {"visibility": "x"},
            "wrong-value",
            "/visibility",
            "`x` is not one of: public, team, private",
            "write one of: public, team, private",
        ),
        (
            {"enabled": "NO"},
            "wrong-type",
            "/enabled",
            "true or false is expected here, and a string was found (`NO` is a string in YAML 1.2)",
            "write false",
        ),
        (
            {"description": 7},
            "wrong-type",
            "/description",
            "a string is expected here, and a number was found",
            "put it in quotes",
        ),
        (
            {"verify": {"timeout": 5}},
            "wrong-type",
            "/verify/timeout",
            "a string is expected here, and a number was found",
            "write a string, for example `5s`",
        ),
        (
            {"tags": "payments"},
            "wrong-type",
            "/tags",
            "a list is expected here, and a string was found",
            'write a list, for example `["payments"]`',
        ),
        (
            {"kuadrant": None},
            "wrong-type",
            "/kuadrant",
            "a mapping is expected here, and nothing was found",
            'write a mapping, for example `{"prefix": "payments_", "route": "payments-route"}`',
        ),
        (
            {"verify": {"timeout": "0s"}},
            "wrong-value",
            "/verify/timeout",
            "`0s` does not fit. A duration above zero: a number and `ms`, `s` or `m`, at most 99 minutes.",
            "for example `5s`",
        ),
        (
            {"tls": {"caCertificates": ["a.pem", "b.pem", "a.pem"]}},
            "wrong-value",
            "/tls/caCertificates/2",
            "`a.pem` stands here a second time",
            "remove one of the two",
        ),
        (
            {"tls": {"clientCertificate": "c.pem"}},
            "missing-field",
            "/tls",
            "`clientCertificate` needs `clientKeyFrom` beside it",
            "add `clientKeyFrom: {env: PAYMENTS_CLIENT_KEY}`",
        ),
        (
            {"auth": {"type": "bearer"}},
            "missing-field",
            "/auth",
            "`tokenFrom` is missing with `type: bearer`",
            "add `tokenFrom: {env: PAYMENTS_TOKEN}` under `auth`",
        ),
        (
            {"auth": {"type": "none", "tokenFrom": REFERENCE}},
            "unknown-field",
            "/auth/tokenFrom",
            "unknown field `tokenFrom` with `type: none`",
            "the fields here are: type",
        ),
        (
            {"auth": {"type": "baerer", "tokenFrom": REFERENCE}},
            "wrong-value",
            "/auth/type",
            "`baerer` is not one of: none, bearer, basic, headers, queryParameter, oauth",
            "did you mean `bearer`?",
        ),
        (
            {"auth": {"type": "bearer", "tokenFrom": {"env": "A", "file": "b"}}},
            "wrong-value",
            "/auth/tokenFrom",
            "exactly one of `env`, `file`, `secretKeyRef` is expected",
            "write one of them",
        ),
        (
            {"auth": {"type": "bearer", "tokenFrom": {"evn": "A"}}},
            "unknown-field",
            "/auth/tokenFrom",
            "only `env` or `file` or `secretKeyRef` may stand here",
            "did you mean `env`?",
        ),
        (
            {"kuadrant": {"category": ["a", "b", "c", "d"]}},
            "wrong-value",
            "/kuadrant/category",
            "4 items; at most 3 may be",
            "remove some",
        ),
    ],
)
def test_a_mistake_is_one_finding_with_its_fix(spec: Json, code: str, pointer: str, message: str, fix: str) -> None:
    (finding,) = explain(spec)
    assert (finding.rule.code, finding.pointer.removeprefix("/spec")) == (code, pointer)
    assert (finding.message, finding.fix) == (message, fix)


@pytest.mark.parametrize(
    ("spec", "pointer", "message", "fix"),
    [
        ({"store": "x:", "targets": [TARGET]}, "",
         "`store` and `targets` cannot stand beside each other", "keep one of them"),
        (
            {"expiryWarningDays": "030"},
            "/expiryWarningDays",
            "a whole number is expected here, and a string was found (`030` is a string here)",
            "write it without quotes and without leading zeros",
        ),
        ({"targets": [{**TARGET, "limits": {"maxDeletePercent": 101}}]}, "/targets/0/limits/maxDeletePercent",
         "101 is more than 100", "write 100 or less"),
        ({"targets": [{**TARGET, "limits": {"maxDeletes": -1}}]}, "/targets/0/limits/maxDeletes",
         "-1 is less than 0", "write 0 or more"),
        ({"targets": []}, "/targets", "0 items; at least 1 are expected", "add one, or remove the field"),
        ({"path": "../x"}, "/path", "`../x` does not fit. The directory of manifests, relative to this file.",
         "for example `gateways`"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_configuration_is_one_finding_too(spec: Json, pointer: str, message: str, fix: str) -> None:
    (finding,) = explain(spec, "Config")
    assert (finding.pointer.removeprefix("/spec"), finding.message, finding.fix) == (pointer, message, fix)


def test_a_bad_label_is_found_at_its_key_and_at_its_value() -> None:
    value = document("Gateway", {"url": URL}, {"name": "x", "labels": {"a b": "1", "c": "d e"}})
    key, content = SCHEMAS.explain("Gateway", value)
    assert (key.pointer, key.key, key.fix) == ("/metadata/labels/a b", True, "for example `environment`")
    assert (content.pointer, content.key, content.fix) == ("/metadata/labels/c", False, "for example `production`")


def test_annotations_of_ours_are_known_and_those_of_others_are_free() -> None:
    def refused(name: str, value: str = "x") -> list[str]:
        metadata = {"name": "x", "annotations": {name: value}}
        candidate = document("Gateway", {"url": URL}, metadata)
        if SCHEMAS.accepts("Gateway", candidate):
            return []
        return [finding.fix for finding in SCHEMAS.explain("Gateway", candidate)]

    assert refused("example.com/anything") == []
    assert refused("reconciler/suspend-reason") == []
    assert refused("reconciler/prun", "disabled") == ["did you mean `reconciler/prune`?"]
    assert refused("reconciler/prune", "disable") == ["did you mean `disabled`?"]
    assert refused("reconciler/suspend-until", "2026-13-01T00:00:00Z") == ["for example `2026-12-24T00:00:00Z`"]


def test_every_mistake_is_found_at_once() -> None:
    found = explain({"url": "ftp://x", "transport": "x", "tags": ["A", "b"], "tls": {"caCertificates": [1]}, "y": 1})
    assert {finding.pointer.removeprefix("/spec") for finding in found} == {
        "/url", "/transport", "/tags/0", "/tags/1", "/tls/caCertificates/0", "/y",
    }  # fmt: skip


SECRET = "hunter2-hunter2"  # noqa: S105 - what must never be repeated


@pytest.mark.parametrize(
    "spec",
    [
        {"auth": SECRET},
        {"auth": [SECRET]},
        {"auth": {"type": "bearer", "token": SECRET}},
        {"auth": {"type": "bearer", "tokenFrom": SECRET}},
        {"auth": {"type": "bearer", "tokenFrom": {SECRET: None}}},
        {"auth": {"type": "bearer", "tokenFrom": {"env": f"{SECRET}!"}}},
        {"auth": {"type": "bearer", "tokenFrom": {"env": [SECRET]}}},
        {"auth": {"type": "bearer", "tokenFrom": [SECRET]}},
        {"auth": {"type": "basic", "username": "u", "password": SECRET}},
        {"auth": {"type": "headers", "headers": [{"name": "X", "value": SECRET}]}},
        {"auth": {"type": "oauth", "tokenUrl": f"https://{SECRET}@x", "clientId": "x", "clientSecret": SECRET}},
        {"tls": {"caCertificates": ["a.pem"], "clientKey": SECRET}},
        {"url": f"https://user:{SECRET}@payments.example/mcp"},
        {"url": f"https://payments.example/mcp?api_key={SECRET}"},
        {"url": f"https://payments.example/mcp?a=b&accessToken={SECRET}"},
    ],
)
def test_a_secret_is_refused_hidden_and_never_repeated(spec: Json) -> None:
    findings = explain(spec)
    assert SECRET not in repr(findings)
    assert all(finding.secret for finding in findings if finding.rule.code != "missing-field")


@pytest.mark.parametrize("store", [f"postgresql://u:{SECRET}@db/x", f"postgresql://db/x?user=u&password={SECRET}"])
def test_a_secret_in_a_store_is_refused_hidden_and_never_repeated(store: str) -> None:
    (finding,) = explain({"store": store}, "Config")
    assert (finding.rule.code, finding.secret) == ("secret-in-manifest", True)
    assert SECRET not in repr(finding)
    assert "RECONCILER_STORE" in finding.fix


@pytest.mark.parametrize("url", ["https://x/mcp?monkey=1", "https://x/mcp?tokens=1", "http://[::1]:80/", "https://x"])
def test_a_url_that_only_looks_like_trouble_is_accepted(url: str) -> None:
    assert SCHEMAS.accepts("Gateway", document("Gateway", {"url": url}))


def test_a_hostile_document_is_explained_within_bounds() -> None:
    spec = {"tags": [{}] * 50_000, "kuadrant": {"category": [{}] * 50_000}, **{f"u{n}": n for n in range(50_000)}}
    assert len(explain(spec)) == PROBLEM_LIMIT + 1  # one more than is reported, so that the cut is said


def test_a_refusal_that_only_one_validator_understands_is_not_silent() -> None:
    (finding,) = Schemas({"Gateway": "true"}).explain("Gateway", {})
    assert finding.secret
    assert finding.message
