"""Every command in the documentation was typed, and still goes as it says: here, or in a test that is named."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from typed_pages import PERSON, follow, has_console, sections, untyped

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "examples/**/*.md", "deploy/**/*.md")
    for page in ROOT.glob(pattern)
)
ELSEWHERE = {
    ("README.md", "Two commands"): ".github/workflows/ci.yml: make demo",
    ("README.md", "IBM ContextForge"): "tests/contextforge/test_quick_start.py: test_the_quick_start_goes_as_it_says",
    ("README.md", "Kuadrant (broker's file)"): "tests/cli/test_kuadrant_stories.py: "
    "test_the_quick_start_of_the_readme_goes_as_it_says",
    (
        "README.md",
        "Kuadrant (Kubernetes)",
    ): "tests/kubernetes/test_kubernetes_pages.py: test_the_quick_start_goes_as_it_says",
    ("CONTRIBUTING.md", "Contributing"): ".github/workflows/ci.yml: make check",
    ("docs/cluster-certificates.md", None): "tests/kubernetes/test_kubernetes_pages.py: "
    "test_the_page_about_cas_of_the_cluster_goes_as_it_says",
    ("docs/contextforge.md", None): "tests/cli/test_contextforge_stories.py: test_the_page_goes_as_it_says",
    ("docs/kubernetes.md", "The daemon in the cluster"): "tests/kubernetes/test_kubernetes_pages.py: "
    "test_what_the_daemon_in_the_cluster_needs_is_what_the_page_makes",
    ("docs/tutorial.md", None): "tests/test_clean_machine.py: test_the_tutorial_runs_from_the_wheel_alone",
    ("docs/formats.md", None): "tests/reports/test_formats_page.py: test_the_page_shows_what_is_printed",
}
"""What needs a platform, or is compared more closely: the page, the heading (None: all of it), and what types it."""

STAND_INS = {"docs/verification.md": {"payments.internal": "localhost", "10.0.0.7": "127.0.0.1"}}
"""Names on a page that are others on the machine of a test."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def typed_here(page: Path) -> str:
    """Return what of a page this test types."""
    name = name_of(page)
    if (name, None) in ELSEWHERE:
        return ""
    return "".join(text for heading, text in sections(page.read_text()).items() if (name, heading) not in ELSEWHERE)


TYPED = [page for page in PAGES if has_console(typed_here(page))]


@pytest.mark.parametrize("page", TYPED, ids=name_of)
def test_a_page_goes_as_it_says(page: Path, tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    text = typed_here(page)
    for there, here in {**STAND_INS.get(name_of(page), {}), "8443": str(free_port())}.items():
        text = text.replace(there, here)
    assert follow(text, directory, {**PERSON, "RECONCILER_CACHE_DIR": str(tmp_path / "cache")}) == []


def free_port() -> int:
    """A port for whatever a page serves, which has 8443 in its text."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_where_they_are_typed(page: Path) -> None:
    assert untyped(page.read_text()) == []


@pytest.mark.parametrize(("page", "heading"), ELSEWHERE, ids=str)
def test_what_is_typed_elsewhere_is_there_and_is_typed_there(page: str, heading: str | None) -> None:
    text = (ROOT / page).read_text()
    assert has_console(text if heading is None else sections(text)[heading])
    file, _, name = ELSEWHERE[page, heading].partition(": ")
    told = (ROOT / file).read_text()
    assert re.search(rf"def {name}\b|run: {name}$", told, re.MULTILINE), name
    assert heading is None or file.startswith(".github") or heading.partition("`")[0] in told


def test_a_page_that_says_otherwise_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    page = "`a.txt`:\n\n```text\none\ntwo\n```\n\n```console\n$ cat a.txt\n…\n$ wc -l < a.txt\n3\n```\n"
    assert follow(page, directory, {}) == ["line 11: wc -l < a.txt\n2\n"]


@pytest.mark.parametrize(
    "block", ["```bash\nls\n```\n", "```\nls\n```\n", "```text\n$ ls\n```\n", "\n    ls\n", "\n\n    ls\n    ls -l\n"]
)
def test_a_command_that_would_not_be_typed_is_found(block: str) -> None:
    assert [line.lstrip("$ ") for line in untyped(f"Look:\n{block}\n")] == ["ls"]


def test_what_belongs_to_a_list_or_is_no_command_is_left_alone() -> None:
    assert untyped("- one\n\n    of a list\n\n```yaml\na: 1\n```\n\n```text\n# no heading\n```\n") == []
