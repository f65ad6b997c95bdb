"""The error tree, by who is at fault. Each class carries the exit code of the command it ends.

    ReconcilerError      1   something we reached for failed (a file, a store, a server)
    ├── InputError       3   what was given is wrong: manifests, PEM files, settings, keys
    ├── GuardError       4   a safety guard refused
    ├── StoreError       1   the store could not be read or written
    │   └── StoreBusyError  75   another writer holds it; trying again helps
    │       └── LeaseHeldError  75   another reconciler has the right to write
    ├── SignerError      1   the signing key cannot be used
    ├── CommentError     1   the platform of a pull request did not take the comment
    └── TamperingError   1   what a store holds is not what was signed

Problems inside manifests are values (`reconciler.core.problems`), collected and sorted; these classes are for what
makes the whole run meaningless. Exceptions of drivers and libraries never leave the room that called them.
"""

from __future__ import annotations

from typing import ClassVar


class ReconcilerError(Exception):
    """A run that cannot go on. The message says what is wrong; `fix` says what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix

    def in_one_line(self) -> str:
        """Return what is wrong, and what to do about it."""
        return f"{self}: {self.fix}" if self.fix else str(self)


class InputError(ReconcilerError):
    """What the user gave is wrong."""

    exit_code = 3


class GuardError(ReconcilerError):
    """A guard refused; its message holds the figures, its fix the way past."""

    exit_code = 4


class StoreError(ReconcilerError):
    """The store could not be read or written."""


class StoreBusyError(StoreError):
    """Another writer holds the store."""

    exit_code = 75


class LeaseHeldError(StoreBusyError):
    """Another reconciler has the right to write, and nothing was written."""


class SignerError(ReconcilerError):
    """The signing key cannot be read or used."""


class CommentError(ReconcilerError):
    """The comment on a pull request could not be written."""


class TamperingError(ReconcilerError):
    """What a store holds is not what was signed."""
