"""Text from files and peers, made fit to stand inside Markdown and HTML: no link, image, mention or tag comes of it.

What stands between backticks stays code, as our messages write names and values.
"""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import quote

from reconciler.core.hostile import printable
from reconciler.reports.style import TEXT_LIMIT

_CODE: Final = re.compile(r"(`[^`]+`)")
_PUNCTUATION: Final = re.compile(r"([!-/:-@\[-`{-~])")


def as_markdown(text: str) -> str:
    """Return one line of Markdown that shows `text`.

    Any ASCII punctuation may be escaped, and what is escaped means nothing (CommonMark 0.31, section 2.4). In a code
    span nothing means anything but the backtick that ends it (section 6.1).
    """
    parts = _CODE.split(printable(text, TEXT_LIMIT).strip())
    return "".join(part if _CODE.fullmatch(part) else _PUNCTUATION.sub(r"\\\1", part) for part in parts)


def as_html(text: str) -> str:
    """Return one line of HTML that shows `text`, as the content of an element or in quotes.

    A zero-width space after each @ keeps it from calling somebody: platforms look for names in what is shown, where an
    entity is no protection.
    """
    shown = html.escape(printable(text, TEXT_LIMIT)).replace("@", "@&#8203;")
    return _CODE.sub(lambda match: f"<code>{match[1][1:-1]}</code>", shown)


def marker(target: str) -> str:
    """Return the hidden first line by which the comment of a target is found again."""
    return f"<!-- reconciler:plan:{quote(printable(target), safe='/:@')} -->"
