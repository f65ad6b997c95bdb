"""The order of keys that a JSON Schema gives: that in which its `properties` stand, since people wrote them so.

Where a schema lets keys be chosen freely, as those of labels, the order is the author's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """The known keys of a mapping in order, each with the order below it; `items` is that of a list's items.

    Without known keys the order is the author's.
    """

    keys: Mapping[str, KeyOrder] = field(default_factory=dict)
    items: KeyOrder | None = None


FREE = KeyOrder()


def key_order(schema: Mapping[str, Any]) -> KeyOrder:
    """Return the order of a whole JSON Schema, whose references are all to its own `$defs` and never recursive."""
    return _order(schema, schema["$defs"])


def _order(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> KeyOrder:
    keys: dict[str, KeyOrder] = {}
    items = None
    for part in _parts(schema, definitions):
        if isinstance(part.get("items"), dict):
            items = _order(part["items"], definitions)
        if isinstance(part.get("additionalProperties"), dict) or "patternProperties" in part:
            return FREE
        for key, below in part.get("properties", {}).items():
            found = _order(below, definitions) if isinstance(below, dict) else FREE
            keys[key] = found if keys.get(key, FREE) == FREE else keys[key]
    return KeyOrder(keys, items)


def _parts(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and those that add to it: what it refers to, and the variants it chooses from."""
    yield schema
    if "$ref" in schema:
        yield from _parts(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    for variant in schema.get("allOf", ()):
        yield from _parts(variant.get("then", variant), definitions)
