"""Follows a branch of a git remote: fetch, verify the signature, and only then let anybody read the commit.

Nothing is checked out: trees are read from the object database. What was verified last is kept in a ref of our own, so
that a restart goes on from there while the remote cannot be reached. With signatures required, a commit that does not
descend from it is refused as well: an old signed commit would bring back an old, revoked CA.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.errors import InputError
from reconciler.sources.git import ask, commit_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FETCHED: Final = "refs/reconciler/fetched"
VERIFIED: Final = "refs/reconciler/verified"
_FETCH_SECONDS: Final = 120.0
_VERIFIERS: Final = (
    "-c", "gpg.program=gpg",
    "-c", "gpg.openpgp.program=gpg",
    "-c", "gpg.x509.program=gpgsm",
    "-c", "gpg.ssh.program=ssh-keygen",
)  # fmt: skip
"""A repository may not choose what program looks at its signatures."""


class DistrustedError(InputError):
    """The commit was fetched, and may not be used."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A branch of a remote, as the clone at `root` knows it. `allowed_signers` is a file as ssh-keygen(1) has it."""

    root: Path
    name: str = "origin"
    branch: str = "main"
    signed: bool = False
    allowed_signers: Path | None = None

    def verified(self) -> str:
        """Return the commit that was verified last, or nothing."""
        try:
            return commit_of(self.root, VERIFIED)
        except InputError:
            return ""

    def pull(self) -> str:
        """Fetch the branch and return its commit, once it may be used.

        Raises:
            DistrustedError: it is not signed by anybody who may, or does not descend from what was used before.
            InputError: the remote cannot be reached, or has no such branch.
        """
        refspec = f"+refs/heads/{self.branch}:{FETCHED}"
        ask(
            self.root, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head",
            "--end-of-options", self.name, refspec, seconds=_FETCH_SECONDS,
        )  # fmt: skip
        commit = commit_of(self.root, FETCHED)
        if self.signed and commit != self.verified():
            self._verify(commit)
        ask(self.root, "update-ref", VERIFIED, commit)
        return commit

    def _verify(self, commit: str) -> None:
        signers = ("-c", f"gpg.ssh.allowedSignersFile={self.allowed_signers}") if self.allowed_signers else ()
        try:
            ask(self.root, *_VERIFIERS, *signers, "verify-commit", commit)
        except InputError:
            raise DistrustedError(
                f"commit {commit} of {self.name}/{self.branch} is not signed by anybody who may sign",
                fix="have it signed by a key among the allowed signers; the last verified commit stays in force",
            ) from None
        before = self.verified()
        if before and not self._descends(commit, before):
            raise DistrustedError(
                f"commit {commit} of {self.name}/{self.branch} does not descend from {before}, which was verified last",
                fix=f"if history was rewritten on purpose, say so: git update-ref -d {VERIFIED}",
            )

    def _descends(self, commit: str, before: str) -> bool:
        try:
            ask(self.root, "merge-base", "--is-ancestor", before, commit)
        except InputError:
            return False
        return True


class Puller:
    """Pulls every `seconds`, and at once when it is told to; in a thread of its own, for a remote can be slow.

    `pulled` is called with each commit that may be used, `failed` with what went wrong.
    """

    def __init__(
        self, remote: Remote, seconds: float, pulled: Callable[[str], None], failed: Callable[[InputError], None]
    ) -> None:
        self._remote = remote
        self._seconds = seconds
        self._pulled = pulled
        self._failed = failed
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="pull", daemon=True)

    def start(self) -> None:
        """Begin, with a pull."""
        self._thread.start()

    def now(self) -> None:
        """Pull at once."""
        self._wake.set()

    def stop(self) -> None:
        """End after the pull in hand; it is not waited for."""
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self._pulled(self._remote.pull())
            except InputError as error:
                self._failed(error)
            self._wake.wait(self._seconds)
