"""Every workflow, action and template that we have or hand out: as its schema, actionlint and zizmor want it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema_rs
import pytest
from workflow_runner import load

from reconciler.scaffold import scaffold

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SHOWN = sorted((ROOT / "docs/workflows").glob("*.yml"))
WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), *SHOWN]
SCHEMAS = {
    **dict.fromkeys(WORKFLOWS, "github-workflows"),
    ROOT / "action.yml": "github-actions",
    ROOT / ".github/dependabot.yml": "dependabot",
    ROOT / "deploy/gitlab/reconciler.gitlab-ci.yml": "gitlab-ci",
    ROOT / ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    ROOT / ".github/ISSUE_TEMPLATE/bug.yml": "github-issue-forms",
    ROOT / ".github/ISSUE_TEMPLATE/idea.yml": "github-issue-forms",
}


def errors(path: Path, name: str) -> list[str]:
    import yaml

    schema = json.loads((files("check_jsonschema") / f"builtin_schemas/vendor/{name}.json").read_text())
    document = yaml.load(path.read_text().replace("\non:\n", "\n'on':\n"), yaml.SafeLoader)
    return [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(document)]


def made(directory: Path) -> Path:
    scaffold(directory, "acme", b"key", "public", {})
    return directory / ".github/workflows/gateways.yml"


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_each_file_is_as_its_published_schema_wants_it(path: Path) -> None:
    assert errors(path, SCHEMAS[path]) == []


def test_the_workflow_of_a_new_repository_is_so_too(tmp_path: Path) -> None:
    assert errors(made(tmp_path), "github-workflows") == []


def test_a_workflow_that_is_not_is_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text("name: x\non:\n  push:\njobs:\n  a: {runs-on: x, stepps: []}\n")
    assert errors(tmp_path / "wrong.yml", "github-workflows")


def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    actionlint = shutil.which("actionlint", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if actionlint is None and "CI" not in os.environ:
        pytest.skip("actionlint is not there: install Go, and `make test` builds it")
    assert actionlint is not None, "actionlint is not there: `make test` builds it where Go is installed"
    ended = subprocess.run(
        [actionlint, "-no-color", "-shellcheck=", *map(str, [*WORKFLOWS, made(tmp_path)])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "")


def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    checked = [*WORKFLOWS, ROOT / "action.yml", ROOT / ".github/dependabot.yml", made(tmp_path)]
    ended = subprocess.run(
        [BIN / "zizmor", "--offline", "--no-progress", "--persona", "regular", *map(str, checked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / "action.yml"], ids=lambda path: path.name)
def test_actions_of_others_are_pinned_to_a_commit(path: Path) -> None:
    for used in re.findall(r"uses: (\S+)", path.read_text()):
        ours = used == "./" or used.startswith("mcp-gateway-reconciler/reconciler@v")
        assert ours or re.search(r"@[0-9a-f]{40}$", used), used


def test_every_workflow_says_what_it_may_do_and_for_how_long() -> None:
    for path in WORKFLOWS:
        workflow = load(path)
        assert "permissions" in workflow, path.name
        assert all("timeout-minutes" in job for job in workflow["jobs"].values()), path.name


def test_the_shell_of_the_action_is_sound() -> None:
    for script in sorted((ROOT / "action").glob("*.sh")):
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
        assert os.access(script, os.X_OK)
