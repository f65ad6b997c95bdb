"""`reconciler demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from reconciler.cli.options import Voice, voice


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Play in this new directory, and leave it for a look.")
@voice()
def demo(keep: Path | None, voice: Voice) -> int:
    """Play the whole story on this machine, in about a minute: private CAs, real MCP servers over TLS, validate, plan,
    apply, verify, a rotation without a failed call, tampering found and healed, a wrong CA explained.

    Everything happens on loopback and in a temporary directory.
    """
    from reconciler.clock import now
    from reconciler.demo.stage import Stage
    from reconciler.demo.story import tell

    if keep is not None:
        keep.mkdir(parents=True)
        tell(Stage(keep.resolve(), voice.style, click.echo), now())
        return 0
    with tempfile.TemporaryDirectory(prefix="reconciler-demo-") as directory:
        tell(Stage(Path(directory), voice.style, click.echo), now())
    return 0
