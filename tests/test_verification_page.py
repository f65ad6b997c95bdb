"""docs/verification.md is true: every failure that the code can tell of is there, in its words, with its fix.

The words are read out of the code: the rules (reason, message, fix) and whatever else makes a `Diagnosis`. What is
filled in at run time may be anything on the page.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/verification.md").read_text()
PAGE = " ".join(re.sub(r"^> ", "", TEXT, flags=re.MULTILINE).split())
MODULES = ("core/diagnosis", "core/verdicts", "core/refusals", "core/handshake", "core/oauth", "probes/upstream")
GOOD_NEWS = {"Trusted", "Answered"}
ELSEWHERE = {"CredentialsMissing", "ProxyUnusable", "MethodNotFound", "MethodRefused", "VerificationFailed"}
"""Reasons whose words are passed on, or chosen where they are used."""

REASON = re.compile(r"[A-Z][A-Za-z0-9]+")
VARIABLE = re.compile(r"\{[^{}]*\}")


class Told(NamedTuple):
    """A reason, and the words around what is filled in: of the message and of the fix."""

    reason: str
    message: list[str]
    fix: list[str]


def told() -> Iterator[Told]:
    for module in MODULES:
        for node in ast.walk(ast.parse((ROOT / f"reconciler/{module}.py").read_text())):
            parts = _parts(node)
            if parts and isinstance(parts[0], ast.Constant) and REASON.fullmatch(str(parts[0].value)):
                yield Told(str(parts[0].value), _words(parts[1]), _words(parts[2]) if len(parts) > 2 else [])


def _parts(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Tuple) and len(node.elts) == 3 and _words(node.elts[1]):
        return node.elts
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Diagnosis":
        return node.args
    return []


def _words(text: ast.expr) -> list[str]:
    """Return the fixed parts of a text; a name stands for something that is said elsewhere."""
    if isinstance(text, ast.Constant):
        return [part for part in VARIABLE.split(str(text.value)) if part.strip()]
    if isinstance(text, ast.IfExp):
        return [*_words(text.body), *_words(text.orelse)]
    if isinstance(text, ast.JoinedStr):
        return [str(part.value) for part in text.values if isinstance(part, ast.Constant) and str(part.value).strip()]
    return []


EVERY = [each for each in told() if each.reason not in GOOD_NEWS]


def test_the_page_has_a_heading_for_every_reason_and_no_other() -> None:
    assert len(EVERY) > 60, "the words are found in the code"
    headings = re.findall(r"^### `(\w+)`", TEXT, re.MULTILINE)
    assert sorted(headings) == sorted({each.reason for each in EVERY} | ELSEWHERE)


def test_every_message_of_the_page_has_a_fix() -> None:
    assert TEXT.count("\n\n> ") == len(re.findall(r"^Fix: \S", TEXT, re.MULTILINE))


@pytest.mark.parametrize("each", EVERY, ids=lambda each: f"{each.reason}: {' '.join(each.message)[:40]}")
def test_the_page_has_the_words_of_the_message_and_of_the_fix(each: Told) -> None:
    section = PAGE.partition(f"### `{each.reason}`")[2].partition("### `")[0]
    for part in (*each.message, *each.fix):
        assert " ".join(part.split()) in section, part
