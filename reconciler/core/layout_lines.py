"""A tree -> its lines in the one layout: keys in order, two spaces deeper each level, comments with their owners.

What was written in block style stays so. What was written in flow style stays so as long as it fits on its line and
holds no comment. A scalar on one line is copied as it stands; one over several lines is indented anew and read back,
and where it would not say the same it is written in double quotes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from yaml._yaml import CParser
from yaml.error import YAMLError

from reconciler.core.key_order import FREE
from reconciler.core.layout_tree import Collection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.core.key_order import KeyOrder
    from reconciler.core.layout_tree import Comment, Document, Entry, Scalar

LINE_LIMIT: Final = 100
"""Characters that a flow collection may reach on its line; a comment beside it does not count."""

_STEP: Final = 2
_UNPRINTABLE: Final = re.compile("[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def document_lines(document: Document, order: KeyOrder) -> list[str]:
    """Return the lines of a document whose root is a mapping."""
    root, beside = document.root, [comment.text for comment in document.root.beside]
    lines = _comments(document.prologue, 0)
    if document.marked:
        lines.append("  ".join(["---", *beside[:1]]))
        beside = beside[1:]
    head = [*_comments(root.above, 0), *beside, *_comments(document.head, 0)]
    _extend(lines, head)
    if document.gap and head:
        _extend(lines, [""])
    _extend(lines, _block(cast("Collection", root.value), 0, order))
    _extend(lines, _comments(document.foot, 0))
    return lines


def _block(collection: Collection, indent: int, order: KeyOrder) -> list[str]:
    lines: list[str] = []
    for entry, below in _arranged(collection, order):
        _extend(lines, _comments(entry.above, indent))
        if entry.blank:
            _extend(lines, [""])
        _extend(lines, _entry(entry, indent, below))
        _extend(lines, _comments(entry.below, indent + _STEP))
    _extend(lines, _comments(collection.foot, indent))
    return lines


def _arranged(collection: Collection, order: KeyOrder) -> list[tuple[Entry, KeyOrder]]:
    """Return the entries in their order, each with the order below it. Unknown keys follow those that are known."""
    if not collection.is_mapping:
        return [(entry, order.items or FREE) for entry in collection.entries]
    ranks = {key: rank for rank, key in enumerate(order.keys)}
    pairs = [(_name(entry), entry) for entry in collection.entries]
    pairs.sort(key=lambda pair: ranks.get(pair[0], len(ranks)))
    return [(entry, order.keys.get(name, FREE)) for name, entry in pairs]


def _name(entry: Entry) -> str:
    return entry.key.value if entry.key is not None else ""


def _extend(lines: list[str], more: list[str]) -> None:
    """Add lines, but no empty one at the top or after another."""
    skipped = more[:1] == [""] and (not lines or not lines[-1])
    lines += more[1:] if skipped else more


def _comments(comments: Iterable[Comment], indent: int) -> list[str]:
    lines: list[str] = []
    for comment in comments:
        if comment.blank:
            lines.append("")
        lines.append(" " * indent + comment.text)
    return lines


def _entry(entry: Entry, indent: int, order: KeyOrder) -> list[str]:
    """Return the lines of an entry. One comment stands beside it, others above."""
    margin, value = " " * indent, entry.value
    above = [margin + comment.text for comment in entry.beside]
    beside = f"  {above.pop().lstrip()}" if above else ""
    start = f"{margin}{_key(entry.key)}:" if entry.key is not None else f"{margin}-"
    if not isinstance(value, Collection):
        return above + _scalar(start, value, beside, indent)
    flat = _flat(value, order, LINE_LIMIT - len(start) - 1)
    if flat is not None:
        return [*above, f"{start} {flat}{beside}"]
    lines = _block(value, indent + _STEP, order)
    if entry.key is not None:
        return [*above, start + beside, *lines]
    return [*_comments(entry.beside, indent), *_dashed(lines, indent)]


def _dashed(lines: list[str], indent: int) -> list[str]:
    """Put a dash before the first entry of a collection, and the comments above that entry above the dash."""
    first = next(number for number, line in enumerate(lines) if line.lstrip()[:1] not in ("", "#"))
    above = [line[_STEP:] for line in lines[:first]]
    return [*above, f"{' ' * indent}- {lines[first][indent + _STEP :]}", *lines[first + 1 :]]


def _flat(collection: Collection, order: KeyOrder, room: int) -> str | None:
    """Return a flow collection on one line of at most `room` characters, or None. Nothing is looked at past those."""
    if not collection.entries:
        return "{}" if collection.is_mapping else "[]"
    if not collection.is_flow or collection.foot or len(collection.entries) > room:
        return None
    parts: list[str] = []
    left = room
    for entry, below in _arranged(collection, order):
        part = _flat_entry(entry, below, left)
        if part is None or len(part) > left:
            return None
        left -= len(part) + len(", ")
        parts.append(part)
    inside = ", ".join(parts)
    text = f"{{{inside}}}" if collection.is_mapping else f"[{inside}]"
    return text if len(text) <= room else None


def _flat_entry(entry: Entry, order: KeyOrder, room: int) -> str | None:
    if entry.above or entry.beside:
        return None
    value = entry.value
    text = _flat(value, order, room) if isinstance(value, Collection) else _on_one_line(value)
    if text is None or entry.key is None:
        return text
    return f"{_key(entry.key)}: {text or 'null'}"


def _on_one_line(scalar: Scalar) -> str | None:
    return None if "\n" in scalar.source or scalar.is_block else scalar.source


def _key(scalar: Scalar) -> str:
    source = _on_one_line(scalar)
    return _quoted(scalar.value) if source is None else source


def _scalar(start: str, scalar: Scalar, beside: str, indent: int) -> list[str]:
    source = _on_one_line(scalar)
    if source is not None:
        return [f"{start} {source}{beside}" if source else start + beside]
    first, *others = _over_lines(scalar)
    lines = [f"{start} {first}", *_indented(others, indent + _STEP)]
    lines[0 if others and scalar.is_block else -1] += beside
    return lines


def _indented(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + line if line else "" for line in lines]


def _over_lines(scalar: Scalar) -> list[str]:
    """Return a scalar's lines without their indentation, or one line in quotes where they would not say the same."""
    lines = _LAID_OUT[scalar.style](scalar)
    ends_unseen = lines[-1].isspace()  # which looks like an empty line between two entries
    return lines if not ends_unseen and _reads_as(lines, scalar) else [_quoted(scalar.value)]


def _wrapped(scalar: Scalar) -> list[str]:
    return [line.strip(" \t") for line in scalar.source.split("\n")]


def _literal(scalar: Scalar) -> list[str]:
    header, ending = _header(scalar)
    return [header, *scalar.value.rstrip("\n").split("\n"), *ending]


def _folded(scalar: Scalar) -> list[str]:
    """Keep the author's lines: where a folded text was broken is not part of its value."""
    header, ending = _header(scalar)
    lines = scalar.source.rstrip(" \t\n").split("\n")[1:]
    first = next((line for line in lines if line.strip(" ")), "")
    indent = _leading_spaces(first) - _leading_spaces(scalar.value.lstrip("\n"))
    return [header, *(line[max(indent, 0) :] for line in lines), *ending]


def _header(scalar: Scalar) -> tuple[str, list[str]]:
    """Return the header of a block scalar, YAML 1.2.2, section 8.1.1, and the empty lines that belong to its end."""
    text = scalar.value
    breaks = len(text) - len(text.rstrip("\n"))
    indicator = str(_STEP) if text.lstrip("\n")[:1] in (" ", "\t") else ""
    chomping = "-" if breaks == 0 else "" if breaks == 1 else "+"
    return f"{scalar.style}{indicator}{chomping}", [""] * (breaks - 1)


def _leading_spaces(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _reads_as(lines: list[str], scalar: Scalar) -> bool:
    first, *others = lines
    parser = CParser("\n".join([f"key: {first}", *_indented(others, _STEP)]) + "\n")
    try:
        events = [parser.get_event() for _ in range(_EVENTS_TO_VALUE)]
    except YAMLError:
        return False
    value: Any = events[-1]
    return bool(value.value == scalar.value and (value.style or "") == scalar.style)


def _quoted(text: str) -> str:
    """Return a text in double quotes: JSON, with an escape for all that YAML cannot hold or that no eye can see."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


_EVENTS_TO_VALUE: Final = 5
_LAID_OUT: Final[Mapping[str, Callable[[Scalar], list[str]]]] = {
    "": _wrapped,
    "'": _wrapped,
    '"': _wrapped,
    "|": _literal,
    ">": _folded,
}
