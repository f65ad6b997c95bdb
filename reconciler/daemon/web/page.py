"""The board as a page: what needs somebody first, then every gateway, when certificates end, and what happened.

Plain HTML made here, with a style sheet of our own and no script at all. Every text of the tree, the store and the
upstreams is hostile: it is bounded, and escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.core.urls import shown_url
from reconciler.daemon.web.timeline import Expiry, timeline
from reconciler.reports.style import counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Condition
    from reconciler.daemon.board import Board, Row, TargetState
    from reconciler.daemon.events import Event

PER_PAGE: Final = 100
_EVENTS_SHOWN: Final = 25
_PROBLEMS_SHOWN: Final = 10
_TEXT: Final = 400
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TONES: Final = {"True": "good", "False": "bad", "Unknown": "dim"}
_EVENT_TONES: Final = {"firing": "bad", "resolved": "good", "happened": "info"}
_RANK: Final = {"False": 0, "Unknown": 1, "True": 3}


class Asked(NamedTuple):
    """What whoever looks at the page asked for: gateways with `words` in their name or URL, from `page` on."""

    words: str = ""
    page: int = 1


def render(board: Board, now: datetime, asked: Asked) -> str:
    """Return the page."""
    targets = board.targets()
    rows = [(name, row) for name in targets for row in board.rows(name).values()]
    body = "".join(
        [
            _header(board, rows, now),
            _alarms(board, targets.values()),
            _tiles(rows, targets.values(), now),
            _gateways(rows, now, asked, several=len(targets) > 1),
            timeline(_expiries(rows), now),
            _events(board.events()[:_EVENTS_SHOWN], now),
            _targets(targets.values(), now),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta http-equiv="refresh" content="30">'
        f'<title>{_title(rows)}</title><link rel="stylesheet" href="status.css">'
        f'<link rel="icon" href="status.svg" type="image/svg+xml"></head><body>{body}</body></html>\n'
    )


def text(value: str, limit: int = _TEXT) -> str:
    """Return a text from anywhere, fit to stand in HTML, in an attribute too."""
    return escape(printable(value, limit), quote=True)


def ago(then: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in one unit."""
    if then is None:
        return "never"
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _troubled(rows: Iterable[tuple[str, Row]]) -> list[Row]:
    return [
        row
        for _, row in rows
        if row.standing.enabled and row.suspension is None and row.standing.conditions[0].status == "False"
    ]


def _title(rows: Sequence[tuple[str, Row]]) -> str:
    troubled = len(_troubled(rows))
    return f"({troubled}) Gateways not ready" if troubled else "Gateways ready"


def _header(board: Board, rows: Sequence[tuple[str, Row]], now: datetime) -> str:
    tree, troubled = board.tree, len(_troubled(rows))
    count = sum(row.standing.enabled for _, row in rows)
    if not rows:
        tone, said = "dim", "No gateways yet"
    elif troubled:
        tone, said = "bad", f"{troubled} of {count} gateways {'is' if troubled == 1 else 'are'} not ready"
    else:
        unknown = sum(row.standing.conditions[0].status == "Unknown" for _, row in rows)
        tone, said = (
            ("dim", f"{unknown} of {count} still to be looked at") if unknown else ("good", f"All {count} ready")
        )
    revision = text(short_revision(tree.revision)) if tree.revision else "not in git"
    dirty = " <span class=dim>with local changes</span>" if tree.dirty else ""
    return (
        f'<header class="{tone}"><div><p class=product>MCP gateway reconciler</p><h1>{said}</h1></div>'
        f"<p class=where><code>{revision}</code>{dirty}<br>"
        f"<span class=dim>read {ago(tree.read_at, now)}</span></p></header>"
    )


def _alarms(board: Board, targets: Iterable[TargetState]) -> str:
    return "".join(f'<section class="alarm" role="alert">{alarm}</section>' for alarm in _alarm_texts(board, targets))


def _alarm_texts(board: Board, targets: Iterable[TargetState]) -> Iterator[str]:
    tree = board.tree
    if tree.broken:
        errors = [problem for problem in tree.problems if problem.severity is Severity.ERROR]
        lines = "".join(
            f"<li><code>{text(each.location.file)}:{each.location.line}</code> {text(each.message)}"
            f"{f'<br><span class=dim>fix: {text(each.fix)}</span>' if each.fix else ''}</li>"
            for each in errors[:_PROBLEMS_SHOWN]
        )
        yield f"<h2>The tree has {counted(len(errors), 'error')}; the last good state is kept</h2><ul>{lines}</ul>"
    if tree.trouble:
        yield f"<h2>The tree cannot be read</h2><p>{text(tree.trouble)}</p>"
    if tree.distrusted:
        yield f"<h2>A commit is not trusted; the last verified one stays in force</h2><p>{text(tree.distrusted)}</p>"
    for state in targets:
        if state.trouble:
            yield f"<h2>Passes over {text(state.name)} fail</h2><p>{text(state.trouble)}</p>"
        if state.refused:
            yield f"<h2>A guard holds changes of {text(state.name)} back</h2><p>{text(state.refused)}</p>"
        if state.held:
            held = "".join(f"<li><b>{text(name)}</b> {text(why)}</li>" for name, why in state.held[:_PROBLEMS_SHOWN])
            count = counted(len(state.held), "change")
            yield f"<h2>{count} on hold until the upstream works with it; the old row stays</h2><ul>{held}</ul>"


def _tiles(rows: Sequence[tuple[str, Row]], targets: Iterable[TargetState], now: datetime) -> str:
    standings = [row.standing for _, row in rows]
    enabled = [each for each in standings if each.enabled]
    ready = sum(each.conditions[0].status == "True" for each in enabled)
    tools = sum(each.tools or 0 for each in standings)
    ends = [certificate.not_after for each in standings for certificate in each.certificates]
    soonest = f"{max(0, (min(ends) - now).days)} d" if ends else "none"
    asleep = sum(row.suspension is not None for _, row in rows)
    waiting = sum(state.waiting for state in targets)
    tiles = [("ready", f"{ready}<small> / {len(enabled)}</small>"), ("tools", str(tools)), ("next CA expiry", soonest)]
    tiles += [("suspended", str(asleep)), ("changes waiting", str(waiting))]
    return (
        "<dl class=tiles>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles) + "</dl>"
    )


def _gateways(rows: Sequence[tuple[str, Row]], now: datetime, asked: Asked, *, several: bool) -> str:
    words = asked.words.lower()
    found = [pair for pair in rows if words in pair[1].standing.name.lower() or words in pair[1].standing.url.lower()]
    found.sort(key=lambda pair: (_rank(pair[1]), pair[1].standing.name))
    first = (asked.page - 1) * PER_PAGE
    shown = "".join(_gateway(target if several else "", row, now) for target, row in found[first : first + PER_PAGE])
    form = (
        '<form action="status"><input type=search name=q placeholder="Find a gateway" '
        f'aria-label="Find a gateway" value="{text(asked.words)}"></form>'
    )
    empty = "" if shown else "<p class=dim>None.</p>"
    return (
        f"<section><div class=title><h2>Gateways</h2>{form}</div>"
        f"<ul class=gateways>{shown}</ul>{empty}{_pages(len(found), asked)}</section>"
    )


def _rank(row: Row) -> int:
    if row.suspension is not None or not row.standing.enabled:
        return 2
    return _RANK[row.standing.conditions[0].status]


def _gateway(target: str, row: Row, now: datetime) -> str:
    standing, ready = row.standing, row.standing.conditions[0]
    dots = "".join(_dot(condition) for condition in standing.conditions[1:])
    where = f"{text(target)} · " if target else ""
    tools = "" if standing.tools is None else f"{standing.tools} tools"
    tone, word = _word(row, ready)
    return (
        f'<li class="{tone}"><div class=name><b>{text(standing.name)}</b>'
        f"<span class=dim>{where}{text(shown_url(standing.url))}</span></div>"
        f'<div class=state><span class="pill {tone}">{word}</span>{_message(row, ready)}</div>'
        f"<div class=dots>{dots}</div>"
        f"<div class=facts><span>{tools}</span><span>{_ends(row, now)}</span>"
        f"<span class=dim>seen {ago(standing.verified_at, now)}</span></div></li>"
    )


def _word(row: Row, ready: Condition) -> tuple[str, str]:
    if row.suspension is not None:
        return "wait", "Suspended"
    if not row.standing.enabled:
        return "dim", "Disabled"
    return _TONES[ready.status], text(ready.reason, 60)


def _message(row: Row, ready: Condition) -> str:
    if row.suspension is not None:
        until = f"until {row.suspension.until:%Y-%m-%d %H:%M} UTC"
        return f"<p>{until}{f': {text(row.suspension.reason)}' if row.suspension.reason else ''}</p>"
    message = row.held or ready.message
    return f"<p>{text(message)}</p>" if message and ready.status != "True" else ""


def _dot(condition: Condition) -> str:
    title = f"{condition.type}: {condition.reason}, since {condition.since:%Y-%m-%d %H:%M} UTC. {condition.message}"
    return f'<span class="dot {_TONES[condition.status]}" title="{text(title)}">{text(condition.type, 20)}</span>'


def _ends(row: Row, now: datetime) -> str:
    if not row.standing.certificates:
        return "public CAs"
    days = (min(certificate.not_after for certificate in row.standing.certificates) - now).days
    if days < 0:
        return "<b class=bad>CA expired</b>"
    return f"CA {days} d" if days > 30 else f"<b class=bad>CA {days} d</b>"  # noqa: PLR2004 - as the warning has it


def _pages(count: int, asked: Asked) -> str:
    pages = -(-count // PER_PAGE)
    if pages <= 1:
        return ""
    words = text(asked.words).replace(" ", "+")
    links = []
    if asked.page > 1:
        links.append(f'<a href="status?q={words}&amp;page={asked.page - 1}">before</a>')
    links.append(f"page {asked.page} of {pages}")
    if asked.page < pages:
        links.append(f'<a href="status?q={words}&amp;page={asked.page + 1}">after</a>')
    return f"<p class=pages>{' · '.join(links)}</p>"


def _expiries(rows: Iterable[tuple[str, Row]]) -> list[Expiry]:
    users: dict[str, int] = {}
    found = {}
    for _, row in rows:
        for certificate in row.standing.certificates:
            users[certificate.sha256] = users.get(certificate.sha256, 0) + 1
            found[certificate.sha256] = certificate
    return [Expiry(each.subject, each.not_after, users[sha256]) for sha256, each in found.items()]


def _events(events: Sequence[Event], now: datetime) -> str:
    lines = "".join(_event(event, now) for event in events) or "<li class=dim>None.</li>"
    return f"<section><h2>Last events</h2><ul class=events>{lines}</ul></section>"


def _event(event: Event, now: datetime) -> str:
    over = " is over" if event.state == "resolved" else ""
    about = text(event.subject.gateway or event.subject.target or "tree")
    return (
        f'<li><time class=dim title="{event.at:%Y-%m-%d %H:%M:%S} UTC">{ago(event.at, now)}</time>'
        f'<span class="pill {_EVENT_TONES[event.state]}">{text(event.reason, 60)}{over}</span>'
        f"<span><b>{about}</b> {text(event.message)}</span></li>"
    )


def _targets(targets: Iterable[TargetState], now: datetime) -> str:
    lines = "".join(
        f"<li><b>{text(state.name)}</b> <code>{text(state.store)}</code>"
        f'<span class="pill {"bad" if state.trouble else "dim"}">{text(state.role)}</span>'
        f"<span class=dim>last pass {ago(state.last_pass, now)}"
        f"{f', applied {text(short_revision(state.revision))}' if state.revision else ''}"
        f"{f'; {text(state.lease)}' if state.lease else ''}</span></li>"
        for state in targets
    )
    return f"<section><h2>Stores</h2><ul class=targets>{lines}</ul></section>"
