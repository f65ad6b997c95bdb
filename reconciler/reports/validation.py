"""What `validate` has found: the value that every format of it shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.core.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.levels import Suppressed
    from reconciler.core.problems import Problem

_RANK: Final = {severity: number for number, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Validation:
    """Problems in order, and what else a report may say.

    `files` are those that were looked at, sorted: manifests and the PEM files that they name. `changed` maps a file to
    the ranges of its lines (from 1, `range`'s end excluded) that a change touches; None means that nobody asked. Every
    path is relative to the directory that the reader of the report calls the root, in POSIX form.
    """

    problems: Sequence[Problem]
    gateways: int = 0
    files: Sequence[str] = ()
    suppressed: Sequence[Suppressed] = ()
    changed: Mapping[str, Sequence[range]] | None = field(default=None)

    def touches(self, problem: Problem) -> bool:
        """Return whether the change touches the line that a problem is on."""
        ranges = (self.changed or {}).get(problem.location.file, ())
        return any(problem.location.line in lines for lines in ranges)

    def worst_first(self) -> list[Problem]:
        """Return the problems by severity, those of one severity on lines that the change touches before the others."""
        return sorted(self.problems, key=lambda problem: (_RANK[problem.severity], not self.touches(problem)))
