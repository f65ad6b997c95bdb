"""`reconciler plan`."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.options import (
    Voice,
    Where,
    add_to_summary,
    as_json,
    command_line,
    output_files,
    voice,
    where,
    write_output,
)
from reconciler.cli.reconcile import scope
from reconciler.reports.style import PLAIN

if TYPE_CHECKING:
    from reconciler.cli.reconcile import Answer, Run, Scope
    from reconciler.composition import Tree
    from reconciler.core.planfile import TargetPlan
    from reconciler.core.planning import Plan
    from reconciler.reports.plan import Context
    from reconciler.reports.style import Style
    from reconciler.settings import Settings


@click.command(
    epilog="""\b
Examples:
  reconciler plan                                  this directory against its store
  reconciler plan gateways/ --store sqlite:///x.db
  reconciler plan --base origin/main               what a pull request changes: no store, no credentials
  reconciler plan --base main --head feature       the same of a branch that is not checked out
  reconciler plan --out plan.json                  for `reconciler apply plan.json`: exactly this, or nothing
  reconciler plan --prune --detailed-exitcode      exit 2 when there are changes
  reconciler plan -o json | jq .summary
  reconciler plan -o markdown --output-file json=plan.json
"""
)
@where()
@scope
@click.option("--base", metavar="REF", help="Compare with this git revision instead of the store.")
@click.option("--head", metavar="REF", help="With --base: the other revision. [default: the working tree]")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the plan, for `reconciler apply FILE`.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when it worked and there are changes.")
@output_files("json", "markdown")
@voice("json", "markdown")
def plan(
    where: Where,
    scope: Scope,
    voice: Voice,
    *,
    base: str | None,
    head: str | None,
    out: Path | None,
    files: tuple[tuple[str, Path], ...],
    detailed_exitcode: bool,
) -> int:
    """Compare the manifests with what the store holds, and show what an apply would do and why. Writes nothing.

    With several targets in reconciler.yaml, every one of them is planned. As markdown it is a comment for a pull
    request; in GitHub Actions what does not fit there goes into the summary of the job.
    """
    from reconciler.cli.reconcile import begin, joined, over_targets
    from reconciler.core.problems import ProblemsError
    from reconciler.reports.github import as_comment
    from reconciler.reports.validation import Validation

    if base is not None and (out is not None or where.store is not None):
        raise click.UsageError("--base compares two revisions: it has no store, and nothing that could be applied")
    if head is not None and base is None:
        raise click.UsageError("--head is what --base is compared with: give both")
    run = begin(where, scope, voice, os.environ)
    saved: list[tuple[TargetPlan, dict[str, Any]]] = []
    texts: dict[str, list[str]] = {name: [] for name, _ in files}
    trees = _two_trees(run, base, head) if base is not None else None

    def work(settings: Settings) -> Answer:
        name = _name(run, settings, base)
        try:
            planned, around = _between(run, settings, trees, name) if trees else _against_store(run, settings)
        except ProblemsError as error:
            if voice.format == "markdown":
                voice.report(as_comment(Validation(error.problems), name))
            raise
        document = _report(planned, around, run)
        for name, shown in texts.items():
            shown.append(_as(name, planned, around) if name != "json" else "")
        saved.append((_kept(settings, planned), document))
        return 2 if detailed_exitcode and (planned.changes or planned.conflicts) else 0, document

    code = over_targets(run, work)
    documents = {target.name: document for target, document in saved}
    for name, path in files:
        write_output(path, as_json(joined(documents)) if name == "json" else "\n".join(texts[name]))
    if out is not None:
        _save(out, where, scope, saved)
        there = command_line(Where(paths=(out,), store=where.store))
        voice.say(f"Next: reconciler apply{there}")
    elif base is None and any(target.rows for target, _ in saved):
        voice.say(f"Next: reconciler apply{command_line(where)}{scope.command_line()}")
    return code


def _name(run: Run, settings: Settings, base: str | None) -> str:
    """Return what a plan is called by: its store, or the revision that it begins at."""
    from reconciler.settings import shown_store

    if base is None:
        return shown_store(settings.target.store)
    return base if len(run.settings.targets) == 1 else f"{base} ({settings.target.name})"


def _against_store(run: Run, settings: Settings) -> tuple[Plan, Context]:
    from reconciler.cli.reconcile import context, session, warn
    from reconciler.core.safety import judge

    with session(run, settings, write=False) as opened:
        foreseen = opened.engine.foreseen(opened.planned, opened.desired)
        refused = settings.levels.judge(foreseen, run.now.date(), whole=False).problems
        warn(run.voice, replace(opened.desired, problems=refused))
        plain = context(opened, judge(opened.planned, opened.engine.limits))
        return opened.planned, replace(plain, problems=(*plain.problems, *refused))


def _two_trees(run: Run, base: str, head: str | None) -> tuple[Tree, Tree]:
    """Return the tree where `head` left `base`, and that of `head`; revisions are read from git's object database."""
    from reconciler.composition import Tree
    from reconciler.sources.git import commit_of, common_ancestor, revision_name
    from reconciler.sources.revision import Revision

    def tree(commit: str, name: str = "") -> Tree:
        source = Revision(run.settings.root, commit)
        return Tree(run.settings, run.now, with_revision=False, source=source, revision=revision_name(commit, name))

    if head is None:
        return tree(common_ancestor(run.settings.root, base)), run.tree
    commit = commit_of(run.settings.root, head)
    return tree(common_ancestor(run.settings.root, base, commit)), tree(commit, "" if head == commit else head)


def _between(run: Run, settings: Settings, trees: tuple[Tree, Tree], name: str) -> tuple[Plan, Context]:
    """Compare two revisions, as an apply by our owner would have left them."""
    from reconciler.cli.reconcile import around, warn
    from reconciler.core import planning
    from reconciler.core.comparison import UNSIGNED, as_live
    from reconciler.core.problems import ProblemsError, has_errors
    from reconciler.core.safety import judge
    from reconciler.core.toolchanges import between, locked_names

    before, desired = (tree.desired(settings.target) for tree in trees)
    if has_errors(desired.problems):
        raise ProblemsError(desired.problems)
    warn(run.voice, desired)
    if has_errors(before.problems):
        run.voice.say(f"warning: {name} has errors of its own; what they concern shows as added")
    terms = planning.Terms(settings.owner, prune=True, labels=run.scope.labels)
    planned = planning.plan(desired, as_live(before, settings.owner), UNSIGNED, terms)
    verdicts = judge(planned, settings.target.limits)
    tools = {**locked_names(desired), **locked_names(before)}
    plain = around(name, run.now, verdicts, desired, planned)
    return planned, replace(plain, between=True, tools=tools, tool_deltas=between(before, desired))


def _report(planned: Plan, around: Context, run: Run) -> dict[str, Any]:
    """Print the plan for people, and return it for machines."""
    from reconciler.reports.plan import as_document
    from reconciler.reports.plan_markdown import as_step_summary

    if run.voice.format != "json":
        run.voice.report(_as(run.voice.format, planned, around, run.voice.style))
    if run.voice.format == "markdown":
        add_to_summary(run.environ, lambda: as_step_summary(planned, around))
    return as_document(planned, around)


def _as(format_name: str, planned: Plan, around: Context, style: Style = PLAIN) -> str:
    from reconciler.reports.plan import as_text
    from reconciler.reports.plan_markdown import as_markdown

    return as_text(planned, around, style) if format_name == "text" else as_markdown(planned, around)


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
    write_output(path, as_json(as_document(plan, [report for _, report in saved])))
