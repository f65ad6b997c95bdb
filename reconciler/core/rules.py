"""Every rule there is, gathered from the rooms that declare them: for the documentation, and for machine formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core import (
    certificate,
    desired,
    features,
    fitness,
    framing,
    lint,
    manifest,
    pem,
    schema,
    snapshot,
    strict_yaml,
    trust,
)
from reconciler.core.problems import Rule

if TYPE_CHECKING:
    from types import ModuleType

_ROOMS: tuple[tuple[str, tuple[ModuleType, ...]], ...] = (
    ("Files", (snapshot,)),
    ("YAML", (strict_yaml,)),
    ("Manifests", (schema, manifest, desired)),
    ("Across manifests", (lint, features)),
    ("PEM files", (framing, pem)),
    ("Certificates and bundles", (certificate, fitness, trust)),
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


def as_markdown() -> str:
    """Return the reference page of all codes."""
    lines = [
        "# Problems",
        "",
        "Every problem has a stable code. Errors stop, warnings want a look, infos are good to know.",
        "This page is made from the code by `make docs`.",
    ]
    for chapter, found in rules().items():
        lines += ["", f"## {chapter}", "", "| code | severity | why it is one |", "| --- | --- | --- |"]
        lines += [f'| <a id="{rule.code}"></a>`{rule.code}` | {rule.severity} | {rule.why} |' for rule in found]
    return "\n".join(lines) + "\n"
