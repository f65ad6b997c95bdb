"""`reconciler drift`."""

from __future__ import annotations

import os

import click

from reconciler.cli.options import Voice, Where, command_line, settings_of, voice, where


@click.command(
    epilog="""\b
Examples:
  reconciler drift                        the store against what was last applied to it
  reconciler drift --detailed-exitcode    exit 2 when something drifted, for a timer or an alert
"""
)
@where(argument="option")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when it worked, and something drifted.")
@voice("json")
def drift(where: Where, voice: Voice, *, detailed_exitcode: bool) -> int:
    """Show the gateways that somebody changed in the store since they were applied. No manifest is read.

    A row of ours that somebody deleted shows in `reconciler plan`, which knows what ought to be there.
    """
    from reconciler.composition import build_engine
    from reconciler.reports import drift as report

    with build_engine(settings_of(where), os.environ, write=False) as engine:
        found, applied = engine.drift()
    if voice.format == "json":
        voice.document(report.as_document(found, applied))
    else:
        voice.report(report.as_text(found, applied, voice.style))
        if found:
            voice.say(f"Next: reconciler plan{command_line(where)}")
    return 2 if detailed_exitcode and found else 0
