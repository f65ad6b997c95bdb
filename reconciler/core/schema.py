"""JSON Schema: `jsonschema-rs` decides, `jsonschema` explains.

The Rust validator says yes in microseconds. Only a document it refuses is given to the reference implementation, whose
errors are turned into sentences: where, what was found, what was expected, and the near name where there is one.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.core.hostile import printable
from reconciler.core.problems import Rule, Severity
from reconciler.core.strict_yaml import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


_Error = Any
"""`jsonschema`'s stubs make every attribute possibly unset; those of an error that was found never are."""

UNKNOWN_FIELD = Rule("unknown-field", Severity.ERROR, "A field nobody reads is a field somebody relies on in vain.")
MISSING = Rule("missing-field", Severity.ERROR, "A required field is set neither here nor by any Defaults above.")
WRONG_TYPE = Rule("wrong-type", Severity.ERROR, "The value is of another type than the field takes.")
WRONG_VALUE = Rule("wrong-value", Severity.ERROR, "The value is not one that the field takes.")
SECRET = Rule(
    "secret-in-manifest",
    Severity.ERROR,
    "A secret in git is known to everybody who can read it, for ever. Refer to it.",
)
STATUS = Rule("status-in-manifest", Severity.ERROR, "Status is what is; git holds what should be.")

_SECRET_WORDS: Final = ("token", "password", "secret", "key", "credential", "authorization")
_VALUE_LIMIT: Final = 60
_NEAR: Final = 0.6


class Finding(NamedTuple):
    """One thing the schema does not allow. `key` points at the key rather than its value; `secret` hides the line."""

    rule: Rule
    pointer: str
    message: str
    fix: str
    key: bool = False
    secret: bool = False


@dataclass(slots=True)
class Schemas:
    """The schemas by kind. Each is compiled when a document of its kind is first seen."""

    texts: Mapping[str, str]
    _accept: dict[str, Callable[[Any], bool]]

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take JSON text by kind."""
        self.texts = texts
        self._accept = {}

    def accepts(self, kind: str, value: object) -> bool:
        """Return whether the schema of `kind` allows the document."""
        accept = self._accept.get(kind)
        if accept is None:
            import jsonschema_rs

            accept = self._accept[kind] = jsonschema_rs.validator_for(json.loads(self.texts[kind])).is_valid
        return accept(value)

    def explain(self, kind: str, value: object) -> list[Finding]:
        """Return everything the schema of `kind` does not allow in the document."""
        from jsonschema import Draft202012Validator

        errors = Draft202012Validator(json.loads(self.texts[kind])).iter_errors(value)
        return list(dict.fromkeys(finding for error in errors for finding in _findings(error)))


def _findings(error: _Error) -> Iterator[Finding]:
    explain = _EXPLANATIONS.get(str(error.validator), _other)
    pointer = "".join(f"/{escape(str(part))}" for part in error.absolute_path)
    yield from explain(error, pointer)


def _unknown_fields(error: _Error, pointer: str) -> Iterator[Finding]:
    known = list(error.schema.get("properties", ()))
    for name in error.instance:
        if name in known or any(_matches(pattern, name) for pattern in error.schema.get("patternProperties", ())):
            continue
        place = f"{pointer}/{escape(name)}"
        shown = printable(name, _VALUE_LIMIT)
        if not pointer and name == "status":
            fix = "remove it; `reconciler status` shows what is"
            yield Finding(STATUS, place, "`status` is never written in git", fix, key=True)
        elif f"{name}From" in known or f"{name}KeyFrom" in known:
            fix = f"write `{name}From: {{env: NAME}}`, and set NAME where the reconciler runs; then change the secret"
            yield Finding(SECRET, place, f"`{shown}` holds a secret in clear text", fix, key=True, secret=True)
        else:
            yield Finding(
                UNKNOWN_FIELD, place, f"unknown field `{shown}`", _near(name, known), key=True, secret=_secret(name)
            )


def _matches(pattern: str, name: str) -> bool:
    import re

    return re.search(pattern, name) is not None


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    folded = {each.lower().replace("_", "").replace("-", ""): each for each in known}
    near = difflib.get_close_matches(name.lower().replace("_", "").replace("-", ""), folded, n=1, cutoff=_NEAR)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    return f"the fields here are: {', '.join(known)}" if known else "nothing may stand here"


def _missing(error: _Error, pointer: str) -> Iterator[Finding]:
    for name in error.validator_value:
        if name not in error.instance:
            within = f" under `{pointer.rpartition('/')[2]}`" if pointer else ""
            yield Finding(MISSING, pointer, f"`{name}` is missing", f"add `{name}:`{within}")


def _dependent(error: _Error, pointer: str) -> Iterator[Finding]:
    for name, needed in error.validator_value.items():
        for other in needed if name in error.instance else ():
            if other not in error.instance:
                yield Finding(MISSING, pointer, f"`{name}` needs `{other}` beside it", f"add `{other}:`")


def _wrong_type(error: _Error, pointer: str) -> Iterator[Finding]:
    expected = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    wanted = " or ".join(_TYPES[each] for each in expected)
    if error.schema.get("writeOnly") or _is_reference(error):
        message = f"a reference is expected here, and {_type(error.instance)} was found"
        fix = "write `{env: NAME}` or `{file: PATH}`; a secret itself never stands in a manifest"
        rule = SECRET if isinstance(error.instance, str) else WRONG_TYPE
        yield Finding(rule, pointer, message, fix, secret=True)
        return
    quote = "string" in expected and isinstance(error.instance, (bool, int, float))
    fix = "put it in quotes" if quote else f"write {wanted}"
    found = _type(error.instance)
    hint = ""
    if "boolean" in expected and isinstance(error.instance, str):
        hint = f" (`{printable(error.instance, 20)}` is a string in YAML 1.2)"
        fix = "write true or false"
    yield Finding(WRONG_TYPE, pointer, f"{wanted} is expected here, and {found} was found{hint}", fix)


def _is_reference(error: _Error) -> bool:
    return set(error.schema.get("properties", ())) >= {"env", "file"}


def _wrong_choice(error: _Error, pointer: str) -> Iterator[Finding]:
    choices = error.validator_value if error.validator == "enum" else [error.validator_value]
    shown = ", ".join(str(choice) for choice in choices)
    near = difflib.get_close_matches(str(error.instance).lower(), [str(choice) for choice in choices], n=1)
    fix = f"did you mean `{near[0]}`?" if near else f"write {'one of: ' if len(choices) > 1 else ''}{shown}"
    yield Finding(WRONG_VALUE, pointer, f"`{_value(error.instance)}` is not one of: {shown}", fix)


def _wrong_form(error: _Error, pointer: str) -> Iterator[Finding]:
    if pointer == "/spec/url" and "@" in error.instance:
        fix = "take it out of the URL, and put it under `auth` as a reference"
        yield Finding(SECRET, pointer, "the URL holds a user name or password", fix, secret=True)
        return
    expected = error.schema.get("description", f"must match {error.validator_value}")
    example = error.schema.get("examples", [""])[0]
    fix = f"for example `{example}`" if example else "correct it"
    yield Finding(WRONG_VALUE, pointer, f"`{_value(error.instance)}` does not fit. {expected}", fix)


def _wrong_size(error: _Error, pointer: str) -> Iterator[Finding]:
    limit = error.validator_value
    found = error.instance if isinstance(error.instance, (int, float)) else len(error.instance)
    if str(error.validator).endswith("Properties") and limit == 1:
        message, fix = "exactly one of {names} is expected", "write one of them"
    else:
        message, fix = _SIZES[str(error.validator)]
    names = ", ".join(f"`{name}`" for name in error.schema.get("properties", ()))
    yield Finding(
        WRONG_VALUE,
        pointer,
        message.format(limit=limit, found=found, names=names),
        fix.format(limit=limit, names=names),
    )


def _conflicting(error: _Error, pointer: str) -> Iterator[Finding]:
    names = " and ".join(f"`{name}`" for name in error.validator_value.get("required", ()))
    yield Finding(WRONG_VALUE, pointer, f"{names} cannot stand beside each other", "keep one of them")


def _other(error: _Error, pointer: str) -> Iterator[Finding]:
    yield Finding(
        WRONG_VALUE, pointer, "the value is not allowed here", f"see the field's description ({error.validator})"
    )


_SIZES: Final = {
    "minLength": ("{found:,} characters; at least {limit:,} are expected", "write more"),
    "maxLength": ("{found:,} characters; at most {limit:,} may be", "shorten it"),
    "minItems": ("{found:,} items; at least {limit:,} are expected", "add one, or remove the field"),
    "maxItems": ("{found:,} items; at most {limit:,} may be", "remove some"),
    "minProperties": ("{found:,} fields; at least {limit:,} are expected", "write one of {names}"),
    "maxProperties": ("{found:,} fields; at most {limit:,} may be", "remove some"),
    "minimum": ("{found} is less than {limit}", "write {limit} or more"),
    "maximum": ("{found} is more than {limit}", "write {limit} or less"),
    "uniqueItems": ("one item stands here twice", "remove one of the two"),
}

_EXPLANATIONS: Final[Mapping[str, Callable[[_Error, str], Iterator[Finding]]]] = {
    "additionalProperties": _unknown_fields,
    "required": _missing,
    "dependentRequired": _dependent,
    "type": _wrong_type,
    "enum": _wrong_choice,
    "const": _wrong_choice,
    "pattern": _wrong_form,
    "not": _conflicting,
    **dict.fromkeys(_SIZES, _wrong_size),
}

_TYPES: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def _type(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "a mapping", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names[type(value)]


def _value(value: object) -> str:
    return printable(value, _VALUE_LIMIT) if isinstance(value, str) else _type(value)


def _secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)
