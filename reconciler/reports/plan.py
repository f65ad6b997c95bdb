"""A plan: what would be done and why, CA changes as certificates, for people and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.canonical import document
from reconciler.core.hostile import printable
from reconciler.core.model import Action, Reason
from reconciler.reports.certificates import one_line
from reconciler.reports.problems import FORMAT_VERSION, diagnostics
from reconciler.reports.style import NAME_LIMIT, PLAIN, Style, counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from reconciler.core.model import Certificate, Change, Gateway
    from reconciler.core.planning import Conflict, Orphan, Plan
    from reconciler.core.problems import Problem
    from reconciler.core.safety import Verdict

_MARKS: Final[Mapping[Action, tuple[str, str]]] = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
}
_REASONS: Final[Mapping[Reason, str]] = {
    Reason.ADDED: "",
    Reason.MANIFEST_CHANGED: "the manifest changed",
    Reason.DRIFT: "drift: the store was changed by somebody else",
    Reason.TAMPERING: "tampering: what the store holds is not what was signed",
    Reason.KEY_ROTATED: "signed by an older key",
    Reason.ADOPTED: "adopted",
    Reason.REMOVED_FROM_GIT: "no longer in git",
    Reason.PROTECTION_CHANGED: "protection changed",
}
_KEPT: Final[Mapping[str, str]] = {
    "protected": "protected: remove `reconciler/prune: disabled` in a commit of its own first",
    "not pruned": "no longer in git; --prune would delete it",
    "tree incomplete": "no longer in what was read, but not everything was read, so nothing is deleted",
}
_CERTIFICATE_FIELDS: Final = ("ca_certificate", "client_certificate")
_SHOWN_ON_CREATE: Final = ("url", "transport", "ca_certificate")


@dataclass(frozen=True, slots=True)
class Context:
    """What stands around a plan: the store's name, the guards' verdicts, problems, and certificates by bundle text."""

    target: str
    now: datetime
    verdicts: Sequence[Verdict] = ()
    problems: Sequence[Problem] = ()
    certificates: Mapping[str, Sequence[Certificate]] = field(default_factory=dict)


def as_text(plan: Plan, context: Context, style: Style = PLAIN) -> str:
    """Return the plan for people, deletions first."""
    revision = f" at {printable(short_revision(plan.revision))}" if plan.revision else ""
    dirty = " with uncommitted changes" if plan.dirty else ""
    lines = [style(f"Plan for {printable(context.target, NAME_LIMIT)}{revision}{dirty}", "bold"), ""]
    for change in sorted(plan.changes, key=lambda change: (change.action is not Action.DELETE, change.name)):
        lines.extend(_change(change, context, style))
    lines.extend(_conflict(conflict, style) for conflict in plan.conflicts)
    lines.extend(_orphan(orphan, style) for orphan in plan.orphans)
    if plan.changes or plan.conflicts or plan.orphans:
        lines.append("")
    lines.append(style(summary(plan), "bold"))
    lines.extend(_guards(context.verdicts, style))
    return "\n".join(lines)


def summary(plan: Plan) -> str:
    """Return the counts in one sentence."""
    if plan.in_sync:
        return f"No changes. The store holds exactly what git says: {counted(plan.unchanged, 'gateway')}."
    parts = [f"{plan.count(action)} to {action}" for action in Action]
    parts.append(f"{plan.unchanged} unchanged")
    if plan.conflicts:
        parts.append(counted(len(plan.conflicts), "conflict"))
    if plan.orphans:
        parts.append(f"{len(plan.orphans)} no longer in git")
    if plan.held_back:
        parts.append(f"{len(plan.held_back)} not permitted by the policy")
    return f"Plan: {', '.join(parts)}."


def as_document(plan: Plan, context: Context) -> dict[str, Any]:
    """Return the published JSON shape of `plan`: references and digests, never a secret."""
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
        "resource_changes": [_change_document(change) for change in plan.changes],
        "resource_drift": [
            {"name": drift.name, "reason": drift.reason.value, "paths": _paths(drift.fields)} for drift in plan.drift
        ],
        "conflicts": [
            {"name": conflict.name, "owner": conflict.owner, "paths": _paths(conflict.fields)}
            for conflict in plan.conflicts
        ],
        "orphans": [{"name": orphan.name, "why": orphan.why} for orphan in plan.orphans],
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
        "diagnostics": diagnostics(context.problems),
    }


def _change_document(change: Change) -> dict[str, Any]:
    return {
        "name": change.name,
        "file": change.location.file if change.location else "",
        "line": change.location.line if change.location else 0,
        "actions": [change.action.value],
        "reason": change.reason.value,
        "before": document(change.before.gateway) if change.before else None,
        "after": document(change.after) if change.after else None,
        "paths": _paths(change.fields),
    }


def _paths(fields: Sequence[str]) -> list[str]:
    return [f"/{name}" for name in fields]


def _change(change: Change, context: Context, style: Style) -> Iterator[str]:
    mark, colour = _MARKS[change.action]
    reason = _REASONS[change.reason]
    where = f"{printable(change.location.file, NAME_LIMIT)}:{change.location.line}" if change.location else ""
    words = [style(f"{mark} {change.action} {printable(change.name)}", colour, "bold")]
    words.extend(style(word, "dim") for word in (reason, where) if word)
    yield "  ".join(words)
    if change.action is Action.CREATE and change.after is not None:
        fields: Sequence[str] = [name for name in _SHOWN_ON_CREATE if getattr(change.after, name)]
    else:
        fields = change.fields
    before = change.before.gateway if change.before else None
    for name in fields:
        yield from _field(name, before, change.after, context, style)


def _field(name: str, before: Gateway | None, after: Gateway | None, context: Context, style: Style) -> Iterator[str]:
    old = getattr(before, name) if before is not None else None
    new = getattr(after, name) if after is not None else None
    if name in _CERTIFICATE_FIELDS:
        yield f"    {name}"
        yield from _certificates(old or "", new or "", context, style)
        return
    documents = [document(gateway)[name] if gateway is not None else None for gateway in (before, after)]
    if before is None:
        yield f"    {name}: {_value(documents[1])}"
    else:
        yield f"    {name}: {style(_value(documents[0]), 'red')} -> {style(_value(documents[1]), 'green')}"


def _certificates(old: str, new: str, context: Context, style: Style) -> Iterator[str]:
    before = {certificate.sha256: certificate for certificate in context.certificates.get(old, ())}
    after = {certificate.sha256: certificate for certificate in context.certificates.get(new, ())}
    if old and not before:
        yield f"      {style('- (not a readable bundle)', 'red')}"
    for fingerprint, certificate in before.items():
        if fingerprint not in after:
            yield f"      {style('- ' + one_line(certificate, context.now), 'red')}"
    for fingerprint, certificate in after.items():
        if fingerprint in before:
            yield f"        {style('kept ' + one_line(certificate, context.now), 'dim')}"
        else:
            yield f"      {style('+ ' + one_line(certificate, context.now), 'green')}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{printable(key)}: {_value(item)}' for key, item in value.items() if item)}}}"
    return printable(str(value)) if value not in ("", None) else '""'


def _conflict(conflict: Conflict, style: Style) -> str:
    shown = printable(conflict.name)
    name = style(f"! conflict {shown}", "red", "bold")
    if conflict.owner:
        return f"{name}  owned by {printable(conflict.owner)}, so it is left alone"
    return f"{name}  exists and nobody owns it; take it over with `reconciler adopt {shown}`"


def _orphan(orphan: Orphan, style: Style) -> str:
    return f"{style(f'? keep {printable(orphan.name)}', 'yellow')}  {_KEPT[orphan.why]}"


def _guards(verdicts: Sequence[Verdict], style: Style) -> Iterator[str]:
    for verdict in verdicts:
        if not verdict.passed:
            yield f"{style('refused', 'red', 'bold')}: {verdict.message} [{verdict.guard}]"
            yield f"    {style('fix:', 'green')} {verdict.fix}"
