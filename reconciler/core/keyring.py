"""`keys/trusted.yaml` -> the trusted keys, or problems: who may say what a gateway is, reviewed in git.

What the schema cannot tell is told here: whether a key is one, is there twice, and ends after it begins.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.problems import Problem, Rule, Severity
from reconciler.core.signing import Keyring, Role, TrustedKey, key_id, public_key
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.core.problems import Location

NOT_A_KEY = Rule(
    "trusted-key-unusable",
    Severity.ERROR,
    "A key that is none, or one that anyone can sign for, must not stand among those that are trusted.",
)
KEY_TWICE = Rule(
    "trusted-key-twice",
    Severity.ERROR,
    "Where a name or a key is there twice, removing one of them does not do what it seems to.",
)
NO_WINDOW = Rule(
    "trusted-key-window",
    Severity.ERROR,
    "A key is trusted from one moment until another; a window that is none would trust it never, or always.",
)

PLACE: Final = "keys/trusted.yaml"
"""Where the file lies, from the root of the repository."""


def read_keyring(
    spec: Mapping[str, Any], place: Callable[[str], Location]
) -> tuple[tuple[TrustedKey, ...], tuple[Problem, ...]]:
    """Return the keys of a `Keyring` that passed its schema, and everything that is wrong with them.

    `place` gives the location of a JSON Pointer.
    """
    keys: list[TrustedKey] = []
    problems: list[Problem] = []
    for index, entry in enumerate(spec["keys"]):
        pointer = f"/spec/keys/{index}"
        key, found = _key(entry, pointer, place)
        problems.extend(found)
        if key is not None:
            problems.extend(_again(key, keys, pointer, place))
            keys.append(key)
    return tuple(keys), tuple(problems)


def _key(
    entry: Mapping[str, Any], pointer: str, place: Callable[[str], Location]
) -> tuple[TrustedKey | None, list[Problem]]:
    problems = []
    window: dict[str, datetime | None] = {}
    for field in ("notBefore", "notAfter"):
        try:
            window[field] = moment(entry[field]) if field in entry else None
        except ValueError:
            message = f"`{entry[field]}` is not a day, or not a moment of one"
            problems.append(NO_WINDOW.at(place(f"{pointer}/{field}"), message, fix="write it as in 2027-03-31"))
    begins, ends = window.get("notBefore"), window.get("notAfter")
    if begins is not None and ends is not None and ends <= begins:
        message = f"the key `{printable(entry['name'])}` ends before it begins, and is never trusted"
        problems.append(NO_WINDOW.at(place(f"{pointer}/notAfter"), message, fix="correct one of the two, or remove it"))
    try:
        raw = public_key(entry["name"], entry["publicKey"])
        Keyring.of_raw({entry["name"]: raw})
    except InputError as error:
        where = place(f"{pointer}/publicKey")
        return None, [*problems, NOT_A_KEY.at(_hidden(where), str(error), fix=error.fix)]
    roles = frozenset(map(Role, entry.get("roles", Role)))
    return TrustedKey(entry["name"], raw, roles, begins, ends), problems


def _again(
    key: TrustedKey, before: list[TrustedKey], pointer: str, place: Callable[[str], Location]
) -> Iterator[Problem]:
    for other in before:
        if other.name == key.name:
            message = f"two keys are called `{printable(key.name)}`"
            yield KEY_TWICE.at(place(f"{pointer}/name"), message, fix="give each a name of its own")
        elif other.public == key.public:
            message = f"`{printable(key.name)}` is the same key as `{printable(other.name)}`, {key_id(key.public)}"
            yield KEY_TWICE.at(place(f"{pointer}/publicKey"), message, fix="remove one of the two")


def moment(text: str) -> datetime:
    """Return the moment that `text` is, in ISO 8601: a day is its first moment, and without a zone it is in UTC.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _hidden(where: Location) -> Location:
    """Return the location without its line: a private key may have been pasted there."""
    return replace(where, snippet="")
