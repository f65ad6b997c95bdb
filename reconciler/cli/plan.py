"""`reconciler plan`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Voice, Where, command_line, voice, where
from reconciler.cli.reconcile import scope

if TYPE_CHECKING:
    from reconciler.cli.reconcile import Scope


@click.command(
    epilog="""\b
Examples:
  reconciler plan                                  this directory against its store
  reconciler plan gateways/ --store sqlite:///x.db
  reconciler plan --prune --detailed-exitcode      exit 2 when there are changes
  reconciler plan -o json | jq .summary
"""
)
@where()
@scope
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when it worked and there are changes.")
@voice("json")
def plan(where: Where, scope: Scope, voice: Voice, *, detailed_exitcode: bool) -> int:
    """Compare the manifests with what the store holds, and show what an apply would do and why. Writes nothing."""
    from reconciler.cli.reconcile import context, prepare
    from reconciler.core.safety import judge
    from reconciler.reports import plan as report

    with prepare(where, scope, voice, os.environ, write=False) as session:
        planned = session.planned
        around = context(session, judge(planned, session.engine.limits))
    if voice.format == "json":
        voice.document(report.as_document(planned, around))
    else:
        voice.report(report.as_text(planned, around, voice.style))
        if planned.changes:
            voice.say(f"Next: reconciler apply{command_line(where)}{scope.command_line()}")
    return 2 if detailed_exitcode and (planned.changes or planned.conflicts) else 0
