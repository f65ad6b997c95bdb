"""Strict YAML: bytes -> plain values or Problems, each with file, line and column.

PyYAML's C parser is read as events by one loop of our own: a nested document cannot exhaust the stack, and duplicate
keys, anchors, aliases, tags and merge keys are refused in the same pass. Plain scalars are read as the YAML 1.2 core
schema has them (`NO` is a string), decimal numbers only: `0755` and `0x1F` stay the strings they look like.

Positions cost more than parsing, so a file is parsed a second time only when something in it has to be pointed at.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from yaml._yaml import CParser
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
from reconciler.core.snapshot import TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Event = Any
_Mark = Any
"""PyYAML's stubs make every mark optional; those of a parser never are."""


SYNTAX = Rule("yaml-syntax", Severity.ERROR, "The file is not well-formed YAML.")
NOT_UTF8 = Rule("not-utf-8", Severity.ERROR, "Manifests are UTF-8, so that everybody reads the same characters.")
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

SIZE_LIMIT: Final = 1024 * 1024
DEPTH_LIMIT: Final = 64
DOCUMENT_LIMIT: Final = 1000

_CONSTANTS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS: Final = frozenset("-+.0123456789")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]{1,18}|(?:0|[1-9][0-9]{0,17})\.[0-9]{0,18})(?:[eE][-+]?[0-9]{1,3})?")

_PLAINER: Final = (
    ("cannot start any token", "a tab or another character that cannot stand here", "indent with spaces"),
    (
        "mapping values are not allowed",
        "a second `: ` in one line",
        "put the value in quotes, or check the indentation",
    ),
    ("could not find expected ':'", "a key without `:`", "write `key: value`"),
    ("did not find expected key", "this does not line up with what is above it", "check the indentation"),
    ("did not find expected '-' indicator", "this is neither a list item nor its end", "check the indentation"),
    ("did not find expected ',' or", "a bracket or brace that is not closed", "close it, or put the value in quotes"),
    ("unexpected end of stream", "a quote that is not closed", "close the quote"),
    ("did not find the expected comment", "text after a block scalar's `|` or `>`", "begin it on the next line"),
)

_NO_KEY: Final = object()
_ALIAS_FIX: Final = "write the value out; what many gateways share belongs in a document of kind Defaults"
_SNIPPET_LIMIT: Final = 400
_SECRETIVE: Final = re.compile(
    r"(token|passw|secret|api_?-?key|credential|authorization)(?!\w*(From|Ref|Url)\b)[\w-]*[\"']?\s*:", re.IGNORECASE
)

Spot = tuple[int, int, int]
"""Line and column, from 1, and length in characters."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document: plain values (dict, list, str, int, float, bool, None), and the line it begins on."""

    value: Any
    line: int


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The documents of a file, empty ones left out, and what is wrong with it."""

    documents: tuple[Document, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Note:
    """Something wrong at a mark; it becomes a Problem once the file's lines are at hand."""

    rule: Rule
    mark: _Mark
    message: str
    fix: str
    length: int = 1


def read_yaml(file: str, data: bytes) -> YamlFile:
    """Parse a file of at most `SIZE_LIMIT` bytes. Never raises: whatever is wrong is among the problems."""
    problem = _unreadable(file, data)
    if problem is not None:
        return YamlFile((), (problem,))
    notes: list[_Note] = []
    documents: list[Document] = []
    try:
        _build(CParser(data.removeprefix(b"\xef\xbb\xbf")), documents, notes)
    except ReaderError as error:
        return YamlFile((), (_control_character(file, data, error),))
    except MarkedYAMLError as error:
        notes.append(_explained(error))
    return YamlFile(tuple(documents), tuple(_problem(file, data, note) for note in notes) if notes else ())


def locate(file: str, data: bytes, document: int, pointer: str, *, key: bool = False) -> Location:
    """Return the place of a JSON Pointer in the nth document (0 is the first that is not empty).

    It is the place of a scalar value, or of the key where the value is a collection or `key` is asked for. A pointer
    to what is not there gives the place of the nearest parent.
    """
    spots = _spots(data)
    places = spots[document] if document < len(spots) else {}
    nearest = pointer
    while nearest and nearest not in places:
        nearest = nearest.rpartition("/")[0]
    spot = places.get(nearest)
    if spot is None:
        return Location(file, pointer=pointer)
    line, column, length = spot[0] if key and nearest == pointer else spot[1]
    return Location(file, line, column, pointer, _line(data, line), length)


def escape(key: str) -> str:
    """Return `key` as a reference token of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _build(  # noqa: C901, PLR0912 - the hot loop: a branch per kind of event; calls would double its cost
    parser: CParser, documents: list[Document], notes: list[_Note]
) -> None:
    """Turn events into values, noting what is wrong. Stops where the rest would be meaningless."""
    next_event: Callable[[], _Event] = parser.get_event
    stack: list[Any] = []
    container: Any = None
    key: Any = _NO_KEY
    while True:
        event = next_event()
        kind = type(event)
        if kind is ScalarEvent:
            if event.anchor is not None or event.tag is not None:
                notes.append(_decorated(event))
            value = event.value if event.style else _resolved(event.value)
            if type(container) is dict and key is _NO_KEY:
                sound = type(value) is str and value not in container and value != "<<"
                key = value if sound else _odd_key(value, event, container, notes)
                continue
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            container = stack.pop()
            continue
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            if event.anchor is not None or event.tag is not None:
                notes.append(_decorated(event))
            if (
                stop := _unfollowable(event, len(stack), is_key=type(container) is dict and key is _NO_KEY)
            ) is not None:
                notes.append(stop)
                return
            value = {} if kind is MappingStartEvent else []
        elif kind is AliasEvent:
            notes.append(_Note(ALIAS, event.start_mark, f"the alias `*{event.anchor}` is refused", _ALIAS_FIX))
            value = None
        elif kind is StreamEndEvent:
            return
        else:
            continue
        if type(container) is dict:
            container[key] = value
            key = _NO_KEY
        elif container is not None:
            container.append(value)
        elif value is not None:
            documents.append(Document(value, event.start_mark.line + 1))
            if len(documents) > DOCUMENT_LIMIT:
                notes.append(_Note(TOO_MANY, event.start_mark, f"more than {DOCUMENT_LIMIT:,} documents", "split it"))
                return
        if kind is not ScalarEvent and kind is not AliasEvent:
            stack.append(container)
            container = value


def _resolved(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in the core schema of YAML 1.2.2, section 10.3, decimal numbers only."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _odd_key(value: object, event: _Event, container: Mapping[str, Any], notes: list[_Note]) -> str:
    """Return a key that can be used, whatever was found; a second value for a key goes where nobody looks."""
    length = max(event.end_mark.column - event.start_mark.column, 1)
    if not isinstance(value, str):
        message = f"the key `{event.value}` reads as {_kind(value)}"
        notes.append(_Note(KEY, event.start_mark, message, f'write "{event.value}" in quotes', length))
    elif event.value == "<<" and not event.style:
        notes.append(_Note(ALIAS, event.start_mark, "the merge key `<<` is refused", _ALIAS_FIX, length))
    elif value in container:
        message = f"`{value}` stands here a second time"
        notes.append(_Note(DUPLICATE_KEY, event.start_mark, message, "remove one of the two", length))
        return f"{value}\0{len(notes)}"
    return str(event.value)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return "a boolean" if isinstance(value, bool) else "a number"


def _decorated(event: _Event) -> _Note:
    if event.tag is not None:
        return _Note(TAG, event.start_mark, f"the tag `{printable(event.tag)}` is refused", "remove it; quote a string")
    return _Note(ALIAS, event.start_mark, f"the anchor `&{event.anchor}` is refused", _ALIAS_FIX)


def _unfollowable(event: _Event, depth: int, *, is_key: bool) -> _Note | None:
    if depth >= DEPTH_LIMIT:
        return _Note(TOO_DEEP, event.start_mark, f"nested more than {DEPTH_LIMIT} levels deep", "flatten it")
    if is_key:
        return _Note(KEY, event.start_mark, "a collection stands where a key belongs", "use a string as the key")
    return None


def _unreadable(file: str, data: bytes) -> Problem | None:
    if len(data) > SIZE_LIMIT:
        message = f"{len(data):,} bytes; a manifest may have {SIZE_LIMIT:,}"
        return TOO_LARGE.at(Location(file), message, fix="is this the right file?")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return NOT_UTF8.at(Location(file), "this is UTF-16", fix="save it as UTF-8")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return NOT_UTF8.at(Location(file, line, column), message, fix="save it as UTF-8")
    return None


def _control_character(file: str, data: bytes, error: ReaderError) -> Problem:
    found = re.search(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", data.decode())
    before = data.decode()[: found.start()] if found else ""
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    name = f"U+{ord(found[0]):04X}" if found else str(error.reason)
    return SYNTAX.at(
        Location(file, line, column), f"the control character {name} cannot stand in YAML", fix="remove it"
    )


def _explained(error: MarkedYAMLError) -> _Note:
    said = str(error.problem or error.context or "it cannot be parsed")
    mark = error.problem_mark or error.context_mark
    for part, message, fix in _PLAINER:
        if part in said:
            begun = error.context_mark if "not closed" in message else None
            return _Note(SYNTAX, begun or mark, message, fix)
    return _Note(SYNTAX, mark, said, "check the indentation and quotes around here")


def _problem(file: str, data: bytes, note: _Note) -> Problem:
    line, column = (note.mark.line + 1, note.mark.column + 1) if note.mark is not None else (1, 1)
    where = Location(file, line, column, snippet=_line(data, line), length=note.length)
    return note.rule.at(where, note.message, fix=note.fix)


def _line(data: bytes, number: int) -> str:
    """Return a line to show, or nothing where its key says that a secret may stand there."""
    lines = data.decode(errors="replace").removeprefix("\ufeff").splitlines()
    line = lines[number - 1][:_SNIPPET_LIMIT] if number <= len(lines) else ""
    return "" if _SECRETIVE.search(line) else line


@lru_cache(maxsize=8)
def _spots(data: bytes) -> list[dict[str, tuple[Spot, Spot]]]:
    """Return, for each document, the place of the key and of the value of every pointer."""
    spots: list[dict[str, tuple[Spot, Spot]]] = []
    with suppress(YAMLError):
        _mark(CParser(data.removeprefix(b"\xef\xbb\xbf")), spots)
    return spots


def _mark(parser: CParser, spots: list[dict[str, tuple[Spot, Spot]]]) -> None:
    """Read the events a second time and note where everything stands."""
    places: dict[str, tuple[Spot, Spot]] = {}
    frames: list[_Frame] = []
    next_event: Callable[[], _Event] = parser.get_event
    while type(event := next_event()) is not StreamEndEvent:
        if isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            frames.pop()
        elif isinstance(event, NodeEvent):
            frame = frames[-1] if frames else None
            if frame is not None and frame.mapping and frame.key is None:
                frame.key = (str(getattr(event, "value", "")), _spot(event))
                continue
            pointer, key_spot = frame.next() if frame is not None else ("", None)
            scalar = isinstance(event, ScalarEvent) and bool(event.style or _resolved(event.value) is not None)
            own = _spot(event)
            if not frames and (scalar or isinstance(event, CollectionStartEvent)):
                places = {}
                spots.append(places)
            places.setdefault(pointer, (key_spot or own, own if scalar or key_spot is None else key_spot))
            if isinstance(event, CollectionStartEvent):
                if len(frames) >= DEPTH_LIMIT:
                    return
                frames.append(_Frame(pointer, isinstance(event, MappingStartEvent)))


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
    return start.line + 1, start.column + 1, max(length, 1)
