"""The text of a YAML file: whether it can be read at all, what a syntax error means, which lines may be shown.

Nothing here knows what the values mean. A line is shown only where no secret can stand.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.snapshot import TOO_LARGE

if TYPE_CHECKING:
    from yaml.error import MarkedYAMLError

Mark = Any
"""PyYAML's stubs make every mark optional; those of a parser never are."""

SYNTAX = Rule("yaml-syntax", Severity.ERROR, "The file is not well-formed YAML.")
NOT_UTF8 = Rule("not-utf-8", Severity.ERROR, "Manifests are UTF-8, so that everybody reads the same characters.")

SIZE_LIMIT: Final = 1024 * 1024
_CONTROL: Final = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SNIPPET_LIMIT: Final = 400
_LINE_LIMIT: Final = 4096
_LINES_AFTER_SECRET: Final = 3
_SECRETIVE: Final = re.compile(
    r"(?i:token|passw|secret|key|credential|authorization|bearer)"
    r"(?!\w*(?:From|Ref|Url)\b[\"']?\s*:\s*(?:\{\s*(?:env|file|secretKeyRef|name)\b|https?:|$))[\w-]*[\"']?\s*:"
    r"|//[^/\s]*@"
)


class _Saying(NamedTuple):
    """What libyaml says, and what it means. `opened`: point at what was opened, not at where that was noticed."""

    part: str
    message: str
    fix: str
    opened: bool = False


_UNKNOWN: Final = _Saying("", "", "check the indentation and quotes around here")
_UNSTARTABLE: Final = "cannot start any token"
_SAYINGS: Final = (
    _Saying("tab character", "a tab stands where spaces belong", "indent with spaces"),
    _Saying("mapping values are not", "`: ` cannot stand here", "put the value in quotes, or check the indentation"),
    _Saying("mapping keys are not", "`? ` cannot stand here", "put the value in quotes"),
    _Saying("block sequence entries", "a list cannot begin on this line", "begin it on a line of its own"),
    _Saying("expected ':'", "a key without `:`", "write `key: value`"),
    _Saying("expected key", "this does not follow from what is before it", "check the indentation and quotes"),
    _Saying("expected '-' indicator", "this is neither a list item nor its end", "check the indentation"),
    _Saying("expected ',' or", "a bracket that is not closed", "close it, or put the value in quotes", opened=True),
    _Saying("unexpected end of stream", "a quote that is not closed", "close the quote", opened=True),
    _Saying("unexpected document ind", "a quote that is not closed", "close the quote before `---`", opened=True),
    _Saying("comment or line break", "text after a block scalar's `|` or `>`", "begin it on the next line"),
    _Saying(
        "unknown escape", "a backslash before a character it does not go with", "use single quotes, or write `\\\\`"
    ),
    _Saying("hexdecimal", "an escape without its hexadecimal digits", "use single quotes, or complete it"),
    _Saying("escape code", "an escape of what is no character", "write the character itself"),
    _Saying("expected node content", "a value is missing, or a comma too many", "put the value in quotes"),
    _Saying("alphabetic or numeric", "`&` and `*` begin anchors and aliases", "put the value in quotes"),
    _Saying("<document start>", "this does not belong to what is above it", "indent it like that, or put `---` before"),
    _Saying("directive name", "a line that begins with `%` is a directive", "remove it, or put the text in quotes"),
    _Saying("tag", "`!` begins a tag, and tags are refused", "put the value in quotes"),
    _Saying("incompatible YAML", "this asks for another version of YAML", "remove the `%YAML` line"),
)


def unreadable(file: str, data: bytes, limit: int = SIZE_LIMIT) -> Problem | None:
    """Return why the bytes are no text that could be YAML, or None."""
    if len(data) > limit:
        message = f"{len(data):,} bytes; there may be {limit:,}"
        return TOO_LARGE.at(Location(file), message, fix="is this the right file?")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0\0" in (data[0:4:2], data[1:4:2]):
        return NOT_UTF8.at(Location(file), "this is UTF-16", fix="save it as UTF-8")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return _not_utf8(file, data, error.start)
    return None


def _not_utf8(file: str, data: bytes, offset: int) -> Problem:
    line, column = place(data[:offset].decode())
    latin = data[offset : offset + 1].decode("latin-1")
    hint = f"; in Latin-1 it would be `{latin}`" if latin.isprintable() else ""
    message = f"byte 0x{data[offset]:02x} is not UTF-8{hint}"
    return NOT_UTF8.at(Location(file, line, column), message, fix="save it as UTF-8")


def control_character(file: str, data: bytes) -> Problem:
    """Return the problem of text in which libyaml met a character that YAML 1.2.2, section 5.1 does not allow."""
    text = data.decode()
    found = _CONTROL.search(text)
    line, column = place(text[: found.start()]) if found else (1, 1)
    name = f"the control character U+{ord(found[0]):04X}" if found else "a character here"
    return SYNTAX.at(Location(file, line, column), f"{name} cannot stand in YAML", fix="remove it")


def place(before: str) -> tuple[int, int]:
    """Return line and column of what follows `before`."""
    lines = f"{before}.".splitlines()
    return len(lines), len(lines[-1])


def syntax_problem(file: str, data: bytes, error: MarkedYAMLError) -> Problem:
    """Return what libyaml says in words that say what to do."""
    said = str(error.problem or error.context or "it cannot be parsed")
    mark: Mark = error.problem_mark or error.context_mark
    if _UNSTARTABLE in said:
        message, fix = _unstartable(data, mark)
        return SYNTAX.at(at_mark(file, data, mark), message, fix=fix)
    saying = next((each for each in _SAYINGS if each.part in said), _UNKNOWN)
    where = at_mark(file, data, (error.context_mark if saying.opened else None) or mark)
    return SYNTAX.at(where, saying.message or said, fix=saying.fix)


def _unstartable(data: bytes, mark: Mark) -> tuple[str, str]:
    found = "".join(_lines(data)[mark.line : mark.line + 1])[mark.column : mark.column + 1]
    if found == "\t":
        return "a tab stands where spaces belong", "indent with spaces"
    return f"`{found}` cannot begin a value", "put the value in quotes"


def at_mark(file: str, data: bytes, mark: Mark, length: int = 1) -> Location:
    """Return the place of a mark, which counts from 0 and which libyaml leaves out now and then."""
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Location(file, line, column, snippet=shown(data, line), length=length)


def shown(data: bytes, number: int) -> str:
    """Return a line to show, or nothing where a secret may stand: a literal may go on for a few lines after its key."""
    lines = _lines(data)
    near = lines[max(number - 1 - _LINES_AFTER_SECRET, 0) : number]
    if number > len(lines) or _holds_private_key(data) or any(_is_secretive(line) for line in near):
        return ""
    return lines[number - 1][:SNIPPET_LIMIT]


def _is_secretive(line: str) -> bool:
    return len(line) > _LINE_LIMIT or _SECRETIVE.search(line) is not None


@lru_cache(maxsize=2)
def _holds_private_key(data: bytes) -> bool:
    return b"PRIVATE KEY-----" in data


@lru_cache(maxsize=2)
def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()
