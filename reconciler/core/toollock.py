"""The tools lock: the definitions of an upstream's tools as somebody reviewed them, in a file beside the manifest.

It is JSON for people: sorted by name, one block a tool, every value on a line of its own, and whatever nobody could see
is written as an escape. The digest in each block is that of the canonical definition, so that a definition that was
edited by hand is noticed. Whether an upstream still offers these tools is decided in `reconciler.core.toolchanges`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from reconciler.core.canonical import canonical_json
from reconciler.core.handshake import MAX_ITEMS, MAX_NAME, tool_digest
from reconciler.core.hostile import printable
from reconciler.core.model import ToolsLock
from reconciler.core.observation import Tool
from reconciler.core.problems import Location, Rule, Severity, has_errors
from reconciler.core.strict_yaml import locate
from reconciler.core.tooltext import FIXES, flags, is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.core.problems import Problem

UNREADABLE_LOCK = Rule(
    "tools-lock-unreadable",
    Severity.ERROR,
    "A tools lock that cannot be read protects nobody: no tool could be told from the one that was reviewed.",
)
EDITED_LOCK = Rule(
    "tools-lock-edited",
    Severity.ERROR,
    "A definition in a tools lock is not the one that its digest is of: it was edited by hand, or half merged.",
)

LOCK_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of the longest lock: twice what an upstream may answer."""

_ERRORS_AT_MOST: Final = 100
_DEEPEST: Final = 40
"""Spaces before the innermost line of a lock."""

_VERSION: Final = "reconciler/v1"
_KIND: Final = "ToolsLock"
_AGAIN: Final = "write it anew with `reconciler lock` and review the difference"
_DELETE: Final = "\x7f"
_UNITS: Final = re.compile("....")
_GARBAGE: Final = (ValueError, RecursionError)


class _Twice(ValueError):  # noqa: N818 - it does not leave this module
    """A key that an object has twice."""


def write_lock(tools: Iterable[Tool]) -> bytes:
    """Return the file for these tools, the same for the same tools in whatever order. Their definitions are needed."""
    document = {
        "apiVersion": _VERSION,
        "kind": _KIND,
        "tools": [
            {"name": tool.name, "sha256": tool.digest, "definition": _sorted(json.loads(tool.definition))}
            for tool in sorted(tools, key=lambda each: each.name)
        ],
    }
    return _seen("".join(_written(document)) + "\n").encode()


def read_lock(file: str, data: bytes) -> tuple[ToolsLock, tuple[Problem, ...]]:
    """Return the lock, and what is wrong with it, a hundred errors at the most; with an error, its tools are None."""
    try:
        document = _parsed(data)
    except _GARBAGE as error:
        return ToolsLock(file, None), (_not_json(file, error),)
    found = tuple(_until_hopeless(_Check(file, data, document).problems()))
    if has_errors(found):
        return ToolsLock(file, None), found
    tools = sorted((_tool(block) for block in document["tools"]), key=lambda each: each.name)
    return ToolsLock(file, tuple(tools)), found


def _until_hopeless(problems: Iterator[Problem]) -> Iterator[Problem]:
    """Yield problems, and no more once there are more errors than anybody mends by hand."""
    errors = 0
    for problem in problems:
        yield problem
        errors += problem.severity is Severity.ERROR
        if errors == _ERRORS_AT_MOST:
            return


class _Check:
    """What is wrong with one lock."""

    def __init__(self, file: str, data: bytes, document: object) -> None:
        self._file = file
        self._data = data
        self._document = document

    def problems(self) -> Iterator[Problem]:
        """Yield everything."""
        document = self._document
        if not isinstance(document, dict) or not isinstance(document.get("tools"), list):
            yield self._unreadable("", "a tools lock is an object with a list `tools`")
            return
        if (document.get("apiVersion"), document.get("kind")) != (_VERSION, _KIND):
            yield self._unreadable("", f"it does not say `apiVersion: {_VERSION}` and `kind: {_KIND}`")
        if len(document["tools"]) > MAX_ITEMS:
            yield self._unreadable("/tools", f"it holds more than {MAX_ITEMS:,} tools")
            return
        names: set[str] = set()
        for index, block in enumerate(document["tools"]):
            yield from self._block(f"/tools/{index}", block, names)

    def _block(self, pointer: str, block: object, names: set[str]) -> Iterator[Problem]:
        if not isinstance(block, dict) or not isinstance(block.get("definition"), dict):
            yield self._unreadable(pointer, "a tool is an object with `name`, `sha256` and `definition`")
            return
        name, definition = block.get("name"), block["definition"]
        own = definition.get("name")
        if not isinstance(own, str) or name != printable(own, MAX_NAME):
            yield self._unreadable(f"{pointer}/name", "the tool's name is not the one in its definition")
            return
        if name in names:
            yield self._unreadable(f"{pointer}/name", f"the tool {name} is there twice")
        names.add(name)
        if tool_digest(canonical_json(definition)) != block.get("sha256"):
            message = f"the definition of {name} is not the one that was locked: it has another digest"
            yield EDITED_LOCK.at(self._locate(f"{pointer}/sha256"), message, fix=_AGAIN)
        for flag in flags(definition):
            where = self._locate(f"{pointer}/definition{flag.pointer}")
            yield flag.rule.at(where, f"the tool {name}: {flag.what}", fix=FIXES[flag.rule.code])

    def _unreadable(self, pointer: str, message: str) -> Problem:
        return UNREADABLE_LOCK.at(self._locate(pointer), message, fix=_AGAIN)

    def _locate(self, pointer: str) -> Location:
        # JSON as it is written here is YAML as well, and that parser knows where everything stands.
        return locate(self._file, self._data, 0, pointer)


def _tool(block: dict[str, Any]) -> Tool:
    return Tool(block["name"], block["sha256"], canonical_json(block["definition"]))


def _parsed(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    if len(data) > LOCK_LIMIT:
        raise ValueError(f"it has {len(data):,} bytes, and at most {LOCK_LIMIT:,} are read")
    document = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    canonical_json(document)  # raises where it is nested more deeply than can be compared
    return document


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("an object in it has a key twice")
    return found


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _not_json(file: str, error: Exception) -> Problem:
    if isinstance(error, json.JSONDecodeError):
        lines = f"{error.doc[: error.pos]}|".splitlines()  # the bar stands for what cannot be read
        where = Location(file, len(lines), len(lines[-1]))
        return UNREADABLE_LOCK.at(where, f"it is not JSON: {error.msg.lower()}", fix=_AGAIN)
    if isinstance(error, UnicodeDecodeError):
        return UNREADABLE_LOCK.at(Location(file), "it is not UTF-8", fix=_AGAIN)
    what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return UNREADABLE_LOCK.at(Location(file), what, fix=_AGAIN)


def _written(value: Any, indent: str = "") -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Yield JSON with every value on a line of its own; what is nested so deeply that nobody reads it is one line.

    Indented throughout, a hostile definition of a few megabytes would take gigabytes.
    """
    if not value or not isinstance(value, (dict, list)) or len(indent) >= _DEEPEST:
        yield _in_one_line(value)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    labelled = [f"{_in_one_line(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
    inner = f"{indent}  "
    yield opening
    for at, (label, each) in enumerate(
        zip(labelled, value.values() if isinstance(value, dict) else value, strict=True)
    ):
        yield f"{',' if at else ''}\n{inner}{label}"
        yield from _written(each, inner)
    yield f"\n{indent}{closing}"


def _in_one_line(value: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps(value, ensure_ascii=False)


def _sorted(value: Any) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(json.dumps(value, sort_keys=True))


def _seen(text: str) -> str:
    """Return JSON text with what nobody would see written as escapes."""
    if text.isascii() and _DELETE not in text:
        return text
    return "".join(_escaped(each) if is_hidden(text, at) else each for at, each in enumerate(text))


def _escaped(character: str) -> str:
    return _UNITS.sub(r"\\u\g<0>", character.encode("utf-16-be", "surrogatepass").hex())
