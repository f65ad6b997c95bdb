"""The event stream decoder follows the WHATWG rules, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.sse import Decoder, Event
from reconciler.errors import ReconcilerError


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        ("data: a\n\n", [Event("message", "a")]),
        ("data:a\r\rdata:b\r\n\r\n", [Event("message", "a"), Event("message", "b")]),
        ("data: a\ndata:  b\ndata\n\n", [Event("message", "a\n b\n")]),
        ("event: endpoint\ndata: /messages\n\n", [Event("endpoint", "/messages")]),
        ("event: x\n\ndata: a\n\n", [Event("message", "a")]),
        (": a comment\n\n:\ndata: a\n\n", [Event("message", "a")]),
        ("id: 7\ndata: a\n\ndata: b\n\n", [Event("message", "a", "7"), Event("message", "b", "7")]),
        ("id: 7\ndata: a\n\nid\ndata: b\n\n", [Event("message", "a", "7"), Event("message", "b", "")]),
        ("id: a\0b\ndata: a\n\n", [Event("message", "a")]),
        ("retry: 10\nunknown: x\ndata: a\n\n", [Event("message", "a")]),
        ("\ufeffdata: a\n\n", [Event("message", "a")]),
        ("data: \ufeffa\n\n", [Event("message", "\ufeffa")]),
        ("data: ünïcödé 🔑\n\n", [Event("message", "ünïcödé 🔑")]),
        ("data: unfinished\n", []),
        ("data: unfinished", []),
        ("", []),
    ],
)
def test_a_stream_gives_its_events(stream: str, events: list[Event]) -> None:
    assert Decoder().feed(stream.encode()) == events


def test_a_priming_event_is_an_event_with_empty_data() -> None:
    assert Decoder().feed(b"id: 1\ndata: \n\n") == [Event("message", "", "1")]


def test_an_id_without_data_is_no_event() -> None:
    assert Decoder().feed(b"id: 1\n\n") == []


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    assert Decoder().feed(b"data: \xff\n\n") == [Event("message", "\N{REPLACEMENT CHARACTER}")]


def test_an_event_that_ends_in_carriage_returns_does_not_wait_for_more() -> None:
    assert Decoder().feed(b"data: a\r\r") == [Event("message", "a")]


@given(
    lines=st.lists(st.sampled_from(["data: a", "data: é€🔑", "event: x", "id: 1", ": c", "", "", "data"]), max_size=20),
    ends=st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=20, max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=10),
)
def test_the_events_do_not_depend_on_where_the_bytes_are_cut(
    lines: list[str], ends: list[str], cuts: list[int]
) -> None:
    stream = "".join(line + end for line, end in zip(lines, ends, strict=False)).encode()
    whole = Decoder().feed(stream)
    decoder, pieces = Decoder(), sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [decoder.feed(stream[start:end]) for start, end in pairwise(pieces)]
    assert [event for part in parts for event in part] == whole


@given(st.binary(max_size=500))
def test_no_bytes_at_all_can_break_it(stream: bytes) -> None:
    Decoder().feed(stream)


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20, b":" * 200])
def test_an_event_over_the_limit_is_refused(stream: bytes) -> None:
    decoder = Decoder(limit=100)
    with pytest.raises(ReconcilerError, match="larger than 100"):
        list(map(decoder.feed, (bytes([byte]) for byte in stream)))


def test_the_limit_is_for_one_event_not_for_the_stream() -> None:
    decoder = Decoder(limit=100)
    assert sum(len(decoder.feed(b"data: 0123456789\n\n")) for _ in range(100)) == 100
    assert len(decoder.feed(b"data: 0123456789\n\n" * 100)) == 100
