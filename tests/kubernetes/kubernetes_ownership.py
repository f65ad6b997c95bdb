"""Who holds which field of an object, as server-side apply has it. Lists are atomic here; maps are held key by key."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]

_SYSTEM = {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
_SYSTEM |= {"deletionTimestamp", "deletionGracePeriodSeconds"}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who wrote, and how."""

    name: str
    operation: str
    api: str
    sub: str = ""

    def said(self) -> str:
        """How a conflict names it."""
        sub = f' with subresource "{self.sub}"' if self.sub else ""
        return f'conflict with "{self.name}"{sub}{f" using {self.api}" if self.operation == "Update" else ""}'


@dataclass
class Holders:
    """The fields that each manager holds."""

    held: dict[Manager, set[Path]] = field(default_factory=dict)

    def conflicts(self, manager: Manager, live: Object, wanted: Object) -> list[tuple[Manager, Path]]:
        """Who holds with another value what `manager` would apply."""
        differing = {path for path, value in leaves(wanted).items() if at(live, path) != value}
        return [
            (other, path)
            for other, paths in self.held.items()
            if other != manager
            for path in sorted(differing)
            if path in paths
        ]

    def apply(self, manager: Manager, live: Object, wanted: Object) -> Object:
        """Return the object after an apply: what the manager no longer names goes, unless somebody else holds it."""
        now = leaves(wanted)
        merged = deepcopy(live)
        others = set[Path]().union(*(paths for other, paths in self.held.items() if other != manager))
        for path in self.held.get(manager, set()) - set(now) - others:
            drop(merged, path)
        for other, paths in self.held.items():
            if other != manager:
                paths.difference_update(path for path, value in now.items() if at(live, path) != value)
        for path, value in now.items():
            put(merged, path, value)
        self.held[manager] = set(now)
        return merged

    def update(self, manager: Manager, before: Object, after: Object) -> None:
        """Take notice of an update: whoever changed a field holds it alone."""
        old, new = leaves(before), leaves(after)
        changed = {path for path, value in new.items() if old.get(path) != value}
        for paths in self.held.values():
            paths.difference_update(changed | (set(old) - set(new)))
        if changed:
            self.held.setdefault(manager, set()).update(changed)

    def shown(self) -> list[Object]:
        """Return the `managedFields`, in their own words."""
        return [
            {
                "manager": each.name,
                "operation": each.operation,
                "apiVersion": each.api,
                "fieldsType": "FieldsV1",
                "fieldsV1": {".".join(path): {} for path in sorted(paths)},
                **({"subresource": each.sub} if each.sub else {}),
            }
            for each, paths in self.held.items()
            if paths
        ]


def leaves(value: Object) -> dict[Path, Any]:
    """Return the fields of an object that somebody can hold, by path."""
    found: dict[Path, Any] = {}
    for name, part in value.items():
        if name in ("apiVersion", "kind"):
            continue
        if name == "metadata":
            part = {key: each for key, each in part.items() if key not in _SYSTEM}  # noqa: PLW2901 - what counts of it
        _collect(part, (name,), found)
    return found


def _collect(value: Any, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            _collect(part, (*path, name), found)
    elif value != {}:
        found[path] = value


def at(value: Any, path: Path) -> Any:
    """Return what stands at a path, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def put(value: Object, path: Path, leaf: Any) -> None:
    """Put a value at a path."""
    for name in path[:-1]:
        value = value.setdefault(name, {})
    value[path[-1]] = deepcopy(leaf)


def drop(value: Object, path: Path) -> None:
    """Take away what stands at a path, and the maps that are empty then."""
    inner = value.get(path[0])
    if len(path) == 1:
        value.pop(path[0], None)
    elif isinstance(inner, dict):
        drop(inner, path[1:])
        if not inner and path[0] != "metadata":
            del value[path[0]]
