"""What is remembered of a tree is exactly what it compiled to, for as long as that holds, and never decides a write."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import desired_fleets, problems

from reconciler.cache import TreeCache, cache_file, holds_until
from reconciler.composition import Tree, audit, build_engine, plan_tree
from reconciler.core.model import Action, DesiredGateway, DesiredState, Gateway, Transport, TrustBundle
from reconciler.core.pem import read_pem
from reconciler.core.problems import Location, ProblemsError
from reconciler.core.snapshot import Files
from reconciler.core.trust import build_bundle
from reconciler.demo.pki import Authority, Lifetime
from reconciler.settings import load_settings, with_overrides
from reconciler.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.core.planning import Plan
    from reconciler.core.problems import Problem
    from reconciler.engine import Engine

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=5)
ROOT = Authority.root("Root", Lifetime.around(NOW))
MANIFESTS = {"a.yaml": b"one", "x/b.yaml": b"two"}
NAMED = {"ca.pem": b"pem"}
SALT = "settings"
URL = "https://a.example/mcp"


def reader(files: dict[str, bytes]) -> Callable[[Iterable[str]], Files]:
    return lambda names: Files({name: files[name] for name in names if name in files})


def state(fleet: Iterable[DesiredGateway] = (), found: Iterable[Problem] = ()) -> DesiredState:
    fleet = list(fleet)
    texts = {each.gateway.ca_certificate for each in fleet} - {""}
    bundles = {text: TrustBundle(text, "", ()) for text in sorted(texts)}
    return DesiredState({each.gateway.name: each for each in fleet}, bundles, tuple(found))


@given(desired_fleets, st.lists(problems, max_size=3))
def test_whatever_a_tree_wants_is_remembered_exactly(fleet: list[DesiredGateway], found: list[Problem]) -> None:
    with TemporaryDirectory() as directory:
        cache = TreeCache(Path(directory, "c.json"), SALT)
        cache.save(MANIFESTS, NAMED, state(fleet, found), LATER)
        remembered = cache.load(MANIFESTS, reader(NAMED), NOW)
    assert remembered is not None
    assert (remembered.gateways, remembered.problems) == (state(fleet).gateways, tuple(found))
    assert list(remembered.gateways) == [each.gateway.name for each in fleet]
    assert remembered.complete


def test_no_field_is_forgotten(tmp_path: Path) -> None:
    wanted = DesiredGateway(Gateway("a", URL, Transport.SSE), Location("a.yaml"))
    cache = TreeCache(tmp_path / "cache.json", SALT)
    cache.save(MANIFESTS, NAMED, state([wanted]), LATER)
    (row,) = json.loads(cache.path.read_bytes())["gateways"]
    assert (len(row), len(row[0])) == (len(fields(DesiredGateway)), len(fields(Gateway)))


@pytest.fixture
def cache(tmp_path: Path) -> TreeCache:
    cache = TreeCache(tmp_path / "deep" / "cache.json", SALT)
    cache.save(MANIFESTS, NAMED, state(), LATER)
    assert cache.load(MANIFESTS, reader(NAMED), NOW) is not None
    return cache


@pytest.mark.parametrize(
    "manifests",
    [
        {**MANIFESTS, "a.yaml": b"onE"},
        {**MANIFESTS, "c.yaml": b""},
        {"a.yaml": b"one"},
        {"b.yaml": b"one", "x/b.yaml": b"two"},
        {"a.yaml": b"two", "x/b.yaml": b"one"},
        {"a.yamlx": b"one", "b.yaml": b"two"},
        {},
    ],
    ids=["a byte", "a new file", "a file less", "a name", "two swapped", "a shifted name", "nothing"],
)
def test_another_tree_is_not_known(cache: TreeCache, manifests: dict[str, bytes]) -> None:
    assert cache.load(manifests, reader(NAMED), NOW) is None


@pytest.mark.parametrize("files", [{"ca.pem": b"peM"}, {}, {"other.pem": b"pem"}], ids=["a byte", "gone", "renamed"])
def test_another_pem_file_makes_it_unknown(cache: TreeCache, files: dict[str, bytes]) -> None:
    assert cache.load(MANIFESTS, reader(files), NOW) is None


def test_a_file_that_nothing_names_does_not_matter(cache: TreeCache) -> None:
    assert cache.load(MANIFESTS, reader({**NAMED, "other.pem": b""}), NOW) is not None


def test_other_settings_make_it_unknown(cache: TreeCache) -> None:
    assert TreeCache(cache.path, "others").load(MANIFESTS, reader(NAMED), NOW) is None


def test_it_holds_until_its_date_and_not_at_it(cache: TreeCache) -> None:
    assert cache.load(MANIFESTS, reader(NAMED), LATER - timedelta(microseconds=1)) is not None
    assert cache.load(MANIFESTS, reader(NAMED), LATER) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_could_have_written_is_ignored(cache: TreeCache, mode: int) -> None:
    cache.path.chmod(mode)
    assert cache.load(MANIFESTS, reader(NAMED), NOW) is None


def test_a_file_of_somebody_elses_is_ignored(cache: TreeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: cache.path.stat().st_uid + 1)
    assert cache.load(MANIFESTS, reader(NAMED), NOW) is None


GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b"7",
    b'"text"',
    b'{"key": 1}',
    b"\xff\xfe\0",
    b"[" * 200_000,
    b"9" * 10_000,
]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:8]))
def test_garbage_is_ignored(cache: TreeCache, content: bytes) -> None:
    cache.path.write_bytes(content)
    assert cache.load(MANIFESTS, reader(NAMED), NOW) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ("key", "named", "holds_until", "bundles", "gateways", "problems")


@given(desired_fleets.filter(bool), st.sampled_from(FIELDS), json_values)
def test_garbage_with_the_right_key_raises_nothing(fleet: list[DesiredGateway], field: str, value: Any) -> None:
    with TemporaryDirectory() as directory:
        cache = TreeCache(Path(directory, "c.json"), SALT)
        cache.save(MANIFESTS, NAMED, state(fleet), LATER)
        entry = json.loads(cache.path.read_bytes())
        cache.path.write_text(json.dumps({**entry, field: value}))
        cache.load(MANIFESTS, reader(NAMED), NOW)
        del entry[field]
        cache.path.write_text(json.dumps(entry))
        assert cache.load(MANIFESTS, reader(NAMED), NOW) is None


def test_no_file_and_no_room_for_one_are_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = TreeCache(tmp_path / "file" / "cache.json", SALT)
    assert cache.load(MANIFESTS, reader(NAMED), NOW) is None
    cache.save(MANIFESTS, NAMED, state(), LATER)


def test_the_file_is_its_owners_alone_and_replaced_whole(cache: TreeCache) -> None:
    assert cache.path.stat().st_mode & 0o777 == 0o600
    assert cache.path.parent.stat().st_mode & 0o777 == 0o700
    before = cache.path.stat().st_ino
    cache.save(MANIFESTS, {}, state(), LATER)
    assert cache.path.stat().st_ino != before
    assert list(cache.path.parent.iterdir()) == [cache.path]


def test_every_tree_has_a_file_of_its_own_where_the_user_wants_it(tmp_path: Path) -> None:
    ours = {"RECONCILER_CACHE_DIR": str(tmp_path / "r"), "XDG_CACHE_HOME": str(tmp_path / "x")}
    one, two = (cache_file(ours, tmp_path / name) for name in ("one", "two"))
    assert one != two
    assert one.is_relative_to(tmp_path / "r")
    assert cache_file({"XDG_CACHE_HOME": str(tmp_path / "x")}, tmp_path).is_relative_to(tmp_path / "x")
    assert cache_file({}, tmp_path).is_relative_to(Path.home() / ".cache")


def bundled(now: datetime, days: int) -> tuple[DesiredState, list[str]]:
    built, found = build_bundle([read_pem("ca.pem", ROOT.pem.encode())], now, expiry_warning_days=days)
    assert built is not None
    return DesiredState({}, {built.pem: built}), [problem.message for problem in found]


NOT_AFTER = ROOT.certificate.not_valid_after_utc


@given(st.timedeltas(timedelta(0), NOT_AFTER - NOW), st.sampled_from([0, 1, 30, 400]), st.floats(0, 1))
def test_until_its_date_nothing_else_would_be_said_about_the_certificates(
    age: timedelta, days: int, share: float
) -> None:
    now = NOW + age
    desired, said = bundled(now, days)
    until = holds_until(desired, now, days)
    assert until > now
    almost = min(now + (until - now) * share, until - timedelta.resolution)
    assert bundled(almost, days)[1] == said


def test_a_warning_that_counts_the_days_holds_for_less_than_one() -> None:
    now = NOT_AFTER - timedelta(days=12, hours=6)
    desired, said = bundled(now, 30)
    assert "in 12 days" in said[0]
    assert holds_until(desired, now, 30) - now <= timedelta(hours=6, seconds=1)


def test_without_certificates_it_holds_for_ever() -> None:
    assert holds_until(DesiredState({}), NOW, 30).year == 9999


MANIFEST = (
    "apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{url: {url}, transport: sse}}\n"
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "gateways"
    directory.mkdir()
    (directory / "a.yaml").write_text(MANIFEST.format(name="a", url=URL))
    return directory


class Pass:
    """One pass over the repository: tree, engine and cache, as a command has them."""

    def __init__(self, directory: Path) -> None:
        settings = load_settings((directory,))
        self.settings = replace(
            with_overrides(settings, {"store": f"sqlite:///{directory.parent}/x.db", "prune": True}, {}),
            allow_unsigned=True,
        )
        self.cache = TreeCache(directory.parent / "cache.json", SALT)

    def plan(self) -> Plan:
        with build_engine(self.settings, {}, write=False) as engine:
            return self._plan(engine)[1]

    def apply(self) -> list[str]:
        with build_engine(self.settings, {}, write=True) as engine:
            desired, plan = self._plan(engine)
            result = engine.apply(plan, desired, audit({}, NOW), None)
        return [f"{each.action} {each.name} {each.status}" for each in result.outcomes]

    def _plan(self, engine: Engine) -> tuple[DesiredState, Plan]:
        return plan_tree(Tree(self.settings, NOW), self.settings.target, engine, self.cache)

    def forge(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit what is remembered, as somebody with the user's rights could."""
        entry = json.loads(self.cache.path.read_bytes())
        change(entry)
        self.cache.path.write_text(json.dumps(entry))

    @property
    def rows(self) -> dict[str, Gateway]:
        store = open_store(self.settings.target.store, create=False)
        found = {name: live.gateway for name, live in store.read().gateways.items()}
        store.close()
        return found


def test_an_unchanged_tree_is_remembered_and_in_sync(repository: Path) -> None:
    run = Pass(repository)
    assert run.apply() == ["create a applied"]
    run.forge(lambda entry: entry["problems"].append(["remembered", "info", "m", ["a.yaml", 1, 1, "", "", 1], "", []]))
    with build_engine(run.settings, {}, write=False) as engine:
        desired, plan = run._plan(engine)
    assert plan.in_sync
    assert [problem.code for problem in desired.problems] == ["remembered"]


def with_another_url(entry: dict[str, Any]) -> None:
    entry["gateways"][0][0][1] = "https://evil.example/mcp"


def with_another_gateway(entry: dict[str, Any]) -> None:
    row = json.loads(json.dumps(entry["gateways"][0]))
    row[0][0] = "evil"
    entry["gateways"].append(row)


def with_none(entry: dict[str, Any]) -> None:
    entry["gateways"] = []


@pytest.mark.parametrize("forgery", [with_another_url, with_another_gateway, with_none])
def test_a_forged_cache_writes_nothing(repository: Path, forgery: Callable[[dict[str, Any]], None]) -> None:
    run = Pass(repository)
    run.apply()
    run.forge(forgery)
    assert run.plan().in_sync
    run.forge(forgery)
    assert run.apply() == []
    assert [(name, row.url) for name, row in run.rows.items()] == [("a", URL)]


@pytest.mark.parametrize("forgery", [with_another_url, with_another_gateway])
def test_a_forged_cache_for_a_new_store_writes_what_git_says(
    repository: Path, forgery: Callable[[dict[str, Any]], None]
) -> None:
    run = Pass(repository)
    assert [change.action for change in run.plan().changes] == [Action.CREATE]
    run.forge(forgery)
    assert run.apply() == ["create a applied"]
    assert [(name, row.url) for name, row in run.rows.items()] == [("a", URL)]


def test_a_forged_cache_may_hide_a_change_until_the_tree_changes_and_causes_none(repository: Path) -> None:
    run = Pass(repository)
    run.plan()
    run.forge(with_none)
    assert run.apply() == []
    with (repository / "a.yaml").open("a") as manifest:
        manifest.write("# looked at again\n")
    assert run.apply() == ["create a applied"]


def test_a_tree_with_problems_is_not_remembered(repository: Path) -> None:
    (repository / "b.yaml").write_text("nonsense")
    run = Pass(repository)
    with pytest.raises(ProblemsError):
        run.plan()
    assert not run.cache.path.exists()
