"""What we leave on the objects of a gateway: two labels to find them by, and annotations that hold the rest.

Annotations take any text, so nothing is squeezed into the letters of a label. What Kuadrant has no field for (the URL,
the description, the kind of credential) is kept there as well: otherwise nobody could tell whether it is still so.
Marks are claims of whoever may write to the cluster; the signature of the record is what tells.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import canonical_json, text_digest
from reconciler.core.model import Stamp
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import Change, Gateway

MANAGER: Final = "mcp-gateway-reconciler"
"""Our field manager, and the value of the label by which our objects are found."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
GATEWAY: Final = "reconciler/gateway"

_OWNER: Final = "reconciler/owner"
_MANIFEST: Final = "reconciler/manifest"
_REVISION: Final = "reconciler/revision"
_DIGEST: Final = "reconciler/digest"
_PRUNE: Final = "reconciler/prune"
_BUNDLE: Final = "reconciler/ca-sha256"
_SIGNATURE: Final = "reconciler/ca-signature"
_RECORD: Final = "reconciler/record-signature"
_ROW: Final = "reconciler/row"
_MAY_BE_PRUNED: Final = "enabled"
_PROTECTED: Final = "disabled"


def labels(name: str) -> dict[str, str]:
    """Return the labels of every object of gateway `name`."""
    return {MANAGED_BY: MANAGER, GATEWAY: name}


def gateway_of(found: Mapping[str, Any]) -> str:
    """Return whose object of ours this is, or the empty string where it is not ours."""
    given = mapping(mapping(found.get("metadata")).get("labels"))
    return text_of(given.get(GATEWAY)) if given.get(MANAGED_BY) == MANAGER else ""


def marks_of(change: Change, row: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of the objects that a change writes. Empty ones are left out."""
    gateway, stamp = change.after, change.stamp
    marks = {
        _BUNDLE: text_digest(gateway.ca_certificate) if gateway is not None else "",
        _SIGNATURE: change.signature,
        _RECORD: change.record,
        _ROW: canonical_json(row),
    }
    if stamp is not None:
        marks |= {
            _MANIFEST: stamp.manifest,
            _REVISION: stamp.revision,
            _DIGEST: stamp.digest,
            _PRUNE: _PROTECTED if stamp.protected else _MAY_BE_PRUNED,
        }
    owner = {} if stamp is None else {_OWNER: stamp.owner}
    return owner | {key: value for key, value in marks.items() if value}


def stamp_of(found: Mapping[str, Any]) -> Stamp | None:
    """Return the stamp on an object, or None. What is missing never reads as permission to delete."""
    marks = _marks(found)
    if _OWNER not in marks:
        return None
    return Stamp(
        owner=text_of(marks[_OWNER]),
        manifest=text_of(marks.get(_MANIFEST)),
        revision=text_of(marks.get(_REVISION)),
        digest=text_of(marks.get(_DIGEST)),
        protected=marks.get(_PRUNE) != _MAY_BE_PRUNED,
    )


def signatures_of(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the signature of the bundle and that of the record, as they stand on an object."""
    marks = _marks(found)
    return text_of(marks.get(_SIGNATURE)), text_of(marks.get(_RECORD))


def row_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Kuadrant has no field for; nothing where nothing readable stands there."""
    try:
        row = json.loads(text_of(_marks(found).get(_ROW)) or "{}")
        canonical_json(row).encode()  # an escaped lone surrogate would be text that nobody can write
    except (ValueError, RecursionError):
        return {}
    return mapping(row)


def row_beyond(gateway: Gateway, declared: Sequence[str]) -> dict[str, Any]:
    """Return what there is no field for. `declared` are the optional fields that the manifest sets."""
    purposes = [purpose for purpose, _ in gateway.auth.secrets]
    return {
        "auth": {"type": gateway.auth.type, "settings": dict(gateway.auth.settings), "purposes": purposes},
        "declared": list(declared),
        "description": gateway.description,
        "transport": gateway.transport.value,
        "url": gateway.url,
    }


def mapping(value: object) -> Mapping[str, Any]:
    """Return the mapping that was found, an empty one where there is something else."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """Return the list that was found, an empty one where there is something else."""
    return value if isinstance(value, list) else []


def _marks(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(found.get("metadata")).get("annotations"))
