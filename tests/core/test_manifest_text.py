"""Values as YAML: whatever they are, every reader gets them back."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.core.manifest_text import ToFillIn, manifest_text
from reconciler.core.strict_yaml import read_yaml

ODD: Final = (
    *(
        "",
        " ",
        "NO",
        "y",
        "null",
        "~",
        "0755",
        "1e3",
        "12:30",
        "2026-01-01",
        ".inf",
        "- x",
        "? x",
        "a: b",
        "a:",
        "a #b",
    ),
    *("'", '"', "\\", "\\n", "%x", "@x", "`x", "{a}", "[a]", "&a", "*a", "!a", "|", ">", "<<", "---", "...", "# a"),
    *(" a", "a ", "a\n", "\na", "a\nb", "a\n\nb", "a\n b", " a\nb", "a \nb", "a\n\tb", "a\r\nb", "a\n---\nb", "a\n# b"),
    *("\0", "\x1b[31m", "\x85", "\xa0", "\u2028", "\ufeff", "\ufffe", "\U0001f511", "\U000e0001", "größe", "x" * 300),
)
texts = st.sampled_from(ODD) | st.text(max_size=60)
scalars = texts | st.booleans()
documents = st.dictionaries(
    st.sampled_from(("a", "bFrom", "reconciler/prune", "123", "no")),
    st.recursive(
        scalars,
        lambda below: (
            st.lists(scalars, max_size=4)
            | st.lists(st.dictionaries(st.sampled_from("ab"), scalars, min_size=1), min_size=1, max_size=3)
            | st.dictionaries(st.sampled_from(("a", "bFrom")), below, min_size=1)
        ),
        max_leaves=6,
    ),
    min_size=1,
)


def read(text: str) -> Any:
    file = read_yaml("a.yaml", text.encode())
    assert file.problems == (), text
    return file.documents[0].value


@given(documents)
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    text = manifest_text(document)
    # Equality alone would let `true` pass for `1`.
    assert json.dumps(read(text), sort_keys=True) == json.dumps(document, sort_keys=True)
    assert text.endswith("\n")
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ODD)
def test_an_odd_text_is_read_back_by_readers_of_yaml_1_1_as_well(text: str) -> None:
    written = manifest_text({"a": text, "b": [text], "cFrom": {"file": text}})
    expected = {"a": text, "b": [text], "cFrom": {"file": text}}
    assert read(written) == expected
    assert yaml.safe_load(written) == expected


@given(texts)
@example("a\nb")
def test_any_text_is_read_back_by_readers_of_yaml_1_1_as_well(text: str) -> None:
    assert yaml.safe_load(manifest_text({"a": text})) == {"a": text}


def test_a_text_of_several_lines_stands_as_its_lines() -> None:
    assert manifest_text({"a": {"b": "one:\n\n  two # three"}}) == "a:\n  b: |-\n    one:\n\n      two # three\n"


def test_what_is_to_fill_in_is_marked_on_its_line() -> None:
    document = {
        "username": ToFillIn("to-fill-in"),
        "passwordFrom": {"env": ToFillIn("A_PASSWORD")},
        "tokenFrom": {"env": "TOKEN"},
    }
    assert manifest_text(document).splitlines() == [
        "username: to-fill-in  # to fill in",
        "passwordFrom: {env: A_PASSWORD}  # to fill in",
        "tokenFrom: {env: TOKEN}",
    ]


def test_what_waits_is_marked_where_its_reference_is_too_long_for_one_line() -> None:
    text = manifest_text({"tokenFrom": {"env": ToFillIn("A" * 120)}})
    assert text == f"tokenFrom:\n  env: {'A' * 120}  # to fill in\n"


def test_a_list_that_is_too_long_for_its_line_has_a_line_for_each_item() -> None:
    many = [f"word-{number}" for number in range(20)]
    assert manifest_text({"tags": many[:2]}) == "tags: [word-0, word-1]\n"
    assert manifest_text({"tags": many}).splitlines()[:2] == ["tags:", "  - word-0"]


def test_a_comment_line_comes_first() -> None:
    assert manifest_text({"a": "b"}, modeline="yaml-language-server: x") == "# yaml-language-server: x\na: b\n"
