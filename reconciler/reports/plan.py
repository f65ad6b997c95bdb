"""A plan: what would be done and why, CA changes as certificates, for people and as JSON.

What git intends comes first, the gravest of it before the rest; what somebody else did to the store stands apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.differences import differences, shown_document
from reconciler.core.effects import KnownTools
from reconciler.core.hostile import printable
from reconciler.core.model import Action
from reconciler.core.review import Group, review
from reconciler.core.rotation import exchange
from reconciler.reports import changes, tools
from reconciler.reports.certificates import one_line
from reconciler.reports.problems import FORMAT_VERSION, diagnostics
from reconciler.reports.style import NAME_LIMIT, PLAIN, TEXT_LIMIT, Style, counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.differences import Difference
    from reconciler.core.leaving import Orphan
    from reconciler.core.model import Certificate, Gateway, Suspension
    from reconciler.core.planning import Conflict, Drift, Plan
    from reconciler.core.problems import Problem
    from reconciler.core.review import Review
    from reconciler.core.rotation import Exchange
    from reconciler.core.safety import Verdict
    from reconciler.core.toolchanges import ToolsDelta

BUNDLES: Final = ("ca_certificate", "client_certificate")
"""The fields that hold certificates, and are shown as such."""

UNREADABLE: Final = "(not a readable bundle)"

MARKS: Final[Mapping[Action, tuple[str, str]]] = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
}
_SAME: Final = "the same certificates, in another text"
_SHOWN_ALONE: Final[Mapping[Action, tuple[str, ...]]] = {
    Action.CREATE: ("url", "transport", "ca_certificate"),
    Action.DELETE: ("url",),
}
_DRIFT: Final = "Drift: what somebody else did to the store, and an apply of this plan heals"


@dataclass(frozen=True, slots=True)
class Context:
    """What stands around a plan: the store's name, the guards' verdicts, problems, and certificates by bundle text.

    Tools are by the name of the gateway in the store: `tools` are the names seen last, `tool_counts` how many, where no
    more than that is known, and `required_tools` the names that its manifest asks for. `tool_deltas` says how the tools
    of gateways differ from the locked ones, or the locked ones from the earlier ones. `provisos` say, by name, on what
    condition a change is made. `between`: the plan is between two revisions, and `target` names the earlier one.
    """

    target: str
    now: datetime
    verdicts: Sequence[Verdict] = ()
    problems: Sequence[Problem] = ()
    certificates: Mapping[str, Sequence[Certificate]] = field(default_factory=dict)
    tools: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tool_counts: Mapping[str, int] = field(default_factory=dict)
    required_tools: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tool_deltas: Sequence[ToolsDelta] = ()
    provisos: Mapping[str, str] = field(default_factory=dict)
    between: bool = False


def as_text(plan: Plan, context: Context, style: Style = PLAIN) -> str:
    """Return the plan for people: deletions and CA changes, other updates, what is new, and then the drift."""
    reviews = reviewed(plan, context)
    intended = [each for each in reviews if each.group is not Group.DRIFT]
    drifted = [each for each in reviews if each.group is Group.DRIFT]
    lines = [style(_heading(plan, context), "bold"), ""]
    lines += [line for each in intended for line in _change(each, context, style)]
    healed = [line for each in drifted for line in _change(each, context, style)]
    healed += [_unhealed(drift, style) for drift in unhealed(plan)]
    if healed:
        lines += [*([""] if intended else []), style(_DRIFT, "bold"), *healed]
    lines += tools.deltas_as_text(context.tool_deltas, style)
    left = list(_left(plan, style))
    lines += [
        *([""] if healed and left else []),
        *left,
        *([""] if reviews or healed or left or context.tool_deltas else []),
    ]
    lines.append(style(summary(plan, between=context.between), "bold"))
    lines.extend(_guards(context.verdicts, style))
    return "\n".join(lines)


def summary(plan: Plan, *, between: bool = False) -> str:
    """Return the counts in one sentence."""
    if plan.in_sync and between:
        return f"No changes: {counted(plan.unchanged, 'gateway')} as before."
    if plan.in_sync:
        asleep = f"; {len(plan.suspended)} suspended" if plan.suspended else ""
        return f"No changes. The store holds exactly what git says: {counted(plan.unchanged, 'gateway')}{asleep}."
    parts = [f"{plan.count(action)} to {action}" for action in Action]
    parts.append(f"{plan.unchanged} unchanged")
    if plan.conflicts:
        parts.append(counted(len(plan.conflicts), "conflict"))
    if plan.orphans:
        parts.append(f"{len(plan.orphans)} no longer in git")
    if plan.held_back:
        parts.append(f"{len(plan.held_back)} not permitted by the policy")
    if plan.suspended:
        parts.append(f"{len(plan.suspended)} suspended")
    return f"Plan: {', '.join(parts)}."


def reviewed(plan: Plan, context: Context) -> tuple[Review, ...]:
    """Return the changes as they want to be looked at, the gravest first."""
    known = KnownTools(context.tools, context.tool_counts, context.required_tools)
    return review(plan, context.certificates, known)


def unhealed(plan: Plan) -> list[Drift]:
    """Return the drift that no change of the plan heals."""
    healed = {change.name for change in plan.changes}
    return [drift for drift in plan.drift if drift.name not in healed]


def why_suspended(asleep: Suspension) -> str:
    """Return until when a gateway is left alone, and why."""
    until = f"left alone until {asleep.until:%Y-%m-%d %H:%M} UTC, as its manifest asks"
    return f"{until}: {printable(asleep.reason, TEXT_LIMIT)}" if asleep.reason else until


def why_conflict(found: Conflict) -> str:
    """Return why a gateway is left alone that git wants, and what can be done."""
    if found.owner:
        return f"owned by {printable(found.owner)}, so it is left alone"
    return f"exists and nobody owns it; take it over with `reconciler adopt {printable(found.name)}`"


def where_drifted(drift: Drift) -> str:
    """Return where a row drifted that no change of the plan is about."""
    return f"{drift.reason} in {', '.join(drift.fields)}; left as it is, for the policy permits no update"


def as_document(plan: Plan, context: Context) -> dict[str, Any]:
    """Return the published JSON shape of `plan`: references and digests, never a secret."""
    reviews = sorted(reviewed(plan, context), key=lambda each: each.change.name)
    return {
        "format_version": FORMAT_VERSION,
        "checksum": plan.checksum,
        "source": {"revision": plan.revision, "dirty": plan.dirty},
        "target": context.target,
        "summary": {
            **{action.value: plan.count(action) for action in Action},
            "unchanged": plan.unchanged,
            "conflict": len(plan.conflicts),
            "orphan": len(plan.orphans),
        },
        "resource_changes": [_change_document(each, context.provisos.get(each.change.name, "")) for each in reviews],
        "resource_drift": [
            {
                "name": drift.name,
                "reason": drift.reason.value,
                "evidence": drift.evidence.value if drift.evidence is not None else None,
                "paths": _paths(drift.fields),
            }
            for drift in plan.drift
        ],
        "conflicts": [
            {"name": conflict.name, "owner": conflict.owner, "paths": _paths(conflict.fields)}
            for conflict in plan.conflicts
        ],
        "orphans": [{"name": orphan.name, "why": orphan.why} for orphan in plan.orphans],
        "suspended": [
            {"name": name, "until": asleep.until.isoformat(), "reason": asleep.reason}
            for name, asleep in sorted(plan.suspended.items())
        ],
        "policy": [
            {
                "guard": verdict.guard,
                "limit": verdict.limit,
                "actual": verdict.actual,
                "result": "pass" if verdict.passed else "fail",
                "message": verdict.message,
            }
            for verdict in context.verdicts
        ],
        **({"tools": tools.delta_documents(context.tool_deltas)} if context.tool_deltas else {}),
        "diagnostics": diagnostics(context.problems),
    }


def _heading(plan: Plan, context: Context) -> str:
    revision = f" at {printable(short_revision(plan.revision))}" if plan.revision else ""
    dirty = " with uncommitted changes" if plan.dirty else ""
    about = "Changes since" if context.between else "Plan for"
    return f"{about} {printable(context.target, NAME_LIMIT)}{revision}{dirty}"


def _change_document(each: Review, proviso: str) -> dict[str, Any]:
    change = each.change
    reviewed = change.after if each.git_says else None
    document = {
        "name": change.name,
        "file": change.location.file if change.location else "",
        "line": change.location.line if change.location else 0,
        "actions": [change.action.value],
        "reason": change.reason.value,
        "before": shown_document(change.before.gateway, reviewed) if change.before else None,
        "after": shown_document(change.after, reviewed) if change.after else None,
        "paths": _paths(change.fields),
    }
    if each.bundle is not None:
        document["certificates"] = _exchange_document(each.bundle)
    if each.rotation is not None:
        document["rotation"] = {"step": each.rotation.step, "says": each.rotation.says}
    if (effect := each.tools) is not None:
        document["tools"] = {"effect": effect.effect, "count": effect.count, "names": list(effect.names)}
    if proviso:
        document["proviso"] = proviso
    return document


def _exchange_document(found: Exchange) -> dict[str, Any]:
    return {
        "added": [_certificate_document(certificate) for certificate in found.added],
        "removed": [_certificate_document(certificate) for certificate in found.removed],
        "kept": [_certificate_document(certificate) for certificate in found.kept],
    }


def _certificate_document(certificate: Certificate) -> dict[str, str]:
    return {
        "subject": certificate.subject,
        "sha256": certificate.sha256,
        "not_after": certificate.not_after.isoformat(),
    }


def _paths(fields: Sequence[str]) -> list[str]:
    return [f"/{name}" for name in fields]


def _change(each: Review, context: Context, style: Style) -> Iterator[str]:
    change = each.change
    mark, colour = MARKS[change.action]
    words = [style(f"{mark} {change.action} {printable(change.name)}", colour, "bold")]
    words.extend(style(word, "dim") for word in (changes.reason(each), changes.place(each)) if word)
    yield "  ".join(words)
    if each.tools is not None:
        yield f"    {changes.tools(each.tools)}"
    if change.name in context.provisos:
        yield style(f"    {printable(context.provisos[change.name], TEXT_LIMIT)}", "yellow")
    for difference in _shown(each):
        if difference.path in BUNDLES:
            yield from _bundle(difference.path, each, context, style)
        else:
            yield _field(difference, style)


def _shown(each: Review) -> Iterable[Difference]:
    """Return the fields to show: of an update those that differ, of the rest what tells one gateway from another."""
    before, after = each.change.before, each.change.after
    found = differences(before.gateway if before else None, after, git_says=each.git_says)
    shown = _SHOWN_ALONE.get(each.change.action)
    return found if shown is None else [difference for difference in found if difference.path in shown]


def _field(difference: Difference, style: Style) -> str:
    if (found := changes.items(difference)) is not None:
        gained, lost = found
        words = [style(f"+{item}", "green") for item in gained] + [style(f"-{item}", "red") for item in lost]
        return f"    {printable(difference.path)}: {' '.join(words)}"
    old, new = changes.sides(difference)
    shown = f"{style(old, 'red')} -> {style(new, 'green')}"
    if difference.before is None or difference.after is None:
        shown = style(new, "green") if difference.before is None else style(old, "red")
    return f"    {printable(difference.path)}: {shown}"


def _bundle(name: str, each: Review, context: Context, style: Style) -> Iterator[str]:
    bundle, note = exchanged(name, each, context)
    says = each.rotation.says if each.rotation is not None and name == "ca_certificate" else note
    yield f"    {name}{': ' if says else ''}{says}"
    for certificate in bundle.removed:
        yield f"      {style(f'- {one_line(certificate, context.now)}', 'red')}"
    for certificate in bundle.added:
        yield f"      {style(f'+ {one_line(certificate, context.now)}', 'green')}"
    for certificate in bundle.kept:
        yield f"        {style(f'kept {one_line(certificate, context.now)}', 'dim')}"


def exchanged(name: str, each: Review, context: Context) -> tuple[Exchange, str]:
    """Return what becomes of the certificates in one of the `BUNDLES`, and what they alone do not say."""
    before, after = each.change.before, each.change.after
    old, new = _text(name, before.gateway if before else None), _text(name, after)
    held = context.certificates.get(old, ())
    found = exchange(held, context.certificates.get(new, ()))
    if old and not held:
        return found, UNREADABLE
    return found, _SAME if found.kept and not found.added and not found.removed else ""


def _text(name: str, gateway: Gateway | None) -> str:
    return getattr(gateway, name) if gateway is not None else ""


def _unhealed(drift: Drift, style: Style) -> str:
    return f"{style(f'? drifted {printable(drift.name)}', 'yellow')}  {where_drifted(drift)}"


def _left(plan: Plan, style: Style) -> Iterator[str]:
    """Yield a line for everything that is not touched although it is not as git says."""
    for conflict in plan.conflicts:
        yield _conflict(conflict, style)
    for orphan in plan.orphans:
        yield _orphan(orphan, style)
    for change in plan.held_back:
        yield f"{style(f'? no {change.action} {printable(change.name)}', 'yellow')}  not permitted by the policy"
    for name, asleep in sorted(plan.suspended.items()):
        yield f"{style(f'? suspended {printable(name)}', 'yellow')}  {why_suspended(asleep)}"


def _conflict(conflict: Conflict, style: Style) -> str:
    return f"{style(f'! conflict {printable(conflict.name)}', 'red', 'bold')}  {why_conflict(conflict)}"


def _orphan(orphan: Orphan, style: Style) -> str:
    return f"{style(f'? keep {printable(orphan.name)}', 'yellow')}  {changes.KEPT[orphan.why]}"


def _guards(verdicts: Sequence[Verdict], style: Style) -> Iterator[str]:
    for verdict in verdicts:
        if not verdict.passed:
            yield f"{style('refused', 'red', 'bold')}: {verdict.message} [{verdict.guard}]"
            yield f"    {style('fix:', 'green')} {verdict.fix}"
