"""No input makes a reader crash, hang, read outside of the root, or say nothing while failing.

The oracles are those of the fuzzer; hypothesis knows better what people and tools write. What once failed is kept in
`regressions` and tried each time.
"""

from __future__ import annotations

import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest
from hostile_trees import Tree, check_tree, trees
from hypothesis import given, settings
from oracles import ORACLES, check_pem, check_yaml
from strategies import manifest_texts, pem_soups

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).parent
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


def repeated(head: bytes, piece: bytes, tail: bytes) -> bytes:
    """Return a head, a piece over and over, numbered if it has a place for that, and a tail: about `SIZE` bytes."""
    count = SIZE // len(piece)
    pieces = (piece % number for number in range(count)) if b"%d" in piece else [piece] * count
    return head + b"".join(pieces) + tail


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Fail if a hundred bytes are held for each byte that is read: a gigabyte, for the largest PEM file."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 100 * SIZE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parts", WORST_MANIFESTS.values(), ids=WORST_MANIFESTS)
def test_the_worst_manifest_is_answered_in_bounded_memory(parts: tuple[bytes, bytes, bytes]) -> None:
    data = repeated(*parts)
    with bounded_memory():
        check_yaml(data)


@pytest.mark.parametrize("parts", WORST_PEM.values(), ids=WORST_PEM)
def test_the_worst_pem_file_is_answered_in_bounded_memory(parts: tuple[bytes, bytes, bytes]) -> None:
    data = repeated(*parts)
    with bounded_memory():
        check_pem(data)


@settings(max_examples=100, deadline=None)
@given(manifest_texts)
def test_a_manifest_however_mutated_is_read_or_refused(text: str) -> None:
    check_yaml(text.encode())


@settings(max_examples=120, deadline=None)
@given(pem_soups)
def test_pem_soup_is_read_or_refused(soup: bytes) -> None:
    check_pem(soup)


@settings(max_examples=50, deadline=None)
@given(trees)
def test_a_hostile_tree_is_compiled_without_a_byte_from_outside(tree: Tree) -> None:
    with TemporaryDirectory() as top:
        check_tree(Path(top), tree)
