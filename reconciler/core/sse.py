"""Server-sent events, sans I/O: bytes in, events out.

The rules are those of the WHATWG HTML standard, section 9.2.6 "Interpreting an event stream". `retry` is ignored: a
probe does not reconnect. An event with empty data is an event (MCP servers open a stream with one to carry its id);
what to do with it is for the caller.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from reconciler.errors import ReconcilerError

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type (`message` unless the stream says otherwise), its data, and the last id the stream gave."""

    type: str
    data: str
    id: str = ""


class Decoder:
    """The state of one stream between two chunks of bytes."""

    def __init__(self, limit: int = 4 * 1024 * 1024) -> None:
        """`limit` bounds one event, in characters, finished or not."""
        self._limit = limit
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._at_start = True
        self._after_carriage_return = False
        self._line: list[str] = []
        self._held = 0
        self._data: list[str] = []
        self._type = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that `chunk` completes.

        Raises:
            ReconcilerError: an event is larger than the limit.
        """
        *ends, rest = _LINE_END.split(self._text(chunk))
        events = []
        for end in ends:
            self._hold(end)
            line = "".join(self._line)
            self._line = []
            if line:
                self._field(line)
            elif event := self._dispatch():
                events.append(event)
        self._hold(rest)
        return events

    def _text(self, chunk: bytes) -> str:
        """Return the chunk's text, without a byte order mark at the start or the LF of a CRLF cut in two."""
        text = self._decode(chunk)
        if not text:
            return ""
        if self._at_start:
            text = text.removeprefix("\ufeff")
        elif self._after_carriage_return:
            text = text.removeprefix("\n")
        self._at_start = False
        self._after_carriage_return = text.endswith("\r")
        return text

    def _hold(self, text: str) -> None:
        self._line.append(text)
        self._held += len(text)
        if self._held > self._limit:
            raise ReconcilerError(f"one event of the stream is larger than {self._limit} characters")

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _dispatch(self) -> Event | None:
        event = Event(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self._data = []
        self._type = ""
        self._held = 0
        return event
