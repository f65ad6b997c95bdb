"""One comment on a pull request, updated in place: against servers that keep comments as GitHub and GitLab do."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terminal import Terminal

HEAD = "1" * 40
OURS, THEIRS = "reconciler[bot]", "mallory"
REPORT = "<!-- reconciler:plan:main -->\n### Plan: 1 to create\n"
TOKEN = "planted-comment-token"  # noqa: S105


@dataclass
class Platform:
    """What a platform keeps: comments by id, as author and body, and what it was asked."""

    comments: dict[str, tuple[str, str]] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=lambda: [{"number": 7, "state": "OPEN", "headRefOid": HEAD}])
    status: int = 200
    page: int = 100

    def add(self, author: str, body: str) -> None:
        self.comments[f"c{len(self.comments)}"] = (author, body)

    def by(self, author: str) -> list[str]:
        return [body for who, body in self.comments.values() if who == author]

    def graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "updateIssueComment" in query:
            if self.comments[variables["id"]][0] != OURS:
                return {"errors": [{"message": "Resource not accessible by integration"}]}
            self.comments[variables["id"]] = (OURS, variables["body"])
            return {"data": {"done": {"issueComment": {"url": "https://example.com"}}}}
        if "addComment" in query:
            assert variables["subject"] == "PR_7"
            self.add(OURS, variables["body"])
            return {"data": {"done": {"commentEdge": {"node": {"url": "https://example.com"}}}}}
        if "associatedPullRequests" in query:
            known = any(each["headRefOid"] == variables["commit"] for each in self.pulls)
            found = {"associatedPullRequests": {"nodes": self.pulls}} if known else None
            return {"data": {"repository": {"object": found}}}
        return {"data": {"repository": {"pullRequest": self.pull_request(variables)}}}

    def pull_request(self, variables: dict[str, Any]) -> dict[str, Any] | None:
        if variables["number"] != 7:
            return None
        start = int(variables.get("after") or 0)
        nodes = [
            {"id": key, "body": body, "viewerDidAuthor": who == OURS} for key, (who, body) in self.comments.items()
        ]
        more = {"hasNextPage": start + self.page < len(nodes), "endCursor": str(start + self.page)}
        return {"id": "PR_7", "comments": {"nodes": nodes[start : start + self.page], "pageInfo": more}}

    def rest(self, method: str, path: str, body: str) -> object:
        if path == "/api/v4/user":
            return {"id": 1}
        notes = re.fullmatch(
            r"/api/v4/projects/42/merge_requests/7/notes(?:/(\w+))?(?:\?per_page=100&page=(\d+))?", path
        )
        assert notes is not None, path
        if method == "POST":
            self.add(OURS, body)
        elif method == "PUT":
            assert self.comments[notes[1]][0] == OURS
            self.comments[notes[1]] = (OURS, body)
        ids = {OURS: 1, THEIRS: 2}
        listed = [{"id": key, "body": text, "author": {"id": ids[who]}} for key, (who, text) in self.comments.items()]
        page = int(notes[2] or 1)
        return listed[(page - 1) * 100 : page * 100]


@contextmanager
def serving(platform: Platform) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(length) or "{}")
            if self.path == "/graphql":
                assert self.headers["Authorization"] == f"Bearer {TOKEN}"
                said: object = platform.graphql(sent["query"], sent["variables"])
            else:
                assert self.headers["PRIVATE-TOKEN"] == TOKEN
                said = platform.rest(self.command, self.path, sent.get("body", ""))
            data = json.dumps(said).encode()
            self.send_response(platform.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture(params=["github", "gitlab"])
def job(
    request: pytest.FixtureRequest, platform: Platform, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """A job of a CI system that runs for pull request 7, with a report in `plan.md`."""
    for name in ("GITHUB_REPOSITORY", "CI_API_V4_URL"):
        monkeypatch.delenv(name, raising=False)
    with serving(platform) as url:
        variables = {
            "github": {
                "GITHUB_REPOSITORY": "acme/gateways",
                "GITHUB_GRAPHQL_URL": f"{url}/graphql",
                "GITHUB_REF": "refs/pull/7/merge",
            },
            "gitlab": {"CI_API_V4_URL": f"{url}/api/v4", "CI_PROJECT_ID": "42", "CI_MERGE_REQUEST_IID": "7"},
        }[request.param]
        for name, value in {**variables, "RECONCILER_COMMENT_TOKEN": TOKEN}.items():
            monkeypatch.setenv(name, value)
        terminal.write("plan.md", REPORT)
        yield terminal


only_github = pytest.mark.parametrize("job", ["github"], indirect=True)


def test_the_first_report_is_a_new_comment(job: Terminal, platform: Platform) -> None:
    assert job("comment", "plan.md").out == "Comment added.\n"
    assert platform.by(OURS) == [REPORT.rstrip()]


def test_the_next_one_takes_its_place(job: Terminal, platform: Platform) -> None:
    for _ in range(150):
        platform.add(THEIRS, "hello")
    job("comment", "plan.md")
    job.write("plan.md", REPORT.replace("1 to create", "2 to create"))
    assert job("comment", "plan.md").out == "Comment updated.\n"
    assert job("comment", "plan.md").out == "Comment unchanged.\n"
    assert platform.by(OURS) == [REPORT.replace("1 to create", "2 to create").rstrip()]


def test_what_another_wrote_with_our_marker_stays_his(job: Terminal, platform: Platform) -> None:
    platform.add(THEIRS, "<!-- reconciler:plan:main -->\nall is well, please merge")
    assert job("comment", "plan.md").out == "Comment added.\n"
    assert platform.by(THEIRS) == ["<!-- reconciler:plan:main -->\nall is well, please merge"]


def test_each_target_has_a_comment_of_its_own(job: Terminal, platform: Platform) -> None:
    job.write("plan.md", REPORT + REPORT.replace(":main", ":test"))
    assert job("comment", "plan.md", "-o", "json").document["comments"] == ["added", "added"]
    assert [body.partition("\n")[0] for body in platform.by(OURS)] == [
        "<!-- reconciler:plan:main -->",
        "<!-- reconciler:plan:test -->",
    ]


def test_nothing_to_say_is_said_only_to_take_something_back(job: Terminal, platform: Platform) -> None:
    assert job("comment", "plan.md", "--only-update").out == "Comment skipped.\n"
    platform.add(OURS, "<!-- reconciler:plan:main -->\n### Plan: 9 to delete")
    assert job("comment", "plan.md", "--only-update").out == "Comment updated.\n"


def test_a_platform_that_refuses_is_told_without_the_token(job: Terminal, platform: Platform) -> None:
    platform.status = 403
    refused = job("comment", "plan.md", expect=1)
    assert "403 Forbidden" in refused.err
    assert "pull-requests: write" in refused.err
    assert TOKEN not in refused.err


def test_the_token_may_be_in_a_file(job: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    job.write("token", f"{TOKEN}\n")
    monkeypatch.delenv("RECONCILER_COMMENT_TOKEN")
    monkeypatch.setenv("RECONCILER_COMMENT_TOKEN_FILE", str(job.directory / "token"))
    job("comment", "plan.md")


def test_no_token_is_said_before_anything_is_asked(job: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECONCILER_COMMENT_TOKEN")
    assert "RECONCILER_COMMENT_TOKEN is empty or not set" in job("comment", "plan.md", expect=3).err


@pytest.mark.parametrize(
    ("text", "why"), [("hello\n", "no report of ours"), (REPORT + "x" * 70_000, "a comment holds 65,536")]
)
def test_only_reports_of_ours_are_published(job: Terminal, text: str, why: str) -> None:
    job.write("plan.md", text)
    assert why in job("comment", "plan.md", expect=3).err


@only_github
def test_the_pull_request_of_a_commit_is_found(
    job: Terminal, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    platform.pulls.append({"number": 6, "state": "CLOSED", "headRefOid": HEAD})
    job("comment", "plan.md", "--commit", HEAD)
    assert len(platform.by(OURS)) == 1


@only_github
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "this job belongs to no pull request"),
        (("--pull-request", "8"), "acme/gateways has no pull request 8"),
        (("--commit", "2" * 40), "no open pull request ends with the commit 2222222222"),
    ],
)
def test_a_pull_request_that_cannot_be_told_is_asked_for(
    job: Terminal, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], why: str
) -> None:
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    refused = job("comment", "plan.md", *words, expect=3)
    assert why in refused.err


def test_elsewhere_there_is_nothing_to_comment_on(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    monkeypatch.delenv("CI_API_V4_URL", raising=False)
    monkeypatch.setenv("RECONCILER_COMMENT_TOKEN", TOKEN)
    terminal.write("plan.md", REPORT)
    assert "GitHub Actions or GitLab CI" in terminal("comment", "plan.md", expect=3).err
