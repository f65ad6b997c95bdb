"""What an API server makes of an object by its schema: defaults, unknown fields, and what is not valid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Schema = Mapping[str, Any]

TEXT = {"type": "string"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
PORT = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "protocol": {"type": "string", "default": "TCP"},
        "appProtocol": TEXT,
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "targetPort": {"type": "integer"},
    },
}
MICRO_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$"}
ANYTHING: dict[str, Any] = {}


def built_in(**properties: Any) -> dict[str, Any]:
    """The schema of a kind that every cluster has."""
    shared = {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}}
    return {"type": "object", "properties": {**shared, **properties}}


BUILT_IN = {
    "namespaces": built_in(spec=ANYTHING),
    "secrets": built_in(type={"type": "string", "default": "Opaque"}, data=TEXTS, stringData=TEXTS),
    "configmaps": built_in(data=TEXTS),
    "services": built_in(
        spec={
            "type": "object",
            "properties": {
                "type": {"type": "string", "default": "ClusterIP"},
                "externalName": TEXT,
                "sessionAffinity": {"type": "string", "default": "None"},
                "ports": {"type": "array", "items": PORT},
            },
        }
    ),
    "leases": built_in(
        spec={
            "type": "object",
            "properties": {
                "holderIdentity": TEXT,
                "leaseDurationSeconds": {"type": "integer", "minimum": 1, "maximum": 0x7FFF_FFFF},
                "acquireTime": MICRO_TIME,
                "renewTime": MICRO_TIME,
                "leaseTransitions": {"type": "integer", "minimum": 0, "maximum": 0x7FFF_FFFF},
            },
        }
    ),
    "roles": built_in(rules=ANYTHING),
    "rolebindings": built_in(roleRef=ANYTHING, subjects=ANYTHING),
}

RULES: dict[str, Callable[[Any, Any], bool]] = {
    "self == oldSelf": lambda new, old: old is None or new == old,
    "self.userSpecificList != 'Enabled' || (has(self.prefix) && size(self.prefix) > 0)": lambda new, _: (
        new.get("userSpecificList") != "Enabled" or bool(new.get("prefix"))
    ),
}
"""The validation rules of the definitions, in Python."""

_TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "object": dict, "array": list, "integer": int}


def defaulted(schema: Schema, value: Any) -> Any:
    """Return a value with the defaults that its schema has."""
    if isinstance(value, dict):
        filled = dict(value)
        for name, part in schema.get("properties", {}).items():
            if name in filled:
                filled[name] = defaulted(part, filled[name])
            elif "default" in part:
                filled[name] = defaulted(part, part["default"])
        return filled
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), each) for each in value]
    return value


def undeclared(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the fields that the schema does not know."""
    if isinstance(value, dict) and "properties" in schema:
        for name, part in value.items():
            if name in schema["properties"]:
                yield from undeclared(schema["properties"][name], part, f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from undeclared(schema.get("items", {}), each, f"{path}[{index}]")


def invalid(schema: Schema, value: Any, old: Any, path: str = "") -> Iterator[str]:
    """Yield what is wrong with a value, given the one before it (None: there was none)."""
    expected = _TYPES.get(schema.get("type", ""))
    if expected is not None and (not isinstance(value, expected) or isinstance(value, bool)):
        yield f"{path}: Invalid value: must be of type {schema['type']}"
        return
    yield from _limits(schema, value, path)
    for rule in schema.get("x-kubernetes-validations", ()):
        if not RULES[rule["rule"]](value, old):
            yield f"{path}: Invalid value: {rule['message']}"
    if isinstance(value, dict):
        yield from (f"{path}.{name}: Required value" for name in schema.get("required", ()) if name not in value)
        for name, part in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
            before = old.get(name) if isinstance(old, dict) else None
            yield from invalid(inner, part, before, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from invalid(schema.get("items", {}), each, None, f"{path}[{index}]")


def _limits(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{path}: Invalid value: of {len(value)} characters"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path}: Invalid value: should match '{schema['pattern']}'"
        if "enum" in schema and value not in schema["enum"]:
            yield f"{path}: Unsupported value: {value!r}"
    if isinstance(value, list) and len(value) > schema.get("maxItems", len(value)):
        yield f"{path}: Too many: {len(value)}: must have at most {schema['maxItems']} items"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: Invalid value: {value}"
