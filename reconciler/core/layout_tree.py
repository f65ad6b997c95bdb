"""YAML text -> a tree that has forgotten nothing: every scalar as it was written, every comment with its owner.

PyYAML drops comments, but it says where everything else stands; a `#` between two scalars can only begin a comment. Who
owns one is decided here, once:

- a comment beside something belongs to the entry that began or ended last on its line;
- a comment on a line of its own belongs to the entry that follows, unless it is indented deeper than that entry: then
  it is the last thing in the collection that ended, or stands below the key that has no value;
- what stands above the first key of a document belongs to the document (a modeline, a licence).

The text must have been accepted by `reconciler.core.strict_yaml`: no anchors, no tags, no depth without end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from yaml._yaml import CParser
from yaml.events import (
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.yaml_text import Mark

_Event = Any
_COMMENT: Final = re.compile(r"#[^\n]*")
_HEADER_COMMENT: Final = re.compile(r"[^\n#]*(#[^\n]*)")
_BEFORE_ENTRY: Final = " \t-?"


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment from its `#` on. Of one on a line of its own: its column, and whether the line above it is empty."""

    text: str
    column: int = 0
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar as it is written, and the text that it stands for. `style` is that of PyYAML: empty when plain."""

    source: str
    value: str
    style: str

    @property
    def is_block(self) -> bool:
        """Whether it begins with `|` or `>`."""
        return self.style in ("|", ">")


NO_VALUE: Final = Scalar("", "", "")
"""What an entry has until its value is met, and the root of an empty document."""


@dataclass(slots=True)
class Collection:
    """A mapping or a list, in flow or in block style, and the comments before its end."""

    is_mapping: bool
    is_flow: bool
    column: int
    entries: list[Entry] = field(default_factory=list)
    foot: list[Comment] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """A key with its value, or an item (which has no key), with its comments: above, beside, and below a bare key."""

    key: Scalar | None = None
    value: Scalar | Collection = NO_VALUE
    blank: bool = False
    above: list[Comment] = field(default_factory=list)
    beside: list[Comment] = field(default_factory=list)
    below: list[Comment] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """A document, from `line` on (from 0). `root` has no key; what is beside it stands beside the `---`.

    `marked`: it begins with `---`. `prologue` stands above that, `head` above the first key, with an empty line between
    them if `gap`.
    """

    line: int
    marked: bool
    has_directives: bool
    root: Entry = field(default_factory=Entry)
    prologue: list[Comment] = field(default_factory=list)
    head: list[Comment] = field(default_factory=list)
    gap: bool = False
    foot: list[Comment] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """The documents of a file, and the text of all its comments in order."""

    documents: list[Document]
    comments: list[str]


def read_tree(text: str) -> Tree:
    r"""Read a text whose line breaks are `\n` alone."""
    reader = _Reader(text)
    next_event: Callable[[], _Event] = CParser(text).get_event
    while type(event := next_event()) is not StreamEndEvent:
        reader.read(event)
    reader.finish()
    return Tree(reader.documents, reader.comments)


class _Reader:
    """One text being read, up to `position`; on `line` the last scalar ended, or the last flow collection began.

    `open` holds the entries whose collections are open, `pending` the comments that have no owner yet.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line = -1
        self.documents: list[Document] = []
        self.comments: list[str] = []
        self.open: list[tuple[Entry, Collection]] = []
        self.pending: list[Comment] = []

    def read(self, event: _Event) -> None:
        """Take the comments before an event, then the event."""
        kind = type(event)
        self._pass_over(event.start_mark.index)
        if kind is ScalarEvent:
            self._scalar(event)
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self._start(event)
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self._end()
        elif kind is DocumentStartEvent:
            self._start_document(event)
        elif kind is DocumentEndEvent:
            self._end_document()

    def finish(self) -> None:
        """Take the comments after the last document."""
        self._pass_over(len(self.text))
        if self.documents:
            self._end_document()

    def _pass_over(self, end: int) -> None:
        """Find the comments between the last scalar and `end`."""
        start = self.position
        if end <= start:
            return
        self.position = end
        if self.text.find("#", start, end) >= 0:
            for found in _COMMENT.finditer(self.text, start, end):
                self._found(found[0].rstrip(" \t"), found.start())

    def _found(self, text: str, index: int) -> None:
        self.comments.append(text)
        line = self.text.rfind("\n", 0, index) + 1
        beside = self.text[line:index].strip(_BEFORE_ENTRY) or self.text.startswith("---", line)
        if beside and self.documents:
            self._neighbour().beside.append(Comment(text))
        else:
            self.pending.append(Comment(text, index - line, self._is_below_blank(line)))

    def _is_below_blank(self, line: int) -> bool:
        """Return whether an empty line stands above the line that begins at an index."""
        above = self.text.rfind("\n", 0, line - 1) + 1 if line else 0
        return line > 0 and not self.text[above:line].strip(" \t\n")

    def _neighbour(self) -> Entry:
        """Return the entry that began or ended last."""
        if not self.open:
            return self.documents[-1].root
        holder, collection = self.open[-1]
        return collection.entries[-1] if collection.entries else holder

    def _scalar(self, event: _Event) -> None:
        start, end = event.start_mark, event.end_mark
        scalar = Scalar(self.text[start.index : end.index], event.value, event.style or "")
        entry, is_key = self._next(start)
        self.position = max(self.position, end.index)
        self.line = start.line if scalar.is_block else end.line
        if is_key:
            entry.key = scalar
            return
        entry.value = scalar
        if scalar.source:
            entry.above += self._take_deeper(-1)
        if scalar.is_block and (found := _HEADER_COMMENT.match(scalar.source)):
            self.comments.append(found[1].rstrip(" \t"))
            entry.beside.append(Comment(found[1].rstrip(" \t")))

    def _start(self, event: _Event) -> None:
        mark = event.start_mark
        entry, _ = self._next(mark)
        if event.flow_style:
            self.line = mark.line
        entry.value = Collection(type(event) is MappingStartEvent, event.flow_style, mark.column)
        self.open.append((entry, entry.value))

    def _next(self, mark: Mark) -> tuple[Entry, bool]:
        """Return the entry to which what begins at a mark belongs, and whether it is its key."""
        if not self.open:
            return self.documents[-1].root, False
        collection = self.open[-1][1]
        entries = collection.entries
        if collection.is_mapping and entries and entries[-1].value is NO_VALUE:
            return entries[-1], False
        self._settle_below(collection)
        blank = mark.line > self.line and self._is_below_blank(mark.index - mark.column)
        entry = Entry(blank=blank, above=self._take_deeper(-1))
        if not entries:
            self._lead(entry)
        entries.append(entry)
        return entry, collection.is_mapping

    def _lead(self, entry: Entry) -> None:
        """Make an entry the first of its collection: nothing is empty above it. A document keeps what stands there."""
        if len(self.open) == 1:
            document = self.documents[-1]
            document.head, document.gap = entry.above, entry.blank
            entry.above, entry.blank = [], False
        elif entry.above:
            entry.above[0] = replace(entry.above[0], blank=False)
        else:
            entry.blank = False

    def _settle_below(self, collection: Collection) -> None:
        """Leave comments that are indented below a key without a value where they are."""
        if collection.entries and not collection.is_flow:
            last = collection.entries[-1]
            if isinstance(last.value, Scalar) and not last.value.source:
                last.below += self._take_deeper(collection.column)

    def _end(self) -> None:
        entry, collection = self.open.pop()
        self._settle_below(collection)
        outer = self.open[-1][1].column if self.open else -1
        taken = self._take_deeper(-1 if collection.is_flow else outer)
        if collection.entries:
            collection.foot = taken
        else:
            entry.above += taken

    def _take_deeper(self, column: int) -> list[Comment]:
        """Take the pending comments up to the first that is not indented deeper than a column; -1 takes them all."""
        if not self.pending:
            return []
        taken = list(takewhile(lambda comment: comment.column > column, self.pending))
        del self.pending[: len(taken)]
        return taken

    def _start_document(self, event: _Event) -> None:
        mark = event.start_mark
        document = Document(
            mark.line if self.documents else 0,
            event.explicit or bool(self.documents),
            bool(event.version or event.tags),
        )
        if event.explicit:
            (self.documents[-1].foot if self.documents else document.prologue).extend(self._take_deeper(-1))
        self.documents.append(document)

    def _end_document(self) -> None:
        self.documents[-1].foot += self._take_deeper(-1)
