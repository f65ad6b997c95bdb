"""A plan as a comment: the gravest first, within the budget, and nothing in it is more than words."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from strategies import hostile, hostile_problems

from reconciler.core.leaving import Orphan
from reconciler.core.model import (
    Action,
    Auth,
    Certificate,
    Change,
    Gateway,
    KuadrantOptions,
    LiveGateway,
    Reason,
    SecretReference,
    Stamp,
    Transport,
)
from reconciler.core.planning import Conflict, Drift, Plan, differing_fields
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.safety import Verdict
from reconciler.reports.plan import Context
from reconciler.reports.plan_markdown import COMMENT_BUDGET, SUMMARY_BUDGET, as_markdown, as_step_summary

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=100)
EMPTY = Plan((), (), (), (), (), 0, 0, 0, "", False, "sha256:0")
STAMP = Stamp("me", "a.yaml", "r", "d")


def certificate(name: str, number: str) -> Certificate:
    return Certificate(name, name, number * 32, NOW, LATER, root=True, ca=True, pem="", file="f", line=1)


ONE, TWO = certificate("CN=One", "1a"), certificate("CN=Two", "2b")
CONTEXT = Context("sqlite:///x.db", NOW, certificates={"ONE": [ONE], "BOTH": [ONE, TWO]})


def live(gateway: Gateway, **stamp: Any) -> LiveGateway:
    return LiveGateway(gateway, "", replace(STAMP, **stamp), "t")


def gateway(name: str, **fields: Any) -> Gateway:
    return replace(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), **fields)


def update(before: Gateway, after: Gateway, reason: Reason = Reason.MANIFEST_CHANGED) -> Change:
    return Change(
        Action.UPDATE,
        after.name,
        reason,
        before=live(before),
        after=after,
        stamp=STAMP if reason is Reason.DRIFT else replace(STAMP, digest="other"),
        fields=differing_fields(before, after),
        location=Location(f"gateways/{after.name}.yaml", 1),
    )


def create(after: Gateway) -> Change:
    return Change(Action.CREATE, after.name, Reason.ADDED, after=after, location=Location("n.yaml"))


def delete(name: str) -> Change:
    return Change(Action.DELETE, name, Reason.REMOVED_FROM_GIT, before=live(gateway(name)))


ROTATED = update(gateway("pay", ca_certificate="ONE"), gateway("pay", ca_certificate="BOTH", tags=("eu",)))
HEALED = update(gateway("crm", description="theirs"), gateway("crm"), Reason.DRIFT)
CHANGED = update(gateway("map"), gateway("map", description="Maps"))

GOLDEN = """\
<!-- reconciler:plan:sqlite:///x.db -->
### Plan: 1 to create, 3 to update, 1 to delete, 4 unchanged, 1 conflict, 1 no longer in git, 1 not permitted by the \
policy.

<p><code>sqlite:///x.db</code> at <code>main@&#8203;ababababab</code> with uncommitted changes</p>

> [!CAUTION]
> **Refused: an apply of this plan writes nothing.**
> <ul>
> <li>5 of 10 gateways would be deleted<br>fix: pass --max-delete-percent 50</li>
> </ul>

#### Deletions (1)

<details><summary>- delete <code>old</code>: no longer in git<br>2 tools of old vanish: find, search</summary>
<table>
<tr><th>field</th><th>value</th></tr>
<tr><td><code>url</code></td><td><code>https://old.example/mcp</code></td></tr>
<tr><td><code>transport</code></td><td><code>sse</code></td></tr>
<tr><td><code>enabled</code></td><td><code>true</code></td></tr>
<tr><td><code>visibility</code></td><td><code>private</code></td></tr>
<tr><td><code>system_trust</code></td><td><code>true</code></td></tr>
<tr><td><code>auth.type</code></td><td><code>none</code></td></tr>
<tr><td><code>contextforge.mode</code></td><td><code>cache</code></td></tr>
</table>
</details>

#### CA changes (1)

<details><summary>~ update <code>pay</code>: the manifest changed; CA rotation<br>step 1 of 3, add the new CA: deploy \
it everywhere, then reissue the server certificates under it (step 2, outside of git), then remove the old CA</summary>
<p><code>gateways/pay.yaml:1</code></p>
<table>
<tr><th>field</th><th>before</th><th>after</th></tr>
<tr><td><code>tags</code></td><td></td><td><code>+eu</code></td></tr>
</table>
<table>
<tr><th colspan="3" align="left">ca_certificate</th></tr>
<tr><td>added</td><td><code>CN=Two</code> (Root CA)<br>\
sha256 <code>2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b</code></td>\
<td>expires 2027-01-28 (in 100 days)</td></tr>
<tr><td>kept</td><td><code>CN=One</code> (Root CA)<br>\
sha256 <code>1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a</code></td>\
<td>expires 2027-01-28 (in 100 days)</td></tr>
</table>
</details>

#### Drift: what somebody else did to the store, and an apply heals (2)

<details><summary>~ update <code>crm</code>: drift: the store was changed by somebody else</summary>
<p><code>gateways/crm.yaml:1</code></p>
<table>
<tr><th>field</th><th>before</th><th>after</th></tr>
<tr><td><code>description</code></td><td><code>theirs</code></td><td><code>&quot;&quot;</code></td></tr>
</table>
</details>
<p>? <code>far</code> tampering in url; left as it is, for the policy permits no update</p>

#### Other updates (1)

<details><summary>~ update <code>map</code>: the manifest changed</summary>
<p><code>gateways/map.yaml:1</code></p>
<table>
<tr><th>field</th><th>before</th><th>after</th></tr>
<tr><td><code>description</code></td><td><code>&quot;&quot;</code></td><td><code>Maps</code></td></tr>
</table>
</details>

#### New gateways (1)

<details><summary>+ create <code>new</code><br>tools of new appear: translate</summary>
<p><code>n.yaml:1</code></p>
<table>
<tr><th>field</th><th>value</th></tr>
<tr><td><code>url</code></td><td><code>https://new.example/mcp</code></td></tr>
<tr><td><code>transport</code></td><td><code>sse</code></td></tr>
<tr><td><code>enabled</code></td><td><code>true</code></td></tr>
<tr><td><code>visibility</code></td><td><code>private</code></td></tr>
<tr><td><code>system_trust</code></td><td><code>true</code></td></tr>
<tr><td><code>auth.type</code></td><td><code>none</code></td></tr>
<tr><td><code>contextforge.mode</code></td><td><code>cache</code></td></tr>
</table>
</details>

#### Conflicts (1)

<p>! <code>hers</code> owned by <code>team-b</code>, so it is left alone</p>

#### Kept (1)

<p>? <code>kept</code> no longer in git; --prune would delete it</p>

#### Held back (1)

<p>? <code>far</code> no update: not permitted by the policy</p>

<details><summary>1 warning</summary>
<p>warning <code>a.yaml:3</code> no TLS<br>fix: write https:// <code>plain-http</code></p>
</details>"""


def test_the_whole_comment() -> None:
    plan = replace(
        EMPTY,
        changes=(HEALED, CHANGED, create(gateway("new")), delete("old"), ROTATED),
        conflicts=(Conflict("hers", "team-b", ("url",)),),
        drift=(Drift("crm", Reason.DRIFT, ("description",)), Drift("far", Reason.TAMPERING, ("url",))),
        orphans=(Orphan("kept", "not pruned"),),
        held_back=(update(gateway("far"), gateway("far", tags=("a",))),),
        unchanged=4,
        revision=f"main@sha1:{'ab' * 20}",
        dirty=True,
    )
    refusal = Verdict("max_delete_percent", 30, 50, "5 of 10 gateways would be deleted", "pass --max-delete-percent 50")
    context = replace(
        CONTEXT,
        verdicts=[Verdict("max_update_percent", 30, 0), refusal],
        problems=[Problem("plain-http", Severity.WARNING, "no TLS", Location("a.yaml", 3), "write https://")],
        tools={"old": ["search", "find"]},
        required_tools={"new": ["translate"]},
    )
    assert as_markdown(plan, context) == GOLDEN
    assert as_step_summary(plan, context) == GOLDEN


def test_nothing_to_do_is_said_in_three_lines() -> None:
    assert as_markdown(replace(EMPTY, unchanged=2), CONTEXT).split("\n") == [
        "<!-- reconciler:plan:sqlite:///x.db -->",
        "### No changes. The store holds exactly what git says: 2 gateways.",
        "",
        "<p><code>sqlite:///x.db</code></p>",
    ]


def test_the_worst_problems_come_first_and_are_folded_away() -> None:
    problems = [Problem(f"p-{each}", each, "m", Location("a.yaml")) for each in reversed(Severity)]
    shown = as_markdown(EMPTY, replace(CONTEXT, problems=problems))
    assert "<details><summary>1 error, 1 warning, 1 note</summary>" in shown
    assert re.findall(r"<code>p-(\w+)</code>", shown) == ["error", "warning", "info"]


@pytest.mark.parametrize("write", [as_markdown, as_step_summary])
def test_the_same_plan_gives_the_same_bytes(write: Callable[[Plan, Context], str]) -> None:
    changes = (CHANGED, ROTATED, HEALED, delete("old"))
    one, other = (replace(EMPTY, changes=each) for each in (changes, changes[::-1]))
    assert write(one, CONTEXT) == write(other, CONTEXT)


# What is written is read again: as Markdown by a CommonMark parser, and what comes of it as HTML.

render = MarkdownIt("commonmark", {"html": True}).enable("table").render
VOID = {"br"}
OURS = {
    *("h3", "h4", "p", "blockquote", "ul", "li", "strong", "details", "summary", "table", "tr", "th", "td", "code"),
    "br",
}


class Reader(HTMLParser):
    """Notes the elements and the text, and whether each element that is opened is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.comments: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.balanced = True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def assert_sound(text: str) -> Reader:
    """Assert that only elements of ours come of the text, each closed, and one comment: the marker."""
    reader = Reader(render(text))
    assert set(reader.tags) <= OURS
    assert reader.attributes <= {"colspan", "align"}
    assert (reader.balanced, reader.open) == (True, [])
    assert len(reader.comments) == 1
    assert "@" not in reader.text.replace("@\u200b", "")
    return reader


EVIL = [
    "<img src=x onerror=alert(1)>",
    "![](https://evil.example/x.png)",
    "[click](https://evil.example)",
    "@octocat look",
    "a|b|c",
    "`code` ``` fence",
    "</code></td></tr></table></details>\n\n# Fine",
    "-->\n<script>alert(1)</script>",
    "</summary><h1>",
    "&lt;b&gt; &amp;",
    "\n\n- [x] done\n\n    code",
]


def everywhere(text: str) -> tuple[Plan, Context]:
    """Return a plan with this text in every place where a file, a row or a peer can put one."""
    auth = Auth("headers", ((text, text),), ((text, SecretReference("env", text)),))
    row = Gateway(
        f"n{text}",
        text,
        Transport.SSE,
        description=text,
        tags=(text,),
        passthrough_headers=(text,),
        ca_certificate="bundle",
        client_certificate="client",
        client_key=SecretReference("secretKeyRef", text, text),
        auth=auth,
        kuadrant=KuadrantOptions(prefix=text, category=(text,)),
    )
    where = Location(text)
    held = live(row, owner=text, manifest=text)
    plain = gateway("plain", tags=("x",))
    changes = (
        Change(Action.CREATE, row.name, Reason.ADDED, after=row, location=where),
        Change(Action.UPDATE, row.name, Reason.DRIFT, held, plain, fields=differing_fields(row, plain), location=where),
        Change(Action.UPDATE, row.name, Reason.RENAMED, live(plain), row, fields=differing_fields(plain, row)),
        Change(Action.DELETE, row.name, Reason.REMOVED_FROM_GIT, before=held),
    )
    plan = replace(
        EMPTY,
        changes=changes,
        conflicts=(Conflict(row.name, text, (text,)), Conflict(row.name, "", ())),
        drift=(Drift(f"{row.name}2", Reason.DRIFT, (text,)),),
        orphans=(Orphan(row.name, "protected"),),
        held_back=(changes[3],),
        revision=f"{text}@sha1:{text}",
    )
    context = Context(
        text,
        NOW,
        [Verdict(text, 1, 2, text or "m", text)],
        [Problem(text, Severity.WARNING, text, where, text)],
        {row.ca_certificate: [certificate(text, "3c")], row.client_certificate: [certificate(text, "4d")]},
        tools={row.name: [text], "plain": [text]},
        required_tools={row.name: [text]},
    )
    return plan, context


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("write", [as_markdown, as_step_summary])
def test_what_files_and_rows_say_stays_words(text: str, write: Callable[[Plan, Context], str]) -> None:
    shown = write(*everywhere(text))
    assert_sound(shown)
    for line in shown.split("\n"):
        assert line.isprintable()


@given(hostile)
@settings(max_examples=40, deadline=None)
def test_no_text_whatsoever_is_markup(text: str) -> None:
    plan, context = everywhere(text)
    found = assert_sound(as_markdown(plan, context))
    assert found.tags.count("details") == len(plan.changes) + 1


@given(st.lists(hostile_problems, max_size=5))
def test_no_problem_is_markup(problems: list[Problem]) -> None:
    assert_sound(as_markdown(EMPTY, replace(CONTEXT, problems=problems)))


def test_the_marker_is_one_comment_whatever_the_target_is_called() -> None:
    shown = as_markdown(EMPTY, replace(CONTEXT, target="x--> <b>\n&"))
    assert shown.split("\n")[0] == "<!-- reconciler:plan:x--%3E%20%3Cb%3E%5Cn%26 -->"


def many(number: int, make: Callable[[str], Change]) -> tuple[Change, ...]:
    return tuple(make(f"g{each:05}") for each in range(number))


def test_where_details_do_not_fit_every_change_is_still_named() -> None:
    plan = replace(EMPTY, changes=(*many(150, delete), create(gateway("new"))))
    shown = as_markdown(plan, CONTEXT)
    assert 55_000 < len(shown.encode()) <= COMMENT_BUDGET
    assert all(f"<code>g{number:05}</code>" in shown for number in range(150))
    assert "<code>new</code>" in shown
    assert "more:" not in shown
    assert 0 < shown.count("<details>") < 150
    assert shown.index("<details>") < shown.index("<code>g00001</code>")
    assert_sound(shown)


def test_what_cannot_even_be_named_is_counted_and_every_heading_stays() -> None:
    plan = replace(
        EMPTY,
        changes=(*many(5_000, delete), create(gateway("new")), ROTATED),
        conflicts=(Conflict("hers", "", ()),),
    )
    shown = as_markdown(plan, CONTEXT)
    assert len(shown.encode()) <= COMMENT_BUDGET
    named = len(re.findall(r"- delete <code>", shown))
    headings = re.findall(r"^#### (.*)$", shown, re.MULTILINE)
    assert headings == ["Deletions (5,000)", "CA changes (1)", "New gateways (1)", "Conflicts (1)"]
    assert f"<p>and {5_000 - named:,} more: see the job's summary</p>" in shown
    assert named > 500
    assert_sound(shown)
    assert len(as_step_summary(plan, CONTEXT).encode()) > len(shown.encode())


def test_a_change_too_large_for_the_comment_is_named() -> None:
    huge = gateway("huge", tags=tuple(f"{number:04}{'名' * 60}" for number in range(2_000)))
    plan = replace(EMPTY, changes=(update(gateway("huge"), huge), CHANGED))
    shown = as_markdown(plan, CONTEXT)
    assert "<p>~ update <code>huge</code>: the manifest changed</p>" in shown
    assert "<details><summary>~ update <code>map</code>" in shown
    assert "<details><summary>~ update <code>huge</code>" in as_step_summary(plan, CONTEXT)


sizes = st.integers(0, 200)


@given(sizes, sizes, sizes, st.sampled_from(["plain", "名" * 60, "`" * 60, "&" * 100]))
@settings(max_examples=20, deadline=None)
def test_the_budget_holds_for_every_plan(deleted: int, created: int, kept: int, text: str) -> None:
    plan = replace(
        EMPTY,
        changes=(
            *many(deleted, lambda name: delete(name + text)),
            *many(created, lambda name: create(gateway(name + text))),
        ),
        orphans=tuple(Orphan(f"{text}{number}", "protected") for number in range(kept)),
    )
    problems = [Problem("p", Severity.INFO, text * 10, Location(f"{number}.yaml")) for number in range(kept)]
    context = replace(CONTEXT, problems=problems)
    shown, summary = as_markdown(plan, context), as_step_summary(plan, context)
    assert len(shown.encode()) <= COMMENT_BUDGET
    assert len(summary.encode()) <= SUMMARY_BUDGET
    assert_sound(shown)
