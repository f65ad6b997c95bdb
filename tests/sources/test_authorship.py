"""Who wrote a commit, and whether it is signed: told by git, whatever the repository would have it run."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from repositories import commit, git

from reconciler.sources.git import authorship

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "a").write_text("a")
    commit(tmp_path / "repository")
    return tmp_path / "repository"


def head(repository: Path) -> str:
    return git(repository, "rev-parse", "HEAD")


def test_the_author_of_a_commit_that_nobody_signed(repository: Path) -> None:
    assert authorship(repository, head(repository)) == ("t <t@example.com>", "none")


def test_a_name_of_any_length_and_script_is_cut_and_kept_as_it_is(repository: Path) -> None:
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "x", f"--author={'é' * 500} <a@example.com>")
    assert authorship(repository, head(repository)) == (f"{'é' * 200} <a@example.com>", "none")


@pytest.mark.parametrize("reference", ["0" * 40, "--help", "no-such-branch"])
def test_of_a_commit_that_git_does_not_know_nothing_is_said(repository: Path, reference: str) -> None:
    assert authorship(repository, reference) == ("", "")


def test_outside_of_git_nothing_is_said(tmp_path: Path) -> None:
    assert authorship(tmp_path, "HEAD") == ("", "")


@pytest.fixture
def signed(repository: Path, tmp_path: Path) -> Path:
    """A repository whose last commit is signed with an SSH key."""
    assert shutil.which("ssh-keygen"), "these tests need ssh-keygen"
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "allowed").write_text(f"t@example.com {key.with_suffix('.pub').read_text()}")
    git(repository, "config", "gpg.format", "ssh")
    git(repository, "config", "user.signingKey", str(key))
    git(repository, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed")
    return repository


def test_a_signature_of_a_known_key_is_good(signed: Path, tmp_path: Path) -> None:
    git(signed, "config", "gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))
    assert authorship(signed, head(signed)) == ("t <t@example.com>", "good")


def test_a_signature_of_a_key_that_nobody_certified_is_called_that(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "nobody").write_text("")
    git(signed, "config", "gpg.ssh.allowedSignersFile", str(tmp_path / "nobody"))
    assert authorship(signed, head(signed))[1] == "good, of a key that is not certified"


def test_the_repository_does_not_choose_what_looks_at_its_signatures(signed: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o700)
    for name in ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program"):
        git(signed, "config", name, str(program))
    git(signed, "config", "log.showSignature", "true")
    authorship(signed, head(signed))
    assert not (tmp_path / "ran").exists()
