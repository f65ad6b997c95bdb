"""Whatever a store held comes back from its pre-image as it was, and what is none is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import gateways, texts

from reconciler.core.canonical import digest, document, text_digest
from reconciler.core.history import mark_held, mark_written, preimage, preimage_document
from reconciler.core.model import (
    Action,
    Auth,
    Change,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    Reason,
    SecretReference,
    Stamp,
    Transport,
)

UNKNOWN: Any = st.text(max_size=10).map(lambda found: f"unknown:{found}")
ODD_REFERENCES: Any = UNKNOWN.map(lambda found: SecretReference("unknown", found))  # type: ignore[arg-type]
ODD_AUTHS = st.builds(Auth, UNKNOWN, st.just((("z", "1"), ("a", "2"))), st.just(()))
ODD = st.builds(
    replace,
    gateways,
    transport=UNKNOWN,
    enabled=UNKNOWN | st.booleans(),
    visibility=UNKNOWN,
    tags=UNKNOWN.map(lambda found: (found, "b", "a")),
    system_trust=UNKNOWN | st.booleans(),
    client_key=ODD_REFERENCES | st.none(),
    auth=ODD_AUTHS,
    kuadrant=UNKNOWN.map(lambda found: KuadrantOptions(hint=found)),
)
STAMPS = st.builds(Stamp, texts, texts, texts, texts, st.booleans() | UNKNOWN)
ROWS = st.builds(LiveGateway, gateways | ODD, texts, st.none() | STAMPS, texts)
ROW = LiveGateway(
    Gateway("a", "https://a.example/mcp", Transport.SSE, ca_certificate="PEM"),
    "5f",
    Stamp("me", "a.yaml", "main@sha1:1111", "sha256:0", protected=True),
    "token",
)


def written_down(row: LiveGateway) -> Any:
    """Return the document as it is read back from a file."""
    return json.loads(json.dumps(preimage_document(row)))


def pem_texts(row: LiveGateway) -> dict[str, str]:
    return {text_digest(text): text for text in (row.gateway.ca_certificate, row.gateway.client_certificate)}


@given(ROWS)
def test_every_row_that_a_store_can_show_comes_back_as_it_was(row: LiveGateway) -> None:
    assert preimage(written_down(row), pem_texts(row)) == row


def test_a_preimage_holds_no_pem_text() -> None:
    assert "PEM" not in json.dumps(preimage_document(ROW))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else ()
    return [path] * bool(path) + [place for key, below in items for place in places(below, (*path, key))]


ODD_VALUES: tuple[Any, ...] = (7, 1.5, [[]], ["a", 1], {"": {}}, {"env": 5})
PLACES = [path for path in places(written_down(ROW)) if path != ("record",)]


def test_a_preimage_of_before_rows_were_signed_has_no_record() -> None:
    content = written_down(ROW)
    del content["record"]
    assert preimage(content, pem_texts(ROW)) == replace(ROW, record="")


@pytest.mark.parametrize("path", PLACES, ids=".".join)
def test_a_preimage_that_lacks_something_is_none(path: tuple[str, ...]) -> None:
    content = written_down(ROW)
    *parents, key = path
    held = content
    for parent in parents:
        held = held[parent]
    del held[key]
    with pytest.raises(ValueError, match="not a pre-image"):
        preimage(content, pem_texts(ROW))


@pytest.mark.parametrize("path", PLACES, ids=".".join)
def test_a_preimage_that_holds_something_else_is_none(path: tuple[str, ...]) -> None:
    for odd in ODD_VALUES:
        content = written_down(ROW)
        *parents, key = path
        held = content
        for parent in parents:
            held = held[parent]
        held[key] = odd
        with pytest.raises(ValueError, match="not a pre-image"):
            preimage(content, pem_texts(ROW))


@pytest.mark.parametrize("content", [None, 7, "row", [], {}, {"gateway": []}, {"auth": {"secrets": {"a": None}}}])
def test_what_is_no_preimage_at_all_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="not a pre-image"):
        preimage(content, {})


def test_a_secret_that_refers_to_nothing_is_refused() -> None:
    content = written_down(ROW)
    content["gateway"]["auth"]["secrets"] = {"token": None}
    with pytest.raises(ValueError, match="a reference is missing"):
        preimage(content, pem_texts(ROW))


def test_a_text_that_was_not_kept_is_missed() -> None:
    with pytest.raises(ValueError, match="not a pre-image"):
        preimage(written_down(ROW), {})


def change(row: LiveGateway) -> Change:
    return Change(Action.UPDATE, row.gateway.name, Reason.DRIFT, ROW, row.gateway, row.signature, row.stamp)


@given(ROWS, texts)
def test_a_row_as_it_was_written_has_the_mark_of_the_change_that_wrote_it(row: LiveGateway, token: str) -> None:
    stamp = replace(row.stamp, digest=digest(document(row.gateway))) if row.stamp is not None else None
    written = replace(row, stamp=stamp)
    assert mark_written(change(written)) == mark_held(replace(written, token=token))


def test_the_mark_moves_with_content_signature_and_owner_and_not_with_the_revision() -> None:
    stamp = ROW.stamp
    assert stamp is not None
    others = [
        replace(ROW, gateway=replace(ROW.gateway, description="x")),
        replace(ROW, gateway=replace(ROW.gateway, ca_certificate="OTHER")),
        replace(ROW, signature=""),
        replace(ROW, stamp=None),
        replace(ROW, stamp=replace(stamp, owner="you")),
        replace(ROW, stamp=replace(stamp, protected=False)),
    ]
    assert len({mark_held(each) for each in (ROW, *others)}) == 7
    assert mark_held(replace(ROW, stamp=replace(stamp, revision="later", manifest="b.yaml"))) == mark_held(ROW)


def test_a_delete_leaves_no_mark() -> None:
    assert mark_written(Change(Action.DELETE, "a", Reason.REMOVED_FROM_GIT, ROW)) == ""
