"""Our GitHub action and the workflow of a new repository, run on this machine as GitHub would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from repositories import commit, git
from test_commenting import OURS, Platform, serving
from workflow_runner import Runner, load

from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terminal import Terminal

ROOT = Path(__file__).parents[1]
ACTION = load(ROOT / "action.yml")
INSTALL = "Install the reconciler"
TOKEN = "planted-comment-token"  # noqa: S105


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
def branch(terminal: Terminal) -> Terminal:
    """The checkout of a pull request that changes a URL and removes a gateway."""
    terminal.gateway("payments")
    terminal.gateway("search")
    commit(terminal.directory)
    git(terminal.directory, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(terminal.directory, "switch", "--quiet", "--create", "topic")
    terminal.gateway("payments", url="https://payments2.example/mcp")
    terminal.remove("search")
    commit(terminal.directory)
    return terminal


@pytest.fixture
def act(branch: Terminal, tmp_path: Path, platform: Platform) -> Iterator[Any]:
    """Run the action with these inputs, and return its exit code, its outputs, and the runner."""
    (tmp_path / "runner").mkdir()
    with serving(platform) as url:

        def act(base_ref: str = "main", **inputs: str) -> tuple[int, dict[str, str], Runner]:
            defaults = {name: each.get("default", "") for name, each in ACTION["inputs"].items()}
            given = {**defaults, "path": "gateways", **{key.replace("_", "-"): each for key, each in inputs.items()}}
            contexts = {"inputs": given, "github": {"base_ref": base_ref, "token": TOKEN}}
            environ = {
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_REPOSITORY": "acme/gateways",
                "GITHUB_GRAPHQL_URL": f"{url}/graphql",
                "GITHUB_REF": "refs/pull/7/merge",
                "RECONCILER_CACHE_DIR": str(tmp_path / "cache"),
            }
            runner = Runner(branch.directory, tmp_path / "runner", contexts, environ)
            runner.contexts["inputs"] = {name: runner.value(each) for name, each in given.items()}
            code = runner.run(ACTION["runs"]["steps"], leave_out=[INSTALL])
            return code, {name: runner.value(each["value"]) for name, each in ACTION["outputs"].items()}, runner

        yield act


def test_a_pull_request_is_validated_and_planned_without_credentials(act: Any) -> None:
    code, outputs, runner = act()
    assert code == 0
    assert (outputs["changed"], outputs["deletes"], outputs["exit-code"]) == ("true", "1", "0")
    changes = json.loads(Path(outputs["plan-path"]).read_text())["resource_changes"]
    assert {each["name"] for each in changes} == {"payments", "search"}
    assert "payments2.example" in runner.summary
    assert not list(Path(runner.workspace).glob("*.db"))


def test_the_plan_becomes_one_comment(act: Any, platform: Platform) -> None:
    for _ in range(2):
        code, _, runner = act(comment="true")
        assert code == 0, runner.printed
    (body,) = platform.by(OURS)
    assert "payments2.example" in body
    assert TOKEN not in runner.printed


def test_a_plan_without_changes_adds_no_comment(act: Any, branch: Terminal, platform: Platform) -> None:
    git(branch.directory, "switch", "--quiet", "--detach", "main")
    _, outputs, _ = act(comment="true")
    assert (outputs["changed"], outputs["deletes"]) == ("false", "0")
    assert platform.comments == {}


def test_a_change_of_locked_tools_alone_is_worth_a_comment(act: Any, branch: Terminal, platform: Platform) -> None:
    with Upstream("payments", None, {"charge": "Charge a card"}) as upstream:
        branch.gateway("payments", url=upstream.url, transport="streamable-http")
        branch("lock", "payments", "--path", "gateways")
        commit(branch.directory)
        git(branch.directory, "update-ref", "refs/remotes/origin/main", "HEAD")
        upstream.tools["drain"] = "Empty the account"
        branch("lock", "payments", "--path", "gateways")
    _, outputs, _ = act(comment="true")
    assert outputs["changed"] == "false"
    (body,) = platform.by(OURS)
    assert "The tools of 1 gateway changed." in body


def test_errors_are_annotated_and_stand_where_the_plan_was(act: Any, branch: Terminal, platform: Platform) -> None:
    act(comment="true")
    branch.gateway("payments", trasnport="sse")
    code, outputs, runner = act(comment="true", sarif="found.sarif")
    assert code == 3
    assert outputs["exit-code"] == "3"
    assert "::error file=gateways/payments.yaml" in runner.printed
    assert json.loads((branch.directory / "found.sarif").read_text())["runs"][0]["results"]
    (body,) = platform.by(OURS)
    assert "Nothing can be planned: 1 error" in body
    assert "did you mean" in body


def test_a_commit_of_a_fork_is_read_from_git_and_never_checked_out(
    act: Any, branch: Terminal, platform: Platform
) -> None:
    head = git(branch.directory, "rev-parse", "topic")
    platform.pulls[0]["headRefOid"] = head
    git(branch.directory, "switch", "--quiet", "main")
    code, outputs, runner = act(base_ref="", base="main", head=head, comment="true")
    assert code == 0, runner.printed
    assert outputs["deletes"] == "1"
    assert git(branch.directory, "rev-parse", "HEAD") == git(branch.directory, "rev-parse", "main")
    assert len(platform.by(OURS)) == 1


def test_what_is_merged_is_applied(act: Any, branch: Terminal) -> None:
    code, outputs, runner = act(command="apply", args="--store sqlite:///x.db --no-verify --allow-unsigned")
    assert code == 0, runner.printed
    assert (branch.directory / "x.db").exists()
    assert outputs["exit-code"] == "0"


def test_a_live_plan_can_be_applied_as_it_is(act: Any, branch: Terminal) -> None:
    code, outputs, runner = act(command="plan", args="--store sqlite:///x.db --allow-unsigned")
    assert code == 0, runner.printed
    assert outputs["changed"] == "true"
    branch("apply", outputs["plan-path"], "--store", "sqlite:///x.db", "--no-verify")


def test_inputs_are_words_and_never_commands(act: Any, branch: Terminal) -> None:
    hostile = "$(touch owned); touch owned #"
    code, outputs, _ = act(base=hostile)
    assert (code, outputs["exit-code"]) == (3, "3")
    act(command=hostile)
    act(args=hostile, command="apply")
    assert not (branch.directory / "owned").exists()


def test_a_command_that_there_is_not_is_named(act: Any) -> None:
    code, _, runner = act(command="destroy")
    assert code == 64
    assert "write check, validate, plan or apply" in runner.printed


@pytest.mark.parametrize(("of", "comments"), [("acme/gateways", 1), ("mallory/gateways", 0)])
def test_a_new_repository_passes_its_own_workflow(
    terminal: Terminal, tmp_path: Path, platform: Platform, of: str, comments: int
) -> None:
    terminal("init", "repo")
    repository = terminal.directory / "repo"
    commit(repository)
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    workflow = load(repository / ".github/workflows/gateways.yml")
    event = {"pull_request": {"head": {"repo": {"full_name": of}}}}
    github = {"event_name": "pull_request", "base_ref": "main", "token": TOKEN, "repository": "acme/gateways"}
    with serving(platform) as url:
        environ = {
            "GITHUB_REPOSITORY": "acme/gateways",
            "GITHUB_GRAPHQL_URL": f"{url}/graphql",
            "GITHUB_REF": "refs/pull/7/merge",
            "RECONCILER_CACHE_DIR": str(tmp_path / "cache"),
        }
        runner = Runner(repository, tmp_path, {"github": {**github, "event": event}}, environ)
        for job in workflow["jobs"].values():
            assert runner.run(job["steps"], leave_out=["Install"]) == 0, runner.printed
    assert "No changes: 1 gateway as before." in runner.summary
    assert len(platform.by(OURS)) == comments


def test_a_merge_request_passes_the_jobs_of_the_gitlab_template(
    branch: Terminal, tmp_path: Path, platform: Platform
) -> None:
    jobs = load(ROOT / "deploy/gitlab/reconciler.gitlab-ci.yml")
    branch.gateway("payments", url="http://payments.example/mcp")
    commit(branch.directory)
    with serving(platform) as url:
        environ = {
            **{name: value for name, value in jobs["variables"].items() if value},
            "RECONCILER_PATH": "gateways",
            "RECONCILER_CACHE_DIR": str(tmp_path / "cache"),
            "RECONCILER_COMMENT_TOKEN": TOKEN,
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": git(branch.directory, "rev-parse", "main"),
            "CI_MERGE_REQUEST_IID": "7",
            "CI_API_V4_URL": f"{url}/api/v4",
            "CI_PROJECT_ID": "42",
        }
        runner = Runner(branch.directory, tmp_path, {}, environ)
        for name in ("reconciler:validate", "reconciler:plan"):
            assert runner.run([{"run": "\n".join(jobs[name]["script"])}]) == 0, runner.printed
    reports = jobs["reconciler:validate"]["artifacts"]["reports"]
    assert "plain-http" in (branch.directory / reports["codequality"]).read_text()
    assert "<testsuites" in (branch.directory / reports["junit"]).read_text()
    (body,) = platform.by(OURS)
    assert "http://payments.example/mcp" in body
    assert "1 to delete" in runner.printed
