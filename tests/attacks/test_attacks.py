"""Twenty attacks and more on each store, and what one pass makes of each. The security page says the same of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from arena import GIT, OURS, RING, THEIRS, Arena, quiet
from attacks import ATTACKS, Attack, named, with_our_key
from openings import PLACES, arenas
from places import BrokersFile, Memory, Sqlite
from platform_places import ClusterObjects, ContextForgeDatabase, PostgreSQLTables

from reconciler.core.auditing import audit
from reconciler.core.signing import public_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from places import Place
    from terminal import Terminal

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
FOR_A_PERSON = (
    "Take the stamp away",
    "Take every signature away, all over the store",
    "Take the protection of a gateway away that git lost, so that it is pruned",
)
"""Nothing is overwritten or deleted here that nobody can vouch for: it is named in each pass until it is dealt with."""

GENUINE = (
    "Put back yesterday's row, signatures and all",
    "Put back an older row that says the same",
    "Put back a gateway that git removed",
    "Delete a row",
)
"""Every row that is left here was signed, by us: only who knows what came later, or what git wants, can tell."""
COLUMNS = 7
HEADING = "| store | the attacker writes with | attacks | nothing to attack here |\n| --- | --- | --- | --- |\n"


@pytest.fixture(params=PLACES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def an_arena(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Arena]]:
    """Make arenas over new and empty places of a kind."""
    with arenas(kind, request, tmp_path) as made:
        yield made


def attacks_on(arena: Arena) -> Iterator[Attack]:
    """Yield every attack for which the store has room, each on the store as it was before the first."""
    for attack in ATTACKS:
        if attack.title not in arena.place.lacks:
            yield attack
            arena.reset()


def test_no_attack_survives_one_pass_unnoticed(an_arena: Callable[..., Arena]) -> None:
    arena = an_arena()
    assert quiet(arena.look("key"))
    assert quiet(arena.look("public"))
    survived = {
        attack.title: found for attack in attacks_on(arena) if (found := what_survives(arena, attack)) is not None
    }
    assert survived == {}


def what_survives(arena: Arena, attack: Attack) -> object:
    """Return what is wrong after an attack and one pass, or None."""
    arena.plant(attack.leaves(arena.rows))
    said = named(attack, arena.reconcile("key"))
    after = arena.look("key")
    if said not in ("tampering", "created again", "conflict"):
        return said
    if set(arena.live()) != {*GIT.gateways, "archive"}:
        return said, sorted(arena.live())
    if attack.title in FOR_A_PERSON:
        return None if after.drift or after.conflicts else "not named again"
    return None if quiet(after) else (said, after.changes, after.drift, after.conflicts)


def test_the_security_page_says_what_each_would_achieve(an_arena: Callable[..., Arena]) -> None:
    with_keys, without = played(an_arena()), unsigned(an_arena(signed=False))
    lines = {f"| {title} | {with_keys[title]} | {without[title]} |" for title in with_keys}
    assert lines - set(PAGE.read_text(encoding="utf-8").splitlines()) == set()


def played(arena: Arena) -> dict[str, str]:
    """Return what is said of each attack while there are keys, in the words of the page.

    With our key, with public keys alone, by a gateway that reads the store; and the same if our private key was stolen.
    """
    found = {}
    for attack in attacks_on(arena):
        left = attack.leaves(arena.rows)
        arena.plant(left)
        words = [named(attack, arena.look("key")), named(attack, arena.look("public")), _taken(arena, attack)]
        arena.reset()
        arena.plant(with_our_key(left))
        found[attack.title] = " | ".join((*words, named(attack, arena.look("key")), _taken(arena, attack)))
    return found


def unsigned(arena: Arena) -> dict[str, str]:
    """Return what is said of each attack on a store that was never signed."""
    found = {}
    for attack in attacks_on(arena):
        arena.plant(attack.leaves(arena.rows))
        found[attack.title] = named(attack, arena.look("none"))
    return found


def _taken(arena: Arena, attack: Attack) -> str:
    return {True: "accepted", False: "refused", None: "no row"}[arena.is_accepted(attack.on)]


def test_the_security_page_has_no_other_attacks() -> None:
    found = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    table = [cells[0].removeprefix("| ") for cells in found if len(cells) == COLUMNS]
    assert table[0] == "attack"
    assert table[2:] == [attack.title for attack in ATTACKS]


def test_the_security_page_says_how_each_store_was_attacked_and_what_it_has_no_room_for() -> None:
    """The kinds of places are looked at, and none is made."""
    kinds = {"memory": Memory, "sqlite": Sqlite, "postgresql": PostgreSQLTables, "contextforge": ContextForgeDatabase}
    kinds |= {"kuadrant+file": BrokersFile, "kubernetes": ClusterObjects}
    assert list(kinds) == list(PLACES)
    found = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n\n")[0].splitlines()
    assert found == [_line(name, kind) for name, kind in kinds.items()]


def _line(name: str, kind: type[Place]) -> str:
    missing = "; ".join(f"{title}: {why}" for title, why in kind.lacks.items())
    return f"| `{name}` | {kind.by} | {len(ATTACKS) - len(kind.lacks)} | {missing or 'nothing'} |"


def test_a_store_has_room_for_every_attack_but_those_it_names() -> None:
    titles = {attack.title for attack in ATTACKS}
    assert all(titles.issuperset(kind.lacks) for kind in (BrokersFile, ClusterObjects, ContextForgeDatabase))


@pytest.mark.parametrize("kind", ["sqlite"])
def test_an_auditor_with_public_keys_alone_finds_what_was_signed_by_nobody(an_arena: Callable[..., Arena]) -> None:
    arena = an_arena()
    assert [row.name for row in audit(arena.reading.read(), RING) if not row.genuine] == []
    missed = []
    for attack in attacks_on(arena):
        arena.plant(attack.leaves(arena.rows))
        if all(row.genuine for row in audit(arena.reading.read(), RING)):
            missed.append(attack.title)
    assert missed == list(GENUINE)


def test_an_auditor_types_one_command_for_any_store(
    kind: str, an_arena: Callable[..., Arena], terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = an_arena()
    url, environ = arena.place.address()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RECONCILER_SIGNING_KEY_FILE")
    key = f"{{name: ours, publicKey: {public_text(OURS.public_key)}}}"
    heading = "apiVersion: reconciler/v1\nkind: Keyring\nmetadata: {name: x}\nspec:\n  keys:\n"
    terminal.write("trusted.yaml", f"{heading}    - {key}\n")
    command = ("keys", "verify", url, "--keyring", "trusted.yaml")
    if kind == "memory":
        assert "holds no gateway" in terminal(*command, expect=1).err  # it is another process's, and gone
        return
    assert "5 rows in" in terminal(*command).out
    swap = next(attack for attack in ATTACKS if attack.title == "Swap the CA bundle")
    arena.plant(swap.leaves(arena.rows))
    assert "✗ payments  row invalid  bundle invalid" in terminal(*command, expect=6).out


def test_every_row_of_a_store_is_signed_again_in_one_pass(an_arena: Callable[..., Arena]) -> None:
    assert an_arena().sign_again(THEIRS) == {"another": 5}
