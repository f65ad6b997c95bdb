"""`reconciler validate`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Voice, Where, command_line, settings_of, voice, where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.core.problems import Problem


@click.command(
    epilog="""\b
Examples:
  reconciler validate                    the tree named in reconciler.yaml, or this directory
  reconciler validate gateways/          a directory
  reconciler validate a.yaml b.yaml      some files (as a pre-commit hook does)
  reconciler validate -o json | jq .     for machines
"""
)
@where()
@voice("json")
def validate(where: Where, voice: Voice) -> int:
    """Check manifests and the PEM files they name: schema, references, certificates. Offline, without credentials.

    Every problem of every file is reported in one run, with its line, column and fix. Exit 3 when there is an error.
    """
    from reconciler.clock import now
    from reconciler.composition import read_tree
    from reconciler.core.problems import has_errors

    settings = settings_of(where)
    desired = read_tree(settings, now(), with_revision=False)
    _report(desired.problems, len(desired.gateways), voice)
    if has_errors(desired.problems):
        return 3
    voice.say(f"Next: reconciler plan{command_line(where)}")
    return 0


def _report(problems: Sequence[Problem], gateways: int, voice: Voice) -> None:
    from reconciler.reports.problems import as_document, as_text, summary
    from reconciler.reports.style import counted

    if voice.format == "json":
        voice.document(as_document(problems))
        return
    if problems:
        voice.report(as_text(problems, voice.style))
    sys.stdout.flush()
    voice.report(f"{counted(gateways, 'valid gateway')}, {summary(problems)}.")
