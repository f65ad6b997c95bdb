"""`reconciler status`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.errors import InputError

if TYPE_CHECKING:
    from reconciler.core.history import Entry


@click.command(
    epilog="""\b
Examples:
  reconciler status                       every gateway of the store
  reconciler status payments              everything about one
  reconciler status -o json | jq '.gateways[].conditions[0]'
"""
)
@click.argument("name", required=False)
@where(argument="option")
@voice("json")
def status(name: str | None, where: Where, voice: Voice) -> int:
    """Show where every gateway stands: conditions, certificate expiry, tools, the revision applied last.

    What stands in the store is read and checked now; what was observed at the upstreams is of the last verification.
    """
    from reconciler.books import books_of
    from reconciler.clock import now
    from reconciler.composition import build_engine
    from reconciler.reports import status as report

    moment = now()
    settings = settings_of(where)
    with build_engine(settings, os.environ, write=False) as engine, books_of(settings, create=False) as books:
        last = books.history.last_apply() if books else None
        conditions, sightings = (books.journal.conditions(), books.journal.observations()) if books else ({}, {})
        standings = engine.standings(conditions, sightings, moment)
    chosen = [standing for standing in standings if name in (None, standing.name)]
    if name is not None and not chosen:
        raise InputError(f"the store holds no gateway named {name}", fix="`reconciler status` lists them")
    if voice.format == "json":
        voice.document(report.as_document(chosen))
    elif name is not None:
        voice.report(report.details(chosen[0], moment, voice.style))
    else:
        voice.report(report.as_text(chosen, _sentence(last), moment, voice.style))
    return 0


def _sentence(last: Entry | None) -> str:
    from reconciler.reports.style import short_revision

    if last is None:
        return "Nothing was applied yet."
    revision = f" {short_revision(last.commit.revision)}" if last.commit.revision else ""
    return f"Last apply:{revision} by {last.actor}, {last.finished_at:%Y-%m-%d %H:%M} UTC."
