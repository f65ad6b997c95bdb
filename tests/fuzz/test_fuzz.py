"""No input makes a reader crash, hang, read outside of the root, or say nothing while failing.

The oracles are those of the fuzzer; hypothesis knows better what people and tools write. What once failed is kept in
`regressions` and tried each time.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest
from hostile_trees import Tree, check_tree, trees
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import ORACLES, check_lock, check_pem, check_tool, check_yaml
from strategies import manifest_texts, pem_soups

if TYPE_CHECKING:
    from collections.abc import Callable

INTERNED_WORDS: Final = 4 * 1024 * 1024
"""What the interpreter's own table of words takes, when it happens to double in between."""

HERE: Final = Path(__file__).parent
ANY_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
KEPT: Final = sorted(path for path in HERE.glob("*/*/*") if path.parent.name in ORACLES)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: "/".join(path.parts[-3:]))
def test_what_is_kept_is_read_or_refused(path: Path) -> None:
    ORACLES[path.parent.name](path.read_bytes())


GATEWAY: Final = b"apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: x}\nspec:\n  url: https://x.example/\n"
SIZE: Final = 32 * 1024
WORST_MANIFESTS: Final = {
    "fields": (GATEWAY, b"  transpor%d: sse\n", b""),
    "items": (GATEWAY + b"  tls: {caCertificates: [", b"a%d.pem,", b"]}\n"),
    "labels": (b"apiVersion: reconciler/v1\nkind: Gateway\nmetadata: {name: x, labels: {", b"l%d: v,", b"}}\n"),
    "documents": (b"", b"--- {apiVersion: reconciler/v1, kind: Gateway, spec: {}}\n", b""),
    "a nest": (GATEWAY + b"  tls: ", b"{a: ", b""),
    "a long line": (b"a: 1\na: 2\n" + GATEWAY.rstrip(b"/\n"), b":a.", b"\n"),
    "private keys": (b"# ", b"-----BEGIN PRIVATE KEY-----", b""),
    "nearly private keys": (b"# PRIVATE KEY-----", b"-----BEGIN A A A ", b""),
}
WORST_PEM: Final = {
    "lines": (b"", b"a\n", b""),
    "beginnings": (b"", b"-----BEGIN CERTIFICATE-----\n", b""),
    "ends": (b"", b"-----END CERTIFICATE-----\n", b""),
    "beginnings in one line": (b"", b"-----BEGIN ", b""),
    "nearly markers": (b"", b"--BEGIN ", b""),
    "one long block": (b"-----BEGIN CERTIFICATE-----\n", b"MIIBAAAA\n", b"-----END CERTIFICATE-----\n"),
    "headers": (b"-----BEGIN CERTIFICATE-----\n", b"a: b\n", b"-----END CERTIFICATE-----\n"),
    "empty blocks": (b"", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", b""),
    "private keys": (b"", b"-----BEGIN PRIVATE KEY-----\n", b""),
    "conflicts": (b"", b"<<<<<<< %d\n", b""),
    "encoded lines": (b"", b"MI" + b"A" * 62 + b"\n", b""),
    "spaces": (b"x", b" \t", b"x"),
    "a long label": (b"-----BEGIN ", b"A ", b"B-----\n"),
    "PuTTY": (b"", b"PuTTY-User-Key-File-", b""),
}


LOCK: Final = b'{"apiVersion":"reconciler/v1","kind":"ToolsLock","tools":['
LONG_KEY: Final = b'{"name":"a","' + b"k" * (SIZE // 2) + b'":['
WORST_LOCKS: Final = {
    "tools": (LOCK, b'{"name":"a","definition":0},', b"0]}"),
    "names": (LOCK, b'{"name":"a","definition":{"name":"a","title":"%d"}},', b"0]}"),
    "a nest": (LOCK, b"[", b"]"),
    "a nest of objects": (LOCK, b'{"a":', b"1"),
    "keys": (LOCK + b"{", b'"k%d":0,', b'"k":0}]}'),
    "a long number": (LOCK, b"9", b"]}"),
    "escapes": (LOCK + b'"', b"\\ud800", b'"]}'),
    "nothing": (b"", b" ", b""),
}
WORST_TOOLS: Final = {
    "texts below a long key": (LONG_KEY, b'"",', b'""]}'),
    "objects below a long key": (LONG_KEY, b'{"a":"b"},', b"{}]}"),
    "hidden characters": (b'{"name":"a","description":"', b"\\u200b", b'"}'),
    "orders": (b'{"name":"a","description":"', b"ignore previous ", b'"}'),
    "nearly orders": (b'{"name":"a","description":"', b"send send ", b'"}'),
    "lookalikes": (b'{"name":"a","description":"', "\u0391pple ".encode(), b'"}'),
    "blobs": (b'{"name":"a","description":"', b"A1b/" * 20 + b" ", b'"}'),
    "comments": (b'{"name":"a","description":"', b"<!--", b'"}'),
    "keys": (b'{"name":"a","x":{', '"é%d":"",'.encode(), b'"k":0}}'),
    "a nest": (b'{"name":"a","x":' + b"[" * 300, b"0,", b"0" + b"]" * 300 + b"}"),
}


def repeated(head: bytes, piece: bytes, tail: bytes, size: int = SIZE) -> bytes:
    """Return a head, a piece over and over, numbered if it has a place for that, and a tail: about `size` bytes."""
    count = size // len(piece)
    pieces = (piece % number for number in range(count)) if b"%d" in piece else [piece] * count
    return head + b"".join(pieces) + tail


def check_in_bounded_memory(check: Callable[[bytes], object], parts: tuple[bytes, bytes, bytes]) -> None:
    """Fail if 120 bytes are held for each byte that is read: little more than a gigabyte, for the largest PEM file."""
    check(repeated(*parts, size=SIZE // 64))  # what is loaded once is not counted
    data = repeated(*parts)
    gc.collect()
    tracemalloc.start()
    try:
        check(data)
        assert tracemalloc.get_traced_memory()[1] < 120 * SIZE + INTERNED_WORDS
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parts", WORST_MANIFESTS.values(), ids=WORST_MANIFESTS)
def test_the_worst_manifest_is_answered_in_bounded_memory(parts: tuple[bytes, bytes, bytes]) -> None:
    check_in_bounded_memory(check_yaml, parts)


@pytest.mark.parametrize("parts", WORST_PEM.values(), ids=WORST_PEM)
def test_the_worst_pem_file_is_answered_in_bounded_memory(parts: tuple[bytes, bytes, bytes]) -> None:
    check_in_bounded_memory(check_pem, parts)


@pytest.mark.parametrize("parts", WORST_LOCKS.values(), ids=WORST_LOCKS)
def test_the_worst_tools_lock_is_answered_in_bounded_memory(parts: tuple[bytes, bytes, bytes]) -> None:
    check_in_bounded_memory(check_lock, parts)


@pytest.mark.parametrize("parts", WORST_TOOLS.values(), ids=WORST_TOOLS)
def test_the_worst_tool_is_looked_through_in_bounded_memory(parts: tuple[bytes, bytes, bytes]) -> None:
    check_in_bounded_memory(check_tool, parts)


@settings(max_examples=100, deadline=None)
@given(manifest_texts)
def test_a_manifest_however_mutated_is_read_or_refused(text: str) -> None:
    check_yaml(text.encode())


@settings(max_examples=120, deadline=None)
@given(pem_soups)
def test_pem_soup_is_read_or_refused(soup: bytes) -> None:
    check_pem(soup)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=9), ANY_JSON, max_size=4), st.text(max_size=9))
def test_a_tool_of_any_definition_is_locked_and_found_again(definition: dict[str, object], name: str) -> None:
    check_tool(json.dumps({**definition, "name": name}).encode())


@settings(max_examples=100, deadline=None)
@given(ANY_JSON)
def test_a_lock_of_any_json_is_read_or_refused(document: object) -> None:
    check_lock(json.dumps(document).encode())


@settings(max_examples=50, deadline=None)
@given(trees)
def test_a_hostile_tree_is_compiled_without_a_byte_from_outside(tree: Tree) -> None:
    with TemporaryDirectory() as top:
        check_tree(Path(top), tree)
