"""The ledger: what was signed, in order, and never changed."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.books import open_books
from reconciler.core.ledger import LedgerEntry, Past, broken_at, chained, is_superseded
from reconciler.core.model import Action, Change, Gateway, LiveGateway, Outcome, Reason, Stamp, Transport
from reconciler.core.records import Head, payload_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.ledger import Ledger

NOW = datetime(2026, 11, 21, tzinfo=UTC)
STAMP = Stamp("us", "a.yaml", "main@sha1:1", "sha256:1")


def gateway(name: str, host: str = "a") -> Gateway:
    return Gateway(name, f"https://{host}.example/mcp", Transport.SSE)


def digest(name: str, host: str = "a") -> str:
    return payload_digest(gateway(name, host), STAMP)


def wrote(name: str, host: str = "a", held_as: str = "") -> Change:
    before = LiveGateway(gateway(held_as or name), "", STAMP, "t", "r")
    return Change(
        Action.UPDATE, name, Reason.MANIFEST_CHANGED, before, gateway(name, host), "", STAMP, record="ab" * 64
    )


def removed(name: str) -> Change:
    before = LiveGateway(gateway(name), "", STAMP, "t", "r")
    return Change(Action.DELETE, name, Reason.REMOVED_FROM_GIT, before)


def passed(ledger: Ledger, apply: int, *changes: Change, status: str = "applied", ends: bool = True) -> None:
    ledger.begin(apply, NOW, changes, "key")
    if ends:
        outcomes = [Outcome(each.name, each.action, status) for each in changes]  # type: ignore[arg-type] # its words
        ledger.finish(apply, NOW, changes, outcomes)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(open_books(tmp_path / "x.db", "", create=True)) as books:
        yield books.ledger


def test_what_was_written_again_is_superseded_and_what_was_written_last_is_not(ledger: Ledger) -> None:
    passed(ledger, 1, wrote("a", "one"), wrote("b", "one"))
    passed(ledger, 2, wrote("a", "two"))
    assert ledger.is_superseded("a", digest("a", "one"))
    assert not ledger.is_superseded("a", digest("a", "two"))
    assert not ledger.is_superseded("b", digest("b", "one"))
    assert not ledger.is_superseded("a", digest("a", "never"))
    passed(ledger, 3, wrote("a", "one"))
    assert not ledger.is_superseded("a", digest("a", "one"))
    assert ledger.is_superseded("a", digest("a", "two"))


def test_what_was_deleted_or_renamed_is_superseded(ledger: Ledger) -> None:
    passed(ledger, 1, wrote("a"), wrote("b"))
    passed(ledger, 2, removed("a"), wrote("c", held_as="b"))
    assert ledger.is_superseded("a", digest("a"))
    assert ledger.is_superseded("b", digest("b"))
    assert not ledger.is_superseded("c", digest("c"))


@pytest.mark.parametrize("status", ["refused", "failed", "skipped"])
def test_what_was_signed_and_not_written_supersedes_nothing(ledger: Ledger, status: str) -> None:
    passed(ledger, 1, wrote("a", "one"))
    passed(ledger, 2, wrote("a", "two"), removed("a"), status=status)
    assert not ledger.is_superseded("a", digest("a", "one"))


def test_of_an_apply_that_was_interrupted_both_rows_may_be_there(ledger: Ledger) -> None:
    passed(ledger, 1, wrote("a", "one"))
    passed(ledger, 2, wrote("a", "two"), ends=False)
    assert not ledger.is_superseded("a", digest("a", "one"))
    assert not ledger.is_superseded("a", digest("a", "two"))
    passed(ledger, 3, wrote("a", "three"))
    assert ledger.is_superseded("a", digest("a", "one"))


def test_stores_that_share_a_file_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    with ExitStack() as undo:
        one, other, third = (
            undo.enter_context(closing(open_books(tmp_path / "x.db", f"https://{name}", create=True))).ledger
            for name in ("one", "other", "third")
        )
        passed(one, 1, wrote("a", "one"))
        passed(other, 2, wrote("a", "two"))
        assert not one.is_superseded("a", digest("a", "one"))
        assert one.head() == other.head()
        assert one.broken_at() == 0
        assert not third.has_entries()


def test_an_entry_says_what_was_signed_by_which_key(ledger: Ledger) -> None:
    passed(ledger, 7, wrote("a"))
    lines = list(ledger.lines())
    assert [entry for entry, _ in lines] == [
        LedgerEntry(1, NOW.isoformat(), 7, "", "signed", "a", "main@sha1:1", digest("a"), "key"),
        LedgerEntry(2, NOW.isoformat(), 7, "", "finished"),
    ]
    assert ledger.head() == Head(2, lines[-1][1])


def test_a_ledger_that_is_not_there_is_empty_and_stays_away(tmp_path: Path) -> None:
    with closing(open_books(tmp_path / "x.db", "", create=False)) as books:
        ledger = books.ledger
        assert (ledger.head(), ledger.has_entries(), ledger.broken_at()) == (Head(), False, 0)
        assert ledger.has(Head())
        assert ledger.is_cut_off(Head(1, "ab" * 32))
    assert not (tmp_path / "x.db").exists()


def test_every_page_of_a_long_ledger_is_checked(ledger: Ledger) -> None:
    passed(ledger, 1, *(wrote(f"g{number}") for number in range(10_050)))
    assert ledger.head().seq == 10_051
    assert ledger.broken_at() == 0


def lines(count: int) -> list[tuple[LedgerEntry, str]]:
    return list(chained(Head(), (LedgerEntry(n, "now", 1, "", "signed", f"g{n}") for n in range(1, count + 1))))


@given(st.integers(1, 20), st.data())
def test_the_first_entry_that_is_not_as_it_was_is_found(count: int, data: st.DataObject) -> None:
    written = lines(count)
    assert broken_at(written) == 0
    place = data.draw(st.integers(0, count - 1))
    entry, held = written[place]
    forged = data.draw(
        st.sampled_from([(entry._replace(name="x"), held), (entry._replace(key_id="x"), held), (entry, "0" * 64), None])
    )
    changed = [*written[:place], *([forged] if forged else []), *written[place + 1 :]]
    assert broken_at(changed) == (place + 1 if forged or place < count - 1 else 0)


@given(
    st.lists(
        st.builds(Past, st.sampled_from(["signed", "gone"]), st.integers(1, 3), st.sampled_from("abc"), st.booleans())
    )
)
def test_the_last_row_that_may_be_there_is_never_superseded(past: list[Past]) -> None:
    if past:
        assert not is_superseded(past, past[-1].digest)
