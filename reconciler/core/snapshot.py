"""What a source hands over: bytes by path, and the problems of getting them. Nothing from outside the root."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.core.problems import Location, Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

UNREADABLE = Rule(
    "unreadable-file",
    Severity.ERROR,
    "A file of the managed tree could not be read. What is unreadable is not absent, so nothing may be pruned.",
)
LEAVES_ROOT = Rule(
    "path-leaves-root",
    Severity.ERROR,
    "A path or link leads out of the repository. A pull request must not be able to read the reviewer's disk.",
)
TOO_LARGE = Rule("file-too-large", Severity.ERROR, "A file is larger than any real manifest or CA file.")
TOO_MANY_FILES = Rule("too-many-files", Severity.ERROR, "The tree holds more files than the reconciler reads in a run.")
LINKED_DIRECTORY = Rule(
    "linked-directory",
    Severity.WARNING,
    "A directory reached through a link is not searched for manifests, so that nothing is read twice or for ever.",
)


class Failure(StrEnum):
    """Why a file that something refers to could not be had."""

    MISSING = "missing"
    LEAVES_ROOT = "leaves the repository"
    TOO_LARGE = "too large"
    NOT_A_FILE = "not a regular file"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The manifests of a tree at one moment.

    `files` maps root-relative POSIX paths of YAML files to their bytes, sorted by path; `pem_files` names the PEM files
    that were seen and not read, `lock_files` the tools locks. `whole` says whether the whole managed tree was looked
    at: without that, absence proves nothing.
    """

    files: Mapping[str, bytes]
    pem_files: frozenset[str] = frozenset()
    lock_files: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Files:
    """Referenced files: the bytes of those that could be read, and why the others could not."""

    data: Mapping[str, bytes] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)


def unreadable(path: str, failure: Failure, detail: str = "") -> Problem:
    """Return the problem of a file in the tree that could not be read."""
    location = Location(path)
    if failure is Failure.LEAVES_ROOT:
        return LEAVES_ROOT.at(
            location, "this link leads out of the repository, so it was not read", fix="replace the link by the file"
        )
    if failure is Failure.TOO_LARGE:
        return TOO_LARGE.at(
            location, f"the file has {detail}", fix="no manifest is that large: is this the right file?"
        )
    if failure is Failure.MISSING:
        return UNREADABLE.at(location, "this link leads to nothing", fix="correct what it points to, or remove it")
    return UNREADABLE.at(
        location, f"cannot be read: {detail or failure.value}", fix="mend its permissions, or remove it"
    )
