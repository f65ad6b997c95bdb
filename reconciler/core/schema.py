"""JSON Schema: `jsonschema-rs` decides, `jsonschema` explains.

The Rust validator says yes in microseconds. Only a document it refuses is given to the reference implementation, whose
errors are turned into sentences: where, what was found, what was expected, and the near name where there is one.

A value that could be a secret is never repeated: nothing below a field whose name ends in `From` is, and no URL with
something before an `@`.
"""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reconciler.core.hostile import printable
from reconciler.core.problems import Rule, Severity
from reconciler.core.strict_yaml import PROBLEM_LIMIT, escape

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

_VALUE_LIMIT: Final = 60
_SAMPLE_LIMIT: Final = 60
_NEAR: Final = 0.6
_USER_IN_URL: Final = re.compile(r"//[^/?#]*@")
_YES: Final = frozenset({"yes", "y", "on", "true"})
_NO: Final = frozenset({"no", "n", "off", "false"})


class Finding(NamedTuple):
    """One thing the schema does not allow. `key` points at the key rather than its value; `secret` hides the line."""

    rule: Rule
    pointer: str
    message: str
    fix: str
    key: bool = False
    secret: bool = False


class Schemas:
    """The schemas by kind. Each is compiled when a document of its kind is first seen."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take JSON text by kind."""
        self.texts = texts
        self._accept: dict[str, Callable[[Any], bool]] = {}
        self._errors: dict[str, Callable[[Any], Iterator[_Error]]] = {}

    def accepts(self, kind: str, value: object) -> bool:
        """Return whether the schema of `kind` allows the document."""
        accept = self._accept.get(kind)
        if accept is None:
            import jsonschema_rs

            accept = self._accept[kind] = jsonschema_rs.validator_for(json.loads(self.texts[kind])).is_valid
        return accept(value)

    def explain(self, kind: str, value: object) -> list[Finding]:
        """Return what the schema of `kind` does not allow in a document that it refused, `PROBLEM_LIMIT` at the most.

        The list is never empty: what is refused must not go unsaid, even if the two validators ever disagreed.
        """
        if kind not in self._errors:
            self._errors[kind] = _explainer(json.loads(self.texts[kind]))
        errors = self._errors[kind](value)
        findings = islice((finding for error in errors for finding in _findings(error)), PROBLEM_LIMIT + 1)
        return list(dict.fromkeys(findings)) or [_UNEXPLAINED]


_UNEXPLAINED: Final = Finding(
    WRONG_VALUE, "", "the schema refuses this document", "compare it with docs/fields.md", secret=True
)


def _explainer(schema: Mapping[str, Any]) -> Callable[[Any], Iterator[_Error]]:
    """Return the reference validator, made to agree with the deciding one and to take time in proportion to size."""
    from jsonschema import Draft202012Validator, ValidationError, validators

    def pattern(_: object, wanted: str, instance: object, __: object) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not _regex(wanted).search(instance):
            yield ValidationError("pattern")

    def unique_items(_: object, wanted: bool, instance: object, __: object) -> Iterator[ValidationError]:
        if wanted and isinstance(instance, list) and _repeated(instance) is not None:
            yield ValidationError("uniqueItems")

    def items(validator: Any, wanted: object, instance: object, around: Mapping[str, Any]) -> Iterator[_Error]:  # noqa: ANN401
        if not isinstance(instance, list) or len(instance) <= around.get("maxItems", len(instance)):
            yield from Draft202012Validator.VALIDATORS["items"](validator, wanted, instance, around)

    keywords = {"pattern": pattern, "uniqueItems": unique_items, "items": items}
    validator: type[Any] = validators.extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
    errors: Callable[[Any], Iterator[_Error]] = validator(schema).iter_errors
    return errors


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    """Compile an ECMA 262 pattern, in which `$` is the very end; Python's also matches before a last line end."""
    return re.compile(pattern.replace("$", r"\Z"))


def _repeated(items: list[Any]) -> int | None:
    """Return the index of the first item that stands in the list before."""
    seen: set[str] = set()
    for index, item in enumerate(items):
        text = json.dumps(item, sort_keys=True)
        if text in seen:
            return index
        seen.add(text)
    return None


def _findings(error: _Error) -> Iterator[Finding]:
    explain = _EXPLANATIONS.get(str(error.validator), _other)
    pointer = "".join(f"/{escape(str(part))}" for part in error.absolute_path)
    about_key = "propertyNames" in error.absolute_schema_path
    if about_key:
        pointer = f"{pointer}/{escape(str(error.instance))}"
    for finding in explain(error, pointer):
        yield finding._replace(key=finding.key or about_key, secret=finding.secret or _in_reference(error))


def _in_reference(error: _Error) -> bool:
    return any(isinstance(part, str) and part.endswith("From") for part in error.absolute_path)


def _unknown_fields(error: _Error, pointer: str) -> Iterator[Finding]:
    known = list(error.schema.get("properties", ()))
    patterns = error.schema.get("patternProperties", ())
    for name in error.instance:
        if name in known or any(_regex(pattern).search(name) for pattern in patterns):
            continue
        place = f"{pointer}/{escape(name)}"
        shown = printable(name, _VALUE_LIMIT)
        if _in_reference(error):
            yield Finding(UNKNOWN_FIELD, pointer, f"only {_either(known)} may stand here", _near(name, known))
        elif not pointer and name == "status":
            fix = "remove it; `reconciler status` shows what is"
            yield Finding(STATUS, place, "`status` is never written in git", fix, key=True)
        elif f"{name}From" in known or f"{name}KeyFrom" in known:
            fix = f"write `{name}From: {{env: NAME}}`, and set NAME where the reconciler runs; then change the secret"
            yield Finding(SECRET, place, f"`{shown}` holds a secret in clear text", fix, key=True, secret=True)
        else:
            message = f"unknown field `{shown}`{_branch(error)}"
            yield Finding(UNKNOWN_FIELD, place, message, _near(name, known), key=True)


def _branch(error: _Error) -> str:
    """Return what the fields depend on here: the schema of a branch leaves `type` to the one above."""
    by_type = error.schema.get("properties", {}).get("type") is True
    return f" with `type: {error.instance['type']}`" if by_type else ""


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    folded = {_folded(each): each for each in known}
    near = difflib.get_close_matches(_folded(name[:_VALUE_LIMIT]), folded, n=1, cutoff=_NEAR)
    if near:
        return f"did you mean `{folded[near[0]]}`?"
    return f"the fields here are: {', '.join(known)}" if known else "nothing may stand here"


def _folded(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _either(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)


def _missing(error: _Error, pointer: str) -> Iterator[Finding]:
    for name in error.validator_value:
        if name not in error.instance:
            within = f" under `{pointer.rpartition('/')[2]}`" if pointer else ""
            fix = f"add `{name}:{_sample(error, name)}`{within}"
            yield Finding(MISSING, pointer, f"`{name}` is missing{_branch(error)}", fix)


def _dependent(error: _Error, pointer: str) -> Iterator[Finding]:
    for name, needed in error.validator_value.items():
        for other in needed if name in error.instance else ():
            if other not in error.instance:
                fix = f"add `{other}:{_sample(error, other)}`"
                yield Finding(MISSING, pointer, f"`{name}` needs `{other}` beside it", fix)


def _sample(error: _Error, name: str) -> str:
    """Return a value that the missing field `name` could have, as YAML; nothing where the schema gives none there."""
    field = error.schema.get("properties", {}).get(name, {})
    examples = field.get("examples", ()) if isinstance(field, dict) else ()
    if not examples or len(shown := _flow(examples[0])) > _SAMPLE_LIMIT:
        return ""
    return f" {shown}"


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(inner)}' for key, inner in value.items())}}}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _wrong_type(error: _Error, pointer: str) -> Iterator[Finding]:
    found = _type(error.instance)
    if set(error.schema.get("properties", ())) >= {"env", "file"}:
        message = f"a reference to a secret is expected here, and {found} was found"
        fix = "write `{env: NAME}` or `{file: PATH}`: where the secret is found when it is needed"
        if isinstance(error.instance, str):
            fix = f"{fix}. If this is the secret itself, it is disclosed: replace it, and take it out of git's history"
        rule = SECRET if isinstance(error.instance, str) else WRONG_TYPE
        yield Finding(rule, pointer, message, fix, secret=True)
        return
    expected = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
    wanted = " or ".join(_TYPES[each] for each in expected)
    hint, fix = _conversion(error, expected) or ("", f"write {wanted}{_example(error)}")
    message = f"{wanted} is expected here, and {found} was found{hint}"
    yield Finding(WRONG_TYPE, pointer, message, fix, secret="auth" in error.absolute_path)


def _conversion(error: _Error, expected: list[str]) -> tuple[str, str] | None:
    """Return a hint and a fix where a scalar was read as something else than it was meant to be."""
    instance = error.instance
    if "boolean" in expected and isinstance(instance, str) and instance.lower() in _YES | _NO:
        return f" (`{instance}` is a string in YAML 1.2)", f"write {'true' if instance.lower() in _YES else 'false'}"
    if "integer" in expected and isinstance(instance, str) and instance.isdecimal():
        return f" (`{printable(instance, 20)}` is a string here)", "write it without quotes and without leading zeros"
    if "string" in expected and isinstance(instance, (bool, int, float)):
        pattern = error.schema.get("pattern")
        if pattern is None or _regex(pattern).search(json.dumps(instance)):
            return "", "put it in quotes"
    return None


def _example(error: _Error) -> str:
    examples = error.schema.get("examples")
    if not examples:
        return ""
    example = examples[0] if isinstance(examples[0], str) else json.dumps(examples[0], ensure_ascii=False)
    return f", for example `{example}`"


def _wrong_choice(error: _Error, pointer: str) -> Iterator[Finding]:
    choices = [str(choice) for choice in error.validator_value]
    near = difflib.get_close_matches(str(error.instance)[:_VALUE_LIMIT].lower(), choices, n=1)
    shown = ", ".join(choices)
    fix = f"did you mean `{near[0]}`?" if near else f"write one of: {shown}"
    yield Finding(WRONG_VALUE, pointer, f"{_value(error.instance)} is not one of: {shown}", fix)


def _wrong_form(error: _Error, pointer: str) -> Iterator[Finding]:
    if _USER_IN_URL.search(error.instance):
        message = "the URL holds a user name or password"
        yield Finding(SECRET, pointer, message, _url_fix(pointer), secret=True)
        return
    expected = error.schema.get("description", "It has another form.")
    found = "this" if _in_reference(error) else _value(error.instance)
    fix = _example(error).removeprefix(", ") or "correct it"
    yield Finding(WRONG_VALUE, pointer, f"{found} does not fit. {expected}", fix)


def _forbidden(error: _Error, pointer: str) -> Iterator[Finding]:
    if "pattern" in error.validator_value:
        yield Finding(SECRET, pointer, "the URL's query holds a secret", _url_fix(pointer), secret=True)
        return
    names = " and ".join(f"`{name}`" for name in error.validator_value.get("required", ()))
    yield Finding(WRONG_VALUE, pointer, f"{names} cannot stand beside each other", "keep one of them")


def _url_fix(pointer: str) -> str:
    if pointer.endswith("/store"):
        return "take it out of the URL; give the whole URL as RECONCILER_STORE where the reconciler runs"
    return "take it out of the URL, and put it under `auth` as a reference; then change the secret"


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


def _not_unique(error: _Error, pointer: str) -> Iterator[Finding]:
    index = _repeated(error.instance)
    shown = _value(error.instance[index]) if index is not None else "an item"
    yield Finding(WRONG_VALUE, f"{pointer}/{index}", f"{shown} stands here a second time", "remove one of the two")


def _other(error: _Error, pointer: str) -> Iterator[Finding]:
    fix = f"see the field's description ({error.validator})"
    yield Finding(WRONG_VALUE, pointer, "the value is not allowed here", fix, secret=True)


_SIZES: Final = {
    "minLength": ("{found:,} characters; at least {limit:,} are expected", "write more"),
    "maxLength": ("{found:,} characters; at most {limit:,} may be", "shorten it"),
    "minItems": ("{found:,} items; at least {limit:,} are expected", "add one, or remove the field"),
    "maxItems": ("{found:,} items; at most {limit:,} may be", "remove some"),
    "minProperties": ("{found:,} fields; at least {limit:,} are expected", "write one of {names}"),
    "maxProperties": ("{found:,} fields; at most {limit:,} may be", "remove some"),
    "minimum": ("{found} is less than {limit}", "write {limit} or more"),
    "maximum": ("{found} is more than {limit}", "write {limit} or less"),
}

_EXPLANATIONS: Final[Mapping[str, Callable[[_Error, str], Iterator[Finding]]]] = {
    "additionalProperties": _unknown_fields,
    "required": _missing,
    "dependentRequired": _dependent,
    "type": _wrong_type,
    "enum": _wrong_choice,
    "pattern": _wrong_form,
    "not": _forbidden,
    "uniqueItems": _not_unique,
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
    return f"`{printable(value, _VALUE_LIMIT)}`" if isinstance(value, str) else _type(value)
