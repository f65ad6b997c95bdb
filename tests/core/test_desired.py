"""Manifests, Defaults and bundles become gateways: what is inherited, what is missing, and where that is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.desired import Material, assemble, referenced_files
from reconciler.core.inheritance import merge
from reconciler.core.manifest import read_manifests
from reconciler.core.model import Auth, DesiredState, Gateway, SecretReference, Transport, VerifyPolicy, Visibility
from reconciler.core.snapshot import Failure, Files
from reconciler.demo.pki import Authority, Lifetime
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
SCHEMAS = load_schemas()
ROOT = Authority.root("Root", Lifetime.around(NOW))
ISSUING = ROOT.issue_authority("Issuing")
EXPIRED = Authority.root("Old", Lifetime.expired(NOW))
BASE = {"url": "https://a.example/mcp", "transport": "sse"}


def manifest(name: str, spec: Mapping[str, Any], kind: str = "Gateway", **metadata: object) -> str:
    document = {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
    return json.dumps(document, indent=2)


def defaults(**spec: Any) -> str:
    return manifest("defaults", spec, "Defaults")


def assembled(
    tree: Mapping[str, str], *, failures: Mapping[str, Failure] | None = None, whole: bool = True
) -> DesiredState:
    """Return what a tree of files wants. What is referred to and not in it is missing, or has the given failure."""
    texts = {name: text.encode() for name, text in tree.items()}
    read = [read_manifests(name, data, SCHEMAS) for name, data in texts.items() if name.endswith(".yaml")]
    manifests = [each for file in read for each in file.manifests]
    named = referenced_files(manifests)
    absent = {name: (failures or {}).get(name, Failure.MISSING) for name in named if name not in tree}
    material = Material(
        manifests=manifests,
        texts=texts,
        files=Files({name: texts[name] for name in named if name in texts}, absent),
        pem_files=sorted(name for name in tree if not name.endswith(".yaml")),
        problems=[problem for file in read for problem in file.problems],
        whole=whole,
    )
    return assemble(material, NOW)


def only(tree: Mapping[str, str], name: str = "a") -> Gateway:
    """Return a gateway of a tree without errors."""
    state = assembled(tree)
    assert (state.problems, state.complete) == ((), True)
    return state.gateways[name].gateway


def places(state: DesiredState) -> list[str]:
    return [f"{each.location.file}:{each.location.line} {each.code}" for each in state.problems]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_nearer_defaults_win_and_the_manifest_wins_over_all() -> None:
    tree = {
        "defaults.yaml": defaults(transport="sse", description="root", visibility="team", enabled=False),
        "x/defaults.yaml": defaults(description="x", visibility="public"),
        "x/y/a.yaml": manifest("a", {"url": "https://a.example/mcp", "visibility": "private"}),
    }
    gateway = only(tree)
    assert (gateway.transport, gateway.enabled) == (Transport.SSE, False)
    assert (gateway.description, gateway.visibility) == ("x", Visibility.PRIVATE)


def test_defaults_reach_down_and_never_sideways_or_up() -> None:
    tree = {
        "x/defaults.yaml": defaults(description="x"),
        "a.yaml": manifest("a", BASE),
        "xy/b.yaml": manifest("b", {**BASE, "url": "https://b.example/mcp"}),
        "x/c.yaml": manifest("c", {**BASE, "url": "https://c.example/mcp"}),
    }
    found = assembled(tree).gateways
    assert [found[name].gateway.description for name in "abc"] == ["", "", "x"]


def test_mappings_merge_and_lists_are_replaced() -> None:
    tree = {
        "defaults.yaml": defaults(
            tags=["one", "two"], kuadrant={"prefix": "p_", "hint": "h"}, tls={"systemTrust": False}
        ),
        "a.yaml": manifest("a", {**BASE, "tags": ["three"], "kuadrant": {"hint": "mine"}}),
    }
    gateway = only(tree)
    assert gateway.tags == ("three",)
    assert (gateway.kuadrant.prefix, gateway.kuadrant.hint, gateway.system_trust) == ("p_", "mine", False)


def test_no_half_of_a_credential_is_inherited() -> None:
    basic = {"type": "basic", "username": "u", "passwordFrom": {"env": "P"}}
    tree = {
        "defaults.yaml": defaults(auth=basic),
        "a.yaml": manifest("a", {**BASE, "auth": {"type": "bearer", "tokenFrom": {"env": "T"}}}),
        "b.yaml": manifest("b", {**BASE, "url": "https://b.example/mcp"}),
        "c.yaml": manifest("c", {**BASE, "url": "https://c.example/mcp", "auth": {"type": "none"}}),
    }
    found = assembled(tree).gateways
    assert found["a"].gateway.auth == Auth("bearer", (), (("token", SecretReference("env", "T")),))
    assert found["b"].gateway.auth == Auth(
        "basic", (("username", "u"),), (("password", SecretReference("env", "P")),)
    )  # fmt: skip
    assert found["c"].gateway.auth == Auth()


def test_paths_are_relative_to_the_file_that_names_them_also_in_defaults() -> None:
    tree = {
        "x/defaults.yaml": defaults(tls={"caCertificates": ["ca/root.pem"]}),
        "x/ca/root.pem": ROOT.pem,
        "x/y/a.yaml": manifest("a", BASE),
        "x/y/b.yaml": manifest("b", {**BASE, "tls": {"caCertificates": ["../ca/root.pem", "own.pem"]}}),
        "x/y/own.pem": ISSUING.pem,
    }
    found = assembled(tree).gateways
    assert found["a"].gateway.ca_certificate == ROOT.pem
    assert found["b"].gateway.ca_certificate == f"{ROOT.pem}\n{ISSUING.pem}"


@pytest.mark.parametrize("field", ["url", "transport"])
def test_what_nobody_sets_is_missing_in_the_manifest(field: str) -> None:
    text = manifest("a", {name: value for name, value in BASE.items() if name != field})
    state = assembled({"x/a.yaml": text, "defaults.yaml": defaults(description="no transport here")})
    assert places(state) == [f"x/a.yaml:{line_of(text, 'spec')} missing-field"]
    assert (state.gateways, state.complete) == ({}, False)


def test_two_manifests_of_one_name_are_an_error_at_the_second() -> None:
    second = manifest("a", BASE)
    state = assembled({"1.yaml": manifest("a", BASE), "2.yaml": second})
    (problem,) = state.problems
    assert places(state) == [f"2.yaml:{line_of(second, 'name')} duplicate-name"]
    assert "`a` is also the name of 1.yaml:1" in problem.message
    assert not state.complete


def test_a_duplicate_is_found_also_when_the_first_of_the_two_is_broken() -> None:
    broken = manifest("a", {**BASE, "tls": {"caCertificates": ["no.pem"]}})
    state = assembled({"1.yaml": broken, "2.yaml": manifest("a", BASE)})
    assert [problem.code for problem in state.problems] == ["missing-file", "duplicate-name"]
    assert state.gateways == {}


def test_a_directory_has_one_set_of_defaults() -> None:
    both = f"{defaults(transport='sse')}\n---\n{defaults(transport='streamable-http')}"
    state = assembled({"x/defaults.yaml": both, "defaults.yaml": defaults(enabled=False)})
    (problem,) = state.problems
    assert (problem.code, problem.location.file) == ("duplicate-defaults", "x/defaults.yaml")
    assert "x/defaults.yaml:1 already sets the defaults" in problem.message


def test_defaults_stand_in_defaults_yaml_so_that_they_are_always_found() -> None:
    (problem,) = assembled({"x/shared.yaml": defaults(transport="sse")}).problems
    assert (problem.code, problem.location.file) == ("misplaced-defaults", "x/shared.yaml")


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (Failure.MISSING, "missing-file", "there is no file x/rot.pem"),
        (Failure.LEAVES_ROOT, "path-leaves-root", "through a link"),
        (Failure.TOO_LARGE, "unusable-file", "x/rot.pem is too large"),
        (Failure.NOT_A_FILE, "unusable-file", "x/rot.pem is not a regular file"),
        (Failure.UNREADABLE, "unusable-file", "x/rot.pem is unreadable"),
    ],
)
def test_a_file_that_cannot_be_had_is_named_where_it_is_named(failure: Failure, code: str, said: str) -> None:
    text = manifest("a", {**BASE, "tls": {"caCertificates": ["root.pem", "rot.pem"]}})
    state = assembled({"x/a.yaml": text, "x/root.pem": ROOT.pem}, failures={"x/rot.pem": failure})
    (problem,) = state.problems
    assert places(state) == [f"x/a.yaml:{line_of(text, 'rot.pem')} {code}"]
    assert problem.location.pointer == "/spec/tls/caCertificates/1"
    assert said in problem.message
    assert (state.gateways, state.complete) == ({}, False)


def test_a_near_name_is_offered() -> None:
    text = manifest("a", {**BASE, "tls": {"caCertificates": ["rot.pem"]}})
    (problem,) = assembled({"x/a.yaml": text, "x/root.pem": ROOT.pem, "other.crt": ROOT.pem}).problems
    assert problem.fix == "did you mean x/root.pem?"


def test_a_missing_file_of_the_defaults_is_said_once_and_there() -> None:
    text = defaults(tls={"caCertificates": ["gone.pem"]})
    tree = {"x/defaults.yaml": text, "x/a.yaml": manifest("a", BASE), "x/y/b.yaml": manifest("b", BASE)}
    assert places(assembled(tree)) == [f"x/defaults.yaml:{line_of(text, 'gone.pem')} missing-file"]


def test_a_missing_client_certificate_is_said_where_it_is_named() -> None:
    text = manifest("a", {**BASE, "tls": {"clientCertificate": "me.crt", "clientKeyFrom": {"env": "K"}}})
    assert places(assembled({"a.yaml": text})) == [f"a.yaml:{line_of(text, 'me.crt')} missing-file"]


def test_a_problem_in_a_pem_file_names_the_manifests_it_hurts() -> None:
    tree = {"ca.pem": EXPIRED.pem}
    for number in range(5):
        tree[f"{number}.yaml"] = manifest(f"g{number}", {**BASE, "tls": {"caCertificates": ["ca.pem"]}})
    state = assembled(tree)
    (problem,) = state.problems
    assert (problem.code, problem.location.file, problem.location.line) == ("certificate-expired", "ca.pem", 1)
    assert problem.message.endswith("(used by 0.yaml, 1.yaml, 2.yaml and 2 more)")
    assert (state.gateways, state.complete) == ({}, False)


def test_a_problem_in_a_client_certificate_names_the_manifest_too() -> None:
    client = {"clientCertificate": "me.crt", "clientKeyFrom": {"env": "K"}}
    (problem,) = assembled({"a.yaml": manifest("a", {**BASE, "tls": client}), "me.crt": "text"}).problems
    assert (problem.code, problem.location.file) == ("pem-no-certificate", "me.crt")
    assert problem.message.endswith("(used by a.yaml)")


def test_every_problem_of_every_file_is_found_and_only_the_broken_gateways_are_left_out() -> None:
    tree = {
        "good.yaml": manifest("good", BASE),
        "late.yaml": manifest("late", {**BASE, "tls": {"caCertificates": ["old.pem"]}}),
        "lost.yaml": manifest("lost", {"url": "https://a.example/mcp", "tls": {"caCertificates": ["gone.pem"]}}),
        "odd.yaml": manifest("odd", {**BASE, "trasnport": "sse"}),
        "old.pem": EXPIRED.pem,
    }
    state = assembled(tree)
    codes = [problem.code for problem in state.problems]
    assert codes == ["missing-field", "missing-file", "unknown-field", "certificate-expired"]
    assert (list(state.gateways), state.complete) == (["good"], False)


def test_a_warning_leaves_nothing_out() -> None:
    tree = {"a.yaml": manifest("a", {**BASE, "tls": {"caCertificates": ["ca.pem"]}}), "ca.pem": ISSUING.pem}
    state = assembled(tree)
    assert [problem.code for problem in state.problems] == ["bundle-missing-root"]
    assert (list(state.gateways), state.complete) == (["a"], True)


def test_a_part_of_the_tree_is_never_complete() -> None:
    assert not assembled({"a.yaml": manifest("a", BASE)}, whole=False).complete


def test_a_bundle_shared_by_many_is_built_once() -> None:
    tree = {"ca.pem": ROOT.pem, "b.pem": ISSUING.pem}
    for number in range(4):
        files = ["ca.pem", "b.pem"] if number % 2 else ["b.pem", "ca.pem"]
        tree[f"{number}.yaml"] = manifest(f"g{number}", {**BASE, "tls": {"caCertificates": files}})
    state = assembled(tree)
    texts = {id(wanted.gateway.ca_certificate) for wanted in state.gateways.values()}
    assert len(texts) == 1
    (bundle,) = state.bundles.values()
    assert [certificate.subject for certificate in bundle.certificates] == ["CN=Root", "CN=Issuing"]


def test_values_are_canonical() -> None:
    spec = {
        **BASE,
        "description": "  spaces around \n",
        "tags": ["zebra", "ant", "zebra"],
        "passthroughHeaders": ["X-B", "X-A", "X-B"],
        "verify": {"requireTools": ["b", "a"], "mode": "required", "timeout": "1500ms"},
        "contextforge": {"mode": "direct_proxy", "team": None},
    }
    text = manifest("a", spec, labels={"z": "1", "a": "2"}, annotations={"reconciler/prune": "disabled"})
    wanted = assembled({"x/a.yaml": f"---\n{text}"}).gateways["a"]
    gateway = wanted.gateway
    assert (gateway.tags, gateway.passthrough_headers) == (("ant", "zebra"), ("X-B", "X-A"))
    assert gateway.description == "spaces around"
    assert (gateway.contextforge.mode, gateway.contextforge.team) == ("direct_proxy", "")
    assert wanted.verify == VerifyPolicy("required", 1.5, ("a", "b"))
    assert wanted.labels == (("a", "2"), ("z", "1"))
    assert (wanted.protected, wanted.location.file, wanted.location.line) == (True, "x/a.yaml", 2)


def test_what_is_not_said_has_a_default() -> None:
    wanted = assembled({"a.yaml": manifest("a", BASE)}).gateways["a"]
    assert wanted.gateway == Gateway("a", "https://a.example/mcp", Transport.SSE)
    assert (wanted.verify, wanted.protected, wanted.labels) == (VerifyPolicy(), False, ())


ENV, FILE = {"env": "E"}, {"file": "/run/s"}
KUBERNETES = {"secretKeyRef": {"name": "n", "key": "k"}}
OAUTH = {
    "type": "oauth",
    "tokenUrl": "https://id.example/t",
    "clientId": "c",
    "clientSecretFrom": FILE,
    "scopes": ["r", "w"],
}
HEADERS = {"type": "headers", "headers": [{"name": "X-B", "valueFrom": ENV}, {"name": "X-A", "valueFrom": KUBERNETES}]}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"type": "none"}, Auth()),
        ({"type": "bearer", "tokenFrom": ENV}, Auth("bearer", (), (("token", SecretReference("env", "E")),))),
        (
            {"type": "basic", "username": "u", "passwordFrom": FILE},
            Auth("basic", (("username", "u"),), (("password", SecretReference("file", "/run/s")),)),
        ),
        (
            HEADERS,
            Auth(
                "headers",
                (),
                (("X-A", SecretReference("secretKeyRef", "n", "k")), ("X-B", SecretReference("env", "E"))),
            ),
        ),
        (
            {"type": "queryParameter", "name": "api", "valueFrom": ENV},
            Auth("queryParameter", (("name", "api"),), (("value", SecretReference("env", "E")),)),
        ),
        (
            OAUTH,
            Auth(
                "oauth",
                (("clientId", "c"), ("scopes", "r w"), ("tokenUrl", "https://id.example/t")),
                (("clientSecret", SecretReference("file", "/run/s")),),
            ),
        ),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_every_kind_of_authentication_keeps_references_and_never_secrets(
    written: dict[str, Any], expected: Auth
) -> None:
    assert only({"a.yaml": manifest("a", {**BASE, "auth": written})}).auth == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (ENV, SecretReference("env", "E")),
        (FILE, SecretReference("file", "/run/s")),
        (KUBERNETES, SecretReference("secretKeyRef", "n", "k")),
    ],
    ids=["env", "file", "secretKeyRef"],
)
def test_a_client_certificate_comes_with_a_reference_to_its_key(
    written: dict[str, Any], expected: SecretReference
) -> None:
    identity = ISSUING.issue_client("me")
    tls = {"clientCertificate": "me.crt", "clientKeyFrom": written}
    tree = {"a.yaml": manifest("a", {**BASE, "tls": tls}), "me.crt": f"a comment\n{identity.certificate_pem}\n"}
    gateway = only(tree)
    assert (gateway.client_certificate, gateway.client_key) == (identity.certificate_pem, expected)


values = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "auth"]), inner, max_size=3),
    max_leaves=8,
)
specs = st.dictionaries(st.sampled_from(["a", "b", "auth"]), values, max_size=3)


@given(specs)
def test_merging_with_nothing_changes_nothing(spec: dict[str, Any]) -> None:
    assert merge(spec, {}) == merge({}, spec) == merge(spec, spec) == spec


@given(specs, specs)
def test_what_is_own_wins_and_what_is_not_is_inherited(inherited: dict[str, Any], own: dict[str, Any]) -> None:
    before = json.dumps([inherited, own])
    merged = merge(inherited, own)
    assert merged.keys() == inherited.keys() | own.keys()
    assert merge(merged, own) == merged
    for name, value in own.items():
        if name == "auth" or not isinstance(value, dict):
            assert merged[name] == value
    for name in inherited.keys() - own.keys():
        assert merged[name] == inherited[name]
    assert json.dumps([inherited, own]) == before


@given(specs, specs, st.data())
def test_every_leaf_comes_from_one_of_the_two(
    inherited: dict[str, Any], own: dict[str, Any], data: st.DataObject
) -> None:
    merged: Any = merge(inherited, own)
    sides: list[Any] = [inherited, own]
    while isinstance(merged, dict) and merged:
        key = data.draw(st.sampled_from(sorted(merged)))
        merged = merged[key]
        sides = [side[key] for side in sides if isinstance(side, dict) and key in side]
    assert merged in sides


fleets = st.dictionaries(
    st.from_regex(r"[a-d](/[a-c]){0,2}", fullmatch=True),
    st.fixed_dictionaries(
        {"url": st.sampled_from(["https://a.example/mcp", "https://b.example/mcp"])},
        optional={
            "transport": st.sampled_from(["sse", "streamable-http"]),
            "tags": st.lists(st.sampled_from(["one", "two", "three"]), max_size=3),
            "tls": st.sampled_from([{"caCertificates": ["root.pem"]}, {"systemTrust": False}]),
        },
    ),
    max_size=6,
)
DEFAULTS = {
    "defaults.yaml": defaults(transport="sse"),
    "b/defaults.yaml": defaults(tls={"caCertificates": ["root.pem"]}),
}
FILES = {f"{place}root.pem": ROOT.pem for place in ("", "a/", "b/", "c/", "a/a/", "b/a/")}


@given(fleets, st.randoms())
def test_the_order_of_the_manifests_changes_nothing(fleet: dict[str, Any], chance: Any) -> None:
    written = {f"{path}.yaml": manifest(path.replace("/", "-"), spec) for path, spec in fleet.items()}
    items = list({**DEFAULTS, **FILES, **written}.items())
    expected = assembled(dict(items))
    chance.shuffle(items)
    found = assembled(dict(items))
    assert found == expected
    assert list(found.gateways) == sorted(found.gateways)
