"""Schema -> fields: what may stand in a manifest, in words, and which field somebody means.

The JSON Schemas are the only source: types, bounds and examples are read out of them and never written down twice.
Paths are dotted: `spec.tls.caCertificates`; `[]` is an item of a list and `*` any key of a mapping.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_KINDS: Final = ("Gateway", "Config", "Keyring", "Defaults")
"""In the order in which a path without a kind is looked for: what Defaults have, a Gateway has as well."""

_WORD_LIMIT: Final = 200
_NEAR: Final = 0.6
_NEAR_SHOWN: Final = 3
_INDEX: Final = re.compile(r"\[[0-9]*\]|\.[0-9]+(?=\.|$)")

Schema = Any


@dataclass(frozen=True, slots=True)
class Field:
    """One field, in words.

    `path` is empty for the kind itself. `limits` are the sentences about what its value must be like. `default` and
    `example` are JSON values, None where there is none. `variant` is the `type` beside which it stands, if it needs
    one; `variants` says of the field itself what its types mean.
    """

    kind: str
    path: str
    type: str
    description: str
    required: bool = False
    default: object = None
    example: object = None
    allowed: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    variant: str = ""
    variants: tuple[tuple[str, str], ...] = ()
    fields: tuple[Field, ...] = ()

    @property
    def word(self) -> str:
        """What to call it so that nothing else is meant."""
        if not self.path:
            return self.kind
        return self.path if self.kind == "Gateway" else f"{self.kind}.{self.path}"

    @property
    def is_item(self) -> bool:
        """Whether it is an item of a list."""
        return self.path.endswith("[]")

    def walk(self) -> Iterator[Field]:
        """Yield this field and all below it, in the schema's order."""
        yield self
        for field in self.fields:
            yield from field.walk()


class Fields:
    """The fields of every kind, by what people call them."""

    def __init__(self, schemas: Mapping[str, str]) -> None:
        """Take the JSON Schema of each kind, as text."""
        self.kinds = {kind: _root(kind, json.loads(schemas[kind])) for kind in _KINDS}

    def find(self, word: str) -> tuple[Field, ...]:
        """Return the field that is meant, all of them if several could be, and nothing if there is none.

        A whole path goes before the end of one (`caCertificates`), and that before a key of somebody's own
        (`metadata.labels.team`). Without a kind in front a Gateway's fields come first.
        """
        kind, wanted = self._split(word)
        if not wanted:
            return (self.kinds[kind],) if kind else ()
        kinds = (kind,) if kind else _KINDS
        for fits in (_is, _ends, _holds):
            for each in kinds:
                found = tuple(field for field in self.kinds[each].walk() if fits(field, wanted))
                if found:
                    return found
        return ()

    def near(self, word: str) -> tuple[str, ...]:
        """Return what to call the fields whose names are nearest to a word that is none, the nearest first."""
        kind, wanted = self._split(word)
        known: dict[str, str] = {}
        for each in (kind,) if kind else _KINDS:
            for field in self.kinds[each].walk():
                for end in _ends_of(_address(field.path).lower()):
                    known.setdefault(end, field.word)
        near = difflib.get_close_matches(_address(wanted).lower()[:_WORD_LIMIT], known, n=_NEAR_SHOWN, cutoff=_NEAR)
        return tuple(dict.fromkeys(known[each] for each in near))

    def _split(self, word: str) -> tuple[str, str]:
        """Return the kind that a word begins with, or nothing, and the rest."""
        first, _, rest = word.partition(".")
        kind = {kind.lower(): kind for kind in _KINDS}.get(first.lower(), "")
        return (kind, rest) if kind else ("", word)


def _address(path: str) -> str:
    """Return a path without the items of lists: nobody needs to count them to name a field."""
    return _INDEX.sub("", path)


def _is(field: Field, wanted: str) -> bool:
    return _address(field.path) == _address(wanted) and field.is_item == wanted.endswith("]")


def _ends(field: Field, wanted: str) -> bool:
    return _address(field.path).endswith("." + _address(wanted)) and field.is_item == wanted.endswith("]")


def _holds(field: Field, wanted: str) -> bool:
    return field.path.endswith(".*") and wanted.startswith(field.path[:-1])


def _ends_of(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.partition(".")[2]


def _root(kind: str, schema: Schema) -> Field:
    return _Reader(kind, schema["$defs"]).field("", schema)


class _Reader:
    """Reads the schema of one kind."""

    def __init__(self, kind: str, definitions: Mapping[str, Schema]) -> None:
        self._kind = kind
        self._definitions = definitions

    def field(self, path: str, schema: Schema, *, required: bool = False, variant: str = "") -> Field:
        schema = self._resolved(schema)
        return Field(
            kind=self._kind,
            path=path,
            type=self._type(schema),
            description=schema["description"],
            required=required,
            default=schema.get("default"),
            example=schema["examples"][0],
            allowed=tuple(map(str, schema.get("enum", (schema["const"],) if "const" in schema else ()))),
            limits=tuple(_limits(schema)),
            variant=variant,
            variants=tuple((name, each["description"]) for name, each in self._variants(schema)),
            fields=tuple(self._below(path, schema)),
        )

    def _resolved(self, schema: Schema) -> Schema:
        if "$ref" not in schema:
            return schema
        return {**self._definitions[schema["$ref"].rpartition("/")[2]], **schema}

    def _below(self, path: str, schema: Schema) -> Iterator[Field]:
        yield from self._properties(path, schema)
        for name, each in self._variants(schema):
            yield from self._properties(path, each, name)
        if "items" in schema:
            yield self.field(f"{path}[]", schema["items"])
        for values in _any_key(schema):
            yield self.field(f"{path}.*", values)

    def _properties(self, path: str, schema: Schema, variant: str = "") -> Iterator[Field]:
        needed = schema.get("required", ())
        for name, inner in schema.get("properties", {}).items():
            if inner is not True:  # said by the schema that this one is a branch of
                place = f"{path}.{name}" if path else name
                yield self.field(place, inner, required=name in needed, variant=variant)

    def _variants(self, schema: Schema) -> Iterator[tuple[str, Schema]]:
        for branch in schema.get("allOf", ()):
            yield branch["if"]["properties"]["type"]["const"], self._resolved(branch["then"])

    def _type(self, schema: Schema) -> str:
        if "items" in schema:
            return f"list of {_plural(self._type(self._resolved(schema['items'])))}"
        for values in _any_key(schema):
            return f"mapping of strings to {_plural(self._type(self._resolved(values)))}"
        kind = schema.get("type", "string")
        return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _any_key(schema: Schema) -> Iterator[Schema]:
    """Yield the schema of what stands under the keys that people choose, where they may."""
    if isinstance(schema.get("additionalProperties"), dict):
        yield schema["additionalProperties"]
    yield from schema.get("patternProperties", {}).values()


def _plural(noun: str) -> str:
    return f"{noun}s"


def _limits(schema: Schema) -> Iterator[str]:
    """Yield what the schema asks of a value, a sentence for each keyword that has one."""
    names = ", ".join(f"`{name}`" for name in schema.get("properties", ()))
    if schema.get("minProperties") == schema.get("maxProperties") == 1:
        yield f"exactly one of {names}"
        schema = {key: value for key, value in schema.items() if not key.endswith("Properties")}
    for keyword, said in _SAID.items():
        if keyword in schema:
            yield said(schema[keyword])


def _at_least(noun: str) -> Callable[[Any], str]:
    return lambda limit: f"at least {limit:,} {noun}{'' if limit == 1 else 's'}"


def _at_most(noun: str) -> Callable[[Any], str]:
    return lambda limit: f"at most {limit:,} {noun}{'' if limit == 1 else 's'}"


def _form(pattern: str) -> str:
    return FORMS.get(pattern, f"matches {pattern}")


def _together(needs: Mapping[str, list[str]]) -> str:
    return "; ".join(f"`{name}` needs `{other}` beside it" for name, others in needs.items() for other in others)


def _never(forbidden: Schema) -> str:
    if "required" in forbidden:
        return f"{' and '.join(f'`{name}`' for name in forbidden['required'])} not beside each other"
    return "no secret in the query"


_SAID: Final[Mapping[str, Callable[[Any], str]]] = {
    "pattern": _form,
    "not": _never,
    "writeOnly": lambda _: "a reference to a secret, never the secret",
    "propertyNames": lambda names: f"each key: {names['description'].rstrip('.')}",
    "dependentRequired": _together,
    "minLength": _at_least("character"),
    "maxLength": _at_most("character"),
    "minItems": _at_least("item"),
    "maxItems": _at_most("item"),
    "minProperties": _at_least("key"),
    "maxProperties": _at_most("key"),
    "uniqueItems": lambda _: "no item twice",
    "minimum": lambda limit: f"{limit:,} or more",
    "maximum": lambda limit: f"{limit:,} or less",
}

_LABEL: Final = "letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"

FORMS: Final[Mapping[str, str]] = {
    r"^(?!/)(?!(.*/)?\.\.(/|$))[^\\\x00-\x1f\x7f]+$": "a relative path with `/` that never goes up",
    r"^(?=[^1-9]*[1-9])([0-9]{1,6}ms|[0-9]{1,3}(\.[0-9]{1,3})?s|[0-9]{1,2}(\.[0-9]{1,3})?m)$": (
        "a number above zero and `ms`, `s` or `m`"
    ),
    r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$": f"empty, or {_LABEL}",
    r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$": (
        f"{_LABEL}; a `prefix/` may go before it"
    ),
    r"^[!#-\[\]-~]{1,256}$": '1 to 256 printable ASCII characters but blanks, `"` and `\\`',
    r"^[!#\x24%&'*+.^_`|~0-9A-Za-z-]{1,256}$": "1 to 256 characters of an HTTP token (RFC 9110)",
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])$": "a date and time with its zone, as 2026-12-24T00:00:00Z (RFC 3339)",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$": "a day, as 2027-03-31",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$": (
        "a day, as 2027-03-31, or a moment in UTC, as 2027-03-31T12:00:00Z"
    ),
    r"^[a-z][a-z0-9+.-]*:[ -~]+$": "a scheme, a colon, and printable ASCII characters",
    r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$": _LABEL,
    r"^[A-Za-z0-9_.-]{1,128}$": "1 to 128 letters, digits, `_`, `.` and `-`",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and `_`, no digit first",
    r"^[^\x00-\x1f\x7f]+\.([pP][eE][mM]|[cC][rR][tT]|[cC][eE][rR]|[cC][eE][rR][tT])$": (
        "a path that ends in .pem, .crt, .cer or .cert"
    ),
    r"^[^\x00-\x1f\x7f]+\.json$": "a path that ends in .json",
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": "a-z, 0-9, `-` and `.`, with a letter or digit at both ends",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "a-z, 0-9 and `-`, with a letter or digit at both ends",
    r"^[a-z0-9]([a-z0-9.:-]*[a-z0-9])$": "2 or more of a-z, 0-9, `.`, `:` and `-`, with a letter or digit at both ends",
    r"^[a-z0-9]+(-[a-z0-9]+)*$": "words of a-z and 0-9, with `-` between them",
    r"^[a-z0-9][a-z0-9_]*$": "a-z, 0-9 and `_`, no `_` first",
    r"^[a-z][a-z0-9+.-]*:[^\x00-\x20@\x7f]*$": "a scheme, `:` and the rest, without blanks and `@`",
    r'^https://[A-Za-z0-9._-]+(:[0-9]{1,5})?([/?][!"\x24-~]*)?$': "an https:// URL without user name and fragment",
    r'^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!"\x24-~]*)?$': (
        "an http:// or https:// URL without user name and fragment"
    ),
}
"""The patterns of the schemas, for people."""
