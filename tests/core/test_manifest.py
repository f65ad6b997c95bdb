"""Manifests: what is ours, what is somebody else's, and a sentence for everything that is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.manifest import KINDS, parse_duration, read_manifests
from reconciler.schema_files import load_schemas, schema_texts

if TYPE_CHECKING:
    from reconciler.core.problems import Problem

Json = Any

SCHEMAS = load_schemas()
GATEWAY: dict[str, Any] = {
    "apiVersion": "reconciler/v1",
    "kind": "Gateway",
    "metadata": {"name": "payments"},
    "spec": {"url": "https://payments.example/mcp", "transport": "sse"},
}


def gateway(**spec: object) -> bytes:
    return json.dumps({**GATEWAY, "spec": {**GATEWAY["spec"], **spec}}).encode()


def problems(data: bytes, file: str = "gateways/a.yaml") -> tuple[Problem, ...]:
    return read_manifests(file, data, SCHEMAS).problems


def said(data: bytes) -> list[tuple[str, str, str]]:
    return [(problem.code, problem.location.pointer, problem.fix) for problem in problems(data)]


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_schemas_are_sound_and_every_field_has_a_description_and_an_example(name: str) -> None:
    schema = json.loads(schema_texts()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    definitions = schema["$defs"]

    def check(place: str, field: Json) -> None:
        if field is True:
            return
        target = {**definitions[field["$ref"].rpartition("/")[2]], **field} if "$ref" in field else field
        assert target.get("description"), place
        assert target.get("examples"), place
        for key, value in target.get("properties", {}).items():
            check(f"{place}.{key}", value)
        if isinstance(target.get("items"), dict):
            check(f"{place}[]", target["items"])

    for place, field in (*schema["properties"].items(), *definitions.items()):
        check(place, field)


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_in_a_schema_fits_its_own_field(kind: str) -> None:
    schema = json.loads(SCHEMAS.texts[kind])

    def check(node: Json) -> None:
        if isinstance(node, dict):
            for example in node.get("examples", ()) if "description" in node else ():
                rooted = {**node, "$defs": schema["$defs"]}
                jsonschema.Draft202012Validator(rooted).validate(example)
            for value in node.values():
                check(value)

    check(schema)


def test_gateways_and_defaults_share_their_definitions() -> None:
    gateways, defaults = (json.loads(SCHEMAS.texts[kind]) for kind in ("Gateway", "Defaults"))
    assert gateways["$defs"] == defaults["$defs"]
    own = set(gateways["properties"]["spec"]["properties"])
    assert own - set(defaults["properties"]["spec"]["properties"]) == {"url"}


@st.composite
def damaged(draw: st.DrawFn) -> Json:
    """Return a sound manifest with something changed, removed or added somewhere."""
    document = json.loads(
        gateway(
            tls={"caCertificates": ["a.pem"], "systemTrust": True},
            auth={"type": "bearer", "tokenFrom": {"env": "T"}},
            verify={"mode": "report", "timeout": "5s"},
            tags=["ok"],
        )
    )
    node = document
    while isinstance(node, (dict, list)) and node and draw(st.booleans()):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], (dict, list)) or draw(st.booleans()):
            node[key] = draw(
                st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=3) | st.just([]) | st.just({})
            )
            break
        node = node[key]
    if isinstance(node, dict) and draw(st.booleans()):
        node[draw(st.sampled_from(["url", "kind", "status", "token", "env", "x"]))] = draw(st.just("v") | st.just(1))
    return document


@given(damaged())
def test_the_fast_validator_and_the_reference_agree_and_every_refusal_is_explained(document: Json) -> None:
    accepted = SCHEMAS.accepts("Gateway", document)
    reference = jsonschema.Draft202012Validator(json.loads(SCHEMAS.texts["Gateway"]))
    assert accepted == reference.is_valid(document)
    findings = SCHEMAS.explain("Gateway", document)
    assert bool(findings) is not accepted
    assert all(finding.message and finding.fix for finding in findings)


def test_file_names_become_paths_from_the_root() -> None:
    data = gateway(tls={"caCertificates": ["ca.pem", "../shared/root.crt", "./x/../y.cer"]})
    (manifest,) = read_manifests("gateways/team/a.yaml", data, SCHEMAS).manifests
    assert manifest.spec["tls"]["caCertificates"] == [
        "gateways/team/ca.pem", "gateways/shared/root.crt", "gateways/team/y.cer",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", ["../../x.pem", "/etc/x.pem", "a\\\\b.pem", "../..//../x.crt", "../gateways/../../x.pem"]
)
def test_paths_that_leave_the_repository_are_refused_at_their_place(path: str) -> None:
    (problem,) = problems(gateway(tls={"caCertificates": ["ok.pem", path]}))
    assert (problem.code, problem.location.pointer) == ("path-leaves-root", "/spec/tls/caCertificates/1")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"trasport": "sse"}, ("unknown-field", "/spec/trasport", "did you mean `transport`?")),
        (
            {"passthrough_headers": []},
            ("unknown-field", "/spec/passthrough_headers", "did you mean `passthroughHeaders`?"),
        ),
        ({"transport": "SSE"}, ("wrong-value", "/spec/transport", "did you mean `sse`?")),
        ({"enabled": "yes"}, ("wrong-type", "/spec/enabled", "write true or false")),
        ({"description": 7}, ("wrong-type", "/spec/description", "put it in quotes")),
        ({"tags": ["x"]}, ("wrong-value", "/spec/tags/0", "for example `payments`")),
        ({"auth": {"type": "bearer"}}, ("missing-field", "/spec/auth", "add `tokenFrom:` under `auth`")),
        ({"tls": {"clientCertificate": "c.pem"}}, ("missing-field", "/spec/tls", "add `clientKeyFrom:`")),
        (
            {"auth": {"type": "bearer", "tokenFrom": {"env": "A", "file": "b"}}},
            ("wrong-value", "/spec/auth/tokenFrom", "write one of them"),
        ),
    ],
)
def test_a_mistake_is_named_with_its_fix(spec: dict[str, object], expected: tuple[str, str, str]) -> None:
    assert said(gateway(**spec)) == [expected]


@pytest.mark.parametrize(
    "spec",
    [
        {"auth": {"type": "bearer", "token": "hunter2-hunter2"}},
        {"auth": {"type": "bearer", "tokenFrom": "hunter2-hunter2"}},
        {"auth": {"type": "basic", "username": "u", "password": "hunter2-hunter2"}},
        {"auth": {"type": "headers", "headers": [{"name": "X", "value": "hunter2-hunter2"}]}},
        {"tls": {"caCertificates": ["a.pem"], "clientKey": "hunter2-hunter2"}},
        {"url": "https://user:hunter2-hunter2@payments.example/mcp"},
        {"secretToken": "hunter2-hunter2"},
    ],
)
def test_a_secret_is_refused_and_not_repeated(spec: dict[str, object]) -> None:
    found = problems(gateway(**spec))
    assert found
    assert "hunter2" not in repr(found)


def test_a_private_key_anywhere_is_refused_and_not_repeated() -> None:
    key = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIHUNTER2\\n-----END PRIVATE KEY-----"
    found = problems(gateway(description=key))
    assert [problem.code for problem in found] == ["private-key"]
    assert "HUNTER2" not in repr(found)


def test_documents_of_other_projects_are_left_alone_and_counted() -> None:
    text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n---\napiVersion: v1\nkind: Secret\n"
    read = read_manifests("kustomization.yaml", text.encode(), SCHEMAS)
    assert (read.manifests, read.problems, read.foreign) == ((), (), 2)


@pytest.mark.parametrize(
    ("text", "code", "fix"),
    [
        ("apiVersion: reconciler/v1\nkind: Gatway\n", "wrong-kind", "did you mean `Gateway`?"),
        ("apiVersion: reconciler/v1\n", "wrong-kind", "the kinds are: Gateway, Defaults, Config"),
        ("apiVersion: reconciler/v2\nkind: Gateway\n", "wrong-api-version", "write `apiVersion: reconciler/v1`"),
        ("apiVersion: reconcilr/v1\nkind: Gateway\n", "wrong-api-version", "write `apiVersion: reconciler/v1`"),
        ("apiversion: reconciler/v1\nkind: Gateway\n", "not-a-manifest", None),
        ("- a\n- b\n", "not-a-manifest", None),
    ],
)
def test_a_near_miss_is_an_error_because_a_typo_must_not_remove_a_gateway(
    text: str, code: str, fix: str | None
) -> None:
    ((found, _, advice),) = said(text.encode())
    assert found == code
    assert fix is None or advice == fix


def test_status_is_not_written_in_git() -> None:
    document = json.dumps({**GATEWAY, "status": {"ready": True}}).encode()
    assert [code for code, _, _ in said(document)] == ["status-in-manifest"]


def test_every_problem_of_every_document_is_reported() -> None:
    text = (
        b"a: 1\na: 2\n---\napiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: X}\nspec: {url: ftp://x, y: 1}\n"
    )
    assert {problem.code for problem in problems(text)} == {
        "duplicate-key", "not-a-manifest", "wrong-value", "unknown-field",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), [("5s", 5.0), ("500ms", 0.5), ("1.5m", 90.0)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    read_manifests("f.yaml", data, SCHEMAS)
