"""What differs between two gateways, field by field, as it may be shown to anybody.

Documents hold references where secrets belong, but a row that somebody else wrote may hold a secret where none belongs.
Redaction is by the path of a field, on both sides, never by searching for values: below `auth` nothing is shown but a
known type, references and the settings of `HARMLESS`; of a URL nothing that the schema refuses in one; of passthrough
headers no more than names. What a store could not read (`unknown:…`) is called that and not repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import document
from reconciler.core.urls import SENSITIVE, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.core.canonical import Document
    from reconciler.core.model import Gateway

Value = str | bool | tuple[str, ...] | None

UNKNOWN: Final = "(unknown)"

AUTH_TYPES: Final = frozenset({"none", "bearer", "basic", "headers", "queryParameter", "oauth"})
HARMLESS: Final = frozenset({"username", "name", "tokenUrl", "clientId", "scopes"})
"""The settings of `auth` that the schema of a Gateway does not mark as `writeOnly`."""

MODES: Final = frozenset({"cache", "direct_proxy"})
PURPOSES: Final = frozenset({"token", "password", "value", "clientSecret"})
"""What secrets are for, beside headers: the fields that the schema marks as `writeOnly`, without their `From`."""

_UNREADABLE: Final = "unknown:"
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field on both sides, fit to be shown. `path` is dotted, as in the document of a gateway: `auth.token`.

    A reference is `env:NAME`, `file:PATH` or `secretKeyRef:NAME/KEY`. None stands where there is no such field.
    """

    path: str
    before: Value
    after: Value


def differences(before: Gateway | None, after: Gateway | None, *, git_says: bool = True) -> tuple[Difference, ...]:
    """Return the fields that differ, in the order of the document; of a gateway alone, those that say something.

    What `after` holds is shown, because git says it; unless it does not, and the row comes from elsewhere.
    """
    reviewed = after if git_says else None
    held, wanted = _flat(before, None), _flat(after, None)
    old, new = _flat(before, reviewed, shown=True), _flat(after, reviewed, shown=True)
    alone = before is None or after is None
    fields = list(dict.fromkeys(path.partition(".")[0] for path in (*held, *wanted)))
    return tuple(
        Difference(path, old.get(path), new.get(path))
        for path in sorted({**held, **wanted}, key=lambda path: fields.index(path.partition(".")[0]))
        if held.get(path) != wanted.get(path) and not (alone and _says_nothing(path, {**held, **wanted}[path]))
    )


def shown_document(gateway: Gateway, reviewed: Gateway | None) -> Document:
    """Return the document of a gateway as it may be shown. What `reviewed`, which git says, has as well is shown."""
    known = document(reviewed) if reviewed is not None else {}
    shown = {name: _readable(value, known.get(name)) for name, value in document(gateway).items()}
    shown["url"] = shown_url(shown["url"])
    shown["passthrough_headers"] = [_header(name, known) for name in shown["passthrough_headers"]]
    if shown["contextforge"]["mode"] not in {*MODES, known.get("contextforge", {}).get("mode")}:
        shown["contextforge"]["mode"] = UNKNOWN
    shown["auth"] = _shown_auth(shown["auth"])
    return shown


def _shown_auth(auth: Document) -> Document:
    settings = {key: value if key in HARMLESS else SENSITIVE for key, value in auth["settings"].items()}
    if "tokenUrl" in settings:
        settings["tokenUrl"] = shown_url(settings["tokenUrl"])
    kind = auth["type"] if auth["type"] in AUTH_TYPES else UNKNOWN
    return {"type": kind, "settings": settings, "secrets": auth["secrets"]}


def shown_signature(signature: str) -> str:
    """Return the signature of a bundle as it may be shown: one that is none may be anything."""
    return signature if not signature or _SIGNATURE.fullmatch(signature) else UNKNOWN


def _says_nothing(path: str, value: Value) -> bool:
    return path == "name" or value in ("", (), None)


def _readable(value: Any, known: Any) -> Any:  # noqa: ANN401 - JSON values
    """Return a value of a document without what the store could not read, unless git says the very same."""
    if isinstance(value, str):
        return UNKNOWN if value.startswith(_UNREADABLE) and value != known else value
    if isinstance(value, list):
        return [_readable(item, item if isinstance(known, list) and item in known else None) for item in value]
    if isinstance(value, dict):
        return {
            key: _readable(item, known.get(key) if isinstance(known, dict) else None) for key, item in value.items()
        }
    return value


def _header(name: str, known: Document) -> str:
    reviewed = name in known.get("passthrough_headers", ())
    return name if reviewed or name == UNKNOWN or _HEADER_NAME.fullmatch(name) else SENSITIVE


def _flat(gateway: Gateway | None, reviewed: Gateway | None, *, shown: bool = False) -> dict[str, Value]:
    """Return the values of a gateway's document by their dotted paths."""
    if gateway is None:
        return {}
    flat: dict[str, Value] = {}
    for name, value in (shown_document(gateway, reviewed) if shown else document(gateway)).items():
        if name == "auth":
            flat.update(_auth(value))
        elif name == "client_key":
            flat[name] = _reference(value)
        elif isinstance(value, dict):
            flat.update({f"{name}.{key}": _plain(inner) for key, inner in value.items()})
        else:
            flat[name] = _plain(value)
    return flat


def _auth(auth: Document) -> Iterator[tuple[str, Value]]:
    yield "auth.type", auth["type"]
    for key, value in auth["settings"].items():
        yield f"auth.{key}" if key in HARMLESS else f"auth.settings.{key}", value
    for purpose, reference in auth["secrets"].items():
        if auth["type"] == "headers":
            path = f"auth.headers.{purpose}"
        else:
            path = f"auth.{purpose}" if purpose in PURPOSES else f"auth.secrets.{purpose}"
        yield path, _reference(reference)


def _reference(found: Document | None) -> str | None:
    if found is None:
        return None
    ((kind, name),) = found.items()
    return f"{kind}:{name['name']}/{name['key']}" if isinstance(name, dict) else f"{kind}:{name}"


def _plain(value: Any) -> Value:  # noqa: ANN401 - a JSON value that is no object
    return tuple(value) if isinstance(value, list) else value
