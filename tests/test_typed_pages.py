"""Every page with a console in it was typed, and still goes as it says."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typed_pages import follow

ROOT = Path(__file__).parents[1]
PAGES = [page for page in sorted(ROOT.glob("docs/*.md")) if "```console\n" in page.read_text()]
ELSEWHERE = {"contextforge.md", "formats.md", "verification.md"}
"""Pages that have a test of their own."""

TYPED = [page for page in PAGES if page.name not in ELSEWHERE]


@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.stem)
def test_a_page_goes_as_it_says(page: Path, tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    environ = {
        "RECONCILER_CACHE_DIR": str(tmp_path / "cache"),
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "user.name",
        "GIT_CONFIG_VALUE_0": "Ada",
        "GIT_CONFIG_KEY_1": "user.email",
        "GIT_CONFIG_VALUE_1": "ada@example.com",
        "GIT_CONFIG_KEY_2": "init.defaultBranch",
        "GIT_CONFIG_VALUE_2": "main",
        "USER": "ada",
        "LOGNAME": "ada",
    }
    text = page.read_text().replace("8443", str(free_port()))
    assert follow(text, directory, environ) == []


def free_port() -> int:
    """A port for whatever a page serves, which has 8443 in its text."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_a_page_that_says_otherwise_is_found(tmp_path: Path) -> None:
    directory = tmp_path / "work"
    directory.mkdir()
    page = "`a.txt`:\n\n```text\none\ntwo\n```\n\n```console\n$ cat a.txt\n…\n$ wc -l < a.txt\n3\n```\n"
    assert follow(page, directory, {}) == ["line 11: wc -l < a.txt\n2\n"]
