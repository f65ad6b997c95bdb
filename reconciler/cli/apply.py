"""`reconciler apply` and `reconciler adopt`."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import click

from reconciler.cli.options import Voice, Where, path_options, voice, where
from reconciler.cli.probing import ProgressProber, vantage
from reconciler.cli.reconcile import Scope, scope
from reconciler.core.hostile import printable
from reconciler.core.model import Action
from reconciler.core.urls import shown_url
from reconciler.errors import GuardError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.options import Command
    from reconciler.cli.reconcile import Answer, Session
    from reconciler.core.model import Served, ToolCall, Waited
    from reconciler.core.planfile import SavedPlan, TargetPlan
    from reconciler.core.result import Result
    from reconciler.core.routes import Resolved
    from reconciler.core.verification import Verified
    from reconciler.engine import OnError
    from reconciler.recording import Recorded
    from reconciler.settings import Settings

_PLAN_AGAIN: Final = "run `reconciler plan --out` again, and have the new plan reviewed"
_MOVED_SHOWN: Final = 20
_LINE: Final = 300
_SHOWN: Final = 200
"""An apply of more changes than this prints their number; `reconciler plan` shows them."""


class How(NamedTuple):
    """How an apply goes about it: whether and where it looks, and what one failure means for the others.

    `prove_with` is the tool that is called through the platform of each gateway that was written, and `broker` where
    the platform tells what it makes of them.
    """

    verify: bool
    on_error: OnError
    resolved: Resolved = ()
    prove_with: str | None = None
    broker: str | None = None
    broker_timeout: float | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment that a store is opened in."""
        from reconciler.stores.access import BROKER, BROKER_TIMEOUT

        seconds = "" if self.broker_timeout is None else str(self.broker_timeout)
        return {**os.environ, BROKER: self.broker or "", BROKER_TIMEOUT: seconds}


def _how(command: Command) -> Command:
    """Give a command the way in which it applies as one `How`."""

    @functools.wraps(command)
    def wrapper(*args: Any, **given: Any) -> Any:
        how = How(**{name: given.pop(name) for name in How._fields})
        return command(*args, how=how, **given)

    decorated: Any = vantage(wrapper)
    for option in reversed(_HOW):
        decorated = option(decorated)
    return cast("Command", decorated)


_HOW: Final = (
    click.option("--verify/--no-verify", default=True, help="Look at the upstreams that were written. [verify]"),
    click.option(
        "--prove-with",
        metavar="TOOL",
        help="Call this tool, without arguments, through the platform, of each gateway that was written. ContextForge.",
    ),
    click.option(
        "--broker",
        metavar="URL",
        envvar="RECONCILER_BROKER",
        help="Ask the broker there, at /status, until it has taken up what was written. Kuadrant only.",
    ),
    click.option(
        "--broker-timeout",
        type=click.FloatRange(0.1, 3600),
        metavar="SECONDS",
        envvar="RECONCILER_BROKER_TIMEOUT",
        help="How long the broker may take. [default: 75, in Kubernetes 180]",
    ),
    click.option(
        "--on-error",
        type=click.Choice(["abort", "continue"]),
        default="continue",
        help="Where a store has no transactions: what becomes of the others when one fails. [default: continue]",
    ),
)


@click.command(
    epilog="""\b
Examples:
  reconciler apply                                    this directory into its store
  reconciler apply gateways/ --store sqlite:///x.db
  reconciler apply --prune                            also delete what git no longer has
  reconciler apply plan.json                          exactly what was planned and reviewed, or nothing
  reconciler apply --no-verify                        do not look at the upstreams afterwards
  reconciler apply --prove-with ping                  and call that tool as users of the platform do
  reconciler apply --broker http://127.0.0.1:8080     and wait until the broker has taken up its file
"""
)
@where()
@scope
@_how
@voice("json")
def apply(where: Where, scope: Scope, voice: Voice, *, how: How) -> int:
    """Make the store what the manifests say: check everything, plan, guard, write in one transaction, then verify.

    A second apply of the same tree does nothing. With several targets in reconciler.yaml, every one of them is
    applied, and what fails for one does not stop the others. Given the file that `reconciler plan --out` wrote, it
    does exactly what that says, or nothing when anything has moved since.

    Exit 3: invalid input, nothing written. 4: refused by a guard, nothing written. 5: applied in part.
    6: applied, but an upstream does not answer as promised, or the platform cannot use what was written.
    """
    saved = _saved_plan(where, scope)
    if saved is not None:
        where, scope = _as_planned(where, saved)
    return _apply(where, scope, voice, saved, how)


@click.command(
    epilog="""\b
Examples:
  reconciler adopt payments                         take over one gateway, as this directory describes it
  reconciler adopt payments search --path gateways/
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@where(argument="option")
@scope
@_how
@voice("json")
def adopt(where: Where, scope: Scope, voice: Voice, *, names: tuple[str, ...], how: How) -> int:
    """Take ownership of live gateways that nobody owns, and make them what their manifests say.

    `reconciler plan` shows the difference first. What another owner holds stays his.
    """
    return _apply(where, replace(scope, adopt=frozenset(names)), voice, None, how)


def _saved_plan(where: Where, scope: Scope) -> SavedPlan | None:
    """Return the saved plan that was given instead of manifests, if one was."""
    from reconciler.core.planfile import MAX_BYTES, read_plan

    plans = [path for path in where.paths if path.suffix == ".json" and path.is_file()]
    if not plans:
        return None
    if len(where.paths) > 1 or scope != Scope() or where.target is not None:
        raise click.UsageError("a saved plan says itself which manifests, which targets, and how far to go")
    with plans[0].open("rb") as file:
        return read_plan(file.read(MAX_BYTES + 1))


def _as_planned(where: Where, saved: SavedPlan) -> tuple[Where, Scope]:
    """Return the words that the plan was made with. The store's URL is not among them: it may be a secret."""
    config = where.config or (Path(saved.config) if saved.config else None)
    words = Where(tuple(map(Path, saved.paths)), config, saved.target or None, where.store)
    given = dict(saved.scope)
    try:
        return words, Scope(**{**given, "adopt": frozenset(given["adopt"]), "selector": tuple(given["selector"])})
    except (KeyError, TypeError):
        fix = "apply it with the version that made it, or plan again"
        raise InputError("the plan was made by another version of the reconciler", fix=fix) from None


def _apply(where: Where, scope: Scope, voice: Voice, saved: SavedPlan | None, how: How) -> int:
    from reconciler import uptake
    from reconciler.cli.reconcile import begin, over_targets, session

    run = begin(where, scope, voice, how.environ)
    plans = {target.name: target for target in saved.targets} if saved is not None else None

    def work(settings: Settings) -> Answer:
        with session(run, settings, write=True) as opened:
            _refuse_strangers(opened, scope)
            if plans is not None:
                _refuse_what_moved(opened, plans.get(settings.target.name))
            if how.prove_with is not None:
                uptake.tool_caller(opened.engine)
            if how.broker and len(run.settings.targets) == 1:
                uptake.broker_reader(opened.engine)
            one = replace(where, target=settings.target.name) if len(run.settings.targets) > 1 else where
            return _carry_out(opened, voice, how, path_options(one))

    code = over_targets(run, work)
    if code != GuardError.exit_code:
        voice.say(f"Next: reconciler status{path_options(where)}")
    return code


def _carry_out(session: Session, voice: Voice, how: How, there: str) -> Answer:
    from reconciler import uptake
    from reconciler.clock import now
    from reconciler.composition import audit
    from reconciler.core.preflight import looked_at_least
    from reconciler.recording import Recorder

    by = audit(os.environ, session.now)
    prober = ProgressProber(voice, os.environ, session.now, how.resolved)
    desired = session.desired if how.verify else looked_at_least(session.desired, session.planned.changes)
    recorder = Recorder(session.settings, session.engine, now, by)
    begun, before = time.monotonic(), uptake.waited(session.engine)
    recorded = recorder.apply(session.planned, desired, prober, on_error=how.on_error)
    calls = uptake.call_tool(session.engine, recorded.result, how.prove_with) if how.prove_with is not None else ()
    if how.broker:
        voice.say(f"Waiting for the broker at {shown_url(how.broker)} …")
    served = uptake.served(session.engine, recorded.result)
    took, waited = time.monotonic() - begun, uptake.waited(session.engine).since(before)
    tell_interrupted(recorded, voice, there)
    seen = session.engine.examiner.examined_changes(recorded.result, session.desired)
    document = {**_report(session, recorded.result, seen, voice), "id": recorded.id or None}
    document |= _report_platform(calls, waited, took, voice)
    document |= _report_served(served, voice)
    if recorded.id:
        voice.say(f"Recorded as apply {recorded.id}: `reconciler history show {recorded.id}{there}`")
    unusable = _is_unproved(calls) or any(each.status != "ready" for each in served)
    return exit_code(recorded.result, seen) or (6 if unusable else 0), document


def _is_unproved(calls: Sequence[ToolCall]) -> bool:
    """Return whether a tool failed, or nobody has it; that some of several gateways do not is no failure."""
    found = {call.status for call in calls}
    return "failed" in found or found == {"absent"}


def tell_interrupted(recorded: Recorded, voice: Voice, there: str) -> None:
    """Say which earlier applies never came to their end."""
    for number in recorded.interrupted:
        show = f"`reconciler history show {number}{there}`"
        voice.say(f"note: apply {number} was interrupted; {show} says what it was about to do")


def _refuse_what_moved(session: Session, saved: TargetPlan | None) -> None:
    from reconciler.core.planfile import moved, target_plan
    from reconciler.settings import shown_store

    target = session.settings.target
    if saved is None:
        raise GuardError(f"the plan has nothing for the target {target.name}", fix=_PLAN_AGAIN)
    now = target_plan(target.name, shown_store(target.store), session.settings.owner, session.planned)
    if differences := moved(saved, now):
        shown = "\n  ".join(printable(difference, _LINE) for difference in differences[:_MOVED_SHOWN])
        more = f"\n  and {len(differences) - _MOVED_SHOWN} more" if len(differences) > _MOVED_SHOWN else ""
        raise GuardError(f"nothing was written, for this is not what was planned:\n  {shown}{more}", fix=_PLAN_AGAIN)


def _refuse_strangers(session: Session, scope: Scope) -> None:
    """Adopting is for what is in the store and described in the tree; neither is ever made up."""
    unknown = scope.adopt - session.desired.gateways.keys()
    if unknown:
        raise InputError(f"there is no manifest of {', '.join(sorted(unknown))}", fix="write what it should be first")
    absent = [change.name for change in session.planned.changes if scope.adopt and change.action is Action.CREATE]
    if absent:
        raise InputError(f"the store holds no {', '.join(absent)}", fix="`reconciler apply` creates it")


def exit_code(result: Result, seen: Sequence[Verified]) -> int:
    """Return the exit code that says how the apply went; `seen` is what is known of the upstreams it looked at."""
    if result.refused:
        return 4
    troubled = [outcome for outcome in result.outcomes if outcome.status != "applied"]
    failing = result.held.union(each.name for each in seen if not each.ready)
    if any(outcome.status == "failed" or outcome.name not in failing for outcome in troubled):
        return 5 if result.count("applied") else 1
    if failing:
        return 6
    return 5 if result.plan.conflicts else 0


def _report(session: Session, result: Result, seen: Sequence[Verified], voice: Voice) -> dict[str, Any]:
    """Print what was done for people, or return it for machines."""
    from reconciler.cli.reconcile import context
    from reconciler.reports import outcomes, upstreams
    from reconciler.reports import plan as plan_report

    around = context(session, result.verdicts)
    if voice.format == "json":
        return {
            **outcomes.documents(result.outcomes),
            "plan": plan_report.as_document(result.plan, around),
            "verify": upstreams.as_document(seen),
        }
    if len(result.plan.changes) <= _SHOWN or result.refused:
        voice.report(plan_report.as_text(result.plan, around, voice.style))
    else:
        voice.report(plan_report.summary(result.plan))
    if result.outcomes:
        voice.report("\n" + outcomes.as_text(result.outcomes, voice.style))
    if seen:
        voice.report("\n" + upstreams.as_text(seen, session.now, voice.style))
    return {}


def _report_served(served: Sequence[Served], voice: Voice) -> dict[str, Any]:
    """Print what the platform makes of what was written, for people, and return it for machines."""
    from reconciler.reports import platform

    if served and voice.format == "text":
        voice.report("\n" + platform.served_as_text(served, voice.style))
    return {"broker": platform.served_as_documents(served)} if served else {}


def _report_platform(calls: Sequence[ToolCall], waited: Waited, seconds: float, voice: Voice) -> dict[str, Any]:
    """Print what the platform behind the store did, for people, and return it for machines."""
    from reconciler.reports import platform

    if voice.format == "text":
        if calls:
            voice.report("\n" + platform.calls_as_text(calls, voice.style))
        if waited.calls:
            voice.report(platform.waited_as_text(waited, seconds))
    return {
        **({"proof": platform.calls_as_documents(calls)} if calls else {}),
        **({"platform": platform.waited_as_document(waited)} if waited.calls else {}),
    }
