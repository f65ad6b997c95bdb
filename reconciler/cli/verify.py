"""`reconciler verify`."""

from __future__ import annotations

import os

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where


@click.command(
    epilog="""\b
Examples:
  reconciler verify                              every enabled gateway of the store
  reconciler verify payments search              some of them
  reconciler verify -o json | jq '.gateways[] | select(.ready | not)'
"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@where(argument="option")
@voice("json")
def verify(names: tuple[str, ...], where: Where, voice: Voice) -> int:
    """Look at upstreams as the platform would: TLS with the stored bundle, then MCP. Check what was signed.

    What is probed is what the store holds. Timeouts and required tools come from the manifests, and credentials are
    sent only where the manifests send them. Exit 6 when an upstream does not answer as promised, or a stored bundle
    is not what was signed.
    """
    from reconciler.cli.probing import ProgressProber
    from reconciler.clock import now
    from reconciler.composition import build_engine, reviewed_gateways
    from reconciler.recording import record_verified
    from reconciler.reports import upstreams as report

    moment = now()
    settings = settings_of(where)
    reviewed = reviewed_gateways(settings, moment, where.paths)
    with build_engine(settings, os.environ, write=False) as engine:
        results = engine.verify(reviewed, frozenset(names), ProgressProber(voice, os.environ, moment))
    record_verified(settings, results, moment)
    if voice.format == "json":
        voice.document(report.as_document(results))
    else:
        voice.report(report.as_text(results, moment, voice.style))
    return 0 if all(result.ready for result in results) else 6
