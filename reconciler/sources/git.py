"""What git says of a working tree: the revision, and whether it has uncommitted changes.

Nothing a repository configures may run: no hooks, no fsmonitor, no prompts, no locks taken.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIMEOUT_SECONDS: Final = 30
_HARMLESS: Final = (
    "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null",
    "--no-optional-locks",
)  # fmt: skip


class WorkingTreeStatus:
    """`git status` under way. It runs while the tree is read; `result` waits for it."""

    def __init__(self, root: Path, paths: Sequence[str] = ()) -> None:
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        command = ["git", *_HARMLESS, "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", *paths]
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(  # noqa: S603 - fixed words, no shell
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            self._process = None

    def result(self) -> tuple[str, bool]:
        """Return the revision as `branch@sha1:<commit>` and whether the tree is dirty; `("", False)` outside git."""
        if self._process is None:
            return "", False
        try:
            output, _ = self._process.communicate(timeout=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            return "", True
        return read_status(output) if self._process.returncode == 0 else ("", False)


def read_status(output: str) -> tuple[str, bool]:
    """Read `git status --porcelain=v2 --branch`: header lines begin with `#`, every other line is a change."""
    headers: dict[str, str] = {}
    dirty = False
    for line in output.splitlines():
        if line.startswith("# "):
            key, _, value = line[2:].partition(" ")
            headers[key] = value
        else:
            dirty = True
    commit = headers.get("branch.oid", "(initial)")
    if commit == "(initial)":
        return "", True
    branch = headers.get("branch.head", "(detached)")
    kind = "sha1" if len(commit) == len("0" * 40) else "sha256"
    prefix = "" if branch == "(detached)" else branch
    return f"{prefix}@{kind}:{commit}", dirty
