"""Every rule there is, gathered from the rooms that declare them: for the documentation, and for machine formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core import (
    ca_references,
    certificate,
    constraints,
    contextforge_platform,
    desired,
    export,
    features,
    fitness,
    foresight,
    framing,
    inheritance,
    keyring,
    kuadrant_platform,
    layout,
    leftovers,
    levels,
    lint,
    manifest,
    pem,
    schema,
    snapshot,
    strict_yaml,
    targets,
    toollock,
    tooltext,
    trust,
)
from reconciler.core.problems import Rule

if TYPE_CHECKING:
    from types import ModuleType

_ROOMS: tuple[tuple[str, tuple[ModuleType, ...]], ...] = (
    ("Files", (snapshot,)),
    ("YAML", (strict_yaml,)),
    ("Manifests", (schema, manifest, inheritance, desired, layout, keyring)),
    ("Across manifests", (lint, targets, leftovers, features, levels)),
    ("Gateway platforms", (contextforge_platform, kuadrant_platform, ca_references, foresight)),
    ("PEM files", (framing, pem)),
    ("Certificates and bundles", (certificate, fitness, trust, constraints)),
    ("Tools locks", (toollock, tooltext)),
    ("Stores", (export,)),
)


def rules() -> dict[str, tuple[Rule, ...]]:
    """Return the rules by chapter, each rule once, in the order of their codes."""
    seen: set[str] = set()
    chapters = {}
    for chapter, rooms in _ROOMS:
        found = {value.code: value for room in rooms for value in vars(room).values() if isinstance(value, Rule)}
        chapters[chapter] = tuple(found[code] for code in sorted(found) if code not in seen)
        seen |= found.keys()
    return chapters
