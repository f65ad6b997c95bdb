"""What plan and apply share: how far a pass may go, and everything it needs, opened and closed again."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from reconciler.cli.options import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.cli.options import Voice, Where
    from reconciler.core.model import Certificate, DesiredState
    from reconciler.core.planning import Plan
    from reconciler.core.safety import Verdict
    from reconciler.engine import Engine
    from reconciler.reports.plan import Context
    from reconciler.settings import Settings

Command = TypeVar("Command", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Scope:
    """How far a pass may go. Limits are None where the config file decides."""

    prune: bool = False
    allow_unsigned: bool = False
    selector: tuple[str, ...] = ()
    policy: str | None = None
    adopt: frozenset[str] = frozenset()
    allow_empty: bool = False
    max_delete_percent: int | None = None
    max_update_percent: int | None = None
    max_deletes: int | None = None

    def command_line(self) -> str:
        """Return the options that give the same scope, for the next command in a hint."""
        words = ["--prune"] if self.prune else []
        words += ["--allow-unsigned"] if self.allow_unsigned else []
        words += [f"-l {pair}" for pair in self.selector]
        words += [f"--policy {self.policy}"] if self.policy else []
        return "".join(f" {word}" for word in words)


def _pairs(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> tuple[str, ...]:
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"`{pair}` is not KEY=VALUE")
    return pairs


_OPTIONS = (
    click.option("--prune", is_flag=True, envvar="RECONCILER_PRUNE", help="Delete what we own and git no longer has."),
    click.option(
        "-l",
        "--selector",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_pairs,
        help="Only gateways with this label (repeatable). Nothing is pruned then.",
    ),
    click.option(
        "--policy",
        type=click.Choice(["sync", "upsert-only", "create-only"]),
        envvar="RECONCILER_POLICY",
        help="What is permitted; `sync` prunes as well. [default: the target's]",
    ),
    click.option("--allow-unsigned", is_flag=True, envvar="RECONCILER_ALLOW_UNSIGNED", help="Go on without a key."),
    click.option("--allow-empty", is_flag=True, help="Permit deleting everything."),
    click.option(
        "--max-delete-percent",
        type=click.IntRange(0, 100),
        help="Guard: share that may be deleted. [default: the target's, or 30]",
    ),
    click.option(
        "--max-update-percent",
        type=click.IntRange(0, 100),
        help="Guard: share that may be updated. [default: the target's, or 30]",
    ),
    click.option(
        "--max-deletes",
        type=click.IntRange(0),
        help="Guard: number that may be deleted. [default: the target's, or no cap]",
    ),
)


def scope(command: Command) -> Command:
    """Give a command its scope as one `Scope`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> Any:
        names = [name for name in Scope.__dataclass_fields__ if name in options]
        return command(*args, scope=Scope(**{name: options.pop(name) for name in names}), **options)

    decorated: Any = wrapper
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("Command", decorated)


@dataclass(frozen=True, slots=True)
class Session:
    """One command's pass, up to the plan."""

    settings: Settings
    desired: DesiredState
    planned: Plan
    engine: Engine
    now: datetime


@contextmanager
def prepare(where: Where, scope: Scope, voice: Voice, environ: Mapping[str, str], *, write: bool) -> Iterator[Session]:
    """Read the tree, open the store for reading or writing, and plan.

    Raises:
        ProblemsError: the tree has errors, so nothing may be planned from it.
    """
    from reconciler.cache import TreeCache, cache_file
    from reconciler.clock import now
    from reconciler.composition import Tree, build_engine, plan_tree
    from reconciler.core.problems import ProblemsError, Severity
    from reconciler.reports.problems import as_document, as_text

    moment = now()
    settings = _overridden(settings_of(where), scope)
    if settings.allow_unsigned:
        voice.say("warning: working without signatures, as asked: tampering with a CA bundle will not be noticed")
    tree = Tree(settings, moment)
    cache = TreeCache(cache_file(environ, settings.root), salt=repr((settings.paths, settings.expiry_warning_days)))
    labels = frozenset((key, value) for key, _, value in (pair.partition("=") for pair in scope.selector))
    with build_engine(settings, environ, write=write, adopt=scope.adopt, labels=labels) as engine:
        try:
            desired, planned = plan_tree(tree, engine, cache)
        except ProblemsError as error:
            if voice.format == "json":
                voice.document(as_document(error.problems))
            raise
        if warnings := [problem for problem in desired.problems if problem.severity is not Severity.INFO]:
            voice.say(as_text(warnings, voice.style))
        yield Session(settings, desired, planned, engine, moment)


def context(session: Session, verdicts: Sequence[Verdict]) -> Context:
    """Return what stands around the plan in a report, with the certificates of every bundle it touches."""
    from reconciler.reports.plan import Context
    from reconciler.settings import shown_store

    return Context(
        target=shown_store(session.settings.target.store),
        now=session.now,
        verdicts=verdicts,
        problems=session.desired.problems,
        certificates=_certificates(session.desired, session.planned),
    )


def _certificates(desired: DesiredState, plan: Plan) -> dict[str, Sequence[Certificate]]:
    from reconciler.core.pem import read_pem

    certificates: dict[str, Sequence[Certificate]] = {}
    for change in plan.changes:
        gateways = (change.before.gateway if change.before else None, change.after)
        for text in (text for gateway in gateways if gateway for text in (gateway.ca_certificate,) if text):
            if text not in certificates:
                bundle = desired.bundles.get(text)
                certificates[text] = (
                    bundle.certificates if bundle else read_pem("store.pem", text.encode()).certificates
                )
    return certificates


def _overridden(settings: Settings, scope: Scope) -> Settings:
    from dataclasses import replace

    from reconciler.settings import with_overrides

    prunes = scope.prune or scope.policy == "sync"
    target = {"policy": scope.policy, "prune": prunes or None}
    limits = {
        "allow_empty": scope.allow_empty or None,
        "max_delete_percent": scope.max_delete_percent,
        "max_update_percent": scope.max_update_percent,
        "max_deletes": scope.max_deletes,
    }
    overridden = with_overrides(settings, target, limits)
    return replace(overridden, allow_unsigned=settings.allow_unsigned or scope.allow_unsigned)
