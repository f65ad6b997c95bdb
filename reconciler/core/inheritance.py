"""Defaults: what a directory says for all of its gateways, and where each value came from.

`Defaults` of a directory apply to it and to all below; nearer wins. Mappings merge key by key, everything else
replaces; `auth` is one thing and replaces as a whole, so that no half of a credential is ever inherited.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from reconciler.core.problems import Problem, Rule, Severity
from reconciler.core.strict_yaml import locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.core.manifest import Manifest
    from reconciler.core.problems import Location

DUPLICATE_DEFAULTS = Rule(
    "duplicate-defaults", Severity.ERROR, "A directory has one set of defaults, or nobody can tell which one applies."
)
MISPLACED_DEFAULTS = Rule(
    "misplaced-defaults",
    Severity.ERROR,
    "Defaults stand in defaults.yaml, so that they are found whatever part of the tree is looked at.",
)

Spec = dict[str, Any]


class Defaults:
    """The `Defaults` of every directory, merged along the way down."""

    def __init__(self, manifests: Iterable[Manifest], texts: Mapping[str, bytes]) -> None:
        """Take the `Defaults` among the manifests; `texts` are the files they came from, for positions."""
        self.problems: list[Problem] = []
        self._texts = texts
        self._own: dict[str, Manifest] = {}
        self._merged: dict[str, Spec] = {}
        for manifest in manifests:
            if manifest.kind != "Defaults":
                continue
            if posixpath.basename(manifest.file) != "defaults.yaml":
                where = self._locate(manifest, "/kind")
                fix = "move them into the defaults.yaml of this directory"
                self.problems.append(MISPLACED_DEFAULTS.at(where, "Defaults outside of a defaults.yaml", fix=fix))
            first = self._own.setdefault(posixpath.dirname(manifest.file), manifest)
            if first is not manifest:
                message = f"{first.file}:{first.line} already sets the defaults of this directory"
                where = self._locate(manifest, "")
                self.problems.append(DUPLICATE_DEFAULTS.at(where, message, fix="merge the two documents"))

    def spec(self, directory: str) -> Spec:
        """Return the merged defaults that apply in `directory`."""
        if not self._own:
            return {}
        if (known := self._merged.get(directory)) is not None:
            return known
        merged: Spec = {}
        for place in reversed([directory, *_above(directory)]):
            own = self._own.get(place)
            merged = merge(merged, own.spec) if own else merged
        self._merged[directory] = merged
        return merged

    def origin(self, directory: str, pointer: Sequence[str]) -> Manifest | None:
        """Return the nearest Defaults at or above `directory` that set the value at `pointer` (below spec)."""
        for place in (directory, *_above(directory)):
            own = self._own.get(place)
            if own is not None and has(own.spec, pointer):
                return own
        return None

    def _locate(self, manifest: Manifest, pointer: str) -> Location:
        return locate(manifest.file, self._texts[manifest.file], manifest.document, pointer)


def _above(directory: str) -> Iterator[str]:
    """Yield the directories above, the nearest first; the last is the root, which is empty."""
    while directory:
        directory = posixpath.dirname(directory)
        yield directory


def merge(inherited: Spec, own: Spec) -> Spec:
    """Return `own` over `inherited`: mappings key by key, lists, scalars and `auth` as wholes."""
    merged = dict(inherited)
    for key, value in own.items():
        below = merged.get(key)
        if key != "auth" and isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge(below, value)
        else:
            merged[key] = value
    return merged


def has(spec: Spec, pointer: Sequence[str]) -> bool:
    """Return whether `spec` sets the value at `pointer`."""
    value: object = spec
    for key in pointer:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
