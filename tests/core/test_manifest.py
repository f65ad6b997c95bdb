"""Manifests: what is ours, what is somebody else's, and a sentence for everything that is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.manifest import parse_duration, read_manifests
from reconciler.core.strict_yaml import PROBLEM_LIMIT, read_yaml
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from reconciler.core.problems import Problem

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


def test_a_document_becomes_a_manifest() -> None:
    text = (
        "# of the payments team\n---\napiVersion: reconciler/v1\nkind: Gateway\nmetadata:\n  name: payments\n"
        "  labels: {team: payments}\n  annotations: {reconciler/prune: disabled}\nspec: {url: https://x}\n"
        "---\napiVersion: reconciler/v1\nkind: Defaults\nmetadata: {name: all}\nspec: {transport: sse}\n"
    )
    read = read_manifests("gateways/a.yaml", text.encode(), SCHEMAS)
    assert read.problems == ()
    first, second = read.manifests
    assert (first.kind, first.name, first.file, first.document, first.line) == (
        "Gateway", "payments", "gateways/a.yaml", 0, 3,
    )  # fmt: skip
    assert (first.labels, first.annotations) == ({"team": "payments"}, {"reconciler/prune": "disabled"})
    assert first.spec == {"url": "https://x"}
    assert (second.kind, second.document, second.line, second.labels) == ("Defaults", 1, 11, {})


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


def test_files_in_the_root_keep_their_names() -> None:
    data = gateway(tls={"caCertificates": ["ca.pem"]}, verify={"toolsLock": "locks/tools.json"})
    (manifest,) = read_manifests("a.yaml", data, SCHEMAS).manifests
    assert manifest.spec["tls"]["caCertificates"] == ["ca.pem"]
    assert manifest.spec["verify"]["toolsLock"] == "locks/tools.json"


def test_every_path_that_leaves_the_repository_is_named() -> None:
    spec = {
        "tls": {"caCertificates": ["/a.pem"], "clientCertificate": "../../b.crt", "clientKeyFrom": {"file": "/key"}},
        "verify": {"toolsLock": "c\\d.json"},
    }
    assert [(code, pointer) for code, pointer, _ in said(gateway(**spec))] == [
        ("path-leaves-root", "/spec/tls/caCertificates/0"),
        ("path-leaves-root", "/spec/tls/clientCertificate"),
        ("path-leaves-root", "/spec/verify/toolsLock"),
    ]


@given(st.text(alphabet="./ab", max_size=12), st.sampled_from(["a.yaml", "g/a.yaml", "g/h/a.yaml"]))
def test_a_path_is_inside_of_the_repository_or_refused(stem: str, file: str) -> None:
    read = read_manifests(file, gateway(tls={"caCertificates": [f"{stem}x.pem"]}), SCHEMAS)
    assert len(read.manifests) + len(read.problems) == 1
    for manifest in read.manifests:
        (path,) = manifest.spec["tls"]["caCertificates"]
        assert not path.startswith("/")
        assert not {"", ".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("url", ["http://x:0/", "http://x:65536/", "http://[1::2::3]/", "http://[::1]:99999"])
def test_a_url_whose_port_or_address_cannot_be_is_refused(url: str) -> None:
    assert [(code, pointer) for code, pointer, _ in said(gateway(url=url))] == [("wrong-value", "/spec/url")]


@pytest.mark.parametrize("url", ["http://x:65535/", "http://[::1]:8080/mcp", "http://x/a:b", "http://127.0.0.1:1"])
def test_a_url_whose_port_and_address_can_be_is_accepted(url: str) -> None:
    assert said(gateway(url=url)) == []


def test_a_mistake_is_shown_where_it_stands() -> None:
    text = "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: x}\nspec:\n  url: https://x\n  trasport: sse\n"
    (problem,) = problems(text.encode())
    where = problem.location
    assert (where.line, where.column, where.length, where.snippet) == (6, 3, 8, "  trasport: sse")


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
        {"auth": "hunter2-hunter2"},
        {"auth": {"type": "bearer", "tokenFrom": {"hunter2-hunter2": None}}},
        {"auth": {"type": "bearer", "tokenFrom": {"env": "hunter2-hunter2"}}},
        {"url": "https://payments.example/mcp?api_key=hunter2-hunter2"},
    ],
)
def test_a_secret_is_refused_and_not_repeated(spec: dict[str, object]) -> None:
    flow = gateway(**spec)
    block = yaml.safe_dump(json.loads(flow)).encode()
    for data in (flow, block):
        found = problems(data)
        assert found
        assert "hunter2" not in repr(found)


def test_a_private_key_anywhere_is_refused_and_not_repeated() -> None:
    key = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIHUNTER2\\n-----END PRIVATE KEY-----"
    found = problems(gateway(description=key))
    assert [problem.code for problem in found] == ["private-key"]
    assert "HUNTER2" not in repr(found)


def test_a_private_key_is_found_at_its_place_even_where_the_yaml_around_it_is_broken() -> None:
    certificate = "-----BEGIN CERTIFICATE-----"
    text = f"a: {certificate}\nclientKey: |\n    -----BEGIN RSA PRIVATE KEY-----\n HUNTER2:x\n"
    key, broken = problems(text.encode())
    assert (key.code, key.location.line, key.location.column) == ("private-key", 3, 5)
    assert broken.code == "yaml-syntax"
    assert "HUNTER2" not in repr(broken)


def test_a_line_on_which_a_secret_was_found_is_shown_by_no_other_problem() -> None:
    text = "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: x}\nspec: {url: 'https://x?key=hunter2', y: 1}\n"
    found = problems(text.encode())
    assert {problem.code for problem in found} == {"secret-in-manifest", "unknown-field"}
    assert "hunter2" not in repr(found)


def test_documents_of_other_projects_are_left_alone_and_counted() -> None:
    text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n---\napiVersion: v1\nkind: Secret\n"
    text += "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n"
    read = read_manifests("kustomization.yaml", text.encode(), SCHEMAS)
    assert (read.manifests, read.problems, read.foreign) == ((), (), 3)


OURS = "write `apiVersion: reconciler/v1`; if this belongs to another tool, keep it outside of the managed tree"


@pytest.mark.parametrize(
    ("text", "code", "fix"),
    [
        ("apiVersion: reconciler/v1\nkind: Gatway\n", "wrong-kind", "did you mean `Gateway`?"),
        ("apiVersion: reconciler/v1\n", "wrong-kind", "the kinds are: Gateway, Defaults, Config, Keyring"),
        ("apiVersion: reconciler/v2\nkind: Gateway\n", "wrong-api-version", OURS),
        ("apiVersion: reconcilr/v1\nkind: Gateway\n", "wrong-api-version", OURS),
        ("apiVersion: reconciler.io/v1\nkind: Gatway\n", "wrong-api-version", OURS),
        ("apiVersion: v1\nkind: Gateway\n", "wrong-api-version", OURS),
        ("kind: Gateway\n", "not-a-manifest", None),
        ("apiVersion: [a]\nkind: Gateway\n", "not-a-manifest", None),
        ("apiVersion: reconciler/v1\nkind: [Gateway]\n", "wrong-kind", None),
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


def test_a_file_full_of_mistakes_is_answered_with_as_many_as_a_person_reads() -> None:
    text = "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {}\nspec: {}\n---\n" * 300
    found = problems(text.encode())
    assert len(found) == PROBLEM_LIMIT + 1
    assert [problem.code for problem in found[-2:]] == ["missing-field", "too-many-problems"]


LINES = (
    "apiVersion: reconciler/v1", "kind: Gateway", "kind: Defaults", "metadata: {name: a}", "metadata:", "  name: a",
    "spec:", "  url: https://x", "  transport: sse", "  tls:", "    caCertificates: [a.pem, ../../b.pem]", "  y: 1",
    "  auth: {type: bearer, token: x}", "---", "- a", "a: [", "a: &x", "*x : b", "? [a]", "status: {}", "\ta: 1",
)  # fmt: skip


@given(st.binary(max_size=300) | st.lists(st.sampled_from(LINES), max_size=16).map(lambda own: "\n".join(own).encode()))
def test_nothing_brings_it_down_and_nothing_vanishes_without_a_word(data: bytes) -> None:
    lines = [*data.decode(errors="replace").splitlines(), ""]
    read = read_manifests("g/a.yaml", data, SCHEMAS)
    documents = read_yaml("g/a.yaml", data).documents
    assert len(read.manifests) + read.foreign == len(documents) or read.problems
    for problem in read.problems:
        where = problem.location
        assert 1 <= where.line <= len(lines)
        assert 1 <= where.column <= len(lines[where.line - 1]) + 2
        assert problem.message
        assert problem.fix
