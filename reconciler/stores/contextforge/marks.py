"""What we leave on a gateway in ContextForge: our stamp, the signature of the row, and references in place of secrets.

All of it is in its tags. A tag there has an id (2 to 100 of a-z, 0-9, `.`, `:` and `-`) to search by, and a label, any
text, to show. The id says what a mark is, the label holds it, so nothing has to be squeezed into the letters of an id.
The exceptions are written so that they survive an edit by hand, which keeps ids alone: the owner, `managed-by:OWNER`,
and the record, whose 128 digits are two ids. What else an edit loses reads as missing, and never as permission: a stamp
without its protection mark is a protected one.

Marks are claims of whoever may write to the platform. What they say about secrets is therefore sealed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import canonical_json, reference_document
from reconciler.core.model import Stamp
from reconciler.stores.rows import reference_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.model import SecretReference

Tag = dict[str, str]

_OWNER: Final = "managed-by:"
_OURS: Final = "reconciler:"
_MANIFEST: Final = "reconciler:manifest"
_REVISION: Final = "reconciler:revision"
_DIGEST: Final = "reconciler:digest"
_PRUNE: Final = "reconciler:prune"
_SECRETS: Final = "reconciler:secrets"
_RECORD: Final = ("reconciler:record-1:", "reconciler:record-2:")
_HALF: Final = 64
_MAY_BE_PRUNED: Final = "enabled"
_PROTECTED: Final = "disabled"
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What stands for the secrets of a row.

    `secrets` are those of its auth, by purpose. `version` is the platform's count of the row's updates right after we
    wrote them: when it has moved on, somebody may have put other secrets there. `references` and `values` are the seals
    of the references and of what they pointed at, empty where there was no key.
    """

    secrets: tuple[tuple[str, SecretReference], ...]
    client_key: SecretReference | None
    version: int
    references: str = ""
    values: str = ""


def is_mark(tag: str) -> bool:
    """Return whether the id of a tag is one of those that we keep to ourselves."""
    return tag.startswith((_OWNER, _OURS))


def tags_of(tags: Sequence[str], stamp: Stamp | None, record: str, sealed: Sealed | None) -> list[Tag]:
    """Return a gateway's own tags and our marks as the API takes them."""
    marks = [] if stamp is None else _marks(stamp)
    if record:
        halves = zip(_RECORD, (record[:_HALF], record[_HALF:]), strict=True)
        marks.extend({"id": f"{mark}{half}", "label": f"{mark}{half}"} for mark, half in halves)
    if sealed is not None:
        marks.append({"id": _SECRETS, "label": _sealed_text(sealed)})
    return [*({"id": tag, "label": tag} for tag in tags), *marks]


def own_tags(tags: Iterable[Any]) -> tuple[str, ...]:
    """Return the ids of the tags that are not ours, sorted."""
    return tuple(sorted({tag for tag, _ in map(_id_and_label, tags) if tag and not is_mark(tag)}))


def stamp_of(tags: Iterable[Any]) -> Stamp | None:
    """Return the stamp on a row, or None. Two owners are one whose name nobody can have."""
    found = dict(sorted(map(_id_and_label, tags)))
    owners = [_owner(tag, label) for tag, label in found.items() if tag.startswith(_OWNER)]
    if not owners:
        return None
    return Stamp(
        owner=" and ".join(owners),
        manifest=_label(found, _MANIFEST),
        revision=_label(found, _REVISION),
        digest=_label(found, _DIGEST),
        protected=_label(found, _PRUNE) != _MAY_BE_PRUNED,
    )


def record_of(tags: Iterable[Any]) -> str:
    """Return the signature of the row; whatever else stands in the place of its halves is one that is not genuine."""
    found = sorted(tag for tag, _ in map(_id_and_label, tags) if tag.startswith(_RECORD))
    return "".join(tag.rpartition(":")[2] for tag in found)


def sealed_of(tags: Iterable[Any]) -> Sealed | None:
    """Return what stands for the secrets of a row, or None where nothing readable does."""
    label = _label(dict(map(_id_and_label, tags)), _SECRETS)
    try:
        return _sealed(json.loads(label)) if label else None
    except _UNREADABLE:
        return None


def references_text(sealed: Sealed, name: str) -> str:
    """Return the text over which the references of gateway `name` are sealed, and of which version they are."""
    return canonical_json(["references", name, sealed.version, _references(sealed)])


def values_text(name: str, values: Mapping[str, str], client_key: str) -> str:
    """Return the text over which the secrets of gateway `name` are sealed. It holds them: show it to nobody."""
    return canonical_json(["values", name, dict(values), client_key])


def _marks(stamp: Stamp) -> list[Tag]:
    owner = f"{_OWNER}{stamp.owner}"
    return [
        {"id": _as_id(owner), "label": owner},
        {"id": _MANIFEST, "label": stamp.manifest},
        {"id": _REVISION, "label": stamp.revision},
        {"id": _DIGEST, "label": stamp.digest},
        {"id": _PRUNE, "label": _PROTECTED if stamp.protected else _MAY_BE_PRUNED},
    ]


def _as_id(tag: str) -> str:
    """Return what ContextForge itself makes of a tag that is typed in."""
    return tag.lower().replace("_", "-")


def _owner(tag: str, label: str) -> str:
    """Return the owner as written, if the label still fits the id, and otherwise what the id says."""
    return (label if _as_id(label) == tag else tag).removeprefix(_OWNER)


def _label(found: Mapping[str, str], tag: str) -> str:
    """Return what a mark holds; a label that only repeats the id holds nothing."""
    label = found.get(tag, "")
    return "" if label == tag else label


def _id_and_label(tag: object) -> tuple[str, str]:
    match tag:
        case {"id": str(known), "label": str(label)}:
            return known, label
        case {"id": str(known)} | str(known):
            return known, known
        case _:
            return "", ""


def _references(sealed: Sealed) -> dict[str, Any]:
    return {
        "auth": {purpose: reference_document(reference) for purpose, reference in sealed.secrets},
        "clientKey": reference_document(sealed.client_key),
    }


def _sealed_text(sealed: Sealed) -> str:
    seals = {"references": sealed.references, "values": sealed.values}
    return canonical_json({**_references(sealed), "seals": seals, "version": sealed.version})


def _sealed(document: Any) -> Sealed:  # noqa: ANN401 - JSON as found
    canonical_json(document).encode()  # an escaped lone surrogate would be text that nobody can write
    key = document["clientKey"]
    return Sealed(
        tuple(sorted((purpose, reference_of(each)) for purpose, each in document["auth"].items())),
        None if key is None else reference_of(key),
        int(document["version"]),
        str(document["seals"]["references"]),
        str(document["seals"]["values"]),
    )
