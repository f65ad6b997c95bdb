"""`reconciler verify`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.cli.probing import ProgressProber, vantage

if TYPE_CHECKING:
    from reconciler.core.routes import Resolved


@click.command(
    epilog="""\b
Examples:
  reconciler verify                              every enabled gateway of the store
  reconciler verify payments search              some of them
  reconciler verify -o json | jq '.gateways[] | select(.ready | not)'
  reconciler verify payments --resolve payments.internal:8443:10.0.0.7    a new server, before the DNS moves
"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@where(argument="option")
@vantage
@voice("json")
def verify(names: tuple[str, ...], where: Where, voice: Voice, *, resolved: Resolved) -> int:
    """Look at upstreams as the platform would: TLS with the stored bundle, then MCP. Check what was signed.

    What is probed is what the store holds. Timeouts and required tools come from the manifests, and credentials are
    sent only where the manifests send them. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are respected, and shown.

    Where a gateway has a tools lock, its tools are compared with the reviewed ones, and what changed is shown; where it
    has none, texts of tools that hide or that give orders to a model are pointed out.

    Exit 6 when an upstream does not answer as promised, when its tools are not those that were reviewed, or when a
    stored bundle is not what was signed.
    """
    from reconciler.books import books_of
    from reconciler.clock import now
    from reconciler.composition import build_engine, reviewed_gateways
    from reconciler.recording import record_verified
    from reconciler.reports import upstreams as report

    moment = now()
    settings = settings_of(where)
    reviewed = reviewed_gateways(settings, moment, where.paths)
    with build_engine(settings, os.environ, write=False) as engine:
        prober = ProgressProber(voice, os.environ, moment, resolved, keep_definitions=True)
        results = engine.verify(reviewed, frozenset(names), prober)
    if any(result.observation is not None for result in results):
        with books_of(settings, create=True) as books:
            if books is not None:
                record_verified(books, results, moment)
    if voice.format == "json":
        voice.document(report.as_document(results))
    else:
        voice.report(report.as_text(results, moment, voice.style))
    return 0 if all(result.ready for result in results) else 6
