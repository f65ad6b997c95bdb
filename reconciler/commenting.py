"""Puts a report on a pull request (GitHub) or a merge request (GitLab): one comment, updated in place.

It is found again by its first line, a hidden marker, and only among the comments that the same account wrote: another
who writes the marker does not get to be overwritten. Answers are bounded, and no message repeats a token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from reconciler.errors import CommentError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx

Json = Any

LONGEST: Final = 65_536
"""Characters that GitHub takes in a comment; GitLab takes more."""

_MARKER: Final = re.compile(r"<!-- reconciler:[^\n]+ -->\n")
_SECONDS: Final = 30.0
_MAX_PAGES: Final = 50
_PAGE: Final = 100

_COMMENTS: Final = """
query ($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      id
      comments(first: 100, after: $after) {
        nodes { id body viewerDidAuthor }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}"""
_PULL_REQUESTS: Final = """
query ($owner: String!, $name: String!, $commit: GitObjectID!) {
  repository(owner: $owner, name: $name) {
    object(oid: $commit) {
      ... on Commit { associatedPullRequests(first: 50) { nodes { number state headRefOid } } }
    }
  }
}"""
_ADD: Final = """
mutation ($subject: ID!, $body: String!) {
  done: addComment(input: {subjectId: $subject, body: $body}) { commentEdge { node { url } } }
}"""
_UPDATE: Final = """
mutation ($id: ID!, $body: String!) {
  done: updateIssueComment(input: {id: $id, body: $body}) { issueComment { url } }
}"""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of ours, by whatever the platform knows it by."""

    id: str
    body: str


class Conversation(Protocol):
    """The comments below one pull request."""

    def ours(self) -> Iterator[Comment]:
        """Yield the comments that the account of the token wrote."""
        ...

    def add(self, body: str) -> None:
        """Write a new comment."""
        ...

    def update(self, comment: Comment, body: str) -> None:
        """Give a comment another text."""
        ...


def reports_in(text: str) -> list[str]:
    """Return the reports that a file holds one after the other, one for each target.

    Raises:
        InputError: it does not begin with a marker of ours, or one of them is too long for a comment.
    """
    if _MARKER.match(text) is None:
        fix = "give the file that `reconciler plan -o markdown` wrote"
        raise InputError("this is no report of ours: its first line is not a marker", fix=fix)
    reports = [report.rstrip() for report in re.split(r"(?m)^(?=<!-- reconciler:)", text) if report]
    if longest := [report for report in reports if len(report) > LONGEST]:
        fix = "give the file that `reconciler plan -o markdown` wrote: it keeps to the limit"
        raise InputError(f"a report has {len(longest[0]):,} characters, and a comment holds {LONGEST:,}", fix=fix)
    return reports


def publish(conversation: Conversation, report: str, *, only_update: bool = False) -> str:
    """Make a report the one comment with its marker, and return what was done: added, updated, unchanged or skipped.

    With `only_update` a comment is never added: a plan without changes is worth a word only where it takes one back.

    Raises:
        CommentError: the platform refused, or could not be reached.
    """
    marker = report.partition("\n")[0]
    found = next((each for each in conversation.ours() if each.body.startswith(marker)), None)
    if found is None:
        if only_update:
            return "skipped"
        conversation.add(report)
        return "added"
    if found.body.rstrip() == report:
        return "unchanged"
    conversation.update(found, report)
    return "updated"


def conversation(environ: Mapping[str, str], token: str, *, number: int | None, commit: str | None) -> Conversation:
    """Return the conversation that this CI job belongs to, or that of a pull request by its number or its last commit.

    Raises:
        InputError: this is no job of GitHub Actions or GitLab CI, or it belongs to no pull request.
    """
    import httpx

    client = httpx.Client(timeout=_SECONDS, headers={"User-Agent": "mcp-gateway-reconciler"})
    if repository := environ.get("GITHUB_REPOSITORY"):
        url = environ.get("GITHUB_GRAPHQL_URL", "https://api.github.com/graphql")
        github = GitHub(client, url, token, repository)
        if commit is not None:
            return github.of_commit(commit)
        return github.of_number(number or _number_in(environ.get("GITHUB_REF", "")))
    if api := environ.get("CI_API_V4_URL"):
        iid = number or int(environ.get("CI_MERGE_REQUEST_IID", "0"))
        if not iid:
            raise _no_pull_request()
        return GitLab(client, f"{api}/projects/{environ['CI_PROJECT_ID']}", token, iid)
    fix = "run it in GitHub Actions or GitLab CI; they say which repository it is"
    raise InputError("this is not a job of a platform that takes comments", fix=fix)


def _number_in(reference: str) -> int:
    found = re.fullmatch(r"refs/pull/(\d{1,9})/(?:merge|head)", reference)
    if found is None:
        raise _no_pull_request()
    return int(found[1])


def _no_pull_request() -> InputError:
    return InputError("this job belongs to no pull request", fix="name it: --pull-request NUMBER")


@dataclass(frozen=True, slots=True)
class GitHub:
    """A pull request through GraphQL, which alone says whether we wrote a comment."""

    _client: httpx.Client
    _url: str
    _token: str = field(repr=False)
    _repository: str
    _number: int = 0

    def of_number(self, number: int) -> GitHub:
        """Return the pull request with this number."""
        return GitHub(self._client, self._url, self._token, self._repository, number)

    def of_commit(self, commit: str) -> GitHub:
        """Return the one open pull request whose last commit this is.

        Raises:
            InputError: there is none, or more than one.
        """
        found = self._ask(_PULL_REQUESTS, commit=commit)["repository"]["object"] or {}
        nodes = found.get("associatedPullRequests", {}).get("nodes", [])
        numbers = [each["number"] for each in nodes if each["state"] == "OPEN" and each["headRefOid"] == commit]
        if len(numbers) != 1:
            said = "no open pull request ends" if not numbers else f"{len(numbers)} open pull requests end"
            raise InputError(f"{said} with the commit {commit[:10]}", fix="name it: --pull-request NUMBER")
        return self.of_number(numbers[0])

    def ours(self) -> Iterator[Comment]:
        """Yield the comments that the account of the token wrote, oldest first."""
        after = None
        for _ in range(_MAX_PAGES):
            page = self._pull_request(after)["comments"]
            yield from (Comment(each["id"], each["body"]) for each in page["nodes"] if each["viewerDidAuthor"])
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]
        raise CommentError(f"the pull request has more than {_MAX_PAGES * _PAGE:,} comments")

    def add(self, body: str) -> None:
        """Write a new comment."""
        self._ask(_ADD, subject=self._pull_request(None)["id"], body=body)

    def update(self, comment: Comment, body: str) -> None:
        """Give a comment another text."""
        self._ask(_UPDATE, id=comment.id, body=body)

    def _pull_request(self, after: str | None) -> Json:
        found = self._ask(_COMMENTS, number=self._number, after=after)["repository"]["pullRequest"]
        if found is None:
            raise InputError(f"{self._repository} has no pull request {self._number}", fix="check the number")
        return found

    def _ask(self, query: str, **variables: object) -> Json:
        owner, _, name = self._repository.partition("/")
        both = {"owner": owner, "name": name} if "$owner" in query else {}
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = _answer(
            self._client, "POST", self._url, headers, json={"query": query, "variables": {**both, **variables}}
        )
        if errors := answer.get("errors"):
            fix = "the job needs the permission `pull-requests: write`"
            raise CommentError(f"GitHub refused: {str(errors[0].get('message'))[:200]}", fix=fix)
        return answer["data"]


@dataclass(frozen=True, slots=True)
class GitLab:
    """A merge request through the REST API, version 4."""

    _client: httpx.Client
    _project: str
    _token: str = field(repr=False)
    _iid: int

    def ours(self) -> Iterator[Comment]:
        """Yield the comments that the account of the token wrote."""
        me = self._ask("GET", self._project.partition("/projects/")[0] + "/user")["id"]
        for page in range(1, _MAX_PAGES + 1):
            notes = self._ask("GET", f"{self._notes}?per_page={_PAGE}&page={page}")
            yield from (Comment(str(each["id"]), each["body"]) for each in notes if each["author"]["id"] == me)
            if len(notes) < _PAGE:
                return
        raise CommentError(f"the merge request has more than {_MAX_PAGES * _PAGE:,} comments")

    def add(self, body: str) -> None:
        """Write a new comment."""
        self._ask("POST", self._notes, body=body)

    def update(self, comment: Comment, body: str) -> None:
        """Give a comment another text."""
        self._ask("PUT", f"{self._notes}/{comment.id}", body=body)

    @property
    def _notes(self) -> str:
        return f"{self._project}/merge_requests/{self._iid}/notes"

    def _ask(self, method: str, url: str, **content: object) -> Json:
        return _answer(self._client, method, url, {"PRIVATE-TOKEN": self._token}, json=content or None)


def _answer(client: httpx.Client, method: str, url: str, headers: Mapping[str, str], json: object) -> Json:
    """Return the JSON of a successful answer."""
    import httpx

    try:
        response = client.request(method, url, headers=headers, json=json)
        if response.is_success:
            return response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise CommentError(f"{url} gave no answer: {type(error).__name__}", fix="try again") from None
    fix = "the token must be allowed to write comments (pull-requests: write; `api` on GitLab)"
    raise CommentError(f"{url} answered {response.status_code} {response.reason_phrase}", fix=fix)
