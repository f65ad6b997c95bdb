"""`reconciler apply` and `reconciler adopt`."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from reconciler.cli.options import Voice, Where, command_line, voice, where
from reconciler.cli.reconcile import scope
from reconciler.core.model import Action
from reconciler.errors import InputError

if TYPE_CHECKING:
    from reconciler.cli.reconcile import Scope, Session
    from reconciler.engine import Result

_SHOWN: Final = 200
"""An apply of more changes than this prints their number; `reconciler plan` shows them."""


@click.command(
    epilog="""\b
Examples:
  reconciler apply                                    this directory into its store
  reconciler apply gateways/ --store sqlite:///x.db
  reconciler apply --prune                            also delete what git no longer has
  reconciler apply --no-verify                        do not look at the upstreams afterwards
"""
)
@where()
@scope
@click.option("--verify/--no-verify", default=True, help="Look at the upstreams that were written. [verify]")
@voice("json")
def apply(where: Where, scope: Scope, voice: Voice, *, verify: bool) -> int:
    """Make the store what the manifests say: check everything, plan, guard, write in one transaction, then verify.

    A second apply of the same tree does nothing. Exit 3: invalid input, nothing written. 4: refused by a guard,
    nothing written. 5: applied in part. 6: applied, but an upstream does not answer as promised.
    """
    return _apply(where, scope, voice, verify=verify)


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
@click.option("--verify/--no-verify", default=True, help="Look at the upstreams that were written. [verify]")
@voice("json")
def adopt(where: Where, scope: Scope, voice: Voice, *, names: tuple[str, ...], verify: bool) -> int:
    """Take ownership of live gateways that nobody owns, and make them what their manifests say.

    `reconciler plan` shows the difference first. What another owner holds stays his.
    """
    return _apply(where, replace(scope, adopt=frozenset(names)), voice, verify=verify)


def _apply(where: Where, scope: Scope, voice: Voice, *, verify: bool) -> int:
    from reconciler.cli.probing import ProgressProber
    from reconciler.cli.reconcile import prepare
    from reconciler.clock import now
    from reconciler.composition import audit, record_applied

    with prepare(where, scope, voice, os.environ, write=True) as session:
        _refuse_strangers(session, scope)
        by = audit(os.environ, session.now)
        prober = ProgressProber(voice, os.environ, session.now) if verify else None
        result = session.engine.apply(session.planned, session.desired, by, prober)
        record_applied(session.settings, session.engine, result, by, now())
        _report(session, result, voice)
    if not result.refused:
        voice.say(f"Next: reconciler status{_store_options(where)}")
    return exit_code(result)


def _refuse_strangers(session: Session, scope: Scope) -> None:
    """Adopting is for what is in the store and described in the tree; neither is ever made up."""
    unknown = scope.adopt - session.desired.gateways.keys()
    if unknown:
        raise InputError(f"there is no manifest of {', '.join(sorted(unknown))}", fix="write what it should be first")
    absent = [change.name for change in session.planned.changes if scope.adopt and change.action is Action.CREATE]
    if absent:
        raise InputError(f"the store holds no {', '.join(absent)}", fix="`reconciler apply` creates it")


def exit_code(result: Result) -> int:
    """Return the exit code that says how the apply went."""
    if result.refused:
        return 4
    troubled = [outcome for outcome in result.outcomes if outcome.status != "applied"]
    held = {observation.name for observation in result.observations if not observation.ok}
    if any(outcome.name not in held for outcome in troubled):
        return 5 if result.count("applied") else 1
    if held:
        return 6
    return 5 if result.plan.conflicts else 0


def _store_options(where: Where) -> str:
    paths = "".join(f" --path {path}" for path in where.paths)
    return f"{paths}{command_line(replace(where, paths=()))}"


def _report(session: Session, result: Result, voice: Voice) -> None:
    from reconciler.cli.reconcile import context
    from reconciler.reports import outcomes, upstreams
    from reconciler.reports import plan as plan_report

    around = context(session, result.verdicts)
    seen = session.engine.examined_changes(result)
    if voice.format == "json":
        voice.document(
            {
                **outcomes.documents(result.outcomes),
                "plan": plan_report.as_document(result.plan, around),
                "verify": upstreams.as_document(seen),
            }
        )
        return
    if len(result.plan.changes) <= _SHOWN or result.refused:
        voice.report(plan_report.as_text(result.plan, around, voice.style))
    else:
        voice.report(plan_report.summary(result.plan))
    if result.outcomes:
        voice.report("\n" + outcomes.as_text(result.outcomes, voice.style))
    if seen:
        voice.report("\n" + upstreams.as_text(seen, session.now, voice.style))
