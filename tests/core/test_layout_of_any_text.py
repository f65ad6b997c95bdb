"""Whatever an author writes: formatting keeps its values, its comments and the order that is the author's."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.core.key_order import FREE, KeyOrder, key_order
from reconciler.core.layout import format_manifests
from reconciler.core.strict_yaml import read_yaml
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

Choice = TypeVar("Choice")
ORDERS: Final = {kind: key_order(json.loads(text)) for kind, text in load_schemas().texts.items()}
COMMENT: Final = re.compile(r"#[ \t]?c\d+c")
PLAIN: Final = ("a", "x y", "12", "0755", "true", "~", "a#b", "http://a.example/?b=c", "-1", "größe", "a:b")
QUOTED: Final = ('""', "''", '"a, b: {c} # d"', "'it''s'", '"\\t\\u00e9\\"\\\\"', "'😀'")
KEYS: Final = (
    *("url", "transport", "tags", "tls", "verify", "auth", "description", "mode", "type", "headers", "metadata"),
    *("spec", "labels", "name", "valueFrom", "zebra", "on", '"quoted key"', "'ant'"),
)


class Author:
    """Writes YAML as people do: each in a way of their own, with a comment wherever one fits."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw
        self.comments = 0

    def pick(self, *choices: Choice) -> Choice:
        return self.draw(st.sampled_from(choices))

    def comment(self) -> str:
        self.comments += 1
        return self.pick("# ", "#", "#\t") + f"c{self.comments}c"

    def beside(self) -> str:
        return self.pick(" ", "     ") + self.comment() if self.pick(0, 0, 0, 1) else self.pick("", "", " ")

    def above(self, indent: int) -> list[str]:
        count = self.pick(0, 0, 0, 1, 2)
        column = self.pick(indent, indent, 0, max(indent - 2, 0), indent + 1)
        return [self.pick("", "  ", " " * column + self.comment()) for _ in range(count)]

    def keys(self) -> list[str]:
        return self.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True))

    def mapping(self, indent: int, depth: int, keys: list[str]) -> list[str]:
        lines = []
        for key in keys:
            explicit = f"? {key}{self.beside()}\n{' ' * indent}:"
            start = " " * indent + self.pick(f"{key}:", f"{key}:", f"{key} :", explicit)
            lines += [*self.above(indent), *self.value(start, indent, depth)]
        return lines

    def items(self, indent: int, depth: int) -> list[str]:
        lines = []
        for _ in range(self.pick(1, 2, 3)):
            start = " " * indent + "-"
            lines += self.above(indent)
            if depth and self.pick(0, 1):
                lines += self.compact(start, depth)
            else:
                lines += self.value(start, indent, depth)
        return lines

    def compact(self, start: str, depth: int) -> list[str]:
        gap = self.pick(" ", "   ")
        indent = len(start + gap)
        lines = self.mapping(indent, depth - 1, self.keys())
        if lines[0].lstrip()[:1] in ("", "#"):
            return [start, *lines]
        return [start + gap + lines[0][indent:], *lines[1:]]

    def value(self, start: str, indent: int, depth: int) -> list[str]:
        kinds = [self.scalar, self.scalar, self.flow, self.over_lines, self.block_text]
        if depth and self.pick(0, 1):
            return self.block(start, indent, depth)
        return [start + self.pick(*kinds)(indent)]

    def block(self, start: str, indent: int, depth: int) -> list[str]:
        deeper = indent + self.pick(1, 2, 4)
        if self.pick(0, 1):
            lines = self.mapping(deeper, depth - 1, self.keys())
        else:
            lines = self.items(self.pick(indent, deeper) if start.endswith(":") else deeper, depth - 1)
        return [start + self.beside(), *lines]

    def scalar(self, indent: int) -> str:
        text = self.pick("", *PLAIN, *QUOTED)
        before = self.pick(" ", "  ", f"{self.beside()}\n{' ' * (indent + 1)}") if text else ""
        return f"{before}{text}{self.beside()}"

    def flow(self, indent: int) -> str:
        return f" {self.collection(indent + 1, self.pick(0, 1, 2))}{self.beside()}"

    def collection(self, indent: int, depth: int) -> str:
        def gap() -> str:
            return self.pick("", "", " ", " ", f"{self.beside()}\n{' ' * indent}")

        def value() -> str:
            return self.collection(indent, depth - 1) if depth else self.pick(*PLAIN, *QUOTED)

        if self.pick(0, 1):
            items = [f"{gap()}{value()}{gap()}" for _ in range(self.pick(0, 1, 2, 9))]
            return f"[{','.join(items)}{gap()}]"
        pairs = [f"{gap()}{key}:{gap() or ' '}{value()}{gap()}" for key in self.keys()]
        return f"{{{','.join(pairs)}{self.pick('', ',')}{gap()}}}"

    def over_lines(self, indent: int) -> str:
        quote = self.pick("", "'", '"')
        words = [self.pick("a", "é 😀", "it''s" if quote == "'" else "b", "c:d") for _ in range(self.pick(2, 3, 4))]
        margin = " " * (indent + self.pick(1, 2, 5))
        breaks = [self.pick(f"\n{margin}", f"\n\n{margin}", f" \n \n{margin}", " ") for _ in words]
        return f" {quote}{''.join(w + b for w, b in zip(words, breaks, strict=True)).rstrip()}{quote}{self.beside()}"

    def block_text(self, indent: int) -> str:
        step = self.pick(1, 2, 4)
        lines = [
            self.pick("", " ", "a", "b # c", "  deeper", "\tc", "- d", "e: f") for _ in range(self.pick(0, 1, 2, 4))
        ]
        indicator = str(step) if self.pick(0, 1) or any(line[:1] in (" ", "\t") for line in lines) else ""
        header = self.pick("|", ">") + indicator + self.pick("", "-", "+") + self.beside()
        return "\n".join([f" {header}", *(" " * (indent + step) + line if line else "" for line in lines)])

    def manifest(self) -> list[str]:
        keys = ["kind: Gateway", "apiVersion: reconciler/v1", *self.keys()]
        lines = []
        for key in self.draw(st.permutations(keys)):
            is_given = ": " in key
            lines += self.above(0)
            lines += [key + self.beside()] if is_given else self.value(f"{key}:", 0, 3)
        return [*lines, *self.above(0)]

    def file(self) -> str:
        lines = [*self.above(0), *self.pick([], [f"---{self.beside()}"])]
        lines += self.manifest()
        for _ in range(self.pick(0, 0, 1)):
            ending = self.pick([], [], [f"...{self.beside()}"])
            lines += [*ending, f"---{self.beside()}", *self.pick(["a:   1", *self.above(0)], self.manifest())]
        return "\n".join(lines) + self.pick("\n", "\n\n", "")


@st.composite
def files(draw: DrawFn) -> str:
    return Author(draw).file()


@given(files(), st.sampled_from(("\n", "\n", "\r\n")), st.sampled_from(("", "\ufeff")))
def test_whatever_an_author_writes_keeps_its_meaning_and_its_comments(text: str, line_end: str, mark: str) -> None:
    given = (mark + text.replace("\n", line_end)).encode()
    before = read_yaml("", given)
    assume(not before.problems)
    found = format_manifests("", given, ORDERS)
    assert found.problems == ()
    assert format_manifests("", found.data, ORDERS).data == found.data
    after = read_yaml("", found.data)
    assert after.problems == ()
    assert sorted(COMMENT.findall(found.data.decode())) == sorted(COMMENT.findall(text))
    for old, new in zip(before.documents, after.documents, strict=True):
        assert json.dumps(new.value, sort_keys=True) == json.dumps(old.value, sort_keys=True)
        assert in_order(old.value, new.value, ORDERS["Gateway"] if "kind" in new.value else FREE)


def in_order(old: Any, new: Any, order: KeyOrder) -> bool:
    """Return whether known keys are in the order of the schema, and all others in that of the author."""
    if isinstance(new, list):
        return all(in_order(a, b, order.items or FREE) for a, b in zip(old, new, strict=True))
    if not isinstance(new, dict):
        return True
    expected = [*(key for key in order.keys if key in old), *(key for key in old if key not in order.keys)]
    return list(new) == expected and all(in_order(old[key], new[key], order.keys.get(key, FREE)) for key in new)
