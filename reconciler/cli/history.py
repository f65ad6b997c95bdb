"""`reconciler history` and `reconciler rollback`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.options import Voice, Where, path_options, settings_of, voice, where
from reconciler.cli.probing import ProgressProber, vantage
from reconciler.cli.reconcile import Scope, limits
from reconciler.core.hostile import printable
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.core.history import Entry
    from reconciler.core.model import Certificate, DesiredGateway
    from reconciler.core.rollback import Rollback
    from reconciler.core.routes import Resolved
    from reconciler.core.verification import Verified
    from reconciler.engine import Engine
    from reconciler.ledger import Ledger
    from reconciler.recording import Recorded
    from reconciler.settings import Settings

_SHOWN: Final = 20


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  reconciler history                      the newest applies
  reconciler history --limit 100 -o json | jq '.applies[] | select(.state != "finished")'
  reconciler history show 12              every change of one, and what the rows were before
  reconciler history --head               into a pull request, or a log elsewhere
  reconciler history --verify --since 12:9f86d0…
""",
)
@click.option("--limit", type=click.IntRange(1), default=_SHOWN, show_default=True, help="How many to show.")
@click.option("--head", is_flag=True, help="Print the ledger's head alone, to be kept elsewhere.")
@click.option("--verify", is_flag=True, help="Check the chain of the ledger: what was ever signed.")
@click.option("--since", metavar="HEAD", help="With --verify: a head from earlier that the ledger must go on from.")
@where(argument="option")
@voice("json")
@click.pass_context
def history(
    context: click.Context, where: Where, voice: Voice, *, limit: int, head: bool, verify: bool, since: str | None
) -> int:
    """Show what was applied: when, by whom, from which revision, who wrote it and signed it, and what became of it.

    `interrupted` is an apply that began and never ended. The next apply completes what it was about to do.

    The ledger says what was ever signed, each entry bound to the one before it. Whoever kept its head from earlier can
    tell whether it was cut off or rewritten since. Exit 1: it was.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_of(context)
        return 0
    if since is not None and not verify:
        raise click.UsageError("--since says what --verify has to find")
    if head or verify:
        return _tell_ledger(settings_of(where), voice, verify=verify, since=since)
    from reconciler.books import books_of
    from reconciler.reports import history as report

    with books_of(settings_of(where), create=False) as books:
        entries = books.history.entries(limit) if books is not None else []
    if voice.format == "json":
        voice.document(report.as_document(entries))
    else:
        voice.report(report.as_text(entries, voice.style))
    return 0


@history.command(
    epilog="""\b
Examples:
  reconciler history show 12
  reconciler history show 12 -o json | jq '.changes[] | select(.status != "applied")'
"""
)
@click.argument("id", type=click.IntRange(1))
@where(argument="option")
@voice("json")
def show(where: Where, voice: Voice, *, id: int) -> int:  # noqa: A002 - click names it after the word in its help
    """Show every change of one apply, what became of it, and what the row was before."""
    from reconciler.clock import now
    from reconciler.reports import history as report

    entry = _entry(settings_of(where), id)
    certificates = _certificates(entry)
    if voice.format == "json":
        voice.document(report.details_document(entry, certificates))
    else:
        voice.report(report.details(entry, certificates, now(), voice.style))
    return 0


@click.command(
    epilog="""\b
Examples:
  reconciler rollback 12 --dry-run        what it would do
  reconciler rollback 12                  do it
  reconciler rollback 13                  take that back again (13 is the rollback itself)
"""
)
@click.argument("id", type=click.IntRange(1))
@where(argument="option")
@limits
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--verify/--no-verify", default=True, help="Look at the upstreams that were written. [verify]")
@vantage
@voice("json")
def rollback(
    where: Where,
    scope: Scope,
    voice: Voice,
    *,
    id: int,  # noqa: A002 - as above
    dry_run: bool,
    verify: bool,
    resolved: Resolved,
) -> int:
    """Bring the rows that an apply changed back to what they were before: planned, guarded and recorded like an apply.

    A row that a newer apply changed is left alone: roll that back first. A CA bundle comes back only if a trusted key
    signed it then. Git is not touched: the next apply makes everything what git says, so revert the commit as well.
    Upstreams are looked at as by an apply, before and after; the manifests say how, so give them with --path where
    there is no reconciler.yaml.

    Exit 4: refused, nothing written. 5: some rows were left alone. 6: done, but an upstream does not answer.
    """
    from reconciler.cli.reconcile import overridden, warn_unsigned
    from reconciler.clock import now
    from reconciler.composition import build_engine

    settings = overridden(settings_of(where), scope)
    warn_unsigned(settings, voice)
    entry = _entry(settings, id)
    with build_engine(settings, os.environ, write=not dry_run) as engine:
        rolling = _Rolling(settings, engine, entry, _planned(engine, entry), voice, now())
        if dry_run or not rolling.undone.plan.changes:
            return rolling.preview()
        prober = ProgressProber(voice, os.environ, rolling.now, resolved)
        return rolling.carry_out(where, prober, verify=verify)


@dataclass(frozen=True, slots=True)
class _Rolling:
    """One rollback on its way."""

    settings: Settings
    engine: Engine
    entry: Entry
    undone: Rollback
    voice: Voice
    now: datetime

    def preview(self) -> int:
        """Show what would be done, and return how that would end."""
        from reconciler.core.safety import judge

        verdicts = judge(self.undone.plan, self.engine.limits)
        self._report(None, verdicts, ())
        if not all(verdict.passed for verdict in verdicts):
            return 4
        return 0 if self.undone.plan.changes or self._complete else 4

    def carry_out(self, where: Where, prober: ProgressProber, *, verify: bool) -> int:
        """Do it, look at upstreams before and after, and return how it went."""
        from reconciler.cli.apply import exit_code, tell_interrupted
        from reconciler.clock import now
        from reconciler.composition import audit
        from reconciler.core.model import DesiredState
        from reconciler.core.preflight import looked_at_least, puts_back_on
        from reconciler.core.verification import policy_of
        from reconciler.recording import Recorder

        changes = self.undone.plan.changes
        reviewed = DesiredState(self._reviewed(where))
        desired = reviewed if verify else looked_at_least(reviewed, changes)
        looks = verify or any(puts_back_on(change, policy_of(reviewed, change.name)) for change in changes)
        recorder = Recorder(self.settings, self.engine, now, audit(os.environ, self.now))
        recorded = recorder.apply(self.undone.plan, desired, prober if looks else None, rollback_of=self.entry.id)
        tell_interrupted(recorded, self.voice, path_options(where))
        seen = self.engine.examiner.examined_changes(recorded.result, reviewed)
        self._report(recorded, recorded.result.verdicts, seen)
        if recorded.result.count("applied"):
            self._say_what_git_says()
        code = exit_code(recorded.result, seen)
        return code or (0 if self._complete else 5)

    def _reviewed(self, where: Where) -> Mapping[str, DesiredGateway]:
        """Return the gateways as git has them. A tree that cannot be read keeps nobody from rolling back."""
        from reconciler.composition import reviewed_gateways

        try:
            return reviewed_gateways(self.settings, self.now, where.paths)
        except InputError as error:
            self.voice.say(f"warning: what git asks of upstreams is not known, so none of them has to work: {error}")
            return {}

    @property
    def _complete(self) -> bool:
        return not (self.undone.left or self.undone.plan.held_back)

    def _report(self, recorded: Recorded | None, verdicts: Sequence[Any], seen: Sequence[Verified]) -> None:
        from reconciler.cli.reconcile import around
        from reconciler.core.model import DesiredState
        from reconciler.reports import history, outcomes, upstreams
        from reconciler.reports import plan as plan_report
        from reconciler.settings import shown_store

        voice, plan = self.voice, self.undone.plan
        context = around(shown_store(self.settings.target.store), self.now, verdicts, DesiredState({}), plan)
        done = recorded.result.outcomes if recorded is not None else ()
        if voice.format == "json":
            document = {
                **outcomes.documents(done),
                "id": recorded.id or None if recorded is not None else None,
                "rollback_of": self.entry.id,
                "left": history.left_documents(self.undone.left),
                "plan": plan_report.as_document(plan, context),
                "verify": upstreams.as_document(seen),
            }
            voice.document(document)
            return
        if plan.changes or plan.held_back:
            voice.report(plan_report.as_text(plan, context, voice.style))
        elif not self.undone.left:
            voice.report(f"Nothing to roll back: every row is what it was before apply {self.entry.id}.")
        if self.undone.left:
            voice.report(history.left_as_text(self.undone.left, voice.style))
        if done:
            voice.report("\n" + outcomes.as_text(done, voice.style))
        if seen:
            voice.report("\n" + upstreams.as_text(seen, self.now, voice.style))

    def _say_what_git_says(self) -> None:
        if self.entry.rollback_of:
            return
        commit = self.entry.commit
        name = commit.revision.rpartition(":")[2][:10]
        revert = f"`git revert {printable(name)}`" if name and not commit.dirty else "change the manifests back"
        self.voice.say(f"Git still says otherwise: {revert}, or the next apply brings it back.")


def _tell_ledger(settings: Settings, voice: Voice, *, verify: bool, since: str | None) -> int:
    """Print the head of the ledger, once its chain was checked where that is asked for."""
    from reconciler.books import ledger_of
    from reconciler.core.records import Head
    from reconciler.reports import history as report

    with ledger_of(settings) as ledger:
        now = ledger.head() if ledger is not None else Head()
        if verify:
            _demand_whole(ledger, since)
    if voice.format == "json":
        voice.document(report.ledger_document(now, verified=verify))
    elif verify:
        voice.report(f"The ledger is whole: {now.seq:,} entries, head {now}.")
    else:
        voice.report(str(now))
    return 0


def _demand_whole(ledger: Ledger | None, since: str | None) -> None:
    from reconciler.core.records import Head
    from reconciler.errors import TamperingError

    try:
        earlier = Head.of(since) if since is not None else Head()
    except ValueError as error:
        raise InputError(f"what --since names is not a head: {error}", fix="see `reconciler history --head`") from None
    broken = ledger.broken_at() if ledger is not None else 0
    if broken:
        raise TamperingError(
            f"entry {broken} of the ledger is missing, or is not as it was written",
            fix="compare with a backup; what was signed since cannot be proven from here",
        )
    if not (ledger.has(earlier) if ledger is not None else not earlier.seq):
        raise TamperingError(
            f"the ledger does not go on from {earlier}: its end was cut off, or it was written anew",
            fix="compare with a backup; `reconciler plan` shows whether rows were put back as well",
        )


def _refuse_options_of(context: click.Context) -> None:
    """Refuse options that stand before the subcommand: they would be without effect."""
    typed = click.core.ParameterSource.COMMANDLINE
    if any(context.get_parameter_source(name) is typed for name in context.params):
        raise click.UsageError(f"write options after `{context.invoked_subcommand}`")


def _entry(settings: Settings, number: int) -> Entry:
    from reconciler.recording import read_entry
    from reconciler.settings import shown_store

    entry = read_entry(settings, number)
    if entry is None:
        raise InputError(f"there is no apply {number}", fix="`reconciler history` lists those that are kept")
    store = shown_store(settings.target.store)
    if entry.store != store and not store.startswith("sqlite:"):
        raise InputError(f"apply {number} was of another store", fix="name that store with --store")
    return entry


def _planned(engine: Engine, entry: Entry) -> Rollback:
    from reconciler.core.rollback import rollback as planned

    return planned(entry, engine.store.read(), engine.signatures, engine.terms)


def _certificates(entry: Entry) -> Mapping[str, Sequence[Certificate]]:
    """Return the certificates of every PEM text in the pre-images."""
    from reconciler.core.pem import read_pem

    rows = [step.before.gateway for step in entry.steps if step.before is not None]
    texts = {text for row in rows for text in (row.ca_certificate, row.client_certificate) if text}
    return {text: read_pem("store.pem", text.encode()).certificates for text in texts}
