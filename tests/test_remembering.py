"""What was verified before is remembered where nobody without the key can add to it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from reconciler.books import open_books
from reconciler.core.records import GENESIS, Head, Memory
from reconciler.core.signing import Keyring, Role, TrustedKey, generate, load_private_key
from reconciler.errors import StoreError
from reconciler.remembering import VerifiedRows, remembered, verified_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.ledger import Ledger

ROWS = {bytes([number]) * 32 for number in range(5)}
HEAD = Head(3, "ab" * 32)


class Key:
    """A private key in memory."""

    def __init__(self) -> None:
        self._key = load_private_key(generate().private)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload)


OURS, THEIRS = Key(), Key()
RING = Keyring.of_raw({"ours": OURS.public_key})


def file(directory: Path, signer: Key = OURS, store: str = "x", ring: Keyring = RING) -> VerifiedRows:
    return verified_rows({"RECONCILER_CACHE_DIR": str(directory)}, store, signer, ring)


@contextmanager
def nothing() -> Iterator[Ledger | None]:
    yield None


def test_what_is_kept_comes_back_for_the_same_key_keyring_and_store(tmp_path: Path) -> None:
    file(tmp_path).save(Memory(set(ROWS), HEAD))
    found = file(tmp_path).load()
    assert (found.rows, found.head, found.changed) == (ROWS, HEAD, False)
    bundles_only = Keyring.of_keys([TrustedKey("ours", OURS.public_key, frozenset({Role.BUNDLE}))])
    for other in (file(tmp_path, THEIRS), file(tmp_path, ring=bundles_only), file(tmp_path, store="y")):
        assert other.load() == Memory()


def test_nothing_is_there_before_the_first_time(tmp_path: Path) -> None:
    assert file(tmp_path).load() == Memory()


FORGERIES = {
    "a row more": lambda data: data + b"x" * 32,
    "a row less": lambda data: data[:-32],
    "another head": lambda data: data.replace(b"3:ab", b"2:ab"),
    "sealed with nothing": lambda data: bytes(32) + data[32:],
    "cut short": lambda data: data[:40],
    "empty": lambda _data: b"",
    "no head": lambda data: data[:32],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_what_others_wrote_is_not_remembered(tmp_path: Path, forge: object) -> None:
    kept = file(tmp_path)
    kept.save(Memory(set(ROWS), HEAD))
    assert callable(forge)
    kept.path.write_bytes(forge(kept.path.read_bytes()))
    assert kept.load() == Memory()


def test_a_file_that_others_may_write_is_not_looked_at(tmp_path: Path) -> None:
    kept = file(tmp_path)
    kept.save(Memory(set(ROWS)))
    kept.path.chmod(0o666)
    assert kept.load() == Memory()


def test_a_place_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "mcp-gateway-reconciler").write_text("a file where the directory belongs")
    with remembered(file(tmp_path), nothing) as (memory, _):
        memory.add(b"x" * 32)
    assert file(tmp_path).load() == Memory()


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    with remembered(file(tmp_path), nothing):
        pass
    assert not file(tmp_path).path.exists()
    with remembered(file(tmp_path), nothing) as (memory, _):
        memory.add(b"x" * 32)
    assert file(tmp_path).load().rows == {b"x" * 32}


def test_without_a_key_nothing_is_kept(tmp_path: Path) -> None:
    with remembered(None, nothing) as (memory, precedents):
        memory.add(b"x" * 32)
        assert not precedents.has_entries()
        assert not precedents.is_superseded("a", "x")
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_lost_makes_every_unknown_row_old(tmp_path: Path) -> None:
    kept = file(tmp_path)
    kept.save(Memory(set(), HEAD))

    @contextmanager
    def opened() -> Iterator[Ledger | None]:
        with closing(open_books(tmp_path / "x.db", "", create=False)) as books:
            yield books.ledger

    with remembered(kept, opened) as (_, precedents):
        assert precedents.is_superseded("a", "anything")

    @contextmanager
    def elsewhere() -> Iterator[Ledger | None]:
        with closing(open_books(tmp_path / "x.db", "https://platform.example", create=False)) as books:
            yield books.ledger

    with remembered(kept, elsewhere) as (_, precedents):
        assert not precedents.is_superseded("a", "anything"), "a ledger outside of the store may be on another machine"


def test_a_ledger_that_cannot_be_read_is_an_error_once_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 1000)

    @contextmanager
    def opened() -> Iterator[Ledger | None]:
        with closing(open_books(tmp_path / "x.db", "", create=False)) as books:
            yield books.ledger

    with remembered(None, opened) as (_, precedents), pytest.raises(StoreError):
        precedents.has_entries()


def test_the_oldest_are_forgotten_all_at_once_when_there_are_too_many() -> None:
    memory = Memory({number.to_bytes(32) for number in range(262_144)})
    memory.add(b"x" * 32)
    assert memory.rows == {b"x" * 32}


@pytest.mark.parametrize("text", ["", "1", "1:", "x:" + GENESIS, "1:" + GENESIS[1:], "1:" + "G" * 64, "1:" + "AB" * 32])
def test_a_head_that_is_none_is_told_apart(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Head.of(text)


def test_a_head_is_read_as_it_is_printed() -> None:
    assert Head.of(f" {HEAD}\n") == HEAD
