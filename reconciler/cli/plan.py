"""`reconciler plan`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import Voice, Where, as_json, command_line, voice, where
from reconciler.cli.reconcile import scope
from reconciler.errors import InputError

if TYPE_CHECKING:
    from reconciler.cli.reconcile import Answer, Run, Scope
    from reconciler.composition import Tree
    from reconciler.core.planfile import TargetPlan
    from reconciler.core.planning import Plan
    from reconciler.reports.plan import Context
    from reconciler.settings import Settings


@click.command(
    epilog="""\b
Examples:
  reconciler plan                                  this directory against its store
  reconciler plan gateways/ --store sqlite:///x.db
  reconciler plan --base origin/main               what a pull request changes: no store, no credentials
  reconciler plan --out plan.json                  for `reconciler apply plan.json`: exactly this, or nothing
  reconciler plan --prune --detailed-exitcode      exit 2 when there are changes
  reconciler plan -o json | jq .summary
"""
)
@where()
@scope
@click.option("--base", metavar="REF", help="Compare with this git revision instead of the store.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the plan, for `reconciler apply FILE`.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when it worked and there are changes.")
@voice("json", "markdown")
def plan(
    where: Where, scope: Scope, voice: Voice, *, base: str | None, out: Path | None, detailed_exitcode: bool
) -> int:
    """Compare the manifests with what the store holds, and show what an apply would do and why. Writes nothing.

    With several targets in reconciler.yaml, every one of them is planned.
    """
    from reconciler.cli.reconcile import begin, over_targets

    if base is not None and (out is not None or where.store is not None):
        raise click.UsageError("--base compares two revisions: it has no store, and nothing that could be applied")
    run = begin(where, scope, voice, os.environ)
    saved: list[tuple[TargetPlan, dict[str, Any]]] = []
    base_tree = _base(run, base) if base is not None else None

    def work(settings: Settings) -> Answer:
        if base_tree is not None:
            planned, around = _between(run, settings, base_tree, str(base))
        else:
            planned, around = _against_store(run, settings)
        document = _report(planned, around, run)
        saved.append((_kept(settings, planned), document))
        return 2 if detailed_exitcode and (planned.changes or planned.conflicts) else 0, document

    code = over_targets(run, work)
    if out is not None:
        _save(out, where, scope, saved)
        voice.say(f"Next: reconciler apply {out}{_store_option(where)}")
    elif base is None and any(target.rows for target, _ in saved):
        voice.say(f"Next: reconciler apply{command_line(where)}{scope.command_line()}")
    return code


def _against_store(run: Run, settings: Settings) -> tuple[Plan, Context]:
    from reconciler.cli.reconcile import context, session
    from reconciler.core.safety import judge

    with session(run, settings, write=False) as opened:
        return opened.planned, context(opened, judge(opened.planned, opened.engine.limits))


def _base(run: Run, reference: str) -> Tree:
    """Return the tree where this one left `reference`, read from git's object database."""
    from reconciler.composition import Tree
    from reconciler.sources.git import common_ancestor
    from reconciler.sources.revision import Revision

    source = Revision(run.settings.root, common_ancestor(run.settings.root, reference))
    return Tree(run.settings, run.now, with_revision=False, source=source)


def _between(run: Run, settings: Settings, base: Tree, reference: str) -> tuple[Plan, Context]:
    """Compare two revisions, as an apply by our owner would have left them."""
    from reconciler.cli.reconcile import around, warn
    from reconciler.core import planning
    from reconciler.core.comparison import UNSIGNED, as_live
    from reconciler.core.problems import ProblemsError, has_errors
    from reconciler.core.safety import judge

    before, desired = base.desired(settings.target), run.tree.desired(settings.target)
    if has_errors(desired.problems):
        raise ProblemsError(desired.problems)
    warn(run.voice, desired)
    if has_errors(before.problems):
        run.voice.say(f"warning: {reference} has errors of its own; what they concern shows as added")
    terms = planning.Terms(settings.owner, prune=True, labels=run.scope.labels)
    planned = planning.plan(desired, as_live(before, settings.owner), UNSIGNED, terms)
    return planned, around(reference, run.now, judge(planned, settings.target.limits), desired, planned)


def _report(planned: Plan, around: Context, run: Run) -> dict[str, Any]:
    """Print the plan for people, and return it for machines."""
    from reconciler.reports import plan as report

    if run.voice.format == "text":
        run.voice.report(report.as_text(planned, around, run.voice.style))
    elif run.voice.format == "markdown":
        from reconciler.reports.plan_markdown import as_markdown

        run.voice.report(as_markdown(planned, around))
    return report.as_document(planned, around)


def _kept(settings: Settings, planned: Plan) -> TargetPlan:
    from reconciler.core.planfile import target_plan
    from reconciler.settings import shown_store

    return target_plan(settings.target.name, shown_store(settings.target.store), settings.owner, planned)


def _save(path: Path, where: Where, scope: Scope, saved: list[tuple[TargetPlan, dict[str, Any]]]) -> None:
    from reconciler.core.planfile import SavedPlan, as_document

    plan = SavedPlan(
        paths=tuple(str(each) for each in where.paths),
        config=str(where.config or ""),
        target=where.target or "",
        scope={**asdict(scope), "adopt": sorted(scope.adopt)},
        targets=tuple(target for target, _ in saved),
    )
    try:
        path.write_text(as_json(as_document(plan, [report for _, report in saved])) + "\n", encoding="utf-8")
    except OSError as error:
        fix = "give a path in a directory that exists"
        raise InputError(f"{path} cannot be written: {(error.strerror or '').lower()}", fix=fix) from None


def _store_option(where: Where) -> str:
    return f" --store {where.store}" if where.store is not None else ""
