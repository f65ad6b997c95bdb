"""Colour, where a person looks at a terminal. Everywhere else the same words without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_CODES: Final[Mapping[str, str]] = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}


@dataclass(frozen=True, slots=True)
class Style:
    """Whether to colour. `style("text", "red", "bold")` gives the text back, dressed or not."""

    colour: bool = False

    def __call__(self, text: str, *looks: str) -> str:
        """Return `text` in the given looks."""
        if not self.colour or not text:
            return text
        codes = ";".join(_CODES[look] for look in looks)
        return f"\x1b[{codes}m{text}\x1b[0m"


PLAIN: Final = Style()

NAME_LIMIT: Final = 1024
TEXT_LIMIT: Final = 4096
"""How much of a name, and of a sentence, is shown; both may come from whoever writes manifests or rows."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 gateway`, `2 gateways`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short_revision(revision: str) -> str:
    """Return `main@1a2b3c4d5e` for `main@sha1:<commit>`, as people say it."""
    name, at, commit = revision.rpartition("@")
    return f"{name}{at}{commit.partition(':')[2][:10]}" if ":" in commit else revision
