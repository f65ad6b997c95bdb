"""`reconciler fmt` as people, hooks and editors use it."""

from __future__ import annotations

import io
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from terminal import Terminal

UNTIDY: Final = "kind: Gateway # what\napiVersion:   reconciler/v1\n"
TIDY: Final = "apiVersion: reconciler/v1\nkind: Gateway  # what\n"
BROKEN: Final = "kind: Gateway\nkind: Gateway\n"
CONFIG: Final = "apiVersion:  reconciler/v1\nkind: Config\nmetadata: {name: a}\nspec: {path: gateways}\n"
DIFF: Final = f"""\
--- a/a.yaml
+++ b/a.yaml
@@ -1,2 +1,2 @@
-kind: Gateway # what
-apiVersion:   reconciler/v1
+{TIDY.splitlines()[0]}
+{TIDY.splitlines()[1]}
"""


def test_files_are_formatted_in_place_and_named(terminal: Terminal) -> None:
    terminal.write("a.yaml", UNTIDY)
    terminal.write("below/b.yaml", TIDY)
    (terminal.directory / "a.yaml").chmod(0o600)
    ended = terminal("fmt")
    assert ended.out == "formatted a.yaml\n"
    assert ended.err == "2 files, 1 formatted.\n"
    assert (terminal.directory / "a.yaml").read_text() == TIDY
    assert stat.S_IMODE((terminal.directory / "a.yaml").stat().st_mode) == 0o600
    assert terminal("fmt").err == "2 files, nothing to format.\n"


def test_check_names_what_would_change_and_writes_nothing(terminal: Terminal) -> None:
    terminal.write("a.yaml", UNTIDY)
    terminal.write("b.yaml", TIDY)
    ended = terminal("fmt", "--check", expect=3)
    assert ended.out == "would format a.yaml\n"
    assert ended.err == "2 files, 1 to format.\n"
    assert (terminal.directory / "a.yaml").read_text() == UNTIDY
    terminal("fmt", "--check", "b.yaml")


def test_diff_shows_what_would_change_and_writes_nothing(terminal: Terminal) -> None:
    terminal.write("a.yaml", UNTIDY)
    assert terminal("fmt", "--diff", expect=3).out == DIFF
    assert terminal("fmt", "--diff", "--check", expect=3).out == DIFF
    assert (terminal.directory / "a.yaml").read_text() == UNTIDY


def test_git_applies_the_difference(terminal: Terminal) -> None:
    terminal.write("a.yaml", UNTIDY.replace("\n", "\r\n").rstrip())
    difference = terminal("fmt", "--diff", "-q", expect=3).out
    assert "\\ No newline at end of file\n" in difference
    subprocess.run(["git", "apply"], cwd=terminal.directory, input=difference.encode(), check=True)
    assert (terminal.directory / "a.yaml").read_text() == TIDY


def test_a_difference_is_coloured_for_people_alone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.write("a.yaml", UNTIDY)
    assert "\x1b[" not in terminal("fmt", "--diff", expect=3).out
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    assert "\x1b[31m-kind: Gateway # what\x1b[0m\n" in terminal("fmt", "--diff", expect=3).out


def test_the_config_file_is_formatted_with_the_tree_that_it_names(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write("gateways/a.yaml", UNTIDY)
    terminal.write("elsewhere/b.yaml", UNTIDY)
    assert terminal("fmt").out == "formatted gateways/a.yaml\nformatted reconciler.yaml\n"


def test_paths_are_formatted_alone_whatever_the_config_file_looks_like(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", BROKEN)
    terminal.write("defaults.yaml", UNTIDY)
    terminal.write("gateways/a.yaml", UNTIDY)
    assert terminal("fmt", "gateways").out == "formatted gateways/a.yaml\n"
    assert "reconciler.yaml:2:1: error:" in terminal("fmt", expect=3).err


def test_names_are_those_of_the_current_directory(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.write("reconciler.yaml", CONFIG)
    terminal.write("gateways/a.yaml", UNTIDY)
    terminal.write("gateways/b.yaml", BROKEN)
    monkeypatch.chdir(terminal.directory / "gateways")
    ended = terminal("fmt", ".", expect=3)
    assert ended.out == "formatted a.yaml\n"
    assert ended.err.startswith("b.yaml:2:1: error: ")


def test_a_broken_file_is_reported_and_the_others_are_formatted(terminal: Terminal) -> None:
    terminal.write("a.yaml", BROKEN)
    terminal.write("b.yaml", UNTIDY)
    ended = terminal("fmt", expect=3)
    assert "a.yaml:2:1: error: `kind` stands here a second time [duplicate-key]" in ended.err
    assert ended.out == "formatted b.yaml\n"
    assert (terminal.directory / "a.yaml").read_text() == BROKEN


def test_what_cannot_be_formatted_is_a_warning(terminal: Terminal) -> None:
    terminal.write("a.yaml", f"%YAML 1.2\n---\n{UNTIDY}")
    assert "a.yaml:1:1: warning: " in terminal("fmt", "--check").err


def test_nothing_is_written_through_a_link_out_of_the_tree(terminal: Terminal) -> None:
    outside = terminal.directory.parent / "outside.yaml"
    outside.write_text(UNTIDY)
    (terminal.directory / "a.yaml").symlink_to(outside)
    assert "[path-leaves-root]" in terminal("fmt", expect=3).err
    assert outside.read_text() == UNTIDY


def test_a_path_outside_of_the_repository_is_refused(terminal: Terminal) -> None:
    terminal.write("reconciler.yaml", CONFIG)
    outside = terminal.directory.parent / "outside.yaml"
    outside.write_text(UNTIDY)
    assert "is outside of the repository" in terminal("fmt", "reconciler.yaml", str(outside), expect=3).err


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


@pytest.mark.parametrize(
    ("options", "given", "code", "out"),
    [
        ((), UNTIDY, 0, TIDY),
        ((), TIDY, 0, TIDY),
        ((), "a:   1", 0, "a:   1"),
        (("--check",), UNTIDY, 3, ""),
        (("--check",), TIDY, 0, ""),
        (("--diff",), UNTIDY, 3, DIFF.replace("a.yaml", "stdin")),
        (("--diff",), TIDY, 0, ""),
        ((), BROKEN, 3, ""),
        ((), "#" * (1024 * 1024 + 1), 3, ""),
    ],
)
def test_standard_input_is_formatted_to_standard_output(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], given: str, code: int, out: str
) -> None:
    typed(monkeypatch, given)
    ended = terminal("fmt", *options, "-", expect=code)
    assert ended.out == out
    assert (ended.err == "") == (given in (TIDY, UNTIDY, "a:   1"))


def test_standard_input_stands_alone(terminal: Terminal) -> None:
    assert "stands alone" in terminal("fmt", "-", "a.yaml", expect=64).err


def test_what_was_written_validates_as_it_did(terminal: Terminal) -> None:
    terminal.gateway("a", tags=["aa", "bb"], tls={"systemTrust": True})
    before = terminal("validate", "-o", "json").document
    assert terminal("fmt").out == "formatted gateways/a.yaml\n"
    assert terminal("validate", "-o", "json").document == before
