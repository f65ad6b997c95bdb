"""A plan as the comment on a pull request, and as the summary of a job: what a reviewer must not miss comes first.

All that files and rows say stands in HTML, where no Markdown is read, and no line is ever cut: what is opened is
closed. Where there is too much for the budget, changes are first named without their details, then counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.differences import differences
from reconciler.core.hostile import printable
from reconciler.core.problems import Severity
from reconciler.core.review import Group
from reconciler.reports import changes, markup, tools
from reconciler.reports.certificates import expiry
from reconciler.reports.plan import (
    BUNDLES,
    MARKS,
    exchanged,
    reviewed,
    summary,
    unhealed,
    where_drifted,
    why_conflict,
    why_suspended,
)
from reconciler.reports.problems import sentences
from reconciler.reports.problems import summary as tally
from reconciler.reports.style import counted, short_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.core.differences import Difference
    from reconciler.core.model import Certificate
    from reconciler.core.planning import Conflict, Drift, Plan
    from reconciler.core.problems import Problem
    from reconciler.core.review import Review
    from reconciler.core.toolchanges import ToolsDelta
    from reconciler.reports.plan import Context

COMMENT_BUDGET: Final = 60_000
SUMMARY_BUDGET: Final = 900_000
"""Bytes: GitHub refuses a comment of more than 65,536 characters, and a job's summary of more than 1 MiB."""

_IN_COMMENT: Final = "see the job's summary"
_IN_SUMMARY: Final = "they did not fit here"

_TITLES: Final[Mapping[Group, str]] = {
    Group.DELETIONS: "Deletions",
    Group.TRUST: "CA changes",
    Group.DRIFT: "Drift: what somebody else did to the store, and an apply heals",
    Group.UPDATES: "Other updates",
    Group.CREATIONS: "New gateways",
}
_VERDICT_LIMIT: Final = 500
_SHORTEST: Final = 100


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of HTML, and what takes its place where there is room for more."""

    brief: str
    whole: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class _Section:
    """What belongs together: `entries` between an opening and a closing that are always shown."""

    opening: str
    entries: Sequence[_Entry]
    closing: str = ""


def as_markdown(plan: Plan, context: Context) -> str:
    """Return the comment, of 60,000 bytes at the most. Its first line is a marker by which it is found again."""
    return _written(plan, context, COMMENT_BUDGET, _IN_COMMENT)


def as_step_summary(plan: Plan, context: Context) -> str:
    """Return the summary for a job, the same with room for more: 900,000 bytes at the most."""
    return _written(plan, context, SUMMARY_BUDGET, _IN_SUMMARY)


def _written(plan: Plan, context: Context, budget: int, elsewhere: str) -> str:
    sections = [section for section in _sections(plan, context) if section.entries]
    head = "\n".join(_head(plan, context))
    room = budget - _size(head) - sum(_reserved(section, elsewhere) for section in sections)
    shown, room = _named(sections, room)
    _detail(sections, shown, room)
    blocks = [head]
    for section, entries in zip(sections, shown, strict=True):
        left = len(section.entries) - len(entries)
        lines = [section.opening, *entries, *([_more(left, elsewhere)] if left else []), section.closing]
        blocks.append("\n".join(line for line in lines if line))
    return "\n\n".join(blocks)


def _reserved(section: _Section, elsewhere: str) -> int:
    """Return what a section takes when nothing of it fits."""
    return sum(map(_size, (section.opening, section.closing, _more(len(section.entries), elsewhere), "")))


def _named(sections: Sequence[_Section], room: int) -> tuple[list[list[str]], int]:
    """Return, for each section, the first entries that fit in brief, and the room that is left."""
    shown: list[list[str]] = []
    for section in sections:
        fitting: list[str] = []
        for entry in section.entries:
            if _size(entry.brief) > room:
                break
            room -= _size(entry.brief)
            fitting.append(entry.brief)
        shown.append(fitting)
    return shown, room


def _detail(sections: Sequence[_Section], shown: Sequence[list[str]], room: int) -> None:
    """Put whole entries in the place of brief ones, from the first on, as far as there is room."""
    for section, fitting in zip(sections, shown, strict=True):
        for number, (entry, brief) in enumerate(zip(section.entries, fitting, strict=False)):
            if room < _SHORTEST:
                return
            whole = entry.whole() if entry.whole is not None else brief
            if _size(whole) - _size(brief) <= room:
                room -= _size(whole) - _size(brief)
                fitting[number] = whole


def _more(left: int, elsewhere: str) -> str:
    return f"<p>and {left:,} more: {elsewhere}</p>"


def _size(line: str) -> int:
    """Return the bytes of a line with its end."""
    return len(line.encode()) + 1


def _head(plan: Plan, context: Context) -> Iterator[str]:
    yield markup.marker(context.target)
    tools_of = counted(len(context.tool_deltas), "gateway")
    others = f" The tools of {tools_of} changed." if context.tool_deltas else ""
    yield f"### {summary(plan, between=context.between)}{others}"
    yield ""
    revision = f" at {_code(short_revision(plan.revision))}" if plan.revision else ""
    since = "since " if context.between else ""
    yield f"<p>{since}{_code(context.target)}{revision}{' with uncommitted changes' if plan.dirty else ''}</p>"
    refused = [verdict for verdict in context.verdicts if not verdict.passed]
    if refused:
        yield from ("", "> [!CAUTION]", "> **Refused: an apply of this plan writes nothing.**", "> <ul>")
        yield from (_refusal(verdict.message, verdict.fix) for verdict in refused)
        yield "> </ul>"


def _refusal(*sentences: str) -> str:
    said, fix = (markup.as_html(printable(text, _VERDICT_LIMIT)) for text in sentences)
    return f"> <li>{said}<br>fix: {fix}</li>"


def _sections(plan: Plan, context: Context) -> Iterator[_Section]:
    reviews = reviewed(plan, context)
    for group, title in _TITLES.items():
        entries = [_change(each, context) for each in reviews if each.group is group]
        yield _section(
            title, entries + ([_unhealed(drift) for drift in unhealed(plan)] if group is Group.DRIFT else [])
        )
    yield _section("Tools", [_tools(delta) for delta in context.tool_deltas])
    yield _section("Conflicts", [_conflict(conflict) for conflict in plan.conflicts])
    yield _section("Kept", [_note("?", each.name, changes.KEPT[each.why]) for each in plan.orphans])
    held = [_note("?", each.name, f"no {each.action}: not permitted by the policy") for each in plan.held_back]
    yield _section("Held back", held)
    yield _section(
        "Suspended", [_note("?", name, why_suspended(each)) for name, each in sorted(plan.suspended.items())]
    )
    yield _diagnostics(context.problems)


def _section(title: str, entries: Sequence[_Entry]) -> _Section:
    return _Section(f"#### {title} ({len(entries):,})\n", entries)


def _diagnostics(problems: Sequence[Problem]) -> _Section:
    worst_first = sorted(problems, key=lambda problem: list(Severity).index(problem.severity))
    entries = [_Entry(f"<p>{_problem(problem)}</p>") for problem in worst_first]
    return _Section(f"<details><summary>{tally(problems)}</summary>", entries, "</details>")


def _problem(problem: Problem) -> str:
    where = problem.location
    said = "<br>".join(map(markup.as_html, sentences(problem)))
    return f"{problem.severity} {_code(f'{where.file}:{where.line}')} {said} {_code(problem.code)}"


def _tools(delta: ToolsDelta) -> _Entry:
    brief, whole = tools.delta_as_html(delta)
    return _Entry(brief, lambda: whole)


def _note(mark: str, name: str, why: str) -> _Entry:
    return _Entry(f"<p>{mark} {_code(name)} {markup.as_html(why)}</p>")


def _unhealed(drift: Drift) -> _Entry:
    return _note("?", drift.name, where_drifted(drift))


def _conflict(conflict: Conflict) -> _Entry:
    if conflict.owner:
        return _Entry(f"<p>! {_code(conflict.name)} owned by {_code(conflict.owner)}, so it is left alone</p>")
    return _note("!", conflict.name, why_conflict(conflict))


def _change(each: Review, context: Context) -> _Entry:
    title = _title(each, context.provisos.get(each.change.name, ""))
    return _Entry(f"<p>{title}</p>", lambda: _details(title, each, context))


def _title(each: Review, proviso: str = "") -> str:
    change = each.change
    why = changes.reason(each)
    lines = [
        f"{MARKS[change.action][0]} {change.action} {_code(change.name)}{f': {markup.as_html(why)}' if why else ''}"
    ]
    if each.rotation is not None:
        lines.append(markup.as_html(each.rotation.says))
    if each.tools is not None:
        lines.append(markup.as_html(changes.tools(each.tools)))
    if proviso:
        lines.append(markup.as_html(proviso))
    return "<br>".join(lines)


def _details(title: str, each: Review, context: Context) -> str:
    before, after = each.change.before, each.change.after
    found = differences(before.gateway if before else None, after, git_says=each.git_says)
    lines = [f"<details><summary>{title}</summary>"]
    if where := changes.place(each):
        lines.append(f"<p>{_code(where)}</p>")
    plain = [difference for difference in found if difference.path not in BUNDLES]
    lines += _fields(plain, alone=before is None or after is None)
    for name in (difference.path for difference in found if difference.path in BUNDLES):
        lines += _certificates(name, each, context)
    return "\n".join([*lines, "</details>"])


def _fields(found: Sequence[Difference], *, alone: bool) -> Iterator[str]:
    if found:
        yield "<table>"
        yield f"<tr><th>field</th>{'<th>value</th>' if alone else '<th>before</th><th>after</th>'}</tr>"
        yield from (_row(difference.path, _alone(difference) if alone else _sides(difference)) for difference in found)
        yield "</table>"


def _row(path: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in (_code(path), *cells))}</tr>"


def _alone(difference: Difference) -> tuple[str]:
    return (_code(changes.value(difference.before if difference.after is None else difference.after)),)


def _sides(difference: Difference) -> tuple[str, str]:
    if (items := changes.items(difference)) is not None:
        gained, lost = items
        return _spaced(f"-{item}" for item in lost), _spaced(f"+{item}" for item in gained)
    old, new = changes.sides(difference)
    return _code(old), _code(new)


def _spaced(words: Iterable[str]) -> str:
    return " ".join(map(_code, words))


def _certificates(name: str, each: Review, context: Context) -> Iterator[str]:
    bundle, note = exchanged(name, each, context)
    yield "<table>"
    yield f'<tr><th colspan="3" align="left">{name}</th></tr>'
    if note:
        yield f'<tr><td colspan="3">{note}</td></tr>'
    for what, certificates in (("removed", bundle.removed), ("added", bundle.added), ("kept", bundle.kept)):
        yield from (_certificate(what, certificate, context) for certificate in certificates)
    yield "</table>"


def _certificate(what: str, certificate: Certificate, context: Context) -> str:
    root = " (Root CA)" if certificate.root and certificate.ca else ""
    until = expiry(certificate.not_after, context.now)
    cells = (what, f"{_code(certificate.subject)}{root}<br>sha256 {_code(certificate.sha256)}", until)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _code(text: str) -> str:
    return f"<code>{markup.as_html(text)}</code>"
