"""Where values come from: what is explained is what holds, and the line that is named sets it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.desired import Material, assemble, referenced_files
from reconciler.core.fields import Fields
from reconciler.core.inheritance import Defaults, merge
from reconciler.core.manifest import read_manifests
from reconciler.core.provenance import Explained, Setting, Written, as_written, explain_values
from reconciler.core.snapshot import Files
from reconciler.demo.pki import Authority, Lifetime
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.core.manifest import Manifest
    from reconciler.core.model import DesiredGateway

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
ROOT = Authority.root("Root", Lifetime.around(NOW)).pem.encode()
SCHEMAS = load_schemas()
(SPEC,) = Fields(SCHEMAS.texts).find("Gateway.spec")

words = st.from_regex(r"[a-z][a-z0-9]{1,8}", fullmatch=True)
references = st.one_of(
    st.fixed_dictionaries({"env": words.map(str.upper)}),
    st.fixed_dictionaries({"file": words}),
    st.fixed_dictionaries({"secretKeyRef": st.fixed_dictionaries({"name": words, "key": words})}),
)
headers = st.lists(st.fixed_dictionaries({"name": words, "valueFrom": references}), min_size=1, max_size=3)
auths = st.one_of(
    st.just({"type": "none"}),
    st.fixed_dictionaries({"type": st.just("bearer"), "tokenFrom": references}),
    st.fixed_dictionaries({"type": st.just("basic"), "username": words, "passwordFrom": references}),
    st.fixed_dictionaries({"type": st.just("headers"), "headers": headers}),
)
some_defaults = st.fixed_dictionaries(
    {},
    optional={
        "transport": st.sampled_from(["streamable-http", "sse"]),
        "description": st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20),
        "enabled": st.booleans(),
        "visibility": st.sampled_from(["public", "team", "private"]),
        "tags": st.lists(words, max_size=3),
        "tls": st.fixed_dictionaries(
            {},
            optional={
                "caCertificates": st.sampled_from([["ca.pem"], ["ca.pem", "other.pem"]]),
                "systemTrust": st.booleans(),
            },
        ),
        "auth": auths,
        "verify": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["required", "report", "off"]),
                "timeout": st.sampled_from(["1s", "250ms"]),
                "requireTools": st.lists(words, max_size=2, unique=True),
            },
        ),
        "contextforge": st.fixed_dictionaries(
            {}, optional={"mode": st.sampled_from(["cache", "direct_proxy"]), "team": words | st.none()}
        ),
        "kuadrant": st.fixed_dictionaries({}, optional={"prefix": words, "hint": words}),
    },
)
specs = st.builds(lambda spec, url: {**spec, "url": f"https://{url}.example/mcp"}, some_defaults, words)
trees = st.fixed_dictionaries(
    {"a/b/payments.yaml": specs},
    optional={"defaults.yaml": some_defaults, "a/defaults.yaml": some_defaults, "a/b/defaults.yaml": some_defaults},
)


class Tree:
    """Manifests as files, read."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = {file: text.encode() for file, text in texts.items()}
        read = [read_manifests(file, data, SCHEMAS) for file, data in self.texts.items()]
        self.manifests = [manifest for file in read for manifest in file.manifests]
        problems = [problem for file in read for problem in file.problems]
        self.written = Written(Defaults(self.manifests, self.texts), self.texts, problems)

    @property
    def gateway(self) -> Manifest:
        return next(manifest for manifest in self.manifests if manifest.kind == "Gateway")

    def explained(self, manifest: Manifest | None = None) -> dict[str, Explained]:
        found = explain_values(manifest or self.gateway, self.written, SPEC)
        assert len(found) == len({each.path for each in found})
        return {each.path: each for each in found}

    def lines(self, file: str) -> list[str]:
        return self.texts[file].decode().split("\n")


def document(file: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    kind = "Defaults" if file.endswith("defaults.yaml") else "Gateway"
    return {"apiVersion": "reconciler/v1", "kind": kind, "metadata": {"name": "payments"}, "spec": spec}


def tree_of(specs: Mapping[str, Mapping[str, Any]]) -> Tree:
    return Tree({file: yaml.safe_dump(document(file, spec), width=1000) for file, spec in specs.items()})


def flattened(value: Any, path: str = "spec") -> Iterator[tuple[str, Any]]:
    """Yield the dotted paths of a merged spec, by another way than the code under test."""
    if isinstance(value, dict):
        for key in value:
            yield from flattened(value[key], f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index in range(len(value)):
            yield from flattened(value[index], f"{path}[{index}]")
    else:
        yield path, value


def assembled(tree: Tree) -> DesiredGateway | None:
    files = Files(dict.fromkeys(referenced_files(tree.manifests), ROOT))
    return assemble(Material(tree.manifests, tree.texts, files), NOW).gateways.get("payments")


RESOLVED: Mapping[str, Callable[[DesiredGateway], object]] = {
    "spec.url": lambda wanted: wanted.gateway.url,
    "spec.transport": lambda wanted: str(wanted.gateway.transport),
    "spec.enabled": lambda wanted: wanted.gateway.enabled,
    "spec.visibility": lambda wanted: str(wanted.gateway.visibility),
    "spec.tls.systemTrust": lambda wanted: wanted.gateway.system_trust,
    "spec.auth.type": lambda wanted: wanted.gateway.auth.type,
    "spec.verify.mode": lambda wanted: wanted.verify.mode,
    "spec.verify.timeout": lambda wanted: {5.0: "5s", 1.0: "1s", 0.25: "250ms"}[wanted.verify.timeout_seconds],
    "spec.contextforge.mode": lambda wanted: wanted.gateway.contextforge.mode,
}
"""What every gateway has, whether or not anybody sets it."""


@given(trees)
def test_what_is_explained_is_what_holds(specs: dict[str, dict[str, Any]]) -> None:
    tree = tree_of(specs)
    explained = tree.explained()
    merged = merge(tree.written.defaults.spec("a/b"), tree.gateway.spec)
    said = {path: each.setting.value for path, each in explained.items() if each.setting.source != "default"}
    assert said == dict(flattened(merged))
    wanted = assembled(tree)
    if "transport" not in merged:
        assert wanted is None
        return
    assert wanted is not None
    assert {path: explained[path].setting.value for path in RESOLVED} == {
        path: resolved(wanted) for path, resolved in RESOLVED.items()
    }


@given(trees)
def test_the_line_that_is_named_sets_the_value(specs: dict[str, dict[str, Any]]) -> None:
    tree = tree_of(specs)
    for path, explained in tree.explained().items():
        for setting in (explained.setting, *explained.overrides):
            if setting.source == "default":
                assert (setting.file, setting.line) == ("", 0)
                continue
            line = tree.lines(setting.file)[setting.line - 1].strip().removeprefix("- ")
            (written,) = yaml.safe_load(line).items()
            scalar = not isinstance(setting.value, list) or not setting.value
            assert written == (path.rpartition(".")[2], setting.value if scalar else None)
            assert (setting.source == "manifest") == (setting.file == "a/b/payments.yaml")


@given(trees)
def test_what_is_overridden_is_what_the_documents_above_say(specs: dict[str, dict[str, Any]]) -> None:
    tree = tree_of(specs)
    nearest_first = ["a/b/payments.yaml", "a/b/defaults.yaml", "a/defaults.yaml", "defaults.yaml"]
    own = {
        manifest.file: {path: value for path, value in flattened(manifest.spec) if "[" not in path}
        for manifest in sorted(tree.manifests, key=lambda each: nearest_first.index(each.file))
    }
    for path, explained in tree.explained().items():
        settings = (explained.setting, *explained.overrides)
        if explained.setting.source != "default" and "[" not in path:
            expected = [(file, said[path]) for file, said in own.items() if path in said]
            assert [(setting.file, setting.value) for setting in settings] == expected
        else:
            assert explained.overrides == ()


@given(trees)
def test_values_stand_in_the_order_of_the_schema(specs: dict[str, dict[str, Any]]) -> None:
    order = [field.path for field in SPEC.walk()]
    ranks = [order.index(path.partition("[")[0]) for path in tree_of(specs).explained()]
    assert ranks == sorted(ranks)


LAYERED = {
    "defaults.yaml": """\
apiVersion: reconciler/v1
kind: Defaults
metadata: {name: all}
spec:
  transport: streamable-http
  auth:
    type: basic
    username: svc
    passwordFrom: {env: PASSWORD}
  tls:
    caCertificates:
      - roots/company.pem
    systemTrust: false
""",
    "teams/defaults.yaml": """\
apiVersion: reconciler/v1
kind: Defaults
metadata: {name: teams}
spec: {transport: sse, tags: [team]}
""",
    "teams/payments.yaml": """\
# Two gateways in one file.
apiVersion: reconciler/v1
kind: Gateway
metadata: {name: search}
spec: {url: "https://search.example/mcp"}
---
apiVersion: reconciler/v1
kind: Gateway
metadata: {name: payments}
spec:
  description: |
    Charge
    and refund
  "url":
    https://payments.example/mcp
  auth:
    type: headers
    headers:
      - name: X-Api-Key
        valueFrom:
          env: API_KEY
      - {name: X-Team, valueFrom: {file: /run/team}}
""",
}


def here(value: object, line: int) -> Setting:
    return Setting(value, "manifest", "teams/payments.yaml", line)


def test_each_value_names_the_line_of_its_key_however_it_is_written() -> None:
    tree = Tree(LAYERED)
    payments = next(manifest for manifest in tree.manifests if manifest.name == "payments")
    explained = tree.explained(payments)
    assert [(path, each.setting) for path, each in explained.items()] == [
        ("spec.url", here("https://payments.example/mcp", 14)),
        ("spec.transport", Setting("sse", "defaults", "teams/defaults.yaml", 4)),
        ("spec.description", here("Charge\nand refund\n", 11)),
        ("spec.enabled", Setting(True, "default")),
        ("spec.visibility", Setting("private", "default")),
        ("spec.tags", Setting(["team"], "defaults", "teams/defaults.yaml", 4)),
        ("spec.tls.caCertificates", Setting(["roots/company.pem"], "defaults", "defaults.yaml", 11)),
        ("spec.tls.systemTrust", Setting(False, "defaults", "defaults.yaml", 13)),
        ("spec.auth.type", here("headers", 17)),
        ("spec.auth.headers[0].name", here("X-Api-Key", 19)),
        ("spec.auth.headers[0].valueFrom.env", here("API_KEY", 21)),
        ("spec.auth.headers[1].name", here("X-Team", 22)),
        ("spec.auth.headers[1].valueFrom.file", here("/run/team", 22)),
        ("spec.verify.mode", Setting("report", "default")),
        ("spec.verify.timeout", Setting("5s", "default")),
        ("spec.verify.onToolsChange", Setting("report", "default")),
        ("spec.contextforge.mode", Setting("cache", "default")),
    ]
    assert {path: each.overrides for path, each in explained.items() if each.overrides} == {
        "spec.transport": (Setting("streamable-http", "defaults", "defaults.yaml", 5),),
        "spec.auth.type": (Setting("basic", "defaults", "defaults.yaml", 7),),
    }


PLANTED = "hunter2-correct-horse"
BROKEN = """\
apiVersion: reconciler/v1
kind: Gateway
metadata: {{name: payments}}
spec:
  url: {url}
  transport: sse
  enabled: true
  {more}
"""


@pytest.mark.parametrize(
    ("url", "more", "left_out"),
    [
        (f"https://svc:{PLANTED}@payments.example/mcp", "tags: [a1]", {"spec.url"}),
        (f"https://payments.example/mcp?api_key={PLANTED}", "tags: [a1]", {"spec.url"}),
        ("https://a.example", f"password: {PLANTED}", {"spec.password"}),
        ("https://a.example", f"auth: {{type: bearer, tokenFrom: {PLANTED}}}", {"spec.auth.type"}),
        ("https://a.example", f"auth: {{type: bearer, token: {PLANTED}}}", {"spec.auth.type"}),
        ("https://a.example", f"auth: {{type: basic, username: {PLANTED}}}", {"spec.auth.type"}),
        ("https://a.example", f"auth: {{type: bearer, tokenFrom: {{env: '{PLANTED}!'}}}}", {"spec.auth.type"}),
        ("https://a.example", f"tls: {PLANTED}", {"spec.tls", "spec.tls.systemTrust"}),
        ("https://a.example", f"tags: [a1, '{PLANTED}!']", {"spec.tags"}),
        ("https://a.example", f"passthroughHeaders: [[{PLANTED}]]", {"spec.passthroughHeaders[0][0]"}),
        ("https://a.example", f"verify: {{mode: {PLANTED}, timeout: 1s}}", {"spec.verify.mode"}),
        ("https://a.example", f"enabled: true\n  visibility: {PLANTED}", {"spec.visibility"}),
    ],
)
def test_what_a_problem_points_at_is_not_repeated_and_the_rest_is_explained(
    url: str, more: str, left_out: set[str]
) -> None:
    text = BROKEN.format(url=url, more=more).replace("  enabled: true\n  enabled", "  enabled")
    tree = Tree({"defaults.yaml": LAYERED["defaults.yaml"], "payments.yaml": text})
    manifest = as_written("payments", "payments.yaml", tree.texts["payments.yaml"])
    assert manifest is not None
    explained = tree.explained(manifest)
    assert PLANTED not in repr(explained)
    assert not left_out & explained.keys()
    assert explained["spec.transport"].setting == Setting("sse", "manifest", "payments.yaml", 6)
    assert explained["spec.transport"].overrides == (Setting("streamable-http", "defaults", "defaults.yaml", 5),)


PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\n    MC4CAQAwBQYDK2VwBCIEIA==\n    -----END PRIVATE KEY-----"


@pytest.mark.parametrize("file", ["defaults.yaml", "payments.yaml"])
def test_of_a_document_with_a_private_key_nothing_is_repeated(file: str) -> None:
    texts = {
        "defaults.yaml": "apiVersion: reconciler/v1\nkind: Defaults\nmetadata: {name: a}\nspec:\n  visibility: team\n",
        "payments.yaml": BROKEN.format(url="https://a.example", more="tags: [a1]"),
    }
    texts[file] += f"  description: |\n    {PRIVATE_KEY}\n"
    tree = Tree(texts)
    explained = tree.explained()
    assert "MC4CAQ" not in repr(explained)
    files = {setting.file for each in explained.values() for setting in (each.setting, *each.overrides)}
    assert files == {"", *texts} - {file}


def test_the_problems_of_one_document_hide_nothing_of_its_neighbours() -> None:
    sound = BROKEN.format(url="https://sound.example", more="tags: [a1]").replace("payments", "sound")
    broken = BROKEN.format(url=f"https://svc:{PLANTED}@x.example", more="tags: [a1]")
    for text in (f"{sound}---\n{broken}", f"{broken}---\n{sound}"):
        tree = Tree({"both.yaml": text})
        assert tree.explained()["spec.url"].setting.value == "https://sound.example"
        manifest = as_written("payments", "both.yaml", tree.texts["both.yaml"])
        explained = tree.explained(manifest)
        assert "spec.url" not in explained
        assert explained["spec.tags"].setting.value == ["a1"]
        assert PLANTED not in repr(explained)


def test_past_the_problems_that_are_listed_nothing_is_repeated() -> None:
    unknown = "".join(f"  x{number}: 1\n" for number in range(150))
    text = BROKEN.format(url="https://a.example", more="tags: [a1]") + unknown + f"  password: {PLANTED}\n"
    tree = Tree({"payments.yaml": text})
    manifest = as_written("payments", "payments.yaml", tree.texts["payments.yaml"])
    explained = tree.explained(manifest)
    assert {each.setting.source for each in explained.values()} == {"default"}


@pytest.mark.parametrize(
    "text",
    [
        "just text",
        "[1, 2]",
        "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: payments\nspec: {}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: payments}\nspec: {}",
        "apiVersion: reconciler/v1\nkind: Defaults\nmetadata: {name: payments}\nspec: {}",
        "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: other}\nspec: {}",
    ],
)
def test_what_is_no_gateway_of_this_name_is_not_taken_for_one(text: str) -> None:
    assert as_written("payments", "a.yaml", text.encode()) is None


@pytest.mark.parametrize("spec", ["text", "[1]", "", "{}"])
def test_a_gateway_without_a_usable_spec_has_only_defaults(spec: str) -> None:
    text = f"apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {{name: payments}}\nspec: {spec}\n"
    manifest = as_written("payments", "payments.yaml", text.encode())
    assert manifest is not None
    assert manifest.spec == {}
    explained = Tree({"payments.yaml": text}).explained(manifest)
    assert {each.setting.source for each in explained.values()} == {"default"}
