"""What a run did is written down as it happens, and taken back it is as it was."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from repositories import commit
from strategies import fleets

from reconciler.books import books_of, open_books
from reconciler.core.model import Audit, DesiredGateway, DesiredState, Feature, Gateway, Transport, VerifyPolicy
from reconciler.core.observation import McpObservation, Observation
from reconciler.core.planning import Terms
from reconciler.core.problems import Location
from reconciler.core.rollback import rollback
from reconciler.core.safety import Limits
from reconciler.core.signatures import signatures
from reconciler.core.signing import Keyring, generate, load_private_key
from reconciler.engine import Engine
from reconciler.errors import StoreError
from reconciler.recording import Recorder, read_entry, record_verified
from reconciler.settings import Settings, Target
from reconciler.stores import open_store
from reconciler.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.history import Entry
    from reconciler.core.model import Change, Outcome
    from reconciler.core.ports import Store
    from reconciler.core.rollback import Rollback
    from reconciler.recording import Recorded

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
BY = Audit("alice", "reconciler/1", NOW)
ANYTHING_GOES = Limits(max_delete_percent=100, max_update_percent=100, allow_empty=True)
ELSEWHERE = "elsewhere://host"


class Key:
    """A signer over a new key."""

    def __init__(self) -> None:
        pair = generate()
        self.public_key = pair.public
        self._private = load_private_key(pair.private)

    def sign(self, payload: bytes) -> bytes:
        return self._private.sign(payload)


KEY, STRANGER = Key(), Key()
KEYRING = Keyring.of_raw({"ours": KEY.public_key})


def settings_for(root: Path, store: str = ELSEWHERE, keep: int = 1000) -> Settings:
    return Settings(root=root, paths=(".",), targets=(Target(store=store),), history_keep=keep)


def engine(store: Store, signer: Key = KEY) -> Engine:
    signs = signatures(signer, Keyring.of_raw({"": signer.public_key}) if signer is STRANGER else KEYRING)
    return Engine(store, "x", signs, KEYRING, Terms("us", prune=True), ANYTHING_GOES)


def wanted(fleet: Iterable[Gateway], protected: frozenset[str] = frozenset(), revision: str = "") -> DesiredState:
    gateways = {
        each.name: DesiredGateway(each, Location(f"{each.name}.yaml"), protected=each.name in protected)
        for each in fleet
    }
    return DesiredState(gateways, revision=revision)


def gateway(name: str, **fields: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **fields)


def applied(at: Settings, over: Engine, desired: DesiredState, prober: Any = None) -> Recorded:
    return Recorder(at, over, lambda: LATER, BY).apply(over.plan(desired), desired, prober)


def undone(over: Engine, entry: Entry | None) -> Rollback:
    assert entry is not None
    return rollback(entry, over.store.read(), over.signatures, over.terms)


def rolled_back(at: Settings, over: Engine, number: int) -> Recorded:
    plan = undone(over, read_entry(at, number)).plan
    return Recorder(at, over, lambda: LATER, BY).apply(plan, DesiredState({}), None, rollback_of=number)


def shown(store: Store) -> dict[str, Any]:
    """Return every row, as far as it matters."""
    return {
        name: (found.gateway, found.signature, found.stamp and (found.stamp.protected, found.stamp.revision))
        for name, found in store.read().gateways.items()
    }


def entries(at: Settings) -> list[Entry]:
    with books_of(at, create=False) as books:
        history = books.history if books is not None else None
        return history.entries(9) if history is not None else []


changed_fields: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "description": st.text(max_size=5),
        "ca_certificate": st.sampled_from(("", "ONE", "OTHER")),
        "enabled": st.booleans(),
    },
)


@st.composite
def revisions(draw: st.DrawFn) -> tuple[DesiredState, DesiredState]:
    """Two revisions of a tree: some gateways stay, some change, some get another name, some go and some come."""
    before = draw(fleets)
    rest = [replace(each, **draw(changed_fields)) for each in before if draw(st.booleans())]
    renamed = [replace(each, name=f"{each.name}-2") if draw(st.integers(0, 3)) == 0 else each for each in rest]
    known = {each.name.replace("-", "") for each in (*before, *renamed)}
    new = [each for each in draw(fleets) if each.name.replace("-", "") not in known]
    protected = draw(st.sets(st.sampled_from(sorted(each.name for each in before)))) if before else set()
    created = {each.name for each in renamed} - {each.name for each in before}
    return (
        wanted(before, frozenset(protected)),
        wanted([*renamed, *new], frozenset(protected - created)),
    )


@settings(max_examples=25, deadline=None)
@given(revisions())
def test_an_apply_that_is_rolled_back_never_was_and_rolled_back_again_it_was(
    trees: tuple[DesiredState, DesiredState],
) -> None:
    with TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/x.db"
        at = settings_for(Path(directory), url)
        with closing(open_store(url, create=True)) as store:
            over = engine(store)
            applied(at, over, trees[0])
            before = shown(store)
            recorded = applied(at, over, trees[1])
            after = shown(store)
            if not recorded.id:
                assert before == after
                return
            taken_back = rolled_back(at, over, recorded.id)
            assert shown(store) == before
            assert not undone(over, read_entry(at, recorded.id)).plan.changes
            rolled_back(at, over, taken_back.id)
            assert shown(store) == after


def test_an_apply_is_written_down_with_its_commit_and_its_times(tmp_path: Path) -> None:
    made = commit(tmp_path)
    at, over = settings_for(tmp_path), engine(MemoryStore())
    recorded = applied(at, over, wanted([gateway("a")], revision=f"main@sha1:{made}"))
    (entry,) = entries(at)
    assert (entry.id, entry.state, entry.applied, entry.planned) == (recorded.id, "finished", 1, 1)
    assert (entry.actor, entry.via, entry.started_at, entry.finished_at) == ("alice", "reconciler/1", NOW, LATER)
    assert (entry.commit.author, entry.commit.signature) == ("t <t@example.com>", "none")
    assert (entry.commit.revision, entry.store, entry.rollback_of) == (f"main@sha1:{made}", ELSEWHERE, 0)


def test_an_apply_that_changes_nothing_or_is_refused_is_not_written_down(tmp_path: Path) -> None:
    at, over = settings_for(tmp_path), engine(MemoryStore())
    applied(at, over, wanted([gateway("a")]))
    assert applied(at, over, wanted([gateway("a")])).id == 0
    strict = replace(over, limits=Limits())
    refused = applied(at, strict, wanted([]))
    assert (refused.result.refused, refused.id) == (True, 0)
    assert [entry.id for entry in entries(at)] == [1]


def test_a_rollback_is_written_down_as_one(tmp_path: Path) -> None:
    at, over = settings_for(tmp_path), engine(MemoryStore())
    applied(at, over, wanted([gateway("a")]))
    assert rolled_back(at, over, 1).id == 2
    assert [(entry.id, entry.rollback_of) for entry in entries(at)] == [(2, 1), (1, 0)]


class Silent:
    """A prober to whom nobody answers."""

    def __call__(self, subjects: Sequence[tuple[Gateway, VerifyPolicy]]) -> list[Observation]:
        silence = McpObservation(ok=False, reason="NoAnswer")
        return [Observation(each.name, each.url, None, silence, 0.1) for each, _ in subjects]


@pytest.mark.parametrize("others", [[], [gateway("b")]])
def test_what_was_held_is_written_down_as_refused_even_when_nothing_else_was_done(
    tmp_path: Path, others: list[Gateway]
) -> None:
    at, over = settings_for(tmp_path), engine(MemoryStore())
    desired = wanted([gateway("a"), *others])
    required = replace(desired.gateways["a"], verify=VerifyPolicy("required"))
    applied(at, over, replace(desired, gateways={**desired.gateways, "a": required}), Silent())
    entry = read_entry(at, 1)
    assert entry is not None
    assert (entry.refused, entry.applied, entry.state) == (1, len(others), "finished")
    assert [step.status for step in entry.steps] == ["refused", *("applied" for _ in others)]
    assert "NoAnswer" in entry.steps[0].why


class Broken(MemoryStore):
    """A store that cannot be reached when it matters."""

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:  # noqa: ARG002 - it fails before
        raise StoreError("no connection")


def test_a_store_that_gives_up_leaves_an_entry_that_says_so(tmp_path: Path) -> None:
    at = settings_for(tmp_path)
    with pytest.raises(StoreError, match="no connection"):
        applied(at, engine(Broken()), wanted([gateway("a")]))
    assert [(entry.state, entry.problem) for entry in entries(at)] == [("failed", "no connection")]
    assert undone(engine(MemoryStore()), read_entry(at, 1)).plan.unchanged == 1


class Interrupted(MemoryStore):
    """A store in whose middle the person at the terminal has had enough."""

    features: ClassVar = frozenset(Feature) - {Feature.ATOMIC}

    def apply(self, changes: Sequence[Change], audit: Audit) -> list[Outcome]:
        if changes[0].name == "b":
            raise KeyboardInterrupt
        return super().apply(changes, audit)


def test_of_an_apply_without_an_end_the_rows_say_what_was_done(tmp_path: Path) -> None:
    at, store = settings_for(tmp_path), Interrupted()
    with pytest.raises(KeyboardInterrupt):
        applied(at, engine(store), wanted([gateway("a"), gateway("b")]))
    found = undone(engine(store), read_entry(at, 1))
    assert [(change.action, change.name) for change in found.plan.changes] == [("delete", "a")]
    assert (found.left, found.plan.unchanged) == ((), 1)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_recording import applied, engine, gateway, settings_for, wanted
from reconciler.stores.memory import MemoryStore
class Killing(MemoryStore):
    def apply(self, changes, audit):
        os.kill(os.getpid(), signal.SIGKILL)
applied(settings_for(Path(sys.argv[1])), engine(Killing()), wanted([gateway("a")]))
"""


def test_one_that_is_killed_while_it_writes_is_interrupted_and_the_next_one_tells(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), *sys.path], check=False)
    assert killed.returncode == -signal.SIGKILL
    at = settings_for(tmp_path)
    assert [(entry.state, entry.planned) for entry in entries(at)] == [("interrupted", 1)]
    assert applied(at, engine(MemoryStore()), wanted([gateway("a")])).interrupted == (1,)


def test_what_cannot_be_written_down_is_not_done(tmp_path: Path) -> None:
    (tmp_path / ".reconciler").write_text("in the way")
    over = engine(MemoryStore())
    with pytest.raises(StoreError, match="cannot be made") as refused:
        applied(settings_for(tmp_path), over, wanted([gateway("a")]))
    assert "spec.history.keep: 0" in refused.value.fix
    assert shown(over.store) == {}


def test_the_journal_of_another_store_lies_beside_the_manifests_for_its_owner_alone(tmp_path: Path) -> None:
    at = settings_for(tmp_path)
    assert entries(at) == []
    assert list(tmp_path.iterdir()) == []
    applied(at, engine(MemoryStore()), wanted([gateway("a")]))
    directory = tmp_path / ".reconciler"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (directory / ".gitignore").read_text() == "*\n"
    assert (directory / "journal-default.db").is_file()
    with books_of(at, create=False) as books:
        journal = books.journal if books is not None else None
        assert journal is not None
        assert [condition.status for condition in journal.conditions()["a"]] == ["True"]


@pytest.mark.parametrize("name", [".reconciler", ".reconciler/journal-default.db"])
def test_a_repository_does_not_choose_where_the_journal_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "repository" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    over = engine(MemoryStore())
    with pytest.raises(StoreError, match="through a link"):
        applied(settings_for(tmp_path / "repository"), over, wanted([gateway("a")]))
    assert (shown(over.store), list((tmp_path / "elsewhere").iterdir())) == ({}, [])


@pytest.mark.parametrize(("store", "keep"), [("memory:", 1000), (ELSEWHERE, 0)])
def test_where_nothing_is_to_be_kept_nothing_is_made(tmp_path: Path, store: str, keep: int) -> None:
    at, over = settings_for(tmp_path, store, keep), engine(MemoryStore())
    recorded = applied(at, over, wanted([gateway("a")]))
    assert (recorded.id, list(shown(over.store)), read_entry(at, 1)) == (0, ["a"], None)
    assert list(tmp_path.iterdir()) == []


def test_an_sqlite_store_without_a_history_keeps_its_conditions(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    at = settings_for(tmp_path, url, keep=0)
    with closing(open_store(url, create=True)) as store:
        assert applied(at, engine(store), wanted([gateway("a")])).id == 0
    with books_of(at, create=False) as books:
        journal = books.journal if books is not None else None
        assert journal is not None
        assert list(journal.conditions()) == ["a"]
    assert entries(at) == []


def test_only_as_many_as_are_to_be_kept_are(tmp_path: Path) -> None:
    at, over = settings_for(tmp_path, keep=2), engine(MemoryStore())
    for number in range(4):
        applied(at, over, wanted([gateway("a", description=str(number))]))
    assert [entry.id for entry in entries(at)] == [4, 3]
    assert read_entry(at, 2) is None


def test_what_is_gone_is_forgotten_and_what_was_restored_is_of_the_revision_it_had(tmp_path: Path) -> None:
    at, over = settings_for(tmp_path), engine(MemoryStore())
    applied(at, over, wanted([gateway("a"), gateway("b")], revision="main@sha1:1111"))
    applied(at, over, wanted([gateway("b", description="new")], revision="main@sha1:2222"))
    with books_of(at, create=False) as books:
        journal = books.journal if books is not None else None
        assert journal is not None
        assert {name: each[0].observed_revision for name, each in journal.conditions().items()} == {
            "b": "main@sha1:2222"
        }
    rolled_back(at, over, 2)
    with books_of(at, create=False) as books:
        journal = books.journal if books is not None else None
        assert journal is not None
        assert {name: each[0].observed_revision for name, each in journal.conditions().items()} == {
            "a": "main@sha1:1111",
            "b": "main@sha1:1111",
        }


def test_a_bundle_that_a_key_signed_which_is_not_trusted_does_not_come_back(tmp_path: Path) -> None:
    at, store = settings_for(tmp_path), MemoryStore()
    applied(at, engine(store, STRANGER), wanted([gateway("a", ca_certificate="ONE")]))
    applied(at, engine(store), wanted([gateway("a", ca_certificate="OTHER")]))
    found = undone(engine(store), read_entry(at, 2))
    assert [(each.name, each.why) for each in found.left] == [("a", "not_genuine")]
    assert not found.plan.changes


def test_nothing_seen_is_nothing_to_write_down(tmp_path: Path) -> None:
    with closing(open_books(tmp_path / "x.db", create=False)) as books:
        record_verified(books, (), NOW)
    assert list(tmp_path.iterdir()) == []
