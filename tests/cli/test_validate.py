"""`reconciler validate` as CI and pre-commit run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from repositories import commit

if TYPE_CHECKING:
    from pathlib import Path

    from terminal import Terminal

CONFIG = """\
apiVersion: reconciler/v1
kind: Config
metadata: {name: fleet}
spec:
  path: gateways
"""
PLAIN = "http://legacy.example/mcp"
EXCUSE = """\
  suppressions:
    - {rule: plain-http, gateway: legacy, reason: "replaced in spring, ticket 4711", until: "%s"}
"""


@pytest.fixture
def warned(terminal: Terminal) -> Terminal:
    """A tree with one warning: a gateway without TLS."""
    terminal.write("reconciler.yaml", CONFIG)
    terminal.gateway("legacy", url=PLAIN)
    return terminal


def codes(document: Any) -> list[str]:
    return [each["code"] for each in document["diagnostics"]]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 0),
        (("--fail-on", "error"), 0),
        (("--fail-on", "warning"), 3),
        (("--fail-on", "info"), 3),
        (("--strict",), 3),
        (("--fail-on", "never"), 0),
        (("--strict", "--fail-on", "info"), 3),
    ],
)
def test_what_makes_it_fail_is_a_choice(warned: Terminal, words: tuple[str, ...], code: int) -> None:
    assert "[plain-http]" in warned("validate", *words, expect=code).out


def test_never_means_never(warned: Terminal) -> None:
    warned.gateway("broken", transport="carrier pigeon")
    warned("validate", expect=3)
    assert "is not one of: streamable-http, sse" in warned("validate", "--fail-on", "never").out


def test_environment_twins_say_the_same(warned: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_FAIL_ON", "warning")
    warned("validate", expect=3)
    monkeypatch.setenv("RECONCILER_OUTPUT", "json")
    assert codes(warned("validate", expect=3).document) == ["plain-http"]


def test_the_repository_sets_the_level_of_a_rule_for_every_command(warned: Terminal) -> None:
    warned.write("reconciler.yaml", CONFIG + "  rules: {plain-http: error}\n")
    assert "error: `legacy` is reached without TLS" in warned("validate", expect=3).out
    assert "plain-http" in warned("plan", "--store", "sqlite:///x.db", expect=3).err
    warned.write("reconciler.yaml", CONFIG + '  rules: {plain-http: "off"}\n')
    assert warned("validate", "--fail-on", "info").out == "1 valid gateway, no problems.\n"


def test_a_level_is_minded_though_the_tree_is_remembered(warned: Terminal) -> None:
    store = ("--store", "sqlite:///x.db")
    warned("apply", *store, "--no-verify")
    assert "No changes" in warned("plan", *store).out
    warned.write("reconciler.yaml", CONFIG + "  rules: {plain-http: error}\n")
    assert "[plain-http]" in warned("plan", *store, expect=3).err


def test_one_gateway_is_excused_with_a_reason_until_a_day(warned: Terminal) -> None:
    warned.write("reconciler.yaml", CONFIG + EXCUSE % "9999-12-31")
    warned.gateway("other", url="http://other.example/mcp")
    document = warned("validate", "-o", "json").document
    assert [(each["code"], each["file"]) for each in document["diagnostics"]] == [("plain-http", "gateways/other.yaml")]
    (excused,) = document["suppressed"]
    assert (excused["file"], excused["until"]) == ("gateways/legacy.yaml", "9999-12-31")
    assert excused["reason"] == "replaced in spring, ticket 4711"
    assert "1 suppressed" in warned("validate").out


def test_an_excuse_that_has_ended_says_so(warned: Terminal) -> None:
    warned.write("reconciler.yaml", CONFIG + EXCUSE % "2020-01-01")
    assert codes(warned("validate", "-o", "json").document) == ["plain-http", "suppression-ended"]


def test_an_excuse_that_nothing_needs_is_named_only_when_everything_was_looked_at(warned: Terminal) -> None:
    warned.write("reconciler.yaml", CONFIG + EXCUSE % "9999-12-31")
    warned.gateway("legacy")
    warned.gateway("other")
    assert codes(warned("validate", "-o", "json").document) == ["suppression-unused"]
    assert codes(warned("validate", "gateways/other.yaml", "-o", "json").document) == []


@pytest.mark.parametrize("name", ["json", "sarif", "github", "junit", "codequality"])
def test_a_config_file_with_problems_is_reported_in_every_format(warned: Terminal, name: str) -> None:
    warned.write("reconciler.yaml", CONFIG + "  rules: {plane-http: error}\n")
    out = warned("validate", "-o", name, expect=3).out
    assert "unknown-rule" in out
    assert "reconciler.yaml" in out


def test_several_formats_come_from_one_run(warned: Terminal) -> None:
    files = [
        ("sarif", "r.sarif"),
        ("junit", "r.xml"),
        ("codequality", "gl.json"),
        ("text", "r.txt"),
        ("json", "r.json"),
    ]
    words = [word for name, path in files for word in ("--output-file", f"{name}={path}")]
    shown = warned("validate", *words).out
    assert (warned.directory / "r.txt").read_text() == shown
    for _, path in files:
        assert "plain-http" in (warned.directory / path).read_text()
    assert json.loads((warned.directory / "r.sarif").read_text())["version"] == "2.1.0"
    assert not list(warned.directory.glob("*.db"))


@pytest.mark.parametrize("pair", ["sarif", "sarif=", "pdf=x.pdf", "=x"])
def test_an_output_file_needs_a_format_and_a_path(warned: Terminal, pair: str) -> None:
    assert "is not FORMAT=PATH" in warned("validate", "--output-file", pair, expect=64).err


def test_a_file_that_cannot_be_written_is_said(warned: Terminal) -> None:
    refused = warned("validate", "--output-file", "json=nowhere/r.json", expect=3)
    assert "nowhere/r.json cannot be written: no such file or directory" in refused.err


def test_platforms_get_paths_from_the_top_of_the_repository(warned: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = warned.directory / "platform/mcp"
    inner.mkdir(parents=True)
    for name in ("reconciler.yaml", "gateways"):
        (warned.directory / name).rename(inner / name)
    commit(warned.directory)
    top, local = "platform/mcp/gateways/legacy.yaml", "gateways/legacy.yaml"
    for name in ("sarif", "github", "junit", "codequality"):
        assert top in warned("validate", "platform/mcp", "-o", name).out
    assert local == warned("validate", "platform/mcp", "-o", "json").document["diagnostics"][0]["file"]
    assert warned("validate", "platform/mcp").out.startswith(f"{top}:")
    monkeypatch.chdir(inner / "gateways")
    assert warned("validate").out.startswith("legacy.yaml:")


def test_changed_lines_come_first_where_there_is_no_room_for_all(
    warned: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        warned.gateway(f"a{number:02}", url=f"http://a{number}.example/mcp")
    commit(warned.directory)
    warned.gateway("zebra", url="http://zebra.example/mcp")
    summary = warned.directory / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    lines = warned("validate", "-o", "github", "--changed-since", "HEAD").out.splitlines()
    annotations = [line for line in lines if line.startswith("::warning ")]
    assert len(annotations) == 10
    assert "file=gateways/zebra.yaml" in annotations[0]
    assert all(f"a{number:02}.yaml" in summary.read_text() for number in range(12))
    document = warned("validate", "-o", "json", "--changed-since", "HEAD").document
    assert [each["file"] for each in document["diagnostics"] if each["changed"]] == ["gateways/zebra.yaml"]


def test_a_revision_to_compare_with_has_to_exist(warned: Terminal) -> None:
    commit(warned.directory)
    assert "git knows no revision `nowhere`" in warned("validate", "--changed-since", "nowhere", expect=3).err


def test_every_target_is_looked_at(terminal: Terminal) -> None:
    terminal.write(
        "reconciler.yaml",
        CONFIG
        + """\
  targets:
    - {name: test, store: "sqlite:///t.db", selector: {environment: test}}
    - {name: production, store: "sqlite:///p.db", selector: {environment: prodution}}
""",
    )
    labels = {"environment": "test"}, {"environment": "production"}
    for name, given in zip(("a", "b"), labels, strict=True):
        terminal.write(
            f"gateways/{name}.yaml",
            json.dumps(
                {
                    "apiVersion": "reconciler/v1",
                    "kind": "Gateway",
                    "metadata": {"name": name, "labels": given},
                    "spec": {"url": f"https://{name}.example/mcp", "transport": "sse"},
                }
            ),
        )
    found = terminal("validate", "-o", "json").document["diagnostics"]
    assert [(each["code"], each["file"]) for each in found] == [
        ("gateway-in-no-target", "gateways/b.yaml"),
        ("target-matches-nothing", "reconciler.yaml"),
    ]
    assert "production" in found[1]["fix"]


def test_nothing_is_written_and_nothing_is_remembered(warned: Terminal, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    warned("validate")
    assert sorted(tmp_path.rglob("*")) == before
