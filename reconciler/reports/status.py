"""Where every gateway stands: conditions, certificate expiry, tools, and what was applied last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.hostile import printable
from reconciler.core.urls import shown_url
from reconciler.reports.certificates import certificate_document, expiry, one_line
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import PLAIN, TEXT_LIMIT, Style, counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.core.conditions import Condition
    from reconciler.core.verification import Standing


def as_text(standings: Sequence[Standing], last_apply: str, now: datetime, style: Style = PLAIN) -> str:
    """Return a table with a line per gateway, what is wrong below it, and the last apply."""
    if not standings:
        return "The store holds no gateway."
    width = max(len("GATEWAY"), *(len(printable(standing.name)) for standing in standings))
    lines = [style(f"{'GATEWAY':{width}}  READY    TOOLS  BUNDLE EXPIRES          REVISION", "bold")]
    for standing in standings:
        lines.extend(_gateway(standing, width, now, style))
    enabled = [standing for standing in standings if standing.enabled]
    ready = sum(standing.conditions[0].status == "True" for standing in enabled)
    lines.append("")
    lines.append(f"{ready} of {counted(len(enabled), 'enabled gateway')} ready. {last_apply}".rstrip())
    return "\n".join(lines)


def details(standing: Standing, now: datetime, style: Style = PLAIN) -> str:
    """Return everything about one gateway."""
    lines = [
        style(printable(standing.name), "bold"),
        f"  url       {printable(shown_url(standing.url), TEXT_LIMIT)}",
        f"  owner     {printable(standing.owner) or '(nobody)'}",
        f"  revision  {_revision(standing)}",
        "  conditions",
    ]
    for condition in standing.conditions:
        colour = {"True": "green", "False": "red"}.get(condition.status, "yellow")
        message = _first_line(condition)
        lines.append(
            f"    {condition.type:10} {style(f'{condition.status:7}', colour)} {condition.reason}"
            f", since {condition.since:%Y-%m-%d %H:%M} UTC{': ' + message if message else ''}"
        )
    lines.append("  certificates" if standing.certificates else "  certificates: none, public CAs are trusted")
    lines.extend(f"    {one_line(certificate, now)}" for certificate in standing.certificates)
    return "\n".join(lines)


def as_document(standings: Sequence[Standing]) -> dict[str, Any]:
    """Return the published JSON shape of `status`."""
    return {
        "format_version": FORMAT_VERSION,
        "gateways": [
            {
                "name": standing.name,
                "url": shown_url(standing.url),
                "owner": standing.owner,
                "revision": standing.revision,
                "conditions": [_condition(condition) for condition in standing.conditions],
                "certificates": [certificate_document(certificate) for certificate in standing.certificates],
                "tools": standing.tools,
                "verified_at": standing.verified_at.isoformat() if standing.verified_at else None,
            }
            for standing in standings
        ],
    }


def _gateway(standing: Standing, width: int, now: datetime, style: Style) -> Iterator[str]:
    ready = standing.conditions[0]
    colour = {"True": "green", "False": "red"}.get(ready.status, "yellow")
    word = "disabled" if not standing.enabled else ready.status
    tools = "-" if standing.tools is None else str(standing.tools)
    soonest = min((certificate.not_after for certificate in standing.certificates), default=None)
    dates = expiry(soonest, now).removeprefix("expires ") if soonest else "-"
    name = printable(standing.name)
    yield f"{name:{width}}  {style(f'{word:8}', colour)} {tools:>5}  {dates:23} {_revision(standing)}"
    if ready.status == "False":
        yield f"{'':{width}}  {style(ready.reason, 'red')}: {_first_line(ready)}"


def _revision(standing: Standing) -> str:
    return printable(short_revision(standing.revision)) or "-"


def _first_line(condition: Condition) -> str:
    return printable(condition.message.splitlines()[0], TEXT_LIMIT) if condition.message else ""


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observed_revision": condition.observed_revision,
        "since": condition.since.isoformat(),
    }
