"""Problems are values: where, what is wrong, and what to do. All of them are collected, sorted and reported at once.

A `Rule` is declared beside the code that finds it (`UNKNOWN_FIELD = Rule("unknown-field", ...)`) and makes the problem:
`UNKNOWN_FIELD.at(location, "…", fix="…")`. `reconciler.core.rules` gathers every rule for the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(StrEnum):
    """How much a problem matters: errors stop, warnings want a look, infos are good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file. Lines and columns count from 1, columns in characters; `pointer` is a JSON Pointer or empty.

    `snippet` is the source line for the caret and `length` how many characters it underlines. The snippet stays empty
    wherever the line could hold a secret.
    """

    file: str
    line: int = 1
    column: int = 1
    pointer: str = ""
    snippet: str = ""
    length: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, said so that the person paged at night can act on it.

    `gateways` names those it is about, where the rule knows them: what one of them may be excused from.
    """

    code: str
    severity: Severity
    message: str
    location: Location
    fix: str = ""
    gateways: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of problem: its stable kebab-case code, its severity, and why it is one (a sentence for the docs).

    `field` is the JSON Pointer of what it is about in a manifest, for rules that judge manifests as a whole.
    """

    code: str
    severity: Severity
    why: str
    field: str = ""

    def at(self, location: Location, message: str, *, fix: str = "", gateways: tuple[str, ...] = ()) -> Problem:
        """Return this rule's problem at `location`, about `gateways` where it is known whom it is about."""
        if self.field and not location.pointer:
            location = replace(location, pointer=self.field)
        return Problem(self.code, self.severity, message, location, fix, gateways)


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems once each, sorted by file, place, severity, code and message."""
    return tuple(
        sorted(
            dict.fromkeys(problems),
            key=lambda p: (
                p.location.file,
                p.location.line,
                p.location.column,
                _RANK[p.severity],
                p.code,
                p.message,
            ),
        )
    )


def has_errors(problems: Iterable[Problem]) -> bool:
    """Return whether any of the problems is an error."""
    return any(problem.severity is Severity.ERROR for problem in problems)


class ProblemsError(InputError):
    """Input with problems, where nothing can be done without it (a config file, a key list)."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__(f"{len(self.problems)} problem(s)")
