"""When certificates end, as a line: now at the left, ten years at the right, and the near future the widest.

SVG with positions in per cent, which a strict content security policy allows where it forbids inline styles.
"""

from __future__ import annotations

from html import escape
from math import log1p
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.core.hostile import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_LAST_DAYS: Final = 3653.0
_BEND_DAYS: Final = 30.0
_SOON_DAYS: Final = 30
_LATER_DAYS: Final = 90
_TICKS: Final = ((0, "now"), (30, "30 d"), (90, "90 d"), (365, "1 y"), (1096, "3 y"), (3653, "10 y"))
_LISTED: Final = 8
_NAME: Final = 90


class Expiry(NamedTuple):
    """A certificate: its subject, when it ends, and how many gateways trust it."""

    subject: str
    not_after: datetime
    gateways: int


def timeline(expiries: Sequence[Expiry], now: datetime) -> str:
    """Return the section of the page, the first to end listed below the line."""
    if not expiries:
        return ""
    ordered = sorted(expiries, key=lambda each: each.not_after)
    ticks = "".join(_tick(days, label) for days, label in _TICKS)
    dots = "".join(_dot(each, now) for each in reversed(ordered))
    listed = "".join(_line(each, now) for each in ordered[:_LISTED])
    more = f"<li class=dim>and {len(ordered) - _LISTED} later</li>" if len(ordered) > _LISTED else ""
    return (
        "<section><h2>CA certificates</h2>"
        f'<svg class=timeline height=64 role=img aria-label="When {len(ordered)} certificates expire">'
        f'<line x1="2%" x2="98%" y1=24 y2=24 class=axis />{ticks}{dots}</svg>'
        f"<ol class=expiries>{listed}{more}</ol></section>"
    )


def place(days: float) -> float:
    """Return where on the line a number of days from now lies, in per cent of the width."""
    bounded = min(max(days, 0.0), _LAST_DAYS)
    return 2.0 + 96.0 * log1p(bounded / _BEND_DAYS) / log1p(_LAST_DAYS / _BEND_DAYS)


def _tick(days: int, label: str) -> str:
    at = f"{place(days):.2f}%"
    anchor = "start" if days == 0 else "end" if days > _LAST_DAYS - 1 else "middle"
    return f'<line x1="{at}" x2="{at}" y1=18 y2=30 class=axis /><text x="{at}" y=50 text-anchor={anchor}>{label}</text>'


def _dot(expiry: Expiry, now: datetime) -> str:
    days = (expiry.not_after - now).total_seconds() / 86400
    title = f"{_text(expiry.subject)}: {expiry.not_after:%Y-%m-%d}"
    return f'<circle cx="{place(days):.2f}%" cy=24 r=6 class="{_tone(days)}"><title>{title}</title></circle>'


def _line(expiry: Expiry, now: datetime) -> str:
    days = (expiry.not_after - now).days
    said = f"in {days} d" if days >= 0 else f"expired {-days} d ago"
    users = f"{expiry.gateways} gateway{'s' if expiry.gateways != 1 else ''}"
    return (
        f'<li><span class="mark {_tone(days)}"></span><span class=subject>{_text(expiry.subject)}</span>'
        f"<span class=dim>{users}</span><time>{expiry.not_after:%Y-%m-%d} <b>{said}</b></time></li>"
    )


def _tone(days: float) -> str:
    return "bad" if days <= _SOON_DAYS else "wait" if days <= _LATER_DAYS else "good"


def _text(value: str) -> str:
    return escape(printable(value, _NAME), quote=True)
