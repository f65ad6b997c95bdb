"""Strict YAML: what it reads, what it refuses and where, and that nothing brings it down."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.strict_yaml import DEPTH_LIMIT, DOCUMENT_LIMIT, SIZE_LIMIT, escape, locate, read_yaml

plain_text = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="\x85\ufeff"), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | plain_text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner, max_size=3), max_leaves=12
)


def read(text: str) -> list[object]:
    result = read_yaml("f.yaml", text.encode())
    assert result.problems == ()
    return [document.value for document in result.documents]


def places(data: bytes) -> list[tuple[str, int, int]]:
    return [(p.code, p.location.line, p.location.column) for p in read_yaml("f.yaml", data).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("yes", "yes"), ("on", "on"), ("0755", "0755"), ("0x1F", "0x1F"), ("12:30:45", "12:30:45"),
        ("2026-11-21", "2026-11-21"), ("1_000", "1_000"), (".inf", ".inf"), ("=", "="),
        ("true", True), ("False", False), ("~", None), ("", None), ("null", None),
        ("0", 0), ("-12", -12), ("1.50", 1.5), (".5", 0.5), ("1.0e3", 1000.0), ('"true"', "true"), ("'12'", "12"),
        ("9" * 30, "9" * 30),
    ],
)  # fmt: skip
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    (document,) = read(f"key: {text}\n")
    assert document == {"key": value}


@given(st.lists(values.filter(lambda value: value is not None), min_size=1, max_size=3))
def test_ordinary_documents_read_as_pyyaml_wrote_them(documents: list[object]) -> None:
    class Writer(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
            return True

    assert read(yaml.dump_all(documents, Dumper=Writer, allow_unicode=True)) == documents


@given(values.filter(lambda value: value is not None))
def test_json_reads_as_itself(value: object) -> None:
    assert read(json.dumps(value, ensure_ascii=False)) == [value]


def test_several_documents_are_read_and_empty_ones_are_left_out() -> None:
    result = read_yaml("f.yaml", b"# a comment\n\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n")
    assert [(document.value, document.line) for document in result.documents] == [({"a": 1}, 3), ({"b": 2}, 8)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", [("duplicate-key", 4, 3), ("duplicate-key", 5, 1)]),
        (b"a: &x 1\nb: *x\n", [("yaml-alias", 1, 4), ("yaml-alias", 2, 4)]),
        (b"<<: {a: 1}\n", [("yaml-alias", 1, 1)]),
        (b"a: !!python/object/apply:os.system [x]\n", [("yaml-tag", 1, 4)]),
        (b"a: !!str 1\nb: ! x\n", [("yaml-tag", 1, 4), ("yaml-tag", 2, 4)]),
        (b"1: a\ntrue: b\n", [("yaml-key", 1, 1), ("yaml-key", 2, 1)]),
        (b"[a, b]: c\n", [("yaml-key", 1, 1)]),
        (b"a:\n\tb: 1\n", [("yaml-syntax", 2, 1)]),
        (b"a: [1,\n  2\nb: 3\n", [("yaml-syntax", 1, 4)]),
        (b"ok: 1\na: 'never closed\n", [("yaml-syntax", 2, 4)]),
        (b"a: b: c\n", [("yaml-syntax", 1, 5)]),
        ("é: \x01".encode(), [("yaml-syntax", 1, 4)]),
        (b"ok: 1\nx: caf\xe9\n", [("not-utf-8", 2, 7)]),
        ("a: 1".encode("utf-16"), [("not-utf-8", 1, 1)]),
        (b"[" * 200_000, [("yaml-too-deep", 1, DEPTH_LIMIT + 1)]),
        (b"x" * (SIZE_LIMIT + 1), [("file-too-large", 1, 1)]),
        (b"--- a\n" * (DOCUMENT_LIMIT + 1), [("yaml-too-many-documents", DOCUMENT_LIMIT + 1, 5)]),
    ],
)
def test_what_is_refused_is_refused_at_its_place(data: bytes, expected: list[tuple[str, int, int]]) -> None:
    assert places(data) == expected


def test_an_alias_bomb_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    assert {code for code, _, _ in places("\n".join(lines).encode())} == {"yaml-alias"}


def test_a_byte_order_mark_is_no_character() -> None:
    assert read_yaml("f", b"\xef\xbb\xbfa: 1\n").documents[0].value == {"a": 1}
    assert places(b"\xef\xbb\xbfa: 1\na: 2\n") == [("duplicate-key", 2, 1)]


def test_a_problem_shows_its_line_and_underlines_the_word() -> None:
    (problem,) = read_yaml("f.yaml", b"url: x\nurl: y\n").problems
    assert (problem.location.snippet, problem.location.column, problem.location.length) == ("url: y", 1, 3)


DOCUMENT = b"# c\nspec:\n  url: http://x\n  a/b: {t~: [q, 'ww']}\n---\nspec: {tags: [q]}\n"


@pytest.mark.parametrize(
    ("document", "pointer", "key", "place"),
    [
        (0, "/spec/url", False, (3, 8, 8)),
        (0, "/spec/url", True, (3, 3, 3)),
        (0, "/spec", False, (2, 1, 4)),
        (0, "/spec/a~1b/t~0/1", False, (4, 17, 4)),
        (1, "/spec/tags/0", False, (6, 15, 1)),
        (0, "/spec/missing/deeper", False, (2, 1, 4)),
        (0, "", False, (2, 1, 1)),
        (7, "/spec", False, (1, 1, 1)),
    ],
)
def test_a_pointer_is_located(document: int, pointer: str, place: tuple[int, int, int], *, key: bool) -> None:
    where = locate("f.yaml", DOCUMENT, document, pointer, key=key)
    assert (where.line, where.column, where.length) == place
    assert where.pointer == pointer


@given(values.filter(lambda value: isinstance(value, dict) and value != {}))
def test_every_pointer_into_a_document_leads_to_its_own_line(value: dict[str, object]) -> None:
    data = json.dumps(value, indent=1, ensure_ascii=False).encode()
    for key in value:
        where = locate("f", data, 0, f"/{escape(key)}", key=True)
        assert json.dumps(key, ensure_ascii=False) in where.snippet


@given(
    st.binary(max_size=300) | st.text(alphabet="ab:-[]{}&*!#|>'\"\n\t ?,.%@`~<0\ufeff", max_size=200).map(str.encode)
)
def test_nothing_brings_it_down_and_every_place_is_inside_the_file(data: bytes) -> None:
    lines = len(data.decode(errors="replace").splitlines()) + 1
    for problem in read_yaml("f", data).problems:
        assert 1 <= problem.location.line <= lines
        assert problem.location.column >= 1
        assert problem.fix
    locate("f", data, 0, "/a/b")
