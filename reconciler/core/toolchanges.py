"""How the tools that an upstream offers differ from the reviewed ones, and how much each difference matters.

Both sides are definitions; what anybody thinks of them is not asked. A changed description is the grave one: the model
reads it as an instruction, and no schema check ever looks at it. The risks are a table, and a text with flags
(`reconciler.core.tooltext`) that was not there before makes any change grave.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from reconciler.core.canonical import canonical_json
from reconciler.core.hostile import printable
from reconciler.core.tooltext import below, flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.model import DesiredState, ToolsLock, VerifyPolicy
    from reconciler.core.observation import Tool
    from reconciler.core.tooltext import Flag

Kind = Literal["appeared", "vanished", "description", "schema", "annotations", "other"]
Risk = Literal["low", "medium", "high"]

RISKS: Final[Mapping[Kind, Risk]] = {
    "appeared": "high",  # nobody has reviewed it, and platforms offer it at once
    "vanished": "medium",  # whoever calls it fails, and nobody is misled
    "description": "high",  # models obey descriptions
    "schema": "medium",  # other arguments; where words in it changed, they are a description
    "annotations": "medium",  # where it now claims to be harmless, clients stop asking their user
    "other": "low",
}

_FACETS: Final[Mapping[str, Kind]] = {
    "title": "description",
    "description": "description",
    "inputSchema": "schema",
    "outputSchema": "schema",
    "annotations": "annotations",
}
_KINDS: Final[tuple[Kind, ...]] = ("description", "schema", "annotations", "other")
_SPOKEN: Final = frozenset({"title", "description", "default", "examples", "enum", "const", "$comment"})
"""The keys of a schema whose values models read as words."""

_HARMLESS: Final[Mapping[str, object]] = {
    "readOnlyHint": True,
    "destructiveHint": False,
    "idempotentHint": True,
    "openWorldHint": False,
}
"""The annotations with which a tool says that nothing can happen."""

_DEPTH: Final = 40
_PARTS_AT_MOST: Final = 20
_CONTEXT: Final = 24
_SHOWN: Final = 160
_NAMES_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Part:
    """One place in a definition that differs: its JSON Pointer, and both values as text, empty for none.

    The texts are windows on where they differ, fit to be shown.
    """

    pointer: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ToolChange:
    """One way in which one tool is not as it was reviewed; `flags` are of texts that were not there before."""

    tool: str
    kind: Kind
    risk: Risk
    parts: tuple[Part, ...] = ()
    flags: tuple[Flag, ...] = field(default=())

    @property
    def says(self) -> str:
        """What happened, to go after the tool's name."""
        return self.kind if self.kind in ("appeared", "vanished") else f"{_WORDS[self.kind]} changed"


_WORDS: Final[Mapping[Kind, str]] = {
    "description": "description",
    "schema": "schema",
    "annotations": "annotations",
    "other": "definition",
}


@dataclass(frozen=True, slots=True)
class ToolsDelta:
    """What becomes of the tools of one gateway, for a plan. `says` is what the changes are between."""

    gateway: str
    file: str
    says: str
    changes: tuple[ToolChange, ...] = ()


def compare(reviewed: Iterable[Tool], seen: Iterable[Tool]) -> tuple[ToolChange, ...]:
    """Return how the tools seen differ from the reviewed ones, by name; each kind of difference is one of its own.

    Of a tool whose definition is not known on both sides, only that it changed can be told.
    """
    before, after = {tool.name: tool for tool in reviewed}, {tool.name: tool for tool in seen}
    changes: list[ToolChange] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            changes.append(ToolChange(name, "appeared", RISKS["appeared"], flags=flags(_definition(new))))
        elif new is None:
            changes.append(ToolChange(name, "vanished", RISKS["vanished"]))
        elif old is not None and old.digest != new.digest:
            changes.extend(_changed(old, new))
    return tuple(changes)


def flagged(tools: Iterable[Tool]) -> tuple[tuple[str, Flag], ...]:
    """Return what is remarkable about the texts of tools, with the names of the tools."""
    return tuple((tool.name, flag) for tool in tools for flag in flags(_definition(tool)))


def names_compared(reviewed: Iterable[str], seen: Iterable[str]) -> tuple[ToolChange, ...]:
    """Return which tools appeared and vanished, where no more than their names is known."""
    before, after = set(reviewed), set(seen)
    kinds: dict[str, Kind] = {name: "appeared" if name in after else "vanished" for name in before ^ after}
    return tuple(ToolChange(name, kind, RISKS[kind]) for name, kind in sorted(kinds.items()))


def between(before: DesiredState, after: DesiredState) -> tuple[ToolsDelta, ...]:
    """Return what a change of the tools locks means for the gateways of two revisions; `before` is the earlier one.

    A gateway that comes or goes as a whole is left to the plan.
    """
    both = sorted(before.gateways.keys() & after.gateways.keys())
    found = (_between(name, before.gateways[name].verify, after.gateways[name].verify) for name in both)
    return tuple(delta for delta in found if delta is not None)


def _between(name: str, before: VerifyPolicy, after: VerifyPolicy) -> ToolsDelta | None:
    old, new = before.tools_lock, after.tools_lock
    if old is not None and new is None:
        return ToolsDelta(name, old.file, "the tools lock goes, and nothing is compared any more")
    if old is None and new is not None:
        return ToolsDelta(name, new.file, f"locked for the first time: {', '.join(_names(new)) or 'no tools'}")
    if old is None or new is None or old.tools is None or new.tools is None or old.tools == new.tools:
        return None
    return ToolsDelta(name, new.file, "what is locked changes", compare(old.tools, new.tools))


def since_seen(desired: DesiredState, seen: Mapping[str, Sequence[str]]) -> tuple[ToolsDelta, ...]:
    """Return which tools upstreams had beyond those of their locks when they were looked at last, and which not."""
    found = []
    for name, wanted in desired.gateways.items():
        lock = wanted.verify.tools_lock
        if lock is not None and lock.tools is not None and name in seen:
            changes = names_compared(_names(lock), seen[name])
            if changes:
                found.append(ToolsDelta(name, lock.file, "what was seen last, against what is locked", changes))
    return tuple(found)


def locked_names(desired: DesiredState) -> dict[str, tuple[str, ...]]:
    """Return the names of the reviewed tools, by the name of the gateway, as far as there are locks."""
    locks = {name: wanted.verify.tools_lock for name, wanted in desired.gateways.items()}
    return {name: _names(lock) for name, lock in locks.items() if lock is not None and lock.tools is not None}


def _names(lock: ToolsLock) -> tuple[str, ...]:
    return tuple(tool.name for tool in lock.tools or ())


def summary(changes: Sequence[ToolChange]) -> str:
    """Return what changed in one sentence without its end, the gravest first."""
    ordered = sorted(changes, key=lambda each: (("high", "medium", "low").index(each.risk), each.tool))
    said = [f"{change.tool} {change.says}" for change in ordered]
    more = f" and {len(said) - _NAMES_SHOWN} more" if len(said) > _NAMES_SHOWN else ""
    return f"{', '.join(said[:_NAMES_SHOWN])}{more}"


def _definition(tool: Tool) -> Any:  # noqa: ANN401 - any JSON
    return json.loads(tool.definition) if tool.definition else {}


def _changed(old: Tool, new: Tool) -> Iterator[ToolChange]:
    before, after = _definition(old), _definition(new)
    if not before or not after:
        yield ToolChange(new.name, "other", "high")
        return
    known = {(flag.pointer, flag.what) for flag in flags(before)}
    fresh = [flag for flag in flags(after) if (flag.pointer, flag.what) not in known]
    parts: dict[Kind, list[_Leaf]] = {kind: [] for kind in _KINDS}
    for leaf in _leaves(before, after):
        parts[_kind(leaf.pointer)].append(leaf)
    for kind in _KINDS:
        if parts[kind]:
            own = tuple(flag for flag in fresh if _kind(flag.pointer) == kind)
            shown = tuple(_part(leaf) for leaf in parts[kind][:_PARTS_AT_MOST])
            yield ToolChange(new.name, kind, "high" if own else _risk(kind, parts[kind]), shown, own)


def _kind(pointer: str) -> Kind:
    return _FACETS.get(pointer.split("/", 2)[1], "other")


def _risk(kind: Kind, leaves: Sequence[_Leaf]) -> Risk:
    if kind == "schema" and any(_is_spoken(leaf) for leaf in leaves):
        return "high"
    if kind == "annotations" and any(_is_harmless(leaf) for leaf in leaves):
        return "high"
    return RISKS[kind]


def _is_spoken(leaf: _Leaf) -> bool:
    """Return whether words appear in a schema that were not there: alone, or inside of something that is new."""
    spoken = not _SPOKEN.isdisjoint(leaf.pointer.split("/")) or isinstance(leaf.after, dict | list)
    return spoken and leaf.after is not _NOTHING and not isinstance(leaf.after, bool | int | float)


def _is_harmless(leaf: _Leaf) -> bool:
    name = leaf.pointer.rpartition("/")[2]
    claims = leaf.after if isinstance(leaf.after, dict) else {name: leaf.after}
    return any(key in claims and claims[key] is value for key, value in _HARMLESS.items())


_NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A place where two definitions differ and that has no smaller one inside; `_NOTHING` stands for no value."""

    pointer: str
    before: Any
    after: Any


def _leaves(before: Any, after: Any) -> Iterator[_Leaf]:  # noqa: ANN401 - any JSON
    """Yield the smallest places that differ, in the order of their keys. It uses no stack, and goes so deep only."""
    levels = [iter([_Leaf("", before, after)])]
    while levels:
        leaf = next(levels[-1], None)
        if leaf is None:
            levels.pop()
        elif len(levels) <= _DEPTH and (inner := _inside(leaf)) is not None:
            levels.append(inner)
        elif _differs(leaf):
            yield leaf


def _differs(leaf: _Leaf) -> bool:
    if leaf.before is _NOTHING or leaf.after is _NOTHING:
        return True
    return canonical_json(leaf.before) != canonical_json(leaf.after)


def _inside(leaf: _Leaf) -> Iterator[_Leaf] | None:
    """Return the places in two values that can be compared place by place, or None."""
    old, new = leaf.before, leaf.after
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return (_Leaf(below(leaf.pointer, key), old.get(key, _NOTHING), new.get(key, _NOTHING)) for key in keys)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return (_Leaf(below(leaf.pointer, str(at)), *pair) for at, pair in pairs)
    return None


def _part(leaf: _Leaf) -> Part:
    before, after = _text(leaf.before), _text(leaf.after)
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    return Part(printable(leaf.pointer, _SHOWN), _window(before, start, end), _window(after, start, end))


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    return "" if value is _NOTHING else canonical_json(value)


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


def _window(text: str, start: int, end: int) -> str:
    """Return the part of a text that differs, with a little of what stands around it."""
    first, last = max(start - _CONTEXT, 0), min(len(text) - end + _CONTEXT, len(text))
    shown = f"{'…' if first else ''}{text[first:last]}{'…' if last < len(text) else ''}"
    return printable(shown, 2 * _SHOWN)
