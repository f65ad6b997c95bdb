from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import InputError
from reconciler.stores import SCHEMES, open_store, sqlite_path
from reconciler.stores.memory import MemoryStore
from reconciler.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from reconciler.core.ports import Store

PLUGIN = """
from reconciler.stores.memory import MemoryStore

class Etcd(MemoryStore):
    pass

def open_etcd(url, *, create, access):
    return Etcd()
"""


def test_every_known_scheme_leads_to_a_function() -> None:
    for place in SCHEMES.values():
        module, _, function = place.partition(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_a_relative_and_an_absolute_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///relative.db", f"sqlite:///{tmp_path}/absolute.db"):
        store = open_store(url, create=True)
        assert isinstance(store, SqliteStore)
        store.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["absolute.db", "relative.db"]


def test_memory_is_a_store() -> None:
    assert isinstance(open_store("memory:", create=False), MemoryStore)


def test_the_file_of_an_sqlite_url_is_known_and_other_stores_have_none() -> None:
    assert sqlite_path("sqlite:///relative.db") == Path("relative.db")
    assert sqlite_path("sqlite:////srv/gateways.db") == Path("/srv/gateways.db")
    assert sqlite_path("memory:") is None
    assert sqlite_path("contextforge+https://platform.example") is None


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:gateways.db",
        "sqlite://user:hunter2@host/x.db",
    ],
)
def test_an_sqlite_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="names no file") as refusal:
        open_store(url, create=True)
    assert "sqlite:///gateways.db" in refusal.value.fix
    assert "hunter2" not in f"{refusal.value} {refusal.value.fix}"


def test_options_are_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="options after a `\\?`") as refusal:
        open_store("sqlite:///gateways.db?key=hunter2", create=True)
    assert "hunter2" not in f"{refusal.value} {refusal.value.fix}"


def test_an_unknown_scheme_is_refused_with_those_that_are_known_and_the_nearest() -> None:
    with pytest.raises(InputError, match="no kind of store called `sqllite`") as refusal:
        open_store("sqllite:///gateways.db", create=True)
    assert "did you mean `sqlite`?" in refusal.value.fix
    assert all(scheme in refusal.value.fix for scheme in SCHEMES)


@pytest.mark.parametrize("url", ["oracle://scott:hunter2@host/db", "hunter2", "", "hunter2/x:y"])
def test_what_is_refused_is_not_repeated(url: str) -> None:
    with pytest.raises(InputError) as refusal:
        open_store(url, create=True)
    assert "hunter2" not in f"{refusal.value} {refusal.value.fix}"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with two stores; one of them is broken."""
    (tmp_path / "reconciler_etcd.py").write_text(PLUGIN)
    metadata = tmp_path / "reconciler_etcd-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: reconciler-etcd\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[reconciler.stores]\netcd = reconciler_etcd:open_etcd\nbroken = reconciler_etcd:missing\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "reconciler_etcd", raising=False)


@pytest.mark.usefixtures("installed")
def test_another_package_may_bring_a_store() -> None:
    store: Store = open_store("etcd://cluster.example", create=True)
    assert type(store).__name__ == "Etcd"


@pytest.mark.usefixtures("installed")
def test_a_package_whose_store_cannot_be_loaded_is_named() -> None:
    with pytest.raises(InputError, match="provides `broken` stores cannot be loaded") as refusal:
        open_store("broken://cluster.example", create=True)
    assert "reconciler_etcd:missing" in refusal.value.fix


@pytest.mark.usefixtures("installed")
def test_the_stores_of_other_packages_are_among_the_known() -> None:
    with pytest.raises(InputError) as refusal:
        open_store("etcdd://cluster.example", create=True)
    assert "did you mean `etcd`?" in refusal.value.fix
