r"""Plain values -> the text of a manifest: YAML that every reader takes for exactly these values.

Only what a manifest is made of can be written: mappings, lists, strings and booleans. Nothing here is ever folded,
anchored or tagged. A string stands bare where no reader of YAML, of 1.1 or 1.2, could take it for anything else, over
several lines where it has several, and otherwise in double quotes with an escape for all that no eye can see. The
outcome is laid out as `reconciler fmt` has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.layout_lines import LINE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STEP: Final = "  "
_COMMENT: Final = "  # to fill in"
# Words of letters first: no number, date or indicator begins so. No colon or number sign where it could mean something.
_BARE: Final = re.compile(r"[A-Za-z_/][\w./?=&%+~@:(),;!'-]*(?: [\w./?=&%+~@:(),;!'-]+)*", re.ASCII)
_BARE_IN_FLOW: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_COLON: Final = re.compile(r":(?: |$)")
_WORDS: Final = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
_SPECIAL: Final = re.compile(r'["\\]')


@dataclass(frozen=True, slots=True)
class ToFillIn:
    """A value that somebody has to replace; a comment beside it says so."""

    value: str


def manifest_text(document: Mapping[str, Any], *, modeline: str = "") -> str:
    """Return a document as YAML, its keys in the order given, below a comment line if one is given.

    Its values are mappings, lists, strings, booleans, and strings `ToFillIn`.
    """
    head = [f"# {modeline}"] if modeline else []
    return "\n".join([*head, *_mapping(document, ""), ""])


def _mapping(document: Mapping[str, Any], margin: str) -> Iterator[str]:
    for key, value in document.items():
        yield from _entry(f"{margin}{_scalar(key)}:", key, value, margin)


def _entry(start: str, key: str, value: Any, margin: str) -> Iterator[str]:  # noqa: ANN401 - any value of a document
    if not isinstance(value, (Mapping, list)):
        yield from _text(start, value, margin)
    elif (flow := _on_one_line(key, value, LINE_LIMIT - len(start) - 1)) is not None:
        yield f"{start} {flow}{_COMMENT if _waits(value) else ''}"
    elif isinstance(value, Mapping):
        yield start
        yield from _mapping(value, margin + _STEP)
    else:
        yield start
        yield from _items(value, margin + _STEP)


def _items(values: Sequence[Any], margin: str) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping):
            first, *others = _mapping(value, margin + _STEP)
            yield f"{margin}- {first.lstrip()}"
            yield from others
        else:
            yield from _text(f"{margin}-", value, margin)


def _text(start: str, value: Any, margin: str) -> Iterator[str]:  # noqa: ANN401 - a scalar
    if isinstance(value, str) and _is_literal(value):
        yield f"{start} |-"
        yield from (f"{margin}{_STEP}{line}" if line else "" for line in value.split("\n"))
    else:
        yield f"{start} {_scalar(value)}{_COMMENT if _waits(value) else ''}"


def _on_one_line(key: str, value: Any, room: int) -> str | None:  # noqa: ANN401 - a collection
    """Return a list of scalars or a reference to a secret as it stands on one line, or None where it does not."""
    if isinstance(value, list):
        short = not any(isinstance(item, (Mapping, list)) for item in value)
    else:
        short = key.endswith("From")
    text = _flow(value) if short else ""
    return text if 0 < len(text) <= room else None


def _flow(value: Any) -> str:  # noqa: ANN401 - any value of a document
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(item)}' for key, item in value.items())}}}"
    return _scalar(value, _BARE_IN_FLOW)


def _waits(value: Any) -> bool:  # noqa: ANN401 - any value of a document
    if isinstance(value, Mapping):
        return any(map(_waits, value.values()))
    return isinstance(value, ToFillIn)


def _is_literal(text: str) -> bool:
    """Return whether a text can stand as its lines do: nothing unseen in them, at either end least of all."""
    lines = text.split("\n")
    plain = all(line.isprintable() and line == line.rstrip() for line in lines)
    return len(lines) > 1 and plain and bool(lines[-1]) and lines[0] == lines[0].lstrip() != ""


def _scalar(value: str | bool | ToFillIn, bare: re.Pattern[str] = _BARE) -> str:
    if isinstance(value, ToFillIn):
        return _scalar(value.value, bare)
    if isinstance(value, bool):
        return "true" if value else "false"
    if bare.fullmatch(value) and value.lower() not in _WORDS and not _COLON.search(value):
        return value
    return f'"{"".join(map(_visible, value))}"'


def _visible(character: str) -> str:
    r"""Return a character as it stands in double quotes (YAML 1.2.2, section 5.7)."""
    if _SPECIAL.match(character):
        return f"\\{character}"
    if character.isprintable():
        return character
    if character == "\n":
        return "\\n"
    number = ord(character)
    if number <= 0xFF:  # noqa: PLR2004 - the three lengths of an escape
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - as above
