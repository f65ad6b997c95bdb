"""`reconciler explain`: what a word means to the person who typed it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reconciler.core.rules import rules

if TYPE_CHECKING:
    from terminal import Terminal

    from reconciler.demo.pki import Authority

CONFIG = """\
apiVersion: reconciler/v1
kind: Config
metadata: {name: gateways}
spec:
  path: gateways
  targets:
    - {name: production, store: "sqlite:///p.db", selector: {environment: production}}
    - {name: everything, store: "sqlite:///e.db"}
    - {name: other, store: "sqlite:///o.db", path: elsewhere}
"""

DEFAULTS = """\
apiVersion: reconciler/v1
kind: Defaults
metadata: {name: all}
spec:
  transport: streamable-http
  visibility: team
  tls:
    caCertificates: [company.pem]
"""

PAYMENTS = """\
apiVersion: reconciler/v1
kind: Gateway
metadata:
  name: payments
  labels: {environment: production}
  annotations: {reconciler/prune: disabled}
spec:
  url: https://payments.example/mcp
  transport: sse
  auth:
    type: bearer
    tokenFrom: {env: PAYMENTS_TOKEN}
"""


@pytest.fixture
def tree(terminal: Terminal, root: Authority) -> Terminal:
    """A repository with Defaults, a gateway that overrides them, and the company's CA."""
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write("gateways/defaults.yaml", DEFAULTS)
    terminal.write("gateways/company.pem", root.pem)
    terminal.write("gateways/team/payments.yaml", PAYMENTS)
    terminal.write("elsewhere/other.yaml", PAYMENTS.replace("payments", "other"))
    return terminal


def line_of(text: str, path: str) -> str:
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [path]]
    return " ".join(line.split())


def test_a_field_is_explained_like_kubectl_does(terminal: Terminal) -> None:
    text = terminal("explain", "spec.tls.caCertificates").out
    assert text.startswith("spec.tls.caCertificates  list of strings\n  PEM files with the private CA of the upstream")
    assert "takes    at least 1 item; at most 100 items; no item twice" in text
    assert "each     a path that ends in .pem, .crt, .cer or .cert" in text
    assert 'example  ["payments-root.pem", "payments-issuing.pem"]' in text
    assert terminal("explain", "caCertificates").out == text


def test_a_kind_shows_its_fields_one_to_a_line(terminal: Terminal) -> None:
    text = terminal("explain", "Config").out
    assert line_of(text, "spec.owner").startswith("spec.owner string Who writes.")
    assert line_of(text, "metadata.name").startswith("metadata.name string, required")


def test_a_field_as_json(terminal: Terminal) -> None:
    document = terminal("explain", "spec.auth", "-o", "json").document
    assert document["format_version"] == "1.0"
    assert document["field"]["path"] == "spec.auth"
    below = {each["path"]: each for each in document["field"]["fields"]}
    assert below["spec.auth.type"]["allowed"] == ["none", "bearer", "basic", "headers", "queryParameter", "oauth"]
    assert below["spec.auth.tokenFrom"]["beside_type"] == "bearer"
    assert below["spec.auth.tokenFrom"]["required"]


def test_every_problem_is_explained_by_its_code(terminal: Terminal) -> None:
    for rule in (rule for chapter in rules().values() for rule in chapter):
        text = terminal("explain", rule.code).out
        assert text.startswith(f"{rule.code}  {rule.severity}\n")
        assert rule.why in " ".join(text.split())
        assert f"docs/problems/{rule.code}.md" in text
    document = terminal("explain", "pem-bad-base64", "-o", "json").document
    assert document["problem"]["code"] == "pem-bad-base64"
    assert document["problem"]["documentation"] == "docs/problems/pem-bad-base64.md"


def test_a_gateway_shows_where_each_of_its_values_comes_from(tree: Terminal) -> None:
    text = tree("explain", "payments").out
    assert text.startswith("payments  gateways/team/payments.yaml:1\n")
    assert line_of(text, "labels") == "labels environment=production"
    assert line_of(text, "protected") == "protected yes: it stays when its manifest is removed"
    assert line_of(text, "targets") == "targets production, everything"
    assert line_of(text, "spec.url") == "spec.url https://payments.example/mcp gateways/team/payments.yaml:8"
    assert line_of(text, "spec.visibility") == "spec.visibility team gateways/defaults.yaml:6"
    assert line_of(text, "spec.enabled") == "spec.enabled true default"
    transport, overridden = text[text.index("  spec.transport") :].splitlines()[:2]
    assert transport.split() == ["spec.transport", "sse", "gateways/team/payments.yaml:9"]
    assert overridden.strip() == "overrides gateways/defaults.yaml:5 (streamable-http)"


def test_a_gateway_shows_the_certificates_it_trusts(tree: Terminal, root: Authority) -> None:
    lines = tree("explain", "payments").out.splitlines()
    (bundle,) = [number for number, line in enumerate(lines) if "spec.tls.caCertificates" in line]
    assert lines[bundle].split()[1:] == ['["gateways/company.pem"]', "gateways/defaults.yaml:8"]
    assert lines[bundle + 1].strip().startswith("CN=Payments Root CA (Root CA), expires ")
    document = tree("explain", "payments", "-o", "json").document
    (certificate,) = document["certificates"]
    assert certificate["root"]
    assert certificate["sha256"][:16] in lines[bundle + 1]
    assert certificate["file"] == "gateways/company.pem"
    assert root.pem not in json.dumps(document)


def test_a_secret_stays_a_reference(tree: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENTS_TOKEN", "hunter2")
    shown = tree("explain", "payments")
    assert line_of(shown.out, "spec.auth.tokenFrom.env").split()[1] == "PAYMENTS_TOKEN"
    assert "hunter2" not in shown.out + shown.err + tree("explain", "payments", "-o", "json").out


def test_a_gateway_as_json(tree: Terminal) -> None:
    document = tree("explain", "payments", "-o", "json").document
    assert {key: document[key] for key in ("format_version", "gateway", "file", "line")} == {
        "format_version": "1.0",
        "gateway": "payments",
        "file": "gateways/team/payments.yaml",
        "line": 1,
    }
    assert (document["protected"], document["targets"]) == (True, ["production", "everything"])
    assert document["labels"] == {"environment": "production"}
    assert document["diagnostics"] == []
    values = {each["path"]: each for each in document["values"]}
    assert values["spec.transport"] == {
        "path": "spec.transport",
        "value": "sse",
        "file": "gateways/team/payments.yaml",
        "line": 9,
        "from": "manifest",
        "overrides": [
            {"value": "streamable-http", "file": "gateways/defaults.yaml", "line": 5, "from": "defaults"},
        ],
    }
    assert values["spec.enabled"] == {
        "path": "spec.enabled",
        "value": True,
        "file": None,
        "line": None,
        "from": "default",
        "overrides": [],
    }


def test_without_a_config_file_nobody_knows_the_targets(terminal: Terminal) -> None:
    terminal.gateway("payments")
    for arguments in ((), ("--path", "gateways")):
        document = terminal("explain", "payments", "-o", "json", *arguments).document
        assert document["targets"] is None
        assert document["file"].endswith("payments.yaml")
    assert "targets" not in terminal("explain", "payments").out


def test_a_gateway_that_no_target_selects_says_so(tree: Terminal) -> None:
    tree.write("reconciler.yaml", CONFIG.replace("everything, store", "test, selector: {environment: test}, store"))
    tree.gateway("loose")
    assert line_of(tree("explain", "loose").out, "targets") == "targets none: no target selects it"


def test_a_gateway_with_errors_is_explained_as_far_as_its_values_go(tree: Terminal) -> None:
    broken = PAYMENTS.replace("https://", "https://svc:hunter2@").replace("transport: sse", "transport: ssse")
    tree.write("gateways/team/payments.yaml", broken)
    shown = tree("explain", "payments")
    assert "spec.url" not in shown.out
    assert "spec.transport" not in shown.out
    assert "hunter2" not in shown.out
    assert line_of(shown.out, "spec.visibility") == "spec.visibility team gateways/defaults.yaml:6"
    assert line_of(shown.out, "spec.auth.type") == "spec.auth.type bearer gateways/team/payments.yaml:11"
    assert "2 errors in the files it is made of. Values that are wrong are left out." in shown.out
    assert "Next: reconciler validate" in shown.err
    document = tree("explain", "payments", "-o", "json").document
    assert {each["code"] for each in document["diagnostics"]} == {"secret-in-manifest", "wrong-value"}


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("gateways/defaults.yaml", DEFAULTS.replace("company.pem", "absent.pem"), "missing-file"),
        ("gateways/defaults.yaml", DEFAULTS.replace("visibility: team", "visibility: everybody"), "wrong-value"),
        ("gateways/company.pem", "no certificate", "pem-no-certificate"),
        ("gateways/team/more.yaml", PAYMENTS, "duplicate-name"),
    ],
)
def test_what_keeps_a_gateway_from_being_applied_is_mentioned(tree: Terminal, file: str, text: str, code: str) -> None:
    tree.write(file, text)
    document = tree("explain", "payments", "-o", "json").document
    assert code in {each["code"] for each in document["diagnostics"]}
    assert any(each["path"] == "spec.url" for each in document["values"])


def test_what_is_wrong_elsewhere_is_not_this_gateways_trouble(tree: Terminal) -> None:
    tree.write("gateways/team/broken.yaml", PAYMENTS.replace("payments", "broken").replace("sse", "ssse"))
    tree.write("gateways/elsewhere/defaults.yaml", DEFAULTS.replace("team", "everybody"))
    assert "error" not in tree("explain", "payments").out


def test_a_gateways_name_goes_first_and_the_other_meanings_are_told(tree: Terminal) -> None:
    tree.gateway("url")
    tree.gateway("mode")
    tree.gateway("plain-http")
    shown = tree("explain", "url")
    assert shown.out.startswith("url  gateways/url.yaml:1")
    assert "Also a field: reconciler explain spec.url" in shown.err
    assert tree("explain", "spec.url").out.startswith("spec.url  string, required")
    assert tree("explain", "mode").err.count("Also a field") == 2
    assert "Also a problem: docs/problems/plain-http.md" in tree("explain", "plain-http").err
    assert tree("explain", "url", "--quiet").err == ""


def test_the_end_of_several_fields_lists_them(terminal: Terminal) -> None:
    refused = terminal("explain", "mode", expect=3)
    assert "`mode` is the end of 2 fields" in refused.err
    assert "spec.verify.mode, spec.contextforge.mode" in refused.err


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("spec.tls.caCertificate", "spec.tls.caCertificates"),
        ("paymnts", "payments"),
        ("plain-htttp", "plain-http"),
        ("Config.spec.ownr", "Config.spec.owner"),
    ],
)
def test_a_word_that_means_nothing_gets_the_nearest_that_do(tree: Terminal, word: str, meant: str) -> None:
    refused = tree("explain", word, expect=3)
    assert f"`{word}` is no gateway, no field and no problem" in refused.err
    assert f"did you mean {meant}" in refused.err


def test_a_word_near_to_nothing_says_where_all_are_listed(terminal: Terminal) -> None:
    assert "docs/fields.md lists the fields" in terminal("explain", "qqqqqq", expect=3).err


def test_a_gateway_in_a_file_that_cannot_be_read_is_not_called_unknown_for_sure(tree: Terminal) -> None:
    tree.write("gateways/team/search.yaml", PAYMENTS.replace("payments", "search").replace("kind", " kind"))
    refused = tree("explain", "search", expect=3)
    assert "that could be read; gateways/team/search.yaml has errors" in refused.err


def test_a_problem_and_a_field_are_explained_beside_a_config_file_that_is_broken(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", CONFIG.replace("path: gateways", "rules: {plain-htp: error}"))
    assert terminal("explain", "unknown-rule").out.startswith("unknown-rule  error")
    assert terminal("explain", "suppressions").out.startswith("Config.spec.suppressions")
    assert "unknown-rule" in terminal("explain", "payments", expect=3).err


def test_a_hostile_tree_moves_no_cursor(terminal: Terminal) -> None:
    terminal.gateway("payments", description="\x1b[2J\u202egnp.exe\n" + "x" * 3000)
    text = terminal("explain", "payments").out
    assert text.isprintable() or set(filter(lambda each: not each.isprintable(), text)) == {"\n"}
    assert "\\x1b[2J\\u202e" in text
    assert max(map(len, text.splitlines())) < 300
    assert terminal("explain", "payments", "-o", "json").out.isascii()


def test_only_where_it_is_wanted_there_is_colour(tree: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in tree("explain", "payments").out
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    dressed = tree("explain", "payments").out
    assert "\x1b[2moverrides gateways/defaults.yaml:5 (streamable-http)\x1b[0m" in dressed
    assert "\x1b" not in tree("explain", "payments", "--no-color").out
