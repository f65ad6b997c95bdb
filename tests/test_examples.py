"""Every kind of problem, shown with files: to add a case, add a directory with an `expected.txt`.

`examples/good` holds trees that may be applied, `examples/bad` trees with an error. What `reconciler validate` says
about each stands beside it: `file:line:column code`, in the order of the report. What no repository should hold is made
here: private keys, links out of it, giants.
"""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from reconciler.composition import read_tree
from reconciler.core.problems import has_errors
from reconciler.core.rules import rules
from reconciler.demo.pki import Authority, Lifetime
from reconciler.reports.problems import as_text
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.core.model import DesiredState
    from reconciler.core.problems import Problem

NOW: Final = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
"""The moment at which the committed certificates are valid, or are not on purpose."""

HERE: Final = Path(__file__).parent
CASES: Final = sorted(each for each in HERE.glob("examples/*/*") if each.is_dir())

NOT_SHOWN: Final = {
    "bundle-empty": "a file without a certificate is an error of its own, and a list without a file one of the schema",
    "pem-file-suffix": "the schema of the manifest is asked first; `ca inspect` shows it",
    "too-many-files": "a quarter of a million manifests",
    "unsupported-by-store": "it takes a store that lacks something",
}
"""Rules that no tree of files can break, and why not."""


def read(tree: Path) -> DesiredState:
    """Return what `reconciler validate` finds in a tree."""
    return read_tree(load_settings((tree,)), NOW, with_revision=False)


def lines(problems: Sequence[Problem]) -> list[str]:
    return [f"{each.location.file}:{each.location.line}:{each.location.column} {each.code}" for each in problems]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_an_example_is_judged_as_it_says(case: Path, tmp_path: Path) -> None:
    tree = shutil.copytree(case, tmp_path / "tree")
    desired = read(tree)
    assert lines(desired.problems) == (case / "expected.txt").read_text().splitlines(), as_text(desired.problems)
    assert has_errors(desired.problems) == (case.parent.name == "bad")
    assert desired.complete == (case.parent.name == "good")


def test_the_examples_for_users_have_no_errors(tmp_path: Path) -> None:
    tree = shutil.copytree(HERE.parent / "examples/gateways", tmp_path / "gateways")
    desired = read(tree)
    assert not has_errors(desired.problems), as_text(desired.problems)
    assert desired.complete
    assert len(desired.gateways) == 9
    assert lines(desired.problems) == ["search.pem:1:1 server-certificate-pinned"]


ROOT: Final = Authority.root("Root", Lifetime.around(NOW))


def manifest(directory: Path, name: str = "a", **spec: Any) -> Path:
    """Write a manifest, good but for what is given."""
    given = {"url": f"https://{name}.example/mcp", "transport": "sse", **spec}
    document = {"apiVersion": "reconciler/v1", "kind": "Gateway", "metadata": {"name": name}, "spec": given}
    path = directory / f"{name}.yaml"
    path.write_text(json.dumps(document, indent=2))
    return path


def bundle(directory: Path, text: str) -> None:
    """Write a manifest and the one PEM file that it names."""
    manifest(directory, tls={"caCertificates": ["ca.pem"]})
    (directory / "ca.pem").write_text(text)


def a_private_key_in_a_bundle(directory: Path) -> None:
    bundle(directory, f"{ROOT.pem}\n{ROOT.issue_server(['a.example']).key_pem}")


def a_private_key_in_a_manifest(directory: Path) -> None:
    with manifest(directory).open("a") as file:
        file.writelines(f"\n# {line}" for line in ROOT.issue_server(["a.example"]).key_pem.splitlines())


def a_file_larger_than_any_bundle(directory: Path) -> None:
    bundle(directory, ROOT.pem + " " * 10_000_000)


def more_blocks_than_are_read(directory: Path) -> None:
    bundle(directory, "\n".join([ROOT.pem] * 501))


def more_namesakes_than_are_compared(directory: Path) -> None:
    bundle(directory, "\n".join(Authority.root("Crowd", Lifetime.around(NOW)).pem for _ in range(21)))


def a_giant_manifest(directory: Path) -> None:
    with manifest(directory).open("a") as file:
        file.write("\n" * 1024 * 1024)


def more_documents_than_can_be_reviewed(directory: Path) -> None:
    (directory / "many.yaml").write_text("--- {apiVersion: v1, kind: ConfigMap}\n" * 1001)


def more_problems_than_are_shown(directory: Path) -> None:
    path = manifest(directory, "a", **{f"unknown{number}": 1 for number in range(60)})
    path.write_text(f"{path.read_text()}\n---\n{path.read_text()}")


def a_link_to_nothing(directory: Path) -> None:
    (directory / "a.yaml").symlink_to("b.yaml")


def a_link_out_of_the_tree(directory: Path) -> None:
    (directory / "a.yaml").symlink_to(manifest(directory.parent, "outside"))


def a_bundle_behind_a_link_out_of_the_tree(directory: Path) -> None:
    (directory.parent / "outside.pem").write_text(ROOT.pem)
    manifest(directory, tls={"caCertificates": ["ca.pem"]})
    (directory / "ca.pem").symlink_to("../outside.pem")


def a_link_to_a_directory(directory: Path) -> None:
    (directory / "real").mkdir()
    (directory / "linked").symlink_to("real")


MADE: Final[Mapping[Callable[[Path], None], tuple[str, str]]] = {
    a_private_key_in_a_bundle: ("pem-private-key", "ca.pem"),
    a_private_key_in_a_manifest: ("private-key", "a.yaml"),
    a_file_larger_than_any_bundle: ("pem-file-too-large", "ca.pem"),
    more_blocks_than_are_read: ("pem-too-many-blocks", "ca.pem"),
    more_namesakes_than_are_compared: ("bundle-too-large", "ca.pem"),
    a_giant_manifest: ("file-too-large", "a.yaml"),
    more_documents_than_can_be_reviewed: ("yaml-too-many-documents", "many.yaml"),
    more_problems_than_are_shown: ("too-many-problems", "a.yaml"),
    a_link_to_nothing: ("unreadable-file", "a.yaml"),
    a_link_out_of_the_tree: ("path-leaves-root", "a.yaml"),
    a_bundle_behind_a_link_out_of_the_tree: ("path-leaves-root", "a.yaml"),
    a_link_to_a_directory: ("linked-directory", "linked"),
}
"""What is made here, the rule that it breaks, and the file that is named."""


@pytest.mark.parametrize("make", MADE, ids=lambda make: make.__name__)
def test_what_no_repository_should_hold_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    make(tree)
    desired = read(tree)
    assert MADE[make] in [(problem.code, problem.location.file) for problem in desired.problems]
    assert "PRIVATE KEY" not in as_text(desired.problems).replace("a private key (PRIVATE KEY)", "")


def test_every_rule_has_an_example_or_a_reason_why_it_has_none() -> None:
    shown = {line.split()[-1] for case in CASES for line in (case / "expected.txt").read_text().splitlines()}
    shown |= {code for code, _ in MADE.values()}
    every = {rule.code for chapter in rules().values() for rule in chapter}
    assert shown <= every
    assert every - shown == NOT_SHOWN.keys()
