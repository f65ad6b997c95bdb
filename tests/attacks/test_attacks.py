"""Twenty attacks and more on a store, and what one pass makes of each. The security page says the same of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from arena import ATTACKS, GIT, Arena, Attack, named, quiet

from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.core.ports import Store

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
FOR_A_PERSON = (
    "Take the stamp away",
    "Take every signature away, all over the store",
    "Take the protection of a gateway away that git lost, so that it is pruned",
)
"""Nothing is overwritten or deleted here that nobody can vouch for: it is named in each pass until it is dealt with."""

every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.title)


def _memory(_directory: Path) -> Store:
    return open_store("memory:", create=True)


def _sqlite(directory: Path) -> Store:
    return open_store(f"sqlite:///{directory}/gateways.db", create=True)


STORES: dict[str, Callable[[Path], Store]] = {"memory": _memory, "sqlite": _sqlite}
"""Another store is one more line: a function of a directory of its own."""


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def arena(store: Store, tmp_path: Path) -> Arena:
    return Arena(store, tmp_path)


def test_before_any_attack_nothing_is_found(arena: Arena) -> None:
    assert quiet(arena.look("key"))
    assert quiet(arena.look("public"))


@every_attack
def test_no_attack_survives_one_pass_unnoticed(arena: Arena, attack: Attack) -> None:
    arena.plant(attack.leaves(arena.rows))
    assert named(attack, arena.reconcile("key")) in ("tampering", "created again", "conflict")
    after = arena.look("key")
    assert quiet(after) is (attack.title not in FOR_A_PERSON)
    assert quiet(after) or after.drift or after.conflicts
    assert set(arena.store.read().gateways) == {*GIT.gateways, "archive"}


@every_attack
def test_the_security_page_says_what_each_would_achieve(arena: Arena, attack: Attack, tmp_path: Path) -> None:
    unsigned = Arena(_memory(tmp_path), tmp_path / "unsigned", signed=False)
    for each in (arena, unsigned):
        each.plant(attack.leaves(each.rows))
    words = [named(attack, arena.look(keys)) for keys in ("key", "public")]
    accepted = {True: "accepted", False: "refused", None: "no row"}[arena.is_accepted(attack.on)]
    line = " | ".join((attack.title, *words, named(attack, unsigned.look("none")), accepted))
    assert f"| {line} |" in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_security_page_has_no_other_attacks() -> None:
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.count(" | ") == 4]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[2:]] == [attack.title for attack in ATTACKS]
