"""Text in tool definitions that hides from people, or speaks to the model instead of describing the tool.

A model reads every description it is given as if its user had written it. What a reviewer cannot see (zero-width and
bidirectional characters, comments), what is not what it looks like (letters of another script), what has to be decoded,
and what gives orders, is worth a second look. It is a look, not a proof: a definition without a flag may be hostile.

The rules are tables, and are meant to be quiet: each says what it leaves alone, and nothing here judges prose.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HIDDEN_TEXT = Rule(
    "tool-text-hidden",
    Severity.WARNING,
    "A tool's definition holds text that people do not see and models read: zero-width or bidirectional characters, "
    "terminal escapes, comments.",
)
ADDRESSING_TEXT = Rule(
    "tool-text-addresses-model",
    Severity.WARNING,
    "A tool's definition gives orders to the model that reads it, beyond what the tool does.",
)
LOOKALIKE_TEXT = Rule(
    "tool-text-lookalike",
    Severity.WARNING,
    "A word of a tool's definition mixes letters of scripts that look alike, so it is not the word it seems to be.",
)
ENCODED_TEXT = Rule(
    "tool-text-encoded",
    Severity.WARNING,
    "A tool's definition holds a long encoded text that no reviewer can read, and a model may decode.",
)

FIXES: Final[Mapping[str, str]] = {
    HIDDEN_TEXT.code: "have the upstream's owner say what it is for, or take it out; do not lock what cannot be read",
    ADDRESSING_TEXT.code: "have the upstream's owner describe the tool without giving orders, or do not use the tool",
    LOOKALIKE_TEXT.code: "have the upstream's owner write the word in one script; two tools may look the same",
    ENCODED_TEXT.code: "decode it and read it, or have the upstream's owner take it out",
}

_MAX_FLAGS: Final = 20
_POINTER: Final = 1000
_TELLING: Final = (str, list, dict)
_SHOWN: Final = 80
_MARGIN: Final = 24
_BLOB: Final = re.compile(r"[A-Za-z0-9+/_-]{80,}={0,2}")
_HEX: Final = re.compile(r"[0-9a-fA-F_-]+=*")
_WORD: Final = re.compile(r"[^\W_]{2,}")
_INFLECTED: Final = re.compile(r"[A-Z0-9]+[\u0400-\u04ff]+")
_COMMENT: Final = re.compile(r"<!--|\[//\]:\s*#")
_JOINERS: Final = frozenset("\u200c\u200d")
_MARKS: Final = frozenset("\u200e\u200f\u061c")
_PLAIN_CONTROLS: Final = frozenset("\t\n\r")
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that Unicode calls letters, marks or symbols, and that show nothing."""
_SELECTORS: Final = "\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Variation selectors. One chooses how the character before it looks; 256 of them in a row spell bytes."""

_SELECTOR: Final = re.compile(f"[{_SELECTORS}]")
_VARIED: Final = re.compile(rf"[^\x00-\x7f{_SELECTORS}]|[0-9#*]")

_ALIKE: Final = str.maketrans(
    "аеорсухіѕјԁһАВЕЅІЈКМНОРСТУХαινορυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxisjdhABESIJKMHOPCTYXaivopuxABEZHIKMNOPTYX",
)
"""Cyrillic and Greek letters that look like Latin ones, and what they look like."""

_MATHEMATICAL: Final = range(0x1D400, 0x1D800)


@dataclass(frozen=True, slots=True)
class _Order:
    """A manner of speaking to a model: what it is, and the pattern of it in folded lower-case text."""

    what: str
    pattern: re.Pattern[str]


def _order(what: str, pattern: str) -> _Order:
    return _Order(what, re.compile(pattern, re.DOTALL))


_ORDERS: Final = (
    _order(
        "sets other instructions aside",
        r"\b(?:ignore|disregard|forget|override)\b.{0,40}\b(?:previous|prior|above|earlier|all|other|your|system)\b"
        r".{0,20}\b(?:instruction|prompt|rule|message|guideline|polic|restriction)",
    ),
    _order(
        "keeps something from the user",
        r"\b(?:do\snot|don'?t|never|without)\s(?:ever\s)?(?:tell|inform|mention|notify|reveal|alert|warn)\w{0,3}\b"
        r".{0,30}\b(?:user|human|anyone)\b",
    ),
    _order("keeps something from the user", r"\b(?:hide|conceal|keep)\b.{0,30}\bfrom\s(?:the\s)?(?:user|human)\b"),
    _order(
        "poses as another speaker",
        r"< ?/? ?(?:important|system|instructions?|secret|hidden|assistant) ?>|<\|[a-z_]{2,20}\|>|"
        r"\[/?(?:inst|system)\]|(?:^|\n)[ #]{0,8}(?:system|assistant) ?(?:prompt|message)? ?:",
    ),
    _order(
        "tells the model who it is",
        r"\byou\sare\s(?:now\s|actually\s)?(?:an?\s|the\s)?"
        r"(?:ai|language\smodel|assistant|llm|unrestricted|jailbroken)\b",
    ),
    _order(
        "puts itself in the place of other tools",
        r"\b(?:always|must|only)\b.{0,20}\b(?:call|use|invoke|prefer)\b.{0,10}\bthis\stool\b.{0,30}"
        r"\b(?:instead|first|before|rather|over|even\sif)\b",
    ),
    _order(
        "reaches for secrets of the machine",
        r"\b(?:read|open|cat|include|send|pass|load|attach|upload)\b.{0,60}"
        r"(?:~/\.|/etc/(?:passwd|shadow)|\.ssh/|id_rsa|id_ed25519|mcp\.json|\.aws/|\.netrc|\.env\b)",
    ),
    _order(
        "reaches for the conversation",
        r"\b(?:send|include|pass|append|repeat|reveal|output|print|copy|forward|attach)\b.{0,40}"
        r"\b(?:system\sprompt|developer\smessage|(?:entire|whole|full|complete)\s(?:conversation|chat|context)|"
        r"(?:conversation|chat)\shistory)",
    ),
)


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing about a text. `pointer` says where in the definition; `what` is said of it, and holds no control."""

    rule: Rule
    pointer: str
    what: str


def flags(definition: object) -> tuple[Flag, ...]:
    """Return what is remarkable about the texts of a tool's definition, at most twenty things."""
    found: list[Flag] = []
    for pointer, text in texts(definition):
        for flag in _flags_of(pointer, text):
            found.append(flag)
            if len(found) == _MAX_FLAGS:
                return tuple(found)
    return tuple(found)


def texts(value: object) -> Iterator[tuple[str, str]]:
    """Yield every text in a JSON value, with the JSON Pointer of it: strings, and the keys of objects at their value.

    It goes as deep as the value does, without the stack, and holds one way through it at a time.
    """
    levels: list[Iterator[tuple[str, Any]]] = [iter([("", value)])]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif isinstance(found[1], str):
            yield found
        else:
            levels.append(_inside(*found))


def _inside(pointer: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Yield the texts, lists and objects in a list or an object; keys that are not ASCII are texts as well."""
    if isinstance(value, list):
        yield from ((below(pointer, str(at)), each) for at, each in enumerate(value) if isinstance(each, _TELLING))
    elif isinstance(value, dict):
        for key, each in value.items():
            if not key.isascii():
                yield below(pointer, key), key
            if isinstance(each, _TELLING):
                yield below(pointer, key), each


def below(pointer: str, key: str) -> str:
    """Return the JSON Pointer to what `key` is in there: a long one without its middle, for a peer chooses the keys."""
    longer = f"{pointer}/{key[:_POINTER].replace('~', '~0').replace('/', '~1')}"
    return longer if len(longer) <= _POINTER else f"{longer[: _POINTER // 2]}…{longer[-_POINTER // 2 :]}"


def is_hidden(text: str, position: int) -> bool:
    """Return whether the character at a position is there without being seen.

    Joiners are part of many scripts and of emoji: between two characters that are not ASCII they are left alone, and so
    are direction marks beside letters that run from right to left, and variation selectors behind what can vary. In a
    row of their own kind none is: that can spell anything.
    """
    character = text[position]
    if character in _UNSEEN:
        return True
    if _SELECTOR.fullmatch(character):
        return _VARIED.fullmatch(text[position - 1 : position]) is None
    if character.isprintable() or character in _PLAIN_CONTROLS or unicodedata.category(character) == "Zs":
        return False
    beside = text[max(position - 1, 0) : position] + text[position + 1 : position + 2]
    if character in _JOINERS:
        return len(beside) < len("ab") or any(each.isascii() or each in _JOINERS for each in beside)
    if character in _MARKS:
        return not any(unicodedata.bidirectional(each) in ("R", "AL") for each in beside if each not in _MARKS)
    return True


def _flags_of(pointer: str, text: str) -> Iterator[Flag]:
    hidden = [] if _is_plain(text) else [at for at in range(len(text)) if is_hidden(text, at)]
    if hidden:
        yield Flag(HIDDEN_TEXT, pointer, _hidden(text, hidden))
    if found := _COMMENT.search(text):
        yield Flag(HIDDEN_TEXT, pointer, f"a comment: {_around(text, found.start(), found.end())}")
    if not text.isascii() and (word := _lookalike(text)):
        yield Flag(LOOKALIKE_TEXT, pointer, word)
    if (blob := _encoded(pointer, text)) is not None:
        yield Flag(ENCODED_TEXT, pointer, blob)
    yield from _orders(pointer, _folded(text, frozenset(hidden)))


def _is_plain(text: str) -> bool:
    return text.isascii() and (text.isprintable() or text.translate(_CONTROLS_AWAY).isprintable())


_CONTROLS_AWAY: Final = {ord(each): None for each in _PLAIN_CONTROLS}


def _hidden(text: str, hidden: list[int]) -> str:
    names = dict.fromkeys(_name_of(text[at]) for at in hidden[:_MAX_FLAGS])
    more = "s" if len(hidden) > 1 else ""
    return f"{len(hidden)} hidden character{more} ({', '.join(names)}): {_around(text, hidden[0], hidden[0] + 1)}"


def _name_of(character: str) -> str:
    name = unicodedata.name(character, "ESCAPE" if character in "\x1b\x9b" else "CONTROL")
    return f"U+{ord(character):04X} {name}"


def _lookalike(text: str) -> str:
    """Return what to say of the first word that is not what it looks like."""
    for found in _WORD.finditer(text):
        word = found.group()
        if word.isascii() or _INFLECTED.fullmatch(word):
            continue
        if any(ord(each) in _MATHEMATICAL for each in word):
            return f"the word `{printable(word, _SHOWN)}` is made of mathematical symbols that look like letters"
        strange = [each for each in word if not each.isascii()]
        if len(strange) < len(word) and all(ord(each) in _ALIKE for each in strange):
            names = ", ".join(dict.fromkeys(_name_of(each) for each in strange))
            return f"`{printable(word, _SHOWN)}` is not the word that it looks like: {names}"
    return ""


def _encoded(pointer: str, text: str) -> str | None:
    """Return what to say of the first long encoded text. Digests, URLs and pictures are left alone."""
    for found in _BLOB.finditer(text):
        blob = found.group()
        before = text[: found.start()].rpartition(" ")[2]
        if _HEX.fullmatch(blob) or "://" in before or "data:image/" in before or pointer.startswith("/icons/"):
            continue
        if (
            any(each.isupper() for each in blob)
            and any(each.islower() for each in blob)
            and any(map(str.isdigit, blob))
        ):
            return f"{len(blob)} characters that look like base64: {printable(blob, _MARGIN)}"
    return None


def _orders(pointer: str, folded: str) -> Iterator[Flag]:
    told = set()
    for order in _ORDERS:
        found = order.pattern.search(folded)
        if found and order.what not in told:
            told.add(order.what)
            yield Flag(ADDRESSING_TEXT, pointer, f"it {order.what}: {_around(folded, found.start(), found.end())}")


def _folded(text: str, hidden: frozenset[int]) -> str:
    """Return the text as a model may well take it: without what is hidden, in plain letters, and in lower case."""
    if hidden:
        text = "".join(character for at, character in enumerate(text) if at not in hidden)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_ALIKE).replace("\u2019", "'")
    return _SPACES.sub(" ", text.lower())


_SPACES: Final = re.compile(r"[^\S\n]+")


def _around(text: str, start: int, end: int) -> str:
    """Return the place in a text, fit to be shown, with what stands around it."""
    before = "…" if start > _MARGIN else ""
    after = "…" if len(text) > end + _MARGIN else ""
    return f'"{before}{printable(text[max(start - _MARGIN, 0) : end + _MARGIN], 2 * _SHOWN)}{after}"'
