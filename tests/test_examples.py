"""Every rule, shown with files, and what the guides of the gateway platforms warn of.

The examples are in `tests/examples`; `example_trees` says how they are laid out, and how one is added.
"""

from __future__ import annotations

import runpy
import shutil
from typing import TYPE_CHECKING, Final

import pytest
from example_trees import (
    HERE,
    NOT_SHOWN,
    NOW,
    Example,
    Tree,
    examples,
    guides,
    in_short,
    report,
    trees,
    validated,
)

from reconciler.composition import read_tree
from reconciler.core.problems import has_errors
from reconciler.core.rules import rules
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.reports.validation import Validation

EXAMPLES: Final = tuple(examples())
SIDES: Final = tuple(tree for each in EXAMPLES for tree in (each.bad, each.good))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty directory with room for files outside of it."""
    directory = tmp_path / "outside" / "tree"
    directory.mkdir(parents=True)
    return directory


def found(kept: Tree, directory: Path) -> Validation:
    kept.write(directory)
    return validated(directory)


@pytest.mark.parametrize("kept", [*SIDES, *trees()], ids=lambda kept: kept.name)
def test_an_example_is_judged_as_it_says(kept: Tree, tree: Path) -> None:
    validation = found(kept, tree)
    assert in_short(validation.problems) == kept.expected, report(validation)
    assert "PRIVATE KEY" not in report(validation).replace("a private key (PRIVATE KEY)", "")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.code)
def test_a_rule_is_broken_in_the_bad_tree_and_kept_in_the_mended_one(example: Example, tree: Path) -> None:
    assert example.code in example.bad.codes
    assert example.code not in example.good.codes
    assert not has_errors(found(example.good, tree).problems)


@pytest.mark.parametrize("kept", [*guides()], ids=lambda kept: kept.name)
def test_what_the_platform_guides_warn_of(kept: Tree, tree: Path) -> None:
    assert report(found(kept, tree)).splitlines() == list(kept.expected)


def test_certificates_in_the_wrong_order_are_put_in_order() -> None:
    wrong, right = (HERE / "guides" / order for order in ("wrong-order", "right-order"))
    assert (wrong / "ca.pem").read_text() != (right / "ca.pem").read_text()
    assert _bundle(wrong) == _bundle(right)
    kept = (right / "ca.pem").read_text().splitlines()
    assert _bundle(right).splitlines() == [line for line in kept if not line.startswith("#")]


def _bundle(directory: Path) -> str:
    desired = read_tree(load_settings((directory,)), NOW, with_revision=False)
    return desired.gateways["payments"].gateway.ca_certificate


def test_the_examples_for_users_have_no_errors(tmp_path: Path) -> None:
    validation = validated(shutil.copytree(HERE.parents[1] / "examples/gateways", tmp_path / "gateways"))
    assert not has_errors(validation.problems), report(validation)
    assert validation.gateways == 9
    assert in_short(validation.problems) == ("search.pem:1:1 server-certificate-pinned",)


def test_every_rule_has_an_example_or_a_reason_why_it_has_none() -> None:
    every = {rule.code for chapter in rules().values() for rule in chapter}
    shown = {example.code for example in EXAMPLES}
    assert shown <= every
    assert every - shown == NOT_SHOWN.keys()


def test_no_private_key_is_kept() -> None:
    kept = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert [path.name for path in kept if b"PRIVATE KEY-" in path.read_bytes()] == []
    assert max(path.stat().st_size for path in kept) < 16 * 1024


def test_every_certificate_file_is_one_that_can_be_made_anew() -> None:
    maker = runpy.run_path(str(HERE / "make.py"))
    kept = {path.relative_to(HERE).as_posix() for path in HERE.rglob("*") if path.is_file()}
    assert {name for name in kept if name.endswith((".pem", ".crt", ".cer"))} == maker["every_file"]().keys() | maker[
        "BY_HAND"
    ]
