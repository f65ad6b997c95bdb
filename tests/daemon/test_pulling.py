"""A git remote that is followed: real repositories, real signatures."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from repositories import commit, git
from watching import QUICK, eventually, manifest, settings_for, watched

from reconciler.daemon.pulling import VERIFIED, DistrustedError, Remote
from reconciler.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """The repository that everybody pushes to."""
    directory = tmp_path / "origin"
    directory.mkdir()
    (directory / "a.yaml").write_text(manifest("a", "first"))
    commit(directory)
    return directory


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


class Signer:
    """Somebody with an SSH key."""

    def __init__(self, directory: Path, name: str) -> None:
        self.key = directory / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key)], check=True)
        self.line = f"{name}@example.com {self.key.with_suffix('.pub').read_text()}"

    def commit(self, directory: Path, message: str) -> str:
        git(directory, "add", "--all")
        config = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={self.key}")
        git(directory, *config, "commit", "--quiet", "--allow-empty", "-S", "-m", message)
        return git(directory, "rev-parse", "HEAD")


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path, "reviewer")


@pytest.fixture
def signed(clone: Path, signer: Signer, tmp_path: Path) -> Remote:
    """The remote, of which only what the reviewer signed is used."""
    allowed = tmp_path / "signers"
    allowed.write_text(signer.line)
    return Remote(clone, signed=True, allowed_signers=allowed)


def test_a_pull_gives_the_newest_commit_and_leaves_the_working_tree_alone(origin: Path, clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    (origin / "a.yaml").write_text(manifest("a", "second"))
    newest = commit(origin)
    remote = Remote(clone)
    assert remote.pull() == newest == remote.verified()
    assert git(clone, "rev-parse", "HEAD") == before
    assert git(clone, "status", "--porcelain") == ""
    assert "first" in (clone / "a.yaml").read_text()


def test_a_remote_that_is_not_there_is_an_error_and_the_last_commit_is_still_known(origin: Path, clone: Path) -> None:
    remote = Remote(clone)
    commit_before = remote.pull()
    origin.rename(origin.parent / "away")
    with pytest.raises(InputError):
        remote.pull()
    assert remote.verified() == commit_before


def test_a_commit_that_who_may_signed_is_used(origin: Path, signed: Remote, signer: Signer) -> None:
    newest = signer.commit(origin, "signed")
    assert signed.pull() == newest


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_a_commit_that_nobody_who_may_signed_is_not_used(
    origin: Path, signed: Remote, signer: Signer, tmp_path: Path, who: str
) -> None:
    good = signer.commit(origin, "signed")
    assert signed.pull() == good
    if who == "nobody":
        commit(origin, "unsigned")
    else:
        Signer(tmp_path, "stranger").commit(origin, "signed by a stranger")
    with pytest.raises(DistrustedError):
        signed.pull()
    assert signed.verified() == good


def test_history_that_goes_back_is_refused_until_somebody_says_that_it_is_meant(
    origin: Path, signed: Remote, signer: Signer
) -> None:
    older = signer.commit(origin, "older")
    newer = signer.commit(origin, "newer")
    assert signed.pull() == newer
    git(origin, "reset", "--quiet", "--hard", older)
    with pytest.raises(DistrustedError, match="does not descend") as refused:
        signed.pull()
    assert VERIFIED in refused.value.fix
    git(signed.root, "update-ref", "-d", VERIFIED)
    assert signed.pull() == older


def test_a_repository_does_not_choose_who_looks_at_its_signatures(origin: Path, signed: Remote, tmp_path: Path) -> None:
    commit(origin, "unsigned")
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\nexit 0\n")
    liar.chmod(0o755)
    git(signed.root, "config", "gpg.program", str(liar))
    git(signed.root, "config", "gpg.ssh.program", str(liar))
    git(signed.root, "config", "core.hooksPath", str(tmp_path))
    with pytest.raises(DistrustedError):
        signed.pull()


def test_what_is_pushed_is_applied_and_what_is_not_trusted_is_told(
    origin: Path, signed: Remote, signer: Signer
) -> None:
    signer.commit(origin, "signed")
    settings_for(signed.root, signed.root.parent / "gateways.db")
    with watched(
        signed.root,
        rhythm=replace(QUICK, drift_seconds=0),
        watching=lambda given: replace(given, remote=signed, pull_seconds=600),
    ) as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        (origin / "a.yaml").write_text(manifest("a", "second"))
        (origin / "b.yaml").write_text(manifest("b", "second"))
        newest = signer.commit(origin, "signed")
        daemon.session.pull()
        eventually(lambda: daemon.rows() == {"a": "second", "b": "second"})
        eventually(lambda: newest in daemon.board.tree.revision)
        (origin / "a.yaml").write_text(manifest("a", "evil"))
        commit(origin, "unsigned")
        daemon.session.pull()
        eventually(lambda: daemon.told("CommitNotTrusted"))
        assert daemon.board.tree.distrusted
        assert daemon.rows() == {"a": "second", "b": "second"}
        (signed.root / "a.yaml").write_text(manifest("a", "of the working tree"))
        signer.commit(origin, "signed again")
        daemon.session.pull()
        eventually(lambda: daemon.told("CommitNotTrusted", "resolved"))
        eventually(lambda: daemon.rows()["a"] == "evil")  # its content was signed for, in a later commit


def test_while_the_remote_is_away_what_was_verified_last_is_kept(origin: Path, clone: Path) -> None:
    settings_for(clone, clone.parent / "gateways.db")
    remote = Remote(clone)
    remote.pull()
    origin.rename(origin.parent / "away")
    with watched(clone, watching=lambda given: replace(given, remote=remote, pull_seconds=600)) as daemon:
        eventually(lambda: daemon.rows() == {"a": "first"})
        eventually(lambda: daemon.told("PullFailed"))
        origin.parent.joinpath("away").rename(origin)
        daemon.session.pull()
        eventually(lambda: daemon.told("PullFailed", "resolved"))
