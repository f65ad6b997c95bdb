"""The regression guard of speed counts work, which no machine makes slower: files, statements, rows, signatures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pytest
from raw_servers import VALID
from watching import QUICK, eventually, manifest, watched
from work import counting

from reconciler.demo.pki import Authority

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

    from live_postgresql import PostgreSQL
    from terminal import Terminal
    from watching import Watched

    NewStore = Callable[[], str]

AUTHORITIES: Final = [Authority.root(f"CA {number}", VALID).pem for number in range(4)]
SMALL, LARGE = 20, 60
STATEMENTS_OF_A_SAVE: Final = 50  # may only become fewer
UNVERIFIED: Final = "  verify: {mode: 'off'}\n"


def fleet(terminal: Terminal, size: int) -> None:
    """Write gateways that share four CA files."""
    for number, authority in enumerate(AUTHORITIES):
        terminal.write(f"gateways/ca-{number}.pem", authority)
    for number in range(size):
        terminal.gateway(f"g{number:03}", tls={"caCertificates": [f"ca-{number % len(AUTHORITIES)}.pem"]})


def work(terminal: Terminal, *words: str) -> Counter[str]:
    with counting(terminal.directory / "gateways") as counter:
        terminal(*words)
    return counter


def apply(terminal: Terminal, store: str) -> Counter[str]:
    return work(terminal, "apply", "gateways", "--store", store, "--no-verify")


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> NewStore:
    """A way to get the URL of an empty store, of each kind that asks questions."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{uuid4().hex}.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    monkeypatch.setenv("PGPASSWORD", server.password)
    return lambda: server.url(schema=f"work_{uuid4().hex}")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_each_file_is_opened_once_and_each_certificate_parsed_once(terminal: Terminal, size: int) -> None:
    fleet(terminal, size)
    validated = work(terminal, "validate", "gateways")
    assert validated["files opened"] == size + len(AUTHORITIES)
    assert validated["certificates parsed"] == len(AUTHORITIES)
    assert validated["signatures made"] == 0
    assert validated["statements executed"] == 0


def test_a_first_apply_signs_each_row_and_each_bundle_once(terminal: Terminal, new_store: NewStore) -> None:
    fleet(terminal, LARGE)
    applied = apply(terminal, new_store())
    assert applied["files opened"] == LARGE + len(AUTHORITIES)
    assert applied["certificates parsed"] == len(AUTHORITIES)
    assert LARGE < applied["signatures made"] <= LARGE + len(AUTHORITIES) + 2


def test_a_first_apply_executes_the_same_few_statements_whatever_its_size(
    terminal: Terminal, new_store: NewStore
) -> None:
    counted = []
    for size in (SMALL, LARGE):
        fleet(terminal, size)
        counted.append(apply(terminal, new_store())["statements executed"])
    assert counted[0] == counted[1]


def test_a_pass_without_changes_asks_the_store_the_same_few_questions_whatever_its_size(
    terminal: Terminal, new_store: NewStore
) -> None:
    counted = []
    for size in (SMALL, LARGE):
        fleet(terminal, size)
        store = new_store()
        apply(terminal, store)
        planned = work(terminal, "plan", "gateways", "--store", store)
        assert planned["files opened"] == size + len(AUTHORITIES)
        assert planned["rows read"] == size
        assert planned["certificates parsed"] == 0
        counted.append((planned["statements executed"], planned["signatures made"], planned["signatures checked"]))
    assert counted[0] == counted[1]
    assert 0 < counted[0][0] < 20


def test_one_changed_gateway_costs_the_same_in_a_store_of_any_size(terminal: Terminal, new_store: NewStore) -> None:
    counted = []
    for size in (SMALL, LARGE):
        fleet(terminal, size)
        store = new_store()
        apply(terminal, store)
        terminal.gateway("g001", description=f"new {size}", tls={"caCertificates": ["ca-1.pem"]})
        applied = apply(terminal, store)
        assert applied["files opened"] == size + len(AUTHORITIES)
        assert applied["rows read"] <= size + 1
        counted.append((applied["statements executed"], applied["signatures made"], applied["certificates parsed"]))
    assert counted[0] == counted[1]


def test_the_daemon_reads_one_row_for_one_changed_file(tmp_path: Path) -> None:
    counted = [saved(tmp_path / str(size), size) for size in (SMALL, LARGE)]
    assert counted[0] == counted[1]
    assert 0 < counted[0]["rows read"] <= 2
    assert counted[0]["files opened"] == 2  # the editor's and ours
    assert counted[0]["statements executed"] <= STATEMENTS_OF_A_SAVE
    assert counted[0]["certificates parsed"] == 0


def saved(directory: Path, size: int) -> Counter[str]:
    """Return what a daemon does for one saved file, once it has brought the store in line."""
    root = directory / "gateways"
    root.mkdir(parents=True)
    for number in range(size):
        (root / f"g{number:03}.yaml").write_text(manifest(f"g{number:03}", more=UNVERIFIED))
    with counting(root) as counter, watched(root, rhythm=replace(QUICK, drift_seconds=0)) as daemon:
        eventually(lambda: passes(daemon) == 1)
        before = counter.copy()
        daemon.write("g001.yaml", manifest("g001", "new", more=UNVERIFIED))
        eventually(lambda: passes(daemon) == 2)
        counter.subtract(before)
        assert daemon.rows()["g001"] == "new"
    return counter


def passes(daemon: Watched) -> int:
    return sum(target.passes for target in daemon.board.targets().values())
