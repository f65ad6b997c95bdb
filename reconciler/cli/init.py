"""`reconciler init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from reconciler.cli.options import Voice, voice


@click.command(
    epilog="""\b
Examples:
  reconciler init                    in this directory
  reconciler init gateways-repo --owner platform-team
"""
)
@click.argument("directory", type=click.Path(path_type=Path), default=".")
@click.option("--owner", help="Who writes to the store. [default: the directory's name]")
@voice()
def init(directory: Path, owner: str | None, voice: Voice) -> int:
    """Make a first repository in DIRECTORY: config, signing key, one example, schemas for the editor, CI, pre-commit.

    Nothing that exists is overwritten. The private key is git-ignored and readable by you alone.
    """
    from reconciler.core.signing import generate, public_text
    from reconciler.scaffold import KEY_FILE, fitting_owner, scaffold
    from reconciler.schema_files import schema_texts

    pair = generate()
    name = owner or fitting_owner(directory.resolve().name)
    files = scaffold(directory, name, pair.private, public_text(pair.public), schema_texts())
    for file in files:
        note = "  (private, not for git)" if file == KEY_FILE else ""
        voice.report(f"{voice.style('+', 'green')} {directory / file}{note}")
    place = "" if directory == Path() else f" {shlex.quote(str(directory))}"
    voice.say("")
    voice.say(f"Next: edit {directory / 'gateways/example.yaml'}, then")
    voice.say(f"  reconciler validate{place}")
    return 0
