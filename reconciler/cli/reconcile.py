"""What plan and apply share: how far a pass may go, and everything it needs, opened and closed again."""

from __future__ import annotations

import functools
import shlex
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from reconciler.cli.options import settings_of
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.cache import TreeCache
    from reconciler.cli.options import Voice, Where
    from reconciler.composition import Tree
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

    @property
    def labels(self) -> frozenset[tuple[str, str]]:
        """The labels that a gateway must have."""
        return frozenset((key, value) for key, _, value in (pair.partition("=") for pair in self.selector))

    def command_line(self) -> str:
        """Return the options that give the same scope, for the next command in a hint."""
        flags = ("prune", "allow_unsigned", "allow_empty")
        words = [_option(name) for name in flags if getattr(self, name)]
        words += [f"-l {shlex.quote(pair)}" for pair in self.selector]
        words += [f"--policy {self.policy}"] if self.policy else []
        numbers = {name: getattr(self, name) for name in ("max_delete_percent", "max_update_percent", "max_deletes")}
        words += [f"{_option(name)} {number}" for name, number in numbers.items() if number is not None]
        return "".join(f" {word}" for word in words)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _pairs(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> tuple[str, ...]:
    for pair in pairs:
        if "=" not in pair:
            raise click.BadParameter(f"`{pair}` is not KEY=VALUE")
    return pairs


_CHOICE = (
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
)
_LIMITS = (
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
    return _scoped(command, (*_CHOICE, *_LIMITS))


def limits(command: Command) -> Command:
    """Give a command that does not choose gateways its limits, as a `Scope`."""
    return _scoped(command, _LIMITS)


def _scoped(command: Command, options: Sequence[Callable[[Any], Any]]) -> Command:
    @functools.wraps(command)
    def wrapper(*args: Any, **given: Any) -> Any:
        names = [name for name in Scope.__dataclass_fields__ if name in given]
        return command(*args, scope=Scope(**{name: given.pop(name) for name in names}), **given)

    decorated: Any = wrapper
    for option in reversed(options):
        decorated = option(decorated)
    return cast("Command", decorated)


@dataclass(frozen=True, slots=True)
class Run:
    """One command's tree, read once for all of its targets."""

    settings: Settings
    tree: Tree
    cache: TreeCache
    scope: Scope
    voice: Voice
    environ: Mapping[str, str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """One target's pass, up to the plan."""

    settings: Settings
    desired: DesiredState
    planned: Plan
    engine: Engine
    now: datetime


Answer = tuple[int, dict[str, Any]]
"""What became of one target: an exit code, and a JSON document."""

_GRAVEST_FIRST: Final = (1, 75, 3, 4, 5, 6, 2, 0)


def begin(where: Where, scope: Scope, voice: Voice, environ: Mapping[str, str]) -> Run:
    """Read the settings and find the tree."""
    from reconciler.cache import TreeCache, cache_file
    from reconciler.clock import now
    from reconciler.composition import Tree
    from reconciler.settings import scopes

    moment = now()
    settings = overridden(settings_of(where), scope)
    warn_unsigned(settings, voice)
    salt = repr((settings.paths, settings.expiry_warning_days, scopes(settings)))
    cache = TreeCache(cache_file(environ, settings.root), salt)
    return Run(settings, Tree(settings, moment), cache, scope, voice, environ, moment)


def over_targets(run: Run, work: Callable[[Settings], Answer]) -> int:
    """Do the work for each target, print what machines asked for, and return the gravest exit code.

    Where there are several targets, what fails for one does not stop the others.
    """
    from reconciler.settings import each_target

    targets = each_target(run.settings)
    if len(targets) == 1:
        answers = [_telling_problems(run.voice, work, targets[0])]
    else:
        answers = [_by_itself(run.voice, work, one) for one in targets]
    if run.voice.format == "json":
        run.voice.document(
            joined({one.target.name: document for one, (_, document) in zip(targets, answers, strict=True)})
        )
    return min((code for code, _ in answers), key=_GRAVEST_FIRST.index)


def joined(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the documents of all targets as one; that of a single target stays as it is."""
    if len(documents) == 1:
        return next(iter(documents.values()))
    return {
        "format_version": "1.0",
        "targets": [{"name": name, **document} for name, document in documents.items()],
    }


def _telling_problems(voice: Voice, work: Callable[[Settings], Answer], settings: Settings) -> Answer:
    """Do the work; a tree with errors is a JSON document too."""
    from reconciler.core.problems import ProblemsError
    from reconciler.reports.problems import as_document
    from reconciler.reports.validation import Validation

    try:
        return work(settings)
    except ProblemsError as error:
        if voice.format == "json":
            voice.document(as_document(Validation(error.problems)))
        raise


def _by_itself(voice: Voice, work: Callable[[Settings], Answer], settings: Settings) -> Answer:
    from reconciler.core.problems import ProblemsError

    if voice.format == "text":
        voice.report(voice.style(f"Target {settings.target.name}", "bold"))
    try:
        return work(settings)
    except ProblemsError:
        raise  # the tree is everybody's
    except ReconcilerError as error:
        voice.complain(f"{settings.target.name}: {error}", error.fix)
        return error.exit_code, {"error": str(error), "fix": error.fix}


@contextmanager
def session(run: Run, settings: Settings, *, write: bool) -> Iterator[Session]:
    """Open the store of the one target for reading or writing, and plan.

    Raises:
        ProblemsError: the tree has errors, so nothing may be planned from it.
    """
    from reconciler.composition import build_engine, plan_tree

    labels = run.scope.labels
    with build_engine(settings, run.environ, write=write, adopt=run.scope.adopt, labels=labels) as engine:
        desired, planned = plan_tree(run.tree, settings.target, engine, run.cache)
        warn(run.voice, desired)
        yield Session(settings, desired, planned, engine, run.now)


def warn_unsigned(settings: Settings, voice: Voice) -> None:
    """Say what it means to go on without a key."""
    if settings.allow_unsigned:
        voice.say("warning: working without signatures, as asked: tampering with a CA bundle will not be noticed")


def warn(voice: Voice, desired: DesiredState) -> None:
    """Say what is not quite right with the tree."""
    from reconciler.core.problems import Severity
    from reconciler.reports.problems import as_text

    if warnings := [problem for problem in desired.problems if problem.severity is not Severity.INFO]:
        voice.say(as_text(warnings, voice.style))


def context(session: Session, verdicts: Sequence[Verdict]) -> Context:
    """Return what stands around the plan in a report, with what is known of the tools behind its gateways."""
    from dataclasses import replace

    from reconciler.core.preflight import proviso, puts_back_on
    from reconciler.core.toolchanges import locked_names, since_seen
    from reconciler.core.verification import policy_of
    from reconciler.recording import other_tools, seen_tools
    from reconciler.settings import shown_store

    store = shown_store(session.settings.target.store)
    seen = seen_tools(session.settings)
    tools = {**locked_names(session.desired), **seen}
    deltas = since_seen(session.desired, seen)
    plain = around(store, session.now, verdicts, session.desired, session.planned)
    changes = session.planned.changes
    back_on = [each.name for each in changes if puts_back_on(each, policy_of(session.desired, each.name))]
    known = other_tools(session.settings, back_on) if back_on else {}
    provisos = {name: proviso(known.get(name, "")) for name in back_on}
    return replace(plain, tools=tools, tool_deltas=deltas, provisos=provisos)


def around(target: str, now: datetime, verdicts: Sequence[Verdict], desired: DesiredState, plan: Plan) -> Context:
    """Return what stands around a plan for `target`, with the certificates of every bundle it touches."""
    from reconciler.reports.plan import Context

    required = {name: wanted.verify.require_tools for name, wanted in desired.gateways.items()}
    certificates = _certificates(desired, plan)
    return Context(target, now, verdicts, desired.problems, certificates, required_tools=required)


def _certificates(desired: DesiredState, plan: Plan) -> dict[str, Sequence[Certificate]]:
    from reconciler.core.pem import read_pem

    certificates: dict[str, Sequence[Certificate]] = {}
    for change in plan.changes:
        gateways = (change.before.gateway if change.before else None, change.after)
        texts = (text for each in gateways if each for text in (each.ca_certificate, each.client_certificate))
        for text in texts:
            if text and text not in certificates:
                bundle = desired.bundles.get(text)
                certificates[text] = (
                    bundle.certificates if bundle else read_pem("store.pem", text.encode()).certificates
                )
    return certificates


def overridden(settings: Settings, scope: Scope) -> Settings:
    """Return the settings with what was given on the command line."""
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
