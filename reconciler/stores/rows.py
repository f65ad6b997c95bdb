"""A gateway as a row of the `gateways` table, and back.

Words and columns are ContextForge's. What others wrote is represented as found, never guessed at and never a reason to
fail: a value that we would not have written becomes a text beginning with `unknown:`, equal to nothing in any manifest,
so that the row shows as drift and the next apply heals it. Unreadable JSON where references belong is shown as its
digest alone, for it may hold a secret.
"""

from __future__ import annotations

import json
import marshal
import re
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, cast

from reconciler.core.canonical import auth_document, canonical_json, reference_document, text_digest
from reconciler.core.model import (
    Auth,
    ContextForgeOptions,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    SecretReference,
    Stamp,
    Transport,
    Visibility,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Row = tuple[Any, ...]

CONTENT: Final = (
    "name",
    "url",
    "transport",
    "description",
    "enabled",
    "visibility",
    "tags",
    "passthrough_headers",
    "ca_certificate",
    "system_trust",
    "client_cert",
    "client_key_reference",
    "auth_type",
    "auth_reference",
    "gateway_mode",
    "team_id",
    "kuadrant",
    "ca_certificate_sig",
    "signing_algorithm",
    "record_sig",
    "slug",
)
"""The columns that `content` fills, in its order."""

BOOKKEEPING: Final = (
    "id",
    "created_at",
    "created_by",
    "created_via",
    "modified_at",
    "modified_by",
    "modified_via",
    "version",
)
STAMP: Final = ("owner", "manifest", "revision", "digest", "protected", "stamped_at")

TRANSPORT_WORDS: Final = {Transport.STREAMABLE_HTTP: "STREAMABLEHTTP", Transport.SSE: "SSE"}
AUTH_WORDS: Final = {
    "none": None,
    "bearer": "bearer",
    "basic": "basic",
    "headers": "authheaders",
    "queryParameter": "query_param",
    "oauth": "oauth",
}
_VISIBILITY_WORDS: Final = {visibility: visibility.value for visibility in Visibility}
_FLAG_WORDS: Final = {False: False, True: True}
_TRANSPORTS: Final = {word: transport for transport, word in TRANSPORT_WORDS.items()}
_AUTH_TYPES: Final = {word: kind for kind, word in AUTH_WORDS.items()}
_VISIBILITIES: Final = {word: visibility for visibility, word in _VISIBILITY_WORDS.items()}
_FLAGS: Final = {0: False, 1: True}  # SQLite has no other words for flags, and 0 is equal to False
_ALGORITHM: Final = "ed25519"
_BUNDLE: Final = CONTENT.index("ca_certificate")
_UNKNOWN: Final = "unknown:"
_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")
_MEMORY: Final = 4096


def content(gateway: Gateway, signature: str, record: str) -> Row:
    """Return the values of the `CONTENT` columns that hold `gateway` and both of its signatures."""
    return (
        gateway.name,
        gateway.url,
        _word(gateway.transport, TRANSPORT_WORDS),
        gateway.description,
        _word(gateway.enabled, _FLAG_WORDS),
        _word(gateway.visibility, _VISIBILITY_WORDS),
        _json_list(gateway.tags),
        _json_list(gateway.passthrough_headers),
        gateway.ca_certificate or None,
        _word(gateway.system_trust, _FLAG_WORDS),
        gateway.client_certificate or None,
        _reference_json(gateway.client_key),
        _word(gateway.auth.type, AUTH_WORDS),
        _auth_json(gateway.auth),
        gateway.contextforge.mode,
        gateway.contextforge.team or None,
        _kuadrant_json(gateway.kuadrant),
        signature or None,
        _ALGORITHM if signature else None,
        record or None,
        slug(gateway.name),
    )


def slug(name: str) -> str:
    """Return the name as ContextForge puts it into URLs and tool names: `Gw One` and `gw_one` are one `gw-one`."""
    return _BETWEEN_WORDS.sub("-", name.lower()).strip("-") or name


def live_gateway(row: Row, shared: dict[str, str]) -> LiveGateway:
    """Return what a row of the columns `CONTENT`, `BOOKKEEPING` and `STAMP` holds.

    `shared` remembers texts from row to row: equal bundles become one object, hashed and compared once.
    """
    name, url, transport, description, enabled, visibility, tags, headers, bundle, system_trust, *rest = row
    certificate, key, auth_type, auth, mode, team, kuadrant, signature, algorithm, record = rest[:10]
    owner, manifest, revision, digest, protected, _ = row[-len(STAMP) :]
    gateway = Gateway(
        text_of(name),
        text_of(url),
        _TRANSPORTS.get(transport) or unknown(transport),
        text_of(description),
        _flag(enabled),
        _VISIBILITIES.get(visibility) or unknown(visibility),
        _texts(tags),
        _texts(headers),
        _shared(text_of(bundle), shared),
        _flag(system_trust),
        _shared(text_of(certificate), shared),
        _reference(key),
        _auth(auth_type, auth),
        _contextforge(mode, team),
        _kuadrant(kuadrant),
    )
    mark = _shared(text_of(owner), shared), text_of(manifest), _shared(text_of(revision), shared), text_of(digest)
    stamp = None if owner is None else Stamp(*mark, _flag(protected))
    return LiveGateway(gateway, _signature(signature, algorithm, shared), stamp, token(row), text_of(record))


def token(row: Row) -> str:
    """Return a digest of every column: it changes with any of them, and is the same in every process.

    The bundle, the longest column by far and the one that repeats, is hashed once for all rows. Version 2 of marshal's
    format is fixed, has no references, and is the fastest unambiguous form of a row.
    """
    bundle = row[_BUNDLE]
    digested = (text_digest(bundle) if type(bundle) is str else bundle, *row[:_BUNDLE], *row[_BUNDLE + 1 :])
    return sha256(marshal.dumps(digested, 2)).hexdigest()[:32]


def unknown(value: object) -> Any:  # noqa: ANN401 - it stands where an enum or a flag should
    return f"{_UNKNOWN}{value}"


def _word(value: Any, words: Mapping[Any, Any]) -> Any:  # noqa: ANN401 - an enum, a flag, or what was found instead
    """Return the word for `value`, or what was found in its place when an unknown one is written back."""
    return words[value] if value in words else value.removeprefix(_UNKNOWN)


def text_of(value: Any) -> str:  # noqa: ANN401 - a column holds whatever was put there
    """Return the text in a column as it is shown: nothing reads as empty, and what is no text as unknown."""
    if type(value) is str:
        return value
    return "" if value is None else str(unknown(value))


def _flag(value: Any) -> bool:  # noqa: ANN401 - as above
    flag = _FLAGS.get(value)
    return unknown(value) if flag is None else flag


def _shared(text: str, shared: dict[str, str]) -> str:
    return shared.setdefault(text, text)


def _signature(signature: Any, algorithm: Any, shared: dict[str, str]) -> str:  # noqa: ANN401 - as above
    """Return the signature; one of an algorithm that is not ours is none that we could check."""
    if signature is None or algorithm == _ALGORITHM:
        return _shared(text_of(signature), shared)
    return f"{_UNKNOWN}{algorithm}:{text_of(signature)}"


@lru_cache(maxsize=_MEMORY)
def _json_list(texts: tuple[str, ...]) -> str:
    return canonical_json(texts)


@lru_cache(maxsize=_MEMORY)
def _texts(column: Any) -> tuple[str, ...]:  # noqa: ANN401 - as above
    if column is None:
        return ()
    try:
        return tuple(_each_text(_parsed(column, list)))
    except _UNREADABLE:
        return (unknown(column),)


@lru_cache(maxsize=_MEMORY)
def _reference_json(reference: SecretReference | None) -> str | None:
    return None if reference is None else canonical_json(reference_document(reference))


@lru_cache(maxsize=_MEMORY)
def _reference(column: Any) -> SecretReference | None:  # noqa: ANN401 - as above
    if column is None:
        return None
    try:
        return reference_of(_parsed(column, dict))
    except _UNREADABLE:
        return SecretReference(cast("Any", "unknown"), text_digest(str(column)))


def reference_of(document: Any) -> SecretReference:  # noqa: ANN401 - JSON as found
    match document:
        case {"env": str(name), **rest} if not rest:
            return SecretReference("env", name)
        case {"file": str(name), **rest} if not rest:
            return SecretReference("file", name)
        case {"secretKeyRef": {"name": str(name), "key": str(key), **more}, **rest} if not rest and not more:
            return SecretReference("secretKeyRef", name, key)
        case _:
            raise ValueError("not a reference")


@lru_cache(maxsize=_MEMORY)
def _auth_json(auth: Auth) -> str | None:
    if not auth.settings and not auth.secrets:
        return None
    document = auth_document(auth)
    del document["type"]
    return canonical_json(document)


@lru_cache(maxsize=_MEMORY)
def _auth(word: Any, column: Any) -> Auth:  # noqa: ANN401 - as above
    kind = cast("Any", _AUTH_TYPES.get(word) or unknown(word))
    if column is None:
        return Auth(kind)
    try:
        document = _parsed(column, dict)
        settings, secrets = document.pop("settings"), document.pop("secrets")
        if document:
            raise ValueError("more than was written")
        _each_text(settings.values())
        return Auth(
            kind,
            tuple(settings.items()),
            tuple((purpose, reference_of(reference)) for purpose, reference in secrets.items()),
        )
    except _UNREADABLE:
        return Auth(kind, (("unknown", text_digest(str(column))),))


@lru_cache(maxsize=_MEMORY)
def _contextforge(mode: Any, team: Any) -> ContextForgeOptions:  # noqa: ANN401 - as above
    return ContextForgeOptions(text_of(mode), text_of(team))


@lru_cache(maxsize=_MEMORY)
def _kuadrant_json(options: KuadrantOptions) -> str | None:
    return None if options == KuadrantOptions() else canonical_json(asdict(options))


@lru_cache(maxsize=_MEMORY)
def _kuadrant(column: Any) -> KuadrantOptions:  # noqa: ANN401 - as above
    if column is None:
        return KuadrantOptions()
    try:
        document = _parsed(column, dict)
        category = tuple(_each_text(document.pop("category")))
        per_user = document.pop("user_specific_list", False)
        if not isinstance(per_user, bool):
            raise TypeError("not a flag")
        _each_text(document.values())
        return KuadrantOptions(category=category, user_specific_list=per_user, **document)
    except _UNREADABLE:
        return KuadrantOptions(hint=unknown(column))


_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading JSON that others wrote can raise."""


def _parsed(column: Any, kind: type) -> Any:  # noqa: ANN401 - JSON as found
    value = json.loads(column)
    if "\\u" in column:
        canonical_json(value).encode()  # an escaped lone surrogate would be text that nobody can write
    if not isinstance(value, kind):
        raise TypeError(f"not a JSON {kind.__name__}")
    return value


def _each_text(values: Collection[Any]) -> Collection[str]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError("not a text")
    return values
