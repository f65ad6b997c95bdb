"""`reconciler watch`: the daemon."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.cli.reconcile import Scope, overridden, scope
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.core.model import SecretReference
    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Event
    from reconciler.daemon.service import Service
    from reconciler.daemon.session import Watching
    from reconciler.daemon.worker import Surroundings
    from reconciler.settings import Settings

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def duration(_context: click.Context, _option: click.Parameter, value: str) -> float:
    """Return the seconds of `50ms`, `30s`, `10m` or `1h`; 0 for `off`."""
    if value == "off":
        return 0.0
    found = _DURATION.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"`{value}` is no duration: write 50ms, 30s, 10m, 1h, or off")
    return float(found[1]) * _UNITS[found[2]]


def address(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, int] | None:
    """Return host and port of `HOST:PORT`; None for `off`."""
    if value == "off":
        return None
    host, separator, port = value.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the last port
        raise click.BadParameter(f"`{value}` is no address: write 127.0.0.1:9464, [::1]:9464, or off")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Manner:
    """What was asked for on the command line, beside where the tree is and how far a pass may go."""

    quiet_window: float
    drift_every: float
    verify_every: float
    heal: bool
    verify: bool
    pull: float
    remote: str
    branch: str
    require_signed_commits: bool
    allowed_signers: Path | None
    listen: tuple[str, int] | None
    log_format: str
    verbose: bool


def _option(*names: str, **given: Any) -> Callable[[Any], Any]:
    variable = names[0].split("/")[0].lstrip("-").replace("-", "_").upper()
    return click.option(*names, envvar=f"RECONCILER_{variable}", **given)


_OPTIONS: Final = (
    _option("--quiet-window", callback=duration, default="50ms", help="How long nothing may happen first. [50ms]"),
    _option("--drift-every", callback=duration, default="60s", help="How often to look for drift, or off. [60s]"),
    _option(
        "--verify-every", callback=duration, default="10m", help="How often to look at each upstream, or off. [10m]"
    ),
    _option("--heal/--no-heal", default=True, help="Undo what others change in the store, or only report it. [heal]"),
    _option("--verify/--no-verify", default=True, help="Look at upstreams at all. [verify]"),
    _option("--pull", callback=duration, default="off", help="Follow the git remote, looking this often. [off]"),
    _option("--remote", default="origin", metavar="NAME", help="The remote to follow. [origin]"),
    _option("--branch", default="main", metavar="NAME", help="The branch to follow. [main]"),
    _option("--require-signed-commits", is_flag=True, help="Use only commits that are signed by who may sign."),
    _option(
        "--allowed-signers",
        type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
        help="Who may sign with SSH keys (ssh-keygen's format). [default: git's own, or the GPG keyring]",
    ),
    _option("--listen", callback=address, default="127.0.0.1:9464", metavar="HOST:PORT", help="HTTP. [127.0.0.1:9464]"),
    _option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Logs for people or machines."),
    click.option("-v", "--verbose", is_flag=True, help="Log more."),
)


def _manner(command: Any) -> Any:
    """Give the command its manner as one `Manner`."""
    import functools

    @functools.wraps(command)
    def wrapper(*args: Any, **given: Any) -> Any:
        own = {name: given.pop(name) for name in Manner.__dataclass_fields__}
        return command(*args, manner=Manner(**own), **given)

    decorated: Any = wrapper
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


@click.command(
    epilog="""\b
Examples:
  reconciler watch                                   this directory, into its store, until it is told to stop
  reconciler watch --pull 30s --require-signed-commits --allowed-signers signers
  reconciler watch --no-heal -o jsonl                report drift, and write every event to standard output

\b
Secrets come from the environment, each with a _FILE twin:
  RECONCILER_HTTP_TOKEN       a bearer token for /status and /metrics
  RECONCILER_HOOK_SECRET      what GitHub, GitLab or Gitea sign `POST /hooks/git` with
  RECONCILER_EVENTS_URL       where events are sent
  RECONCILER_EVENTS_SECRET    what they are signed with
"""
)
@where()
@scope
@_manner
@voice("jsonl")
def watch(where: Where, scope: Scope, voice: Voice, manner: Manner) -> int:
    """Keep the store as git says, for as long as it runs: apply what changes, undo drift, look after upstreams.

    A tree with errors is not applied; the last good state is kept until it is mended. SIGTERM finishes the pass in
    hand and ends; SIGHUP reads the settings again. See docs/daemon.md.
    """
    from reconciler.daemon import logs

    if scope.adopt or scope.selector:
        raise click.UsageError("a daemon looks after whole targets: choose gateways by `selector:` in reconciler.yaml")
    logs.set_up("json" if manner.log_format == "json" else "text", verbose=manner.verbose)
    with ExitStack() as opened:
        service = _service(where, scope, voice, manner, opened)
        service.run()
    return 0


def _service(where: Where, scope: Scope, voice: Voice, manner: Manner, opened: ExitStack) -> Service:
    """Put the daemon together."""
    from reconciler.daemon.schedule import Backoff
    from reconciler.daemon.service import Service
    from reconciler.daemon.systemd import Supervisor
    from reconciler.daemon.worker import Rhythm

    around = _surroundings(voice, opened)
    rhythm = Rhythm(manner.drift_every, manner.verify_every, manner.heal, manner.verify, Backoff())
    service = Service(lambda: _load(where, scope, manner), rhythm, around, Supervisor(os.environ))
    if manner.listen is not None:
        opened.enter_context(_serve(service, around, manner.listen))
    return service


def _surroundings(voice: Voice, opened: ExitStack) -> Surroundings:
    import random

    from reconciler.clock import now
    from reconciler.daemon.board import Board
    from reconciler.daemon.events import Notices
    from reconciler.daemon.logs import log_event
    from reconciler.daemon.probes import ProbePool
    from reconciler.daemon.worker import Surroundings
    from reconciler.prober import UpstreamProber

    chance = random.Random()  # noqa: S311 - it spreads load, and hides nothing
    board = Board(now())
    sinks = [board.add_event, log_event, *_sinks(voice, board, chance, opened)]
    return Surroundings(
        environ=os.environ,
        clock=now,
        chance=chance,
        board=board,
        notices=Notices(now, sinks),
        pool=ProbePool(),
        prober=lambda moment: UpstreamProber(os.environ, moment),
    )


def _sinks(voice: Voice, board: Board, chance: Any, opened: ExitStack) -> list[Callable[[Event], None]]:
    from reconciler.daemon.webhook import Webhook

    sinks: list[Callable[[Event], None]] = []
    if voice.format == "jsonl":
        sinks.append(_print_event)
    if url := secret("RECONCILER_EVENTS_URL", os.environ):
        webhook = Webhook(url, secret("RECONCILER_EVENTS_SECRET", os.environ), board, chance)
        opened.callback(webhook.close)
        sinks.append(webhook)
    return sinks


def _print_event(event: Event) -> None:
    from reconciler.daemon.events import as_document

    sys.stdout.write(json.dumps(as_document(event)) + "\n")
    sys.stdout.flush()


def _load(where: Where, scope: Scope, manner: Manner) -> tuple[Settings, Watching]:
    """Read the settings, and how the tree that they name is watched."""
    from reconciler.daemon.pulling import Remote
    from reconciler.daemon.session import Watching

    settings = overridden(settings_of(where), scope)
    remote = None
    if manner.pull:
        remote = Remote(
            settings.root, manner.remote, manner.branch, manner.require_signed_commits, manner.allowed_signers
        )
    elif manner.require_signed_commits:
        raise InputError(
            "signatures are of commits, and files are watched", fix="follow a git remote with --pull, for example 30s"
        )
    given = where.paths[0] if where.paths else where.config.parent if where.config else Path.cwd()
    watching = Watching(given, manner.quiet_window, remote=remote, pull_seconds=manner.pull)
    return settings, replace(watching, rescan_seconds=manner.drift_every or watching.rescan_seconds)


def _serve(service: Service, around: Surroundings, address: tuple[str, int]) -> Any:
    """Return the context in which HTTP is served."""
    try:
        from reconciler.daemon.web.app import Door, View
        from reconciler.daemon.web.server import serving
    except ImportError as error:
        fix = "install `mcp-gateway-reconciler[daemon]`, or go without with --listen off"
        raise InputError(f"serving HTTP needs {error.name}, which is not installed", fix=fix) from None
    host, port = address
    view = View(around.board, around.pool, around.clock, service.alive, service.ready, service.pull)
    door = Door(
        secret("RECONCILER_HTTP_TOKEN", os.environ),
        secret("RECONCILER_HOOK_SECRET", os.environ),
        loopback=host in _LOOPBACK,
    )
    return serving(view, door, host, port)


def secret(name: str, environ: Mapping[str, str]) -> str:
    """Return a secret from the environment, or from the file that its `_FILE` twin names; nothing where neither is.

    Raises:
        InputError: what is named is empty, or cannot be read.
    """
    from reconciler.core.model import SecretReference
    from reconciler.credentials import resolve

    references: list[SecretReference] = []
    if name in environ:
        references.append(SecretReference("env", name))
    elif f"{name}_FILE" in environ:
        references.append(SecretReference("file", environ[f"{name}_FILE"]))
    return resolve(references[0], environ) if references else ""
