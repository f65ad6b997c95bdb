"""The history for people and machines, whatever state an apply was left in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.history import Commit, Entry, State, Step
from reconciler.core.model import Action, Auth, Gateway, LiveGateway, SecretReference, Stamp, Transport
from reconciler.reports.history import as_document, as_text, details, details_document
from reconciler.reports.style import Style

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COMMIT = Commit("main@sha1:1a2b3c4d5e6f", author="Bob <bob@example.com>", signature="good")
DONE = Entry(
    NOW, "alice", "reconciler/1", "host.example:42", COMMIT, "sqlite:///x.db",
    id=12, state="finished", finished_at=NOW + timedelta(seconds=3), planned=3, applied=2, refused=1,
)  # fmt: skip
ROW = LiveGateway(
    Gateway("a", "https://a.example/mcp", Transport.SSE, ca_certificate="NO PEM", description="old"),
    "5f",
    Stamp("us", "a.yaml", "main@sha1:0000", "sha256:0"),
    "t",
)


def result(entry: Entry) -> str:
    return as_text([entry]).splitlines()[1].rpartition("  ")[2]


def test_an_empty_history_says_so() -> None:
    assert as_text([]) == "Nothing was applied yet."


def test_a_line_says_when_who_what_and_how_it_went() -> None:
    lines = as_text([DONE, replace(DONE, id=3, commit=Commit(), actor="bo", refused=0)]).splitlines()
    assert lines == [
        "ID  WHEN (UTC)        WHO    REVISION         AUTHOR                 SIGNATURE  RESULT",
        "12  2026-03-02 09:00  alice  main@1a2b3c4d5e  Bob <bob@example.com>  good       2 applied, 1 refused",
        "3   2026-03-02 09:00  bo     -                -                      -          2 applied",
    ]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("running", "under way, of 3 changes"),
        ("started", "no end is known, on host.example, of 3 changes"),
        ("interrupted", "interrupted, of 3 changes"),
        ("failed", "failed: no connection, of 3 changes"),
        ("finished", "2 applied, 1 refused"),
    ],
)
def test_every_state_has_its_words(state: State, said: str) -> None:
    assert result(replace(DONE, state=state, problem="no connection")) == said


def test_a_rollback_says_of_what() -> None:
    assert result(replace(DONE, rollback_of=7)) == "2 applied, 1 refused (rollback of 7)"


def test_what_was_not_committed_is_marked_also_outside_of_git() -> None:
    assert "  main@1a2b3c4d5e +uncommitted  " in as_text([replace(DONE, commit=replace(COMMIT, dirty=True))])
    assert "  +uncommitted  " in as_text([replace(DONE, commit=Commit(dirty=True))])


def test_long_names_do_not_tear_the_table() -> None:
    lines = as_text([replace(DONE, actor="x" * 500, commit=replace(COMMIT, author="y" * 500))]).splitlines()
    assert lines[1].index("2 applied") == lines[0].index("RESULT")
    assert len(lines[1]) < 200


def test_colour_changes_nothing_but_colour() -> None:
    assert as_text([DONE], Style(colour=True)).count("\x1b[32m2 applied, 1 refused\x1b[0m") == 1


def step(**fields: object) -> Step:
    given = {"name": "a", "action": Action.UPDATE, "reason": "drift", "held_as": "a", "fields": (), "written": ""}
    return Step(**{**given, "before": ROW, "status": "applied", **fields})  # type: ignore[arg-type]


def lines_of(*steps: Step) -> list[str]:
    return details(replace(DONE, steps=steps), {}, NOW).splitlines()[9:]


def test_the_head_of_the_details_says_who_and_from_where() -> None:
    assert details(DONE, {}, NOW).splitlines() == [
        "Apply 12",
        "  when       2026-03-02 09:00:00 UTC, ended 09:00:03",
        "  who        alice, with reconciler/1 on host.example (process 42)",
        "  revision   main@1a2b3c4d5e",
        "  author     Bob <bob@example.com>",
        "  signature  good",
        "  store      sqlite:///x.db",
        "  result     2 applied, 1 refused",
    ]


def test_outside_of_git_that_is_said() -> None:
    shown = details(replace(DONE, commit=Commit(), process="", finished_at=None), {}, NOW)
    assert "  revision   (not from git)\n  author     -\n  signature  -\n" in shown
    assert "  who        alice, with reconciler/1\n" in shown


def test_an_update_says_what_its_fields_were() -> None:
    assert lines_of(step(fields=("description", "tags", "ca_certificate", "client_certificate"))) == [
        "~ update a  applied  drift: the store was changed by somebody else",
        "    description was old",
        "    tags was empty",
        "    ca_certificate was",
        "      (not a readable bundle)",
        "    client_certificate was empty",
    ]


def test_a_rename_says_what_the_name_was() -> None:
    assert "renamed from old-name" in lines_of(step(reason="renamed", held_as="old-name"))[0]


def test_a_delete_says_all_that_the_row_said_and_references_instead_of_secrets() -> None:
    auth = Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),))
    row = replace(ROW, gateway=replace(ROW.gateway, auth=auth, ca_certificate=""))
    shown = lines_of(step(action=Action.DELETE, reason="removed_from_git", before=row))
    assert shown[0] == "- delete a  applied  no longer in git"
    assert "    url was https://a.example/mcp" in shown
    assert "    auth.token was env:TOKEN" in shown


def test_what_was_not_made_or_not_kept_says_so() -> None:
    assert lines_of(step(status="", before=None)) == [
        "~ update a  outcome not known  drift: the store was changed by somebody else",
        "    what it was before was not kept, or cannot be read",
    ]
    assert lines_of(step(status="refused", why="no answer", before=None)) == [
        "~ update a  refused: no answer  drift: the store was changed by somebody else"
    ]
    assert lines_of(step(action=Action.CREATE, reason="added", before=None)) == ["+ create a  applied"]


def test_a_reason_of_a_newer_version_is_shown_as_it_is() -> None:
    assert lines_of(step(reason="moonphase"))[0].endswith("  moonphase")


def test_the_documents_are_plain_and_have_no_pem_text() -> None:
    entry = replace(DONE, steps=(step(fields=("description",)), step(name="b", before=replace(ROW, stamp=None))))
    document = details_document(entry, {})
    assert document["changes"][0]["paths"] == ["/description"]
    assert document["changes"][0]["before"]["gateway"]["ca_certificate"].startswith("sha256:")
    assert document["changes"][1]["before"]["owner"] == ""
    assert {key: document[key] for key in as_document([DONE])["applies"][0]} == as_document([DONE])["applies"][0]
