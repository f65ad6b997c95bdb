"""What an apply leaves behind: who did it, from which commit, what became of each change, and every row's pre-image.

Values only; `reconciler.history` keeps them. A pre-image is the row as the store held it, without anything that could
be a secret: references stay references, and PEM texts are named by their digests and kept once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, cast

from reconciler.core.canonical import document, gateway_digest
from reconciler.core.model import (
    Action,
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
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from reconciler.core.canonical import Document
    from reconciler.core.model import Change

_STAMP = tuple(field.name for field in fields(Stamp))

State = Literal["started", "running", "finished", "failed", "interrupted"]
"""How far an apply came. `started`: its end is not recorded, and another machine runs it, or ran it. `failed`: the
store gave up, so that nobody knows what became of the changes. `interrupted`: whoever ran it is gone."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Where the desired state came from: `revision` is `branch@sha1:<commit>`, or empty outside git.

    `author` and `signature` are the commit's own (`good`, `bad`, `none`, …), empty where git could not say.
    """

    revision: str = ""
    dirty: bool = False
    author: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of an apply. `held_as` is the name that the row had until then, `fields` what the change touched.

    `written` is the mark of the row as it was left, empty where none was. `before` is the pre-image; None for a create,
    and where none was kept that can be read. `status` is the outcome's, empty where nobody knows it; `why` its reason.
    """

    name: str
    action: Action
    reason: str
    held_as: str
    fields: tuple[str, ...]
    written: str
    before: LiveGateway | None = None
    status: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One apply. `process` is `host:pid`; `store` the URL as it may be shown; `rollback_of` another entry's id, or 0.

    The counts are of outcomes, of `planned` changes. `problem` says why it failed. `steps` are read with one entry,
    never with the list of all.
    """

    started_at: datetime
    actor: str
    via: str
    process: str
    commit: Commit
    store: str
    rollback_of: int = 0
    id: int = 0
    state: State = "started"
    finished_at: datetime | None = None
    planned: int = 0
    applied: int = 0
    refused: int = 0
    failed: int = 0
    skipped: int = 0
    problem: str = ""
    steps: tuple[Step, ...] = ()


def mark_written(change: Change) -> str:
    """Return the mark of the row as a change leaves it, empty for a delete."""
    if change.after is None:
        return ""
    content = change.stamp.digest if change.stamp is not None else gateway_digest(change.after)
    return _mark(content, change.signature, change.stamp)


def mark_held(found: LiveGateway) -> str:
    """Return the mark of a row as the store holds it: another one as soon as anybody changes what matters of it."""
    return _mark(gateway_digest(found.gateway), found.signature, found.stamp)


def _mark(content: str, signature: str, stamp: Stamp | None) -> str:
    """Return a digest of what a row holds, and of whom it belongs to; neither revision nor time are of it."""
    held = (content, signature, *((stamp.owner, stamp.protected) if stamp is not None else ()))
    return sha256(repr(held).encode()).hexdigest()[:32]


def preimage_document(found: LiveGateway) -> Document:
    """Return a row as plain JSON values; PEM texts are there as their digests. Order is kept as found."""
    return {
        "gateway": document(found.gateway),
        "signature": found.signature,
        "stamp": _stamp_document(found.stamp) if found.stamp is not None else None,
        "token": found.token,
        "record": found.record,
    }


def _stamp_document(stamp: Stamp) -> Document:
    return {name: getattr(stamp, name) for name in _STAMP}


def preimage(content: Any, texts: Mapping[str, str]) -> LiveGateway:  # noqa: ANN401 - JSON as found
    """Return the row that `preimage_document` made the document of; `texts` has the PEM texts by digest.

    Raises:
        ValueError: it is none, or a text is missing.
    """
    try:
        stamp = content["stamp"]
        return LiveGateway(
            _gateway(content["gateway"], texts),
            _text(content["signature"]),
            None if stamp is None else _stamp(**stamp),
            _text(content["token"]),
            _text(content.get("record", "")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a pre-image: {error!r}") from None


def _gateway(row: Document, texts: Mapping[str, str]) -> Gateway:
    contextforge, kuadrant = row["contextforge"], row["kuadrant"]
    return Gateway(
        name=_text(row["name"]),
        url=_text(row["url"]),
        transport=_word(Transport, row["transport"]),
        description=_text(row["description"]),
        enabled=_flag(row["enabled"]),
        visibility=_word(Visibility, row["visibility"]),
        tags=_texts(row["tags"]),
        passthrough_headers=_texts(row["passthrough_headers"]),
        ca_certificate=_pem(row["ca_certificate"], texts),
        system_trust=_flag(row["system_trust"]),
        client_certificate=_pem(row["client_certificate"], texts),
        client_key=_reference(row["client_key"]),
        auth=_auth(row["auth"]),
        contextforge=ContextForgeOptions(_text(contextforge["mode"]), _text(contextforge["team"])),
        kuadrant=KuadrantOptions(
            _text(kuadrant["prefix"]),
            _text(kuadrant["route"]),
            _texts(kuadrant["category"]),
            _text(kuadrant["hint"]),
            hostname=_text(kuadrant.get("hostname", "")),
            parent=_text(kuadrant.get("parent", "")),
            parent_namespace=_text(kuadrant.get("parent_namespace", "")),
            listener=_text(kuadrant.get("listener", "")),
            user_specific_list=_flag(kuadrant.get("user_specific_list", False)),
        ),
    )


def _stamp(*, owner: object, manifest: object, revision: object, digest: object, protected: object) -> Stamp:
    return Stamp(_text(owner), _text(manifest), _text(revision), _text(digest), _flag(protected))


def _auth(found: Document) -> Auth:
    settings = tuple((name, _text(value)) for name, value in found["settings"].items())
    secrets = tuple((name, _required(_reference(value))) for name, value in found["secrets"].items())
    return Auth(cast("Any", _text(found["type"])), settings, secrets)


def _reference(found: Any) -> SecretReference | None:  # noqa: ANN401 - JSON as found
    if found is None:
        return None
    ((kind, value),) = found.items()
    if kind == "secretKeyRef":
        return SecretReference("secretKeyRef", _text(value["name"]), _text(value["key"]))
    return SecretReference(cast("Any", kind), _text(value))


def _required(reference: SecretReference | None) -> SecretReference:
    if reference is None:
        raise ValueError("a reference is missing")
    return reference


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text belongs")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{type(values).__name__} where a list belongs")
    return tuple(map(_text, values))


def _flag(value: object) -> bool:
    """Return a flag, or the text that a store shows in the place of one that is neither true nor false."""
    return value if isinstance(value, bool) else cast("Any", _text(value))


def _word(words: Iterable[str], value: object) -> Any:  # noqa: ANN401 - an enum's member, or what a store shows instead
    text = _text(value)
    return next((word for word in words if word == text), text)


def _pem(name: object, texts: Mapping[str, str]) -> str:
    return texts[_text(name)] if name else ""
