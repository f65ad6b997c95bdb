"""What a peer says, made fit to be shown: nothing in it moves a cursor, reverses a line or fills a screen."""

from __future__ import annotations


def printable(text: str, limit: int = 200) -> str:
    r"""Return `text` with everything unprintable escaped (`\n`, `\u202e`), cut to `limit` characters.

    Control, bidirectional, zero-width, surrogate and private-use characters are unprintable, and so is every space but
    the common one (Unicode's own definition, as `str.isprintable` has it).
    """
    if text.isprintable() and len(text) <= limit:
        return text
    shown = "".join(character if character.isprintable() else _escaped(character) for character in text[:limit])
    return shown if len(shown) <= limit and len(text) <= limit else shown[: limit - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
