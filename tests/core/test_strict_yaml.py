"""Strict YAML: what it reads, what it refuses and where, and that nothing brings it down."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.strict_yaml import (
    DEPTH_LIMIT,
    DOCUMENT_LIMIT,
    PROBLEM_LIMIT,
    SIZE_LIMIT,
    escape,
    locate,
    read_yaml,
)

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
        ("9" * 30, "9" * 30), ("1e3", "1e3"), ("12e34567", "12e34567"), ("00", "00"), ("+7", 7), ("1.0e999", "1.0e999"),
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
        (b"? {a: b}\n: c\n", [("yaml-key", 1, 3)]),
        (b"a: 1\n*x : b\n", [("yaml-alias", 2, 1)]),
        (b"&x a: 1\n", [("yaml-alias", 1, 1)]),
        (b"a:\n\tb: 1\n", [("yaml-syntax", 2, 1)]),
        (b"a: [1,\n  2\nb: 3\n", [("yaml-syntax", 1, 4)]),
        (b"ok: 1\na: 'never closed\n", [("yaml-syntax", 2, 4)]),
        (b"a: b: c\n", [("yaml-syntax", 1, 5)]),
        ("é: \x01".encode(), [("yaml-syntax", 1, 4)]),
        (b"ok: 1\nx: caf\xe9\n", [("not-utf-8", 2, 7)]),
        ("é: é\n".encode() + b"\xff", [("not-utf-8", 2, 1)]),
        ("é: ".encode() + b"\xe9", [("not-utf-8", 1, 4)]),
        ("a: 1".encode("utf-16"), [("not-utf-8", 1, 1)]),
        ("a: 1".encode("utf-16-le"), [("not-utf-8", 1, 1)]),
        ("a: 1".encode("utf-16-be"), [("not-utf-8", 1, 1)]),
        (b"a: 1\nb: \x00\n", [("yaml-syntax", 2, 4)]),
        (b"\xef\xbb\xbfa: \x7f\n", [("yaml-syntax", 1, 4)]),
        (b"[" * 200_000, [("yaml-too-deep", 1, DEPTH_LIMIT + 1)]),
        (b"x" * (SIZE_LIMIT + 1), [("file-too-large", 1, 1)]),
        (b"--- a\n" * (DOCUMENT_LIMIT + 1), [("yaml-too-many-documents", DOCUMENT_LIMIT + 1, 1)]),
    ],
)
def test_what_is_refused_is_refused_at_its_place(data: bytes, expected: list[tuple[str, int, int]]) -> None:
    assert places(data) == expected


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("a:\n\tb: 1\n", "a tab stands where spaces belong", (2, 1)),
        ("a: |\n\t\tx\n", "a tab stands where spaces belong", (2, 1)),
        ("a: @x\n", "`@` cannot begin a value", (1, 4)),
        ("a: `x`\n", "``` cannot begin a value", (1, 4)),
        ("a: b: c\n", "`: ` cannot stand here", (1, 5)),
        ("a: ? b\n", "`? ` cannot stand here", (1, 4)),
        ("a: - b\n", "a list cannot begin on this line", (1, 4)),
        ("a: 1\nb\n", "a key without `:`", (3, 1)),
        ("a: 1\n- b\n", "this does not follow from what is before it", (2, 1)),
        ("- a\nb: 1\n", "this is neither a list item nor its end", (2, 1)),
        ("a: {b: 1\nc: 2\n", "a bracket that is not closed", (1, 4)),
        ("a: 'x\n", "a quote that is not closed", (1, 4)),
        ("a: 'x\n---\n", "a quote that is not closed", (1, 4)),
        ("a: |x\n b\n", "text after a block scalar's `|` or `>`", (1, 5)),
        ('a: "\\q"\n', "a backslash before a character it does not go with", (1, 5)),
        ('a: "\\xZZ"\n', "an escape without its hexadecimal digits", (1, 7)),
        ('a: "\\ud800"\n', "an escape of what is no character", (1, 7)),
        ("a: [b,,c]\n", "a value is missing, or a comma too many", (1, 7)),
        ("a: *\n", "`&` and `*` begin anchors and aliases", (1, 5)),
        ("a: !x!y b\n", "`!` begins a tag, and tags are refused", (1, 4)),
        ("  a: 1\n b: 2\n", "this does not belong to what is above it", (2, 2)),
        ("%x\n", "a line that begins with `%` is a directive", (1, 3)),
        ("%YAML 2.0\n---\na\n", "this asks for another version of YAML", (1, 1)),
    ],
)
def test_what_libyaml_says_becomes_what_a_person_understands(text: str, message: str, place: tuple[int, int]) -> None:
    (problem,) = read_yaml("f.yaml", text.encode()).problems
    assert (problem.code, problem.message) == ("yaml-syntax", message)
    assert (problem.location.line, problem.location.column) == place
    assert problem.fix


def test_a_document_that_was_not_read_to_its_end_is_not_judged() -> None:
    result = read_yaml("f.yaml", b"a: 1\n---\nb: 1\nc: [\n")
    assert [document.value for document in result.documents] == [{"a": 1}]
    assert [problem.code for problem in result.problems] == ["yaml-syntax"]


def test_of_two_equal_keys_the_last_is_read_and_no_third_problem_follows() -> None:
    result = read_yaml("f.yaml", b"a: {x: 1}\na: {y: 2}\n")
    assert [document.value for document in result.documents] == [{"a": {"y": 2}}]
    assert [problem.code for problem in result.problems] == ["duplicate-key"]
    assert locate("f.yaml", b"a: 1\na: 2\n", 0, "/a").line == 2


def test_another_encoding_is_named() -> None:
    assert "UTF-16" in read_yaml("f", "a: 1".encode("utf-16")).problems[0].message
    assert "in Latin-1 it would be `é`" in read_yaml("f", "a: é".encode("latin-1")).problems[0].message


@pytest.mark.parametrize(
    "text",
    [
        "token: hunter2: x\n",
        '"api_key": hunter2: x\n',
        "tokenfrom: hunter2: x\n",
        "tokenFrom: hunter2: x\n",
        "tokenFrom: {hunter2: [}\n",
        "spec: {auth: {token: hunter2, token: x}}\n",
        "url: 1\nurl: https://user:hunter2@example\n",
        "auth:\n    token: |\n     x\n   hunter2: b\n",
        "password:\n  hunter2\n hunter2: x: y\n",
        "a: |\n  -----BEGIN PRIVATE KEY-----\n" + "  QUJD\n" * 9 + " hunter2: b: c\n",
        "{" + "a: 1, " * 2000 + "token: hunter2}: x\n",
    ],
)
def test_a_line_on_which_a_secret_may_stand_is_not_shown(text: str) -> None:
    problems = read_yaml("f.yaml", text.encode()).problems
    assert problems
    assert "hunter2" not in repr(problems)


@pytest.mark.parametrize(
    "line",
    [
        "tokenFrom: {env: TOKEN}",
        "clientKeyFrom: {file: /run/key}",
        "tokenUrl: https://sso.example/token",
        "description: one that mentions tokens",
    ],
)
def test_a_line_that_only_refers_to_a_secret_is_shown(line: str) -> None:
    assert locate("f.yaml", f"{line}\n".encode(), 0, f"/{line.partition(':')[0]}", key=True).snippet == line


def test_without_libyaml_the_reader_says_so() -> None:
    script = (
        "import sys; sys.modules['yaml._yaml'] = None\n"
        "from reconciler.errors import InputError\n"
        "try:\n import reconciler.core.strict_yaml\n"
        "except InputError as error:\n print(error, '|', error.fix)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "built without libyaml" in said
    assert "wheel" in said


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
        (0, "/spec/tags/0", False, (2, 1, 4)),
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
        line = data.decode().splitlines()[where.line - 1]
        assert line[where.column - 1 :][: where.length] == json.dumps(key, ensure_ascii=False)


INDICATORS = tuple("ab1~[]{}#|>'\"\\\n\t\x00\x85\u2028\ufeffé")
WORDS = (
    *INDICATORS, "b: ", "- ", "? ", ": ", ", ", "&x ", "*x ", "!t ", "<<: ", "  ", "---\n", "...\n", "%YAML 1.2\n"
)  # fmt: skip


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from(WORDS), max_size=40).map(lambda words: "".join(words).encode())
)
def test_nothing_brings_it_down_and_every_place_is_inside_the_file(data: bytes) -> None:
    lines = [*data.decode(errors="replace").removeprefix("\ufeff").splitlines(), ""]
    result = read_yaml("f", data)
    for problem in result.problems:
        where = problem.location
        assert 1 <= where.line <= len(lines)
        assert 1 <= where.column <= len(lines[where.line - 1]) + 1
        assert where.snippet in ("", lines[where.line - 1])
        assert problem.fix
    json.dumps([document.value for document in result.documents], allow_nan=False)
    for index, document in enumerate(result.documents):
        assert locate("f", data, index, "").line == document.line
    locate("f", data, 0, "/a/b")


KIBIBYTE = 1024


@pytest.mark.parametrize(
    "data",
    [
        b"a: 1\n" * (200 * KIBIBYTE),
        b"{" + b"a," * (500 * KIBIBYTE) + b"}",
        b"- &a 1\n" * (140 * KIBIBYTE),
        b"[" + b"a," * (500 * KIBIBYTE) + b"]",
        b"a: " + b"x: " * (300 * KIBIBYTE),
        b"? " * (500 * KIBIBYTE),
    ],
    ids=["equal keys", "equal keys in one line", "anchors", "items", "one line", "keys"],
)
def test_a_hostile_megabyte_is_answered_with_a_bounded_number_of_problems(data: bytes) -> None:
    assert len(read_yaml("f", data).problems) <= PROBLEM_LIMIT + 1
    locate("f", data, 0, "/99999999")
