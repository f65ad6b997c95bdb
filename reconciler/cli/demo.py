"""`reconciler demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from reconciler.cli.options import Voice, voice


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Play in this new directory, and leave it for a look.")
@click.option(
    "--serve",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Only run an MCP server over TLS, until Ctrl-C; the certificate of its private CA is written there.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8443, help="Its port. [default: 8443]")
@voice()
def demo(keep: Path | None, voice: Voice, *, serve: Path | None, port: int) -> int:
    """Play the whole story on this machine, in about a minute: private CAs, real MCP servers over TLS, validate, plan,
    apply, verify, a rotation without a failed call, tampering found and healed, a wrong CA explained.

    Everything happens on loopback and in a temporary directory.
    """
    if serve is not None:
        _serve(serve, port, voice)
        return 0
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


def _serve(directory: Path, port: int, voice: Voice) -> None:
    """Run one server. A second CA is written as well, which did not issue its certificate."""
    from threading import Event

    from reconciler.clock import now
    from reconciler.demo.pki import Authority, Lifetime
    from reconciler.demo.upstreams import Upstream

    lifetime = Lifetime.around(now())
    authorities = {name: Authority.root("Payments Root CA", lifetime) for name in ("payments-root", "another-root")}
    tools = {"charge": "Charge a card", "refund": "Give the money back"}
    identity = authorities["payments-root"].issue_server(["localhost"])
    with Upstream("payments", identity, tools, port=port) as upstream:
        directory.mkdir(parents=True, exist_ok=True)
        for name, authority in authorities.items():
            (directory / f"{name}.pem").write_text(authority.pem + "\n", encoding="ascii")
        voice.report(f"An MCP server answers at {upstream.url}; its CA is {directory / 'payments-root.pem'}.")
        voice.say("Stop it with Ctrl-C.")
        Event().wait()
