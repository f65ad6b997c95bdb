"""A plan as people approve it and machines compare it: what, why, CA changes as certificates, and never a secret."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from strategies import gateways

from reconciler.core.leaving import Orphan
from reconciler.core.model import (
    Action,
    Auth,
    Certificate,
    Change,
    Gateway,
    LiveGateway,
    Reason,
    SecretReference,
    Stamp,
    Transport,
)
from reconciler.core.planning import Conflict, Drift, Plan, differing_fields
from reconciler.core.problems import Location, Problem, Severity
from reconciler.core.safety import Verdict
from reconciler.reports.plan import Context, as_document, as_text, summary
from reconciler.reports.style import Style

NOW = datetime(2026, 10, 20, 12, 0, tzinfo=UTC)
OLD = Gateway("a", "https://old.example/mcp", Transport.SSE, ca_certificate="OLD BUNDLE")
NEW = replace(OLD, url="https://new.example/mcp", enabled=False, tags=("x", "y"), ca_certificate="NEW BUNDLE")
STAMP = Stamp("me", "a.yaml", "r", "d")
EMPTY = Plan((), (), (), (), (), 0, 0, 0, "", False, "sha256:0")


def certificate(name: str) -> Certificate:
    later = NOW + timedelta(days=100)
    return Certificate(f"CN={name}", f"CN={name}", name * 32, NOW, later, root=True, ca=True, pem="", file="f", line=1)


ONE, TWO = certificate("1a"), certificate("2b")
CONTEXT = Context("sqlite:///x.db", NOW, certificates={"OLD BUNDLE": [ONE], "NEW BUNDLE": [ONE, TWO]})
CREATE = Change(Action.CREATE, "new", Reason.ADDED, after=replace(NEW, name="new"), location=Location("x/new.yaml", 3))
UPDATE = Change(
    Action.UPDATE,
    "a",
    Reason.MANIFEST_CHANGED,
    before=LiveGateway(OLD, "", STAMP, "t"),
    after=NEW,
    stamp=replace(STAMP, digest="e"),
    fields=differing_fields(OLD, NEW),
    location=Location("a.yaml", 1),
)
HEALING = replace(UPDATE, name="h", reason=Reason.DRIFT, stamp=STAMP)
DELETE = Change(Action.DELETE, "z", Reason.REMOVED_FROM_GIT, before=LiveGateway(replace(OLD, name="z"), "", STAMP, "t"))


def planned(*changes: Change, **fields: Any) -> Plan:
    return replace(EMPTY, changes=changes, **fields)


def test_a_create_shows_what_it_is_reached_by_and_what_it_trusts() -> None:
    assert as_text(planned(CREATE), CONTEXT).splitlines() == [
        "Plan for sqlite:///x.db",
        "",
        "+ create new  x/new.yaml:3",
        "    url: https://new.example/mcp",
        "    transport: sse",
        "    ca_certificate",
        "      + CN=1a (Root CA), expires 2027-01-28 (in 100 days), sha256 1a1a1a1a1a1a1a1a…",
        "      + CN=2b (Root CA), expires 2027-01-28 (in 100 days), sha256 2b2b2b2b2b2b2b2b…",
        "",
        "Plan: 1 to create, 0 to update, 0 to delete, 0 unchanged.",
    ]  # fmt: skip


def test_an_update_shows_each_field_before_and_after_and_certificates_as_such() -> None:
    lines = as_text(planned(UPDATE), CONTEXT).splitlines()
    assert lines[2:9] == [
        "~ update a  the manifest changed; CA rotation  a.yaml:1",
        "    url: https://old.example/mcp -> https://new.example/mcp",
        "    enabled: true -> false",
        "    tags: +x +y",
        (
            "    ca_certificate: step 1 of 3, add the new CA: deploy it everywhere, then reissue the server "
            "certificates under it (step 2, outside of git), then remove the old CA"
        ),
        "      + CN=2b (Root CA), expires 2027-01-28 (in 100 days), sha256 2b2b2b2b2b2b2b2b…",
        "        kept CN=1a (Root CA), expires 2027-01-28 (in 100 days), sha256 1a1a1a1a1a1a1a1a…",
    ]


def test_a_certificate_that_goes_is_shown_as_going() -> None:
    change = replace(UPDATE, before=replace(UPDATE.before, gateway=NEW), after=OLD, fields=("ca_certificate",))  # type: ignore[type-var]
    assert "      - CN=2b (Root CA)" in as_text(planned(change), CONTEXT)


def test_a_bundle_that_cannot_be_read_is_called_that() -> None:
    live = LiveGateway(replace(OLD, ca_certificate="garbage"), "", STAMP, "t")
    change = replace(UPDATE, before=live, fields=("ca_certificate",))
    assert "    ca_certificate: (not a readable bundle)" in as_text(planned(change), CONTEXT)


def test_another_text_of_the_same_certificates_is_called_that() -> None:
    live = LiveGateway(replace(OLD, ca_certificate="COMMENTED"), "", STAMP, "t")
    change = replace(UPDATE, reason=Reason.TAMPERING, before=live, after=OLD, fields=("ca_certificate",), stamp=STAMP)
    context = replace(CONTEXT, certificates={"OLD BUNDLE": [ONE], "COMMENTED": [ONE]})
    lines = as_text(planned(change), context).splitlines()
    assert lines[4:6] == [
        "    ca_certificate: the same certificates, in another text",
        "        kept CN=1a (Root CA), expires 2027-01-28 (in 100 days), sha256 1a1a1a1a1a1a1a1a…",
    ]


def test_a_client_certificate_is_shown_as_one_too() -> None:
    before = LiveGateway(replace(OLD, client_certificate="OLD BUNDLE"), "", STAMP, "t")
    change = replace(UPDATE, before=before, after=replace(OLD, client_certificate="NEW BUNDLE"))
    lines = as_text(planned(change), CONTEXT).splitlines()
    assert lines[3].startswith("    client_certificate")
    assert [line.split(",")[0] for line in lines[4:6]] == ["      + CN=2b (Root CA)", "        kept CN=1a (Root CA)"]


def heads(plan: Plan, context: Context = CONTEXT) -> list[str]:
    """Return the lines that begin a change, or the drift."""
    return [line for line in as_text(plan, context).splitlines()[2:] if re.match("[-~+?!D]", line)]


def test_the_gravest_comes_first_and_drift_stands_apart() -> None:
    described = replace(UPDATE, name="d", after=replace(OLD, description="new"), fields=("description",))
    found = heads(planned(HEALING, described, UPDATE, CREATE, DELETE))
    assert [line.split("  ")[0] for line in found] == [
        "- delete z",
        "~ update a",
        "~ update d",
        "+ create new",
        "Drift: what somebody else did to the store, and an apply of this plan heals",
        "~ update h",
    ]
    assert found[0] == "- delete z  no longer in git"
    assert found[-1] == "~ update h  drift: the store was changed by somebody else  a.yaml:1"


def test_where_there_is_nothing_but_drift_it_comes_first() -> None:
    lines = as_text(planned(HEALING), CONTEXT).splitlines()
    assert lines[1:3] == ["", "Drift: what somebody else did to the store, and an apply of this plan heals"]


def test_drift_that_the_policy_leaves_is_shown_as_well() -> None:
    plan = planned(held_back=(HEALING,), drift=(Drift("h", Reason.DRIFT, ("url", "tags")),))
    assert heads(plan)[1:] == [
        "? drifted h  drift in url, tags; left as it is, for the policy permits no update",
        "? no update h  not permitted by the policy",
    ]


def test_why_is_said_whole() -> None:
    both = replace(HEALING, stamp=replace(STAMP, digest="e"))
    renamed = replace(UPDATE, name="b", reason=Reason.RENAMED, after=replace(OLD, name="b"), fields=("name",))
    plan = planned(both, renamed, drift=(Drift("b", Reason.TAMPERING, ("name",)),))
    assert [line.split("  ")[1] for line in heads(plan) if line[0] == "~"] == [
        "renamed from a: the row stays, and what hangs on it; tampering: what the store holds is not what was signed",
        "drift: the store was changed by somebody else; the manifest changed as well; CA rotation",
    ]


def fields(before: Gateway, after: Gateway) -> list[str]:
    change = replace(UPDATE, before=LiveGateway(before, "", STAMP, "t"), after=after)
    return [line.strip() for line in as_text(planned(change), CONTEXT).splitlines() if line.startswith("    ")]


def test_a_list_shows_what_it_gains_and_loses() -> None:
    assert fields(replace(OLD, tags=("a", "b")), replace(OLD, tags=("b", "c"))) == ["tags: +c -a"]


def test_a_list_in_another_order_is_shown_whole() -> None:
    before, after = (replace(OLD, passthrough_headers=headers) for headers in (("A", "B"), ("B", "A")))
    assert fields(before, after) == ["passthrough_headers: [A, B] -> [B, A]"]


def test_auth_is_shown_by_path_and_secrets_as_references() -> None:
    old = Auth("bearer", (("token", "planted"),), (("token", SecretReference("env", "OLD")),))
    new = Auth("bearer", (), (("token", SecretReference("env", "NEW")),))
    assert fields(replace(OLD, auth=old), replace(OLD, auth=new)) == [
        "auth.settings.token: (sensitive)",
        "auth.token: env:OLD -> env:NEW",
    ]


def test_of_long_texts_the_part_that_differs_is_shown() -> None:
    (line,) = fields(replace(OLD, description="x" * 300 + "old"), replace(OLD, description="x" * 300 + "new"))
    assert line == f"description: …{'x' * 40}old -> …{'x' * 40}new"


def test_tools_that_vanish_or_appear_are_named() -> None:
    context = replace(
        CONTEXT, tools={"z": ["refund", "charge"]}, tool_counts={"a": 1}, required_tools={"new": ("search",)}
    )
    enabled = replace(CREATE, after=replace(NEW, name="new", enabled=True))
    renamed = replace(UPDATE, name="b", after=replace(OLD, name="b"))
    text = as_text(planned(enabled, renamed, DELETE), context)
    assert "    2 tools of z vanish: charge, refund\n" in text
    assert "    1 tool of a gets another name\n" in text
    assert "    tools of new appear: search\n" in text


def test_of_many_tools_some_are_named() -> None:
    context = replace(CONTEXT, tools={"z": [f"t{number:02}" for number in range(30)]})
    assert "30 tools of z vanish: t00, t01" in as_text(planned(DELETE), context)
    assert "t19, and 10 more\n" in as_text(planned(DELETE), context)


def test_the_revision_is_short_and_changes_that_were_not_committed_are_said() -> None:
    plan = planned(CREATE, revision=f"main@sha1:{'ab' * 20}", dirty=True)
    assert as_text(plan, CONTEXT).splitlines()[0] == (
        "Plan for sqlite:///x.db at main@ababababab with uncommitted changes"
    )  # fmt: skip


def test_what_is_left_alone_says_why() -> None:
    conflicts = (Conflict("c", "team-b", ("url",)), Conflict("d", "", ()))
    orphans = (Orphan("e", "not pruned"), Orphan("f", "protected"), Orphan("g", "tree incomplete"))
    plan = planned(conflicts=conflicts, orphans=orphans, held_back=(DELETE,), unchanged=4)
    lines = as_text(plan, CONTEXT).splitlines()
    assert lines[2:8] == [
        "! conflict c  owned by team-b, so it is left alone",
        "! conflict d  exists and nobody owns it; take it over with `reconciler adopt d`",
        "? keep e  no longer in git; --prune would delete it",
        "? keep f  protected: remove `reconciler/prune: disabled` in a commit of its own first",
        "? keep g  no longer in what was read, but not everything was read, so nothing is deleted",
        "? no delete z  not permitted by the policy",
    ]
    assert lines[-1] == (
        "Plan: 0 to create, 0 to update, 0 to delete, 4 unchanged, 2 conflicts, 3 no longer in git, "
        "1 not permitted by the policy."
    )


def test_an_empty_plan_says_that_everything_is_as_git_says() -> None:
    assert summary(replace(EMPTY, unchanged=1)) == "No changes. The store holds exactly what git says: 1 gateway."


REFUSAL = Verdict("delete-percent", 30, 50, message="5 of 10 would be deleted", fix="pass --max 50")


def test_a_guard_that_refuses_is_shown_with_the_way_past() -> None:
    passed = Verdict("update-percent", 30, 0)
    text = as_text(planned(DELETE), replace(CONTEXT, verdicts=[passed, REFUSAL]))
    assert text.splitlines()[-2:] == ["refused: 5 of 10 would be deleted [delete-percent]", "    fix: pass --max 50"]
    assert "update-percent" not in text


def test_every_reason_that_there_is_can_be_said() -> None:
    for reason in Reason:
        assert heads(planned(replace(UPDATE, reason=reason)))[-1].startswith("~ update a  ")


def test_the_published_document() -> None:
    plan = planned(
        UPDATE,
        DELETE,
        conflicts=(Conflict("c", "team-b", ("url",)),),
        orphans=(Orphan("e", "not pruned"),),
        drift=(Drift("a", Reason.DRIFT, ("url", "tags")),),
        unchanged=7,
        revision="main@sha1:1",
        dirty=True,
    )
    note = Problem("same-url", Severity.WARNING, "m", Location("a.yaml"))
    context = replace(CONTEXT, verdicts=[REFUSAL], problems=[note], tools={"a": ["charge"]})
    document = json.loads(json.dumps(as_document(plan, context)))
    change, deletion = document.pop("resource_changes")
    assert [each["code"] for each in document.pop("diagnostics")] == ["same-url"]
    assert document == {
        "format_version": "1.0",
        "checksum": "sha256:0",
        "source": {"revision": "main@sha1:1", "dirty": True},
        "target": "sqlite:///x.db",
        "summary": {"create": 0, "update": 1, "delete": 1, "unchanged": 7, "conflict": 1, "orphan": 1},
        "resource_drift": [{"name": "a", "reason": "drift", "evidence": None, "paths": ["/url", "/tags"]}],
        "conflicts": [{"name": "c", "owner": "team-b", "paths": ["/url"]}],
        "orphans": [{"name": "e", "why": "not pruned"}],
        "suspended": [],
        "policy": [
            {
                "guard": "delete-percent",
                "limit": 30,
                "actual": 50,
                "result": "fail",
                "message": "5 of 10 would be deleted",
            }
        ],
    }
    common = ["name", "file", "line", "actions", "reason", "before", "after", "paths"]
    assert list(change) == [*common, "certificates", "rotation", "tools"]
    assert (change["name"], change["file"], change["line"], change["actions"], change["reason"]) == (
        "a", "a.yaml", 1, ["update"], "manifest_changed",
    )  # fmt: skip
    assert change["paths"] == ["/url", "/enabled", "/tags", "/ca_certificate"]
    assert (change["before"]["enabled"], change["after"]["enabled"]) == (True, False)
    assert (deletion["file"], deletion["line"], deletion["after"], deletion["paths"]) == ("", 0, None, [])
    later = "2027-01-28T12:00:00+00:00"
    assert change["certificates"] == {
        "added": [{"subject": "CN=2b", "sha256": "2b" * 32, "not_after": later}],
        "removed": [],
        "kept": [{"subject": "CN=1a", "sha256": "1a" * 32, "not_after": later}],
    }
    assert change["rotation"]["step"] == "adds"
    assert change["rotation"]["says"].startswith("step 1 of 3")
    assert change["tools"] == {"effect": "vanish", "count": 1, "names": ["charge"]}
    assert list(deletion) == [*common, "certificates"]


def test_a_change_of_something_else_has_no_certificates_and_no_rotation() -> None:
    change = replace(UPDATE, after=replace(OLD, description="new"))
    (found,) = as_document(planned(change), CONTEXT)["resource_changes"]
    assert not {"certificates", "rotation", "tools"} & found.keys()


def test_what_may_be_a_secret_in_an_odd_row_is_redacted_on_both_sides() -> None:
    old, new = (replace(OLD, auth=Auth("bearer", (("token", f"planted-{side}"),))) for side in ("old", "new"))
    change = replace(
        UPDATE, before=LiveGateway(replace(old, url="https://me:planted@x/mcp"), "", STAMP, "t"), after=new
    )
    document = as_document(planned(change), CONTEXT)
    assert [document["resource_changes"][0][side]["auth"]["settings"] for side in ("before", "after")] == [
        {"token": "(sensitive)"},
        {"token": "(sensitive)"},
    ]
    assert document["resource_changes"][0]["before"]["url"] == "https://(sensitive)@x/mcp"
    assert "planted" not in json.dumps(document) + as_text(planned(change), CONTEXT)


def test_bundles_are_digests_and_secrets_references() -> None:
    secret = Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),))
    change = replace(CREATE, after=replace(NEW, auth=secret))
    text = json.dumps(as_document(planned(change), CONTEXT))
    assert "NEW BUNDLE" not in text
    assert '{"token": {"env": "TOKEN"}}' in text


hostile = st.text(st.sampled_from("a \t\n\r\x1b[2J\x07\x9b\x7f\u202e\u2066\u200b\u2028名"), min_size=1, max_size=12)


@given(gateways, hostile, hostile, hostile)
def test_no_manifest_and_no_row_moves_a_cursor(gateway: Gateway, name: str, text: str, other: str) -> None:
    secrets = Auth("headers", ((text, other),), ((text, SecretReference("env", other)),))
    row = replace(gateway, name=name, url=text, description=other, tags=(text,), auth=secrets)
    live = LiveGateway(row, text, replace(STAMP, owner=text), "t")
    fields = differing_fields(row, OLD)
    changes = (
        Change(Action.CREATE, name, Reason.ADDED, after=row, location=Location(text)),
        Change(Action.UPDATE, name, Reason.DRIFT, live, OLD, fields=fields, location=Location(text)),
        Change(Action.DELETE, name, Reason.REMOVED_FROM_GIT, before=live),
    )
    plan = planned(
        *changes,
        conflicts=(Conflict(name, text, ()), Conflict(name, "", ())),
        orphans=(Orphan(name, "protected"),),
        revision=text,
    )
    for line in as_text(plan, replace(CONTEXT, target=text)).split("\n"):
        assert line.isprintable(), line


def test_colour_adds_nothing_but_colour() -> None:
    plan = planned(UPDATE, CREATE, DELETE)
    coloured = as_text(plan, CONTEXT, Style(colour=True))
    assert re.sub(r"\x1b\[[0-9;]+m", "", coloured) == as_text(plan, CONTEXT) != coloured
