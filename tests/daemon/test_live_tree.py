"""The tree in memory wants exactly what the same files want when they are read for the first time."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from watching import manifest, settings_for

from reconciler.daemon.tree import LiveTree, Look
from reconciler.errors import InputError
from reconciler.sources.directory import Directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from reconciler.demo.pki import Authority

BUNDLE = "  tls: {caCertificates: [root.pem]}\n"


@pytest.fixture
def repository(tmp_path: Path, root: Authority) -> Path:
    directory = tmp_path / "tree"
    (directory / "team").mkdir(parents=True)
    for name in ("a", "b", "c"):
        (directory / f"{name}.yaml").write_text(manifest(name, "first", more=BUNDLE if name != "c" else ""))
    (directory / "root.pem").write_text(root.pem)
    (directory / "team" / "d.yaml").write_text(manifest("d", "first"))
    return directory


@pytest.fixture
def tree(repository: Path) -> LiveTree:
    return LiveTree(settings_for(repository, repository.parent / "x.db"), Directory(repository))


def fresh(tree: LiveTree, now: datetime) -> Look:
    return LiveTree(tree.settings, Directory(tree.settings.root)).look(None, now)


def same(look: Look, tree: LiveTree, now: datetime) -> None:
    """Hold what was found against a first look at the same files."""
    look = tree.settle() or look
    again = fresh(tree, now).desired
    assert dict(look.desired.gateways) == dict(again.gateways)
    assert dict(look.desired.bundles) == dict(again.bundles)
    assert look.desired.problems == again.problems
    assert look.desired.complete == again.complete


def test_the_first_look_touches_everything_and_a_second_one_nothing(tree: LiveTree, now: datetime) -> None:
    assert tree.look(None, now).touched is None
    assert tree.look(None, now).touched == frozenset()
    assert tree.look(frozenset({"a.yaml"}), now).touched == frozenset()


def test_a_change_of_one_file_touches_its_gateways(tree: LiveTree, repository: Path, now: datetime) -> None:
    tree.look(None, now)
    (repository / "a.yaml").write_text(manifest("a", "second", more=BUNDLE))
    look = tree.look(frozenset({"a.yaml"}), now)
    assert look.touched == frozenset({"a"})
    assert look.desired.gateways["a"].gateway.description == "second"
    same(look, tree, now)


def test_a_change_that_no_event_named_is_found_by_reading_everything(
    tree: LiveTree, repository: Path, now: datetime
) -> None:
    tree.look(None, now)
    (repository / "a.yaml").write_text(manifest("a", "second", more=BUNDLE))
    (repository / "b.yaml").write_text(manifest("b", "second", more=BUNDLE))
    assert tree.look(frozenset({"b.yaml"}), now).touched == frozenset({"b"})
    look = tree.look(None, now)
    assert look.touched == frozenset({"a"})
    same(look, tree, now)


def test_a_new_ca_touches_whoever_uses_it(
    tree: LiveTree, repository: Path, now: datetime, issuing: Authority, root: Authority
) -> None:
    before = tree.look(None, now)
    (repository / "root.pem").write_text(f"{root.pem}\n{issuing.pem}")
    look = tree.look(frozenset({"root.pem"}), now)
    assert look.touched == frozenset({"a", "b"})
    assert look.desired.gateways["a"].gateway.ca_certificate != before.desired.gateways["a"].gateway.ca_certificate
    same(look, tree, now)


def test_a_ca_that_is_inherited_touches_whoever_inherits_it(
    tree: LiveTree, repository: Path, now: datetime, issuing: Authority, root: Authority
) -> None:
    (repository / "team" / "defaults.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Defaults\nmetadata: {name: team}\n"
        "spec: {tls: {caCertificates: [../root.pem]}}\n"
    )
    tree.look(None, now)
    (repository / "root.pem").write_text(f"{root.pem}\n{issuing.pem}")
    look = tree.look(frozenset({"root.pem"}), now)
    assert look.touched == frozenset({"a", "b", "d"})
    same(look, tree, now)


def test_a_gateway_that_comes_touches_itself_and_one_that_goes_everything(
    tree: LiveTree, repository: Path, now: datetime
) -> None:
    tree.look(None, now)
    (repository / "e.yaml").write_text(manifest("e"))
    assert tree.look(frozenset({"e.yaml"}), now).touched == frozenset({"e"})
    (repository / "e.yaml").unlink()
    look = tree.look(frozenset({"e.yaml"}), now)
    assert look.touched is None
    same(look, tree, now)


def test_a_file_that_is_broken_is_told_and_mended_again(tree: LiveTree, repository: Path, now: datetime) -> None:
    tree.look(None, now)
    (repository / "a.yaml").write_text("apiVersion: [")
    broken = tree.look(frozenset({"a.yaml"}), now)
    assert not broken.desired.complete
    same(broken, tree, now)
    (repository / "a.yaml").write_text(manifest("a", "third", more=BUNDLE))
    mended = tree.look(frozenset({"a.yaml"}), now)
    assert mended.desired.complete
    same(mended, tree, now)


def test_what_was_read_ahead_counts_only_if_it_is_still_so(tree: LiveTree, repository: Path, now: datetime) -> None:
    tree.look(None, now)
    for text in ("ahead", "later"):
        (repository / "a.yaml").write_text(manifest("a", text, more=BUNDLE))
        if text == "ahead":
            tree.read_ahead(["a.yaml", "none.yaml"])
    look = tree.look(frozenset({"a.yaml"}), now)
    assert look.touched == frozenset({"a"})
    assert look.desired.gateways["a"].gateway.description == "later"


def test_a_manifest_may_name_a_file_that_none_named_before(
    tree: LiveTree, repository: Path, now: datetime, issuing: Authority, root: Authority
) -> None:
    (repository / "other.pem").write_text(f"{root.pem}\n{issuing.pem}")
    tree.look(None, now)
    (repository / "a.yaml").write_text(manifest("a", more=BUNDLE.replace("root.pem", "other.pem")))
    look = tree.look(frozenset({"a.yaml"}), now)
    assert look.touched == frozenset({"a"})
    same(look, tree, now)
    (repository / "a.yaml").write_text(manifest("a", more=BUNDLE.replace("root.pem", "gone.pem")))
    broken = tree.look(frozenset({"a.yaml"}), now)
    assert not broken.desired.complete
    same(broken, tree, now)


def test_a_certificate_that_expires_is_noticed_without_any_event(
    tree: LiveTree, now: datetime, root: Authority
) -> None:
    assert tree.look(None, now).desired.complete
    later = root.certificate.not_valid_after_utc + timedelta(seconds=1)
    look = tree.look(frozenset(), later)
    assert not look.desired.complete
    same(look, tree, later)


@pytest.fixture
def forge(repository: Path) -> LiveTree:
    """A tree for ContextForge, for which the names of two of its gateways are one."""
    (repository / "reconciler.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: t}\n"
        "spec: {targets: [{name: default, store: 'contextforge+https://forge.example'}]}\n"
    )
    (repository / "a.yaml").write_text(in_team("up-1", "shop"))
    (repository / "b.yaml").write_text(in_team("up--1", "search"))
    return LiveTree(settings_for(repository, repository.parent / "x.db"), Directory(repository))


def in_team(name: str, team: str) -> str:
    return manifest(name, more=f"  contextforge: {{team: {team}}}\n  visibility: team\n")


def codes(look: Look | None) -> set[str]:
    assert look is not None
    return {problem.code for problem in look.desired.problems}


def test_a_warning_across_manifests_is_told_after_the_change(forge: LiveTree, repository: Path, now: datetime) -> None:
    assert "same-url" not in codes(forge.look(None, now))
    (repository / "a.yaml").write_text(in_team("up-1", "shop").replace("up-1.example", "up--1.example"))
    look = forge.look(frozenset({"a.yaml"}), now)
    assert (look.touched, forge.provisional, "same-url" in codes(look)) == (frozenset({"up-1"}), True, False)
    settled = forge.settle()
    assert "same-url" in codes(settled)
    assert forge.settle() is None


def test_an_error_across_manifests_is_told_with_the_change(forge: LiveTree, repository: Path, now: datetime) -> None:
    assert "duplicate-slug" not in codes(forge.look(None, now))
    (repository / "b.yaml").write_text(in_team("up--1", "shop"))
    look = forge.look(frozenset({"b.yaml"}), now)
    assert "duplicate-slug" in codes(look)
    assert not forge.provisional


@pytest.mark.usefixtures("forge")
def test_where_the_level_of_any_rule_was_changed_everything_is_told_with_the_change(
    repository: Path, now: datetime
) -> None:
    config = (repository / "reconciler.yaml").read_text()
    (repository / "reconciler.yaml").write_text(config.replace("spec: {", "spec: {rules: {same-url: error}, "))
    tree = LiveTree(settings_for(repository, repository.parent / "x.db"), Directory(repository))
    tree.look(None, now)
    (repository / "a.yaml").write_text(in_team("up-1", "shop").replace("up-1.example", "up--1.example"))
    assert "same-url" in codes(tree.look(frozenset({"a.yaml"}), now))


def test_a_tree_that_is_gone_is_an_error_and_can_come_back(tree: LiveTree, repository: Path, now: datetime) -> None:
    tree.look(None, now)
    aside = repository.rename(repository.parent / "aside")
    with pytest.raises(InputError):
        tree.look(None, now)
    aside.rename(repository)
    same(tree.look(None, now), tree, now)


EDITS: list[Callable[[Path, random.Random], str]] = []


def edit(function: Callable[[Path, random.Random], str]) -> Callable[[Path, random.Random], str]:
    EDITS.append(function)
    return function


@edit
def describe(directory: Path, chance: random.Random) -> str:
    name = chance.choice("abc")
    (directory / f"{name}.yaml").write_text(manifest(name, str(chance.random()), more=BUNDLE))
    return f"{name}.yaml"


@edit
def share_a_url(directory: Path, chance: random.Random) -> str:
    name = chance.choice("abc")
    (directory / f"{name}.yaml").write_text(manifest(name).replace(f"{name}.example", "shared.example"))
    return f"{name}.yaml"


@edit
def break_one(directory: Path, chance: random.Random) -> str:
    name = chance.choice("abc")
    (directory / f"{name}.yaml").write_text(chance.choice(["", "kind: x", manifest(name) + manifest(name)]))
    return f"{name}.yaml"


@edit
def come_and_go(directory: Path, chance: random.Random) -> str:
    file = directory / "team" / f"{chance.choice('ef')}.yaml"
    if file.exists():
        file.unlink()
    else:
        file.write_text(manifest(file.stem) + "---\n" + manifest(f"{file.stem}-2"))
    return f"team/{file.name}"


@edit
def set_defaults(directory: Path, chance: random.Random) -> str:
    (directory / "team" / "defaults.yaml").write_text(
        "apiVersion: reconciler/v1\nkind: Defaults\nmetadata: {name: team}\n"
        f"spec: {{visibility: {chance.choice(['team', 'public'])}}}\n"
    )
    return "team/defaults.yaml"


@edit
def empty_the_ca(directory: Path, chance: random.Random) -> str:
    file = directory / "root.pem"
    kept = directory / ".kept"
    if not kept.exists():
        kept.write_text(file.read_text())
    file.write_text(chance.choice([kept.read_text(), kept.read_text() + "\n", "nothing"]))
    return "root.pem"


@edit
def use_another_ca(directory: Path, chance: random.Random) -> str:
    name = chance.choice("abc")
    (directory / f"{name}.yaml").write_text(manifest(name, more=BUNDLE.replace("root.pem", "other.pem")))
    return f"{name}.yaml"


@edit
def lock_tools(directory: Path, chance: random.Random) -> str:
    file = directory / f"{chance.choice('ab')}.tools.json"
    file.write_text(chance.choice(["{", '{"format_version": "1.0", "tools": []}', "[]"]))
    if chance.random() < 0.3:
        file.unlink()
    return file.name


@pytest.mark.parametrize("seed", range(8))
def test_however_it_changes_it_is_as_if_read_for_the_first_time(
    tree: LiveTree, repository: Path, now: datetime, issuing: Authority, root: Authority, seed: int
) -> None:
    (repository / "other.pem").write_text(f"{root.pem}\n{issuing.pem}")
    chance = random.Random(seed)
    tree.look(None, now)
    before = fresh(tree, now).desired
    for _ in range(30):
        names = frozenset(chance.choice(EDITS)(repository, chance) for _ in range(chance.randint(1, 3)))
        look = tree.look(names if chance.random() < 0.8 else None, now)
        same(look, tree, now)
        after = look.desired
        differing = {
            name
            for name in before.gateways.keys() | after.gateways.keys()
            if before.gateways.get(name) != after.gateways.get(name)
        }
        assert look.touched is None or differing <= look.touched
        before = after
