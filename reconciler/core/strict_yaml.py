"""Strict YAML: bytes -> plain values or Problems, each with file, line and column.

PyYAML's C parser is read as events by one loop of our own: a nested document cannot exhaust the stack, and duplicate
keys, anchors, aliases, tags and merge keys are refused in the same pass. Plain scalars are read as the core schema of
YAML 1.2 has them (`NO` and `12:30` are strings, and so is a date), with one change for safety: only a decimal number
in its usual form is a number. `0755`, `0x1F`, `1e3` and `.inf` stay the strings they look like, so that no identifier
loses its zeros and no commit id becomes a number.

Positions cost more than parsing, so a file is parsed a second time only when something in it has to be pointed at.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

from reconciler.core.hostile import printable
from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.yaml_text import (
    NOT_UTF8,
    SIZE_LIMIT,
    SNIPPET_LIMIT,
    SYNTAX,
    Mark,
    at_mark,
    control_character,
    shown,
    syntax_problem,
    unreadable,
)
from reconciler.errors import InputError

try:
    from yaml._yaml import CParser
except ImportError:
    raise InputError(
        "this PyYAML was built without libyaml: it would be ten times slower",
        fix="install PyYAML's wheel, or libyaml's headers before building it",
    ) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NOT_UTF8", "SIZE_LIMIT", "SYNTAX", "Document", "YamlFile", "escape", "locate", "read_yaml"]

_Event = Any

TOO_DEEP = Rule(
    "yaml-too-deep", Severity.ERROR, "No manifest nests this deep; a hostile one does, to exhaust its reader."
)
TOO_MANY = Rule("yaml-too-many-documents", Severity.ERROR, "One file holds more documents than anybody can review.")
DUPLICATE_KEY = Rule("duplicate-key", Severity.ERROR, "Of two equal keys one would win silently.")
ALIAS = Rule(
    "yaml-alias", Severity.ERROR, "Anchors and aliases hide what a line means, and can blow up; Defaults share values."
)
TAG = Rule("yaml-tag", Severity.ERROR, "Tags change what a value is, and in some readers run code.")
KEY = Rule("yaml-key", Severity.ERROR, "Keys are strings; anything else cannot be written in JSON.")

DEPTH_LIMIT: Final = 64
DOCUMENT_LIMIT: Final = 1000
PROBLEM_LIMIT: Final = 100
_PLACE_LIMIT: Final = 100_000

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_CONSTANTS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS: Final = frozenset("-+.0123456789")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,18}|(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18})(?:[eE][-+]?[0-9]{1,2})?")

_NO_KEY: Final = object()
_DEEP_FIX: Final = "no manifest nests that deep: is this the right file?"
_ALIAS_FIX: Final = "write the value out; what many gateways share belongs in a document of kind Defaults"

Spot = tuple[int, int, int]
"""Line and column, from 1, and length in characters."""
_Places = dict[str, tuple[Spot, Spot]]
"""By JSON Pointer, where the key and where the value stands."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document: plain values (dict, list, str, int, float, bool, None), and the line it begins on."""

    value: Any
    line: int


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The documents of a file that were read to their end, empty ones left out, and what is wrong with it."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


class _Note(NamedTuple):
    """Something wrong at a mark; it becomes a Problem once the file's lines are at hand."""

    rule: Rule
    mark: Mark
    message: str
    fix: str
    length: int = 1


def read_yaml(file: str, data: bytes, *, limit: int = SIZE_LIMIT) -> YamlFile:
    """Parse a file of at most `limit` bytes. Never raises: whatever is wrong is among the problems.

    Past `PROBLEM_LIMIT` they are not worth their time, and left out.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    problem = unreadable(file, data, limit)
    if problem is not None:
        return YamlFile((), (problem,))
    notes: list[_Note] = []
    documents: list[Document] = []
    problems: list[Problem] = []
    try:
        _build(CParser(data), documents, notes)
    except ReaderError:
        problems.append(control_character(file, data))
    except MarkedYAMLError as error:
        problems.append(syntax_problem(file, data, error))
    for note in notes[: PROBLEM_LIMIT + 1]:
        where = at_mark(file, data, note.mark, note.length)
        problems.append(note.rule.at(where, note.message, fix=note.fix))
    if len(documents) > DOCUMENT_LIMIT:
        where = Location(file, documents[DOCUMENT_LIMIT].line)
        problems.append(TOO_MANY.at(where, f"more than {DOCUMENT_LIMIT:,} documents", fix="split the file"))
    return YamlFile(tuple(documents[:DOCUMENT_LIMIT]), tuple(problems))


def locate(file: str, data: bytes, document: int, pointer: str, *, key: bool = False) -> Location:
    """Return the place of a JSON Pointer in the nth document (0 is the first that is not empty).

    It is the place of a scalar value, or of the key where the value is a collection or `key` is asked for. A pointer
    to what is not there gives the place of the nearest parent.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    spots = _spots(data)
    places = spots[document] if document < len(spots) else {}
    nearest = pointer
    while nearest and nearest not in places:
        nearest = nearest.rpartition("/")[0]
    spot = places.get(nearest)
    if spot is None:
        return Location(file, pointer=pointer)
    line, column, length = spot[0] if key and nearest == pointer else spot[1]
    return Location(file, line, column, pointer, shown(data, line), length)


def escape(key: str) -> str:
    """Return `key` as a reference token of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _build(  # noqa: C901, PLR0912, PLR0915 - the hot loop: a branch per kind of event; calls would double its cost
    parser: CParser, documents: list[Document], notes: list[_Note]
) -> None:
    """Turn events into values, noting what is wrong. Stops where the rest would be meaningless.

    `key` is the key that waits for its value, `_NO_KEY` where a mapping expects one, and None outside of mappings.
    """
    next_event: Callable[[], _Event] = parser.get_event
    stack: list[Any] = []
    container: Any = None
    key: Any = None
    line = 1
    while True:
        event = next_event()
        kind = type(event)
        if kind is ScalarEvent:
            text = value = event.value
            if not event.style and (text in _CONSTANTS or text[0] in _NUMBER_STARTS):
                value = _resolved(text)
            if event.anchor is not None or event.tag is not None:
                notes.append(_decorated(event))
            if key is _NO_KEY:
                key = intern(text)  # the same few words in every file: kept, and sent between processes, once
                if value is not text or text in container or text == "<<":
                    _check_key(value, event, container, notes)
                continue
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            value, container = container, stack.pop()
            if container is None:
                documents.append(Document(value, line))
            key = _NO_KEY if type(container) is dict else None
            continue
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.anchor is not None or event.tag is not None:
                notes.append(_decorated(event))
            if key is _NO_KEY or len(stack) >= DEPTH_LIMIT:
                notes.append(_unfollowable(event, is_key=key is _NO_KEY))
                return
            value = {} if kind is MappingStartEvent else []
        elif kind is AliasEvent:
            notes.append(_Note(ALIAS, event.start_mark, f"the alias `*{event.anchor}` is refused", _ALIAS_FIX))
            if key is _NO_KEY:
                return
            value = None
        elif kind is StreamEndEvent:
            return
        else:
            continue
        if key is not None:
            container[key] = value
            key = _NO_KEY
        elif container is not None:
            container.append(value)
        else:
            line = event.start_mark.line + 1
            if kind is ScalarEvent and value is not None:
                documents.append(Document(value, line))
        if kind is MappingStartEvent or kind is SequenceStartEvent:
            stack.append(container)
            container = value
            key = _NO_KEY if kind is MappingStartEvent else None


def _resolved(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in the core schema of YAML 1.2.2, section 10.3, decimal numbers only."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _check_key(value: object, event: _Event, container: Mapping[str, Any], notes: list[_Note]) -> None:
    if len(notes) > PROBLEM_LIMIT:
        return
    text = event.value
    shown = printable(text, 60)
    message = ""
    if not isinstance(value, str):
        rule, message, fix = KEY, f"the key `{shown}` reads as {_kind(value)}", f'write "{shown}" in quotes'
    elif text == "<<" and not event.style:
        rule, message, fix = ALIAS, "the merge key `<<` is refused", _ALIAS_FIX
    elif text in container:
        rule, message, fix = DUPLICATE_KEY, f"`{shown}` stands here a second time", "remove one of the two"
    if message:
        notes.append(_Note(rule, event.start_mark, message, fix, _spot(event)[2]))


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return "a boolean" if isinstance(value, bool) else "a number"


def _decorated(event: _Event) -> _Note:
    if event.tag is not None:
        return _Note(TAG, event.start_mark, f"the tag `{printable(event.tag)}` is refused", "remove it; quote a string")
    return _Note(ALIAS, event.start_mark, f"the anchor `&{event.anchor}` is refused", _ALIAS_FIX)


def _unfollowable(event: _Event, *, is_key: bool) -> _Note:
    if is_key:
        return _Note(KEY, event.start_mark, "a collection stands where a key belongs", "use a string as the key")
    return _Note(TOO_DEEP, event.start_mark, f"nested more than {DEPTH_LIMIT} levels deep", _DEEP_FIX)


@lru_cache(maxsize=1)
def _spots(data: bytes) -> list[_Places]:
    """Return, for each document, the place of the key and of the value of every pointer."""
    spots: list[_Places] = []
    with suppress(YAMLError):
        _mark(CParser(data), spots)
    return spots


def _mark(parser: CParser, spots: list[_Places]) -> None:
    """Read the events a second time and note where everything stands, as far as `_build` went and memory bears it."""
    places: _Places = {}
    left = _PLACE_LIMIT
    frames: list[_Frame] = []
    next_event: Callable[[], _Event] = parser.get_event
    while type(event := next_event()) is not StreamEndEvent:
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            frames.pop()
        elif isinstance(event, NodeEvent):
            frame = frames[-1] if frames else None
            if frame is not None and frame.mapping and frame.key is None:
                if not isinstance(event, ScalarEvent):
                    return
                frame.key = (event.value, _spot(event))
                continue
            pointer, key_spot = frame.next() if frame is not None else ("", None)
            if frame is None:
                if _is_empty(event):
                    continue
                places = {}
                spots.append(places)
            left -= 1
            own = _spot(event)
            places[pointer] = (key_spot or own, own if _is_value(event) or key_spot is None else key_spot)
            if left <= 0 or len(frames) > DEPTH_LIMIT:
                return
            if isinstance(event, CollectionStartEvent):
                frames.append(_Frame(pointer, isinstance(event, MappingStartEvent)))


def _is_empty(event: _Event) -> bool:
    return isinstance(event, AliasEvent) or (isinstance(event, ScalarEvent) and not _is_value(event))


def _is_value(event: _Event) -> bool:
    return isinstance(event, ScalarEvent) and bool(event.style or _resolved(event.value) is not None)


@dataclass(slots=True)
class _Frame:
    """A collection being read: where it is, and what comes next in it."""

    pointer: str
    mapping: bool
    key: tuple[str, Spot] | None = None
    index: int = 0

    def next(self) -> tuple[str, Spot | None]:
        if self.key is not None:
            name, spot = self.key
            self.key = None
            return f"{self.pointer}/{escape(name)}", spot
        self.index += 1
        return f"{self.pointer}/{self.index - 1}", None


def _spot(event: _Event) -> Spot:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return start.line + 1, start.column + 1, min(max(length, 1), SNIPPET_LIMIT)
