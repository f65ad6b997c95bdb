"""What git says: the revision of a working tree, whether it has uncommitted changes, and what any command answers.

Nothing a repository configures may run: no hooks, no fsmonitor, no prompts, no locks taken.
"""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TIMEOUT_SECONDS: Final = 30
_LONGEST: Final = 200
_HARMLESS: Final = (
    "-c", "core.fsmonitor=false",
    "-c", "core.hooksPath=/dev/null",
    "--no-optional-locks",
)  # fmt: skip


class WorkingTreeStatus:
    """`git status` of some paths under way. It runs while the tree is read; `result` waits for it."""

    def __init__(self, root: Path, paths: Sequence[str] = ()) -> None:
        words = ("--literal-pathspecs", "status", "--porcelain=v2", "--branch", "--untracked-files=normal")
        command = ["git", *_HARMLESS, *words, "--", *paths]
        try:
            self._process: subprocess.Popen[str] | None = subprocess.Popen(  # noqa: S603 - fixed words, no shell
                command,
                cwd=root,
                env=_environment(),
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


_DETACHED: Final = "(detached)"


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
    return revision_name(commit, headers.get("branch.head", _DETACHED).removeprefix(_DETACHED)), dirty


def revision_name(commit: str, name: str = "") -> str:
    """Return a revision as the field writes it: `main@sha1:<commit>`, or `sha1:<commit>` of no branch."""
    kind = "sha1" if len(commit) == len("0" * 40) else "sha256"
    return f"{name}@{kind}:{commit}" if name else f"{kind}:{commit}"


def ask(root: Path, *words: str, given: bytes = b"", seconds: float = _TIMEOUT_SECONDS) -> bytes:
    """Return what a git command run at `root` prints when it is `given` this on its standard input.

    It is waited for `seconds` at the most.

    Raises:
        InputError: git is not there, refuses, or takes too long.
    """
    command = ["git", *_HARMLESS, *words]
    try:
        done = subprocess.run(  # noqa: S603 - words of ours, no shell
            command,
            cwd=root,
            env=_environment(),
            input=given,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"git {words[0]} did not answer: {type(error).__name__}", fix="is git installed?") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"git {words[0]} failed: {said[0] if said else 'without a word'}", fix="run it by hand to see")
    return done.stdout


def commit_of(root: Path, reference: str) -> str:
    """Return the commit that a branch, tag or abbreviation names.

    Raises:
        InputError: there is none.
    """
    fix = "fetch it first (in CI: a checkout with its whole history), or correct the name"
    unknown = InputError(f"git knows no revision `{reference}`", fix=fix)
    if reference.startswith("-"):
        raise unknown
    try:
        return (
            ask(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
            .decode()
            .strip()
        )
    except InputError:
        raise unknown from None


def common_ancestor(root: Path, reference: str, head: str = "HEAD") -> str:
    """Return the commit where `head` left `reference`: what a pull request is compared with.

    Raises:
        InputError: git is not there, or knows no such revision, or the two have no history in common.
    """
    commits = commit_of(root, reference), commit_of(root, head)
    return ask(root, "merge-base", *commits).decode().strip()


_SIGNATURES: Final = {
    "G": "good",
    "U": "good, of a key that is not certified",
    "X": "expired",
    "Y": "good, of a key that expired",
    "R": "good, of a key that was revoked",
    "B": "bad",
    "E": "unknown key",
    "N": "none",
}
"""What `%G?` of git-log(1) says."""

_OWN_VERIFIERS: Final = (
    "-c", "gpg.program=gpg",
    "-c", "gpg.openpgp.program=gpg",
    "-c", "gpg.x509.program=gpgsm",
    "-c", "gpg.ssh.program=ssh-keygen",
    "-c", "log.showSignature=false",
)  # fmt: skip
"""A repository may not choose what program looks at its signatures."""


@lru_cache(maxsize=64)
def authorship(root: Path, commit: str) -> tuple[str, str]:
    """Return who wrote a commit, as `Name <address>`, and the status of its signature; both empty if git cannot tell.

    The signature is looked at with the keys of whoever runs this, once. It is told, and decides nothing.
    """
    words = ("log", "-1", "--no-patch", "--encoding=UTF-8", "--format=%an%x00%ae%x00%G?", "--end-of-options", commit)
    try:
        said = ask(root, *_OWN_VERIFIERS, *words)
    except InputError:
        return "", ""
    name, address, signature = (*said.decode(errors="replace").rstrip("\n").split("\0"), "", "")[:3]
    return f"{name[:_LONGEST]} <{address[:_LONGEST]}>", _SIGNATURES.get(signature, "")


def _environment() -> dict[str, str]:
    return {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
