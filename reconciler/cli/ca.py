"""`reconciler ca`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.fetch import fetch
from reconciler.cli.options import Voice, voice

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reconciler.core.model import TrustBundle
    from reconciler.core.problems import Problem

_FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")


@click.group()
def ca() -> None:
    """Look into PEM files, fetch what a server presents, and make the canonical bundle that is signed and stored."""


@ca.command(
    epilog="""\b
Examples:
  reconciler ca inspect payments-root.pem payments-issuing.pem
  reconciler ca inspect -o json *.pem | jq '.certificates[].not_after'
"""
)
@_FILES
@voice("json")
def inspect(files: tuple[Path, ...], voice: Voice) -> int:
    """Show what is in PEM files: each certificate in bundle order, and everything that is wrong with them."""
    from reconciler.clock import now
    from reconciler.core.problems import has_errors
    from reconciler.reports import certificates as report
    from reconciler.reports.problems import as_text

    moment = now()
    bundle, problems, sizes = _read(files, moment)
    if voice.format == "json":
        voice.document(report.as_document(bundle, problems))
    else:
        voice.report(report.as_text(bundle, sizes, problems, moment, voice.style))
        if problems:
            voice.report("\n" + as_text(problems, voice.style))
    return 3 if has_errors(problems) else 0


@ca.command(
    epilog="""\b
Examples:
  reconciler ca normalize root.pem issuing.pem > bundle.pem
  openssl verify -CAfile bundle.pem server.crt
"""
)
@_FILES
def normalize(files: tuple[Path, ...]) -> int:
    """Print the canonical bundle of PEM files: byte for byte what is signed, plus one line end.

    Roots first, then each intermediate after its issuer; duplicates, comments and carriage returns are gone. The same
    certificates give the same bytes, in whatever files and order they came.
    """
    from reconciler.clock import now
    from reconciler.core.problems import has_errors
    from reconciler.reports.problems import as_text

    bundle, problems, _ = _read(files, now())
    if problems:
        click.echo(as_text(problems), err=True)
    if bundle is None or has_errors(problems):
        return 3
    click.echo(bundle.pem)
    return 0


ca.add_command(fetch)


def _read(files: Sequence[Path], moment: datetime) -> tuple[TrustBundle | None, tuple[Problem, ...], dict[str, int]]:
    from reconciler.core.pem import read_pem
    from reconciler.core.problems import in_order
    from reconciler.core.trust import build_bundle
    from reconciler.sources.directory import read_named

    data = {str(path): read_named(path) for path in files}
    parsed = [read_pem(name, content) for name, content in data.items()]
    bundle, problems = build_bundle(parsed, moment)
    every = in_order((*problems, *(problem for file in parsed for problem in file.problems)))
    return bundle, every, {name: len(content) for name, content in data.items()}
