"""A URL as it may be shown: without what the schema refuses in the URL of a gateway, for there secrets stand.

A manifest has no such URL; a row that somebody else wrote may have one.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

SENSITIVE: Final = "(sensitive)"

SENSITIVE_PARAMETER: Final = (
    r"[?&](([A-Za-z0-9_.-]*[_.-])?([Aa][Pp][Ii]|[Aa][Cc][Cc][Ee][Ss][Ss]|[Aa][Uu][Tt][Hh])?"
    r"([Tt][Oo][Kk][Ee][Nn]|[Kk][Ee][Yy]|[Ss][Ee][Cc][Rr][Ee][Tt]|[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd]"
    r"|[Pp][Aa][Ss][Ss][Ww][Dd]|[Pp][Ww][Dd]|[Ss][Ii][Gg][Nn][Aa][Tt][Uu][Rr][Ee]|[Ss][Ii][Gg]"
    r"|[Cc][Rr][Ee][Dd][Ee][Nn][Tt][Ii][Aa][Ll]|[Jj][Ww][Tt])"
    r"|[A-Za-z0-9_.-]*[a-z0-9](Token|Key|Secret|Password|Passwd|Pwd|Signature|Sig|Credential|Jwt))="
)
"""The beginning of a parameter that holds a secret, as the schema has it."""

_VALUE: Final = re.compile(rf"(?P<name>{SENSITIVE_PARAMETER})[^&#]*")
_USER: Final = re.compile(r"\A((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)?[^/?]*@")


def shown_url(url: str) -> str:
    """Return the URL without user and password, the values of parameters that hold a secret, and its fragment."""
    place, mark, fragment = _USER.sub(rf"\1{SENSITIVE}@", url).partition("#")
    shown = _VALUE.sub(rf"\g<name>{SENSITIVE}", place)
    return f"{shown}#{SENSITIVE}" if fragment else shown + mark


def host_of(url: str) -> str:
    """Return the host of a URL in lower case, without brackets; nothing where it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
