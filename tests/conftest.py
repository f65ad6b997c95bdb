"""What tests of several folders share: a terminal to type in, a private CA, and servers that end with the test."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from raw_servers import VALID, RawServer
from terminal import Terminal

from reconciler.demo.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def now() -> datetime:
    """The moment around which certificates are valid."""
    return datetime.now(UTC)  # noqa: TID251 - real certificates, judged by real clocks


@pytest.fixture(scope="session")
def root() -> Authority:
    """A private root CA."""
    return Authority.root("Payments Root CA", VALID)


@pytest.fixture(scope="session")
def issuing(root: Authority) -> Authority:
    """An intermediate below it."""
    return root.issue_authority("Payments Issuing CA")


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start raw servers that end with the test: `serve(talk)`, or `serve(talk, context)` over TLS."""
    with ExitStack() as servers:
        yield lambda talk, context=None: servers.enter_context(RawServer(talk, context))


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A fresh directory, nothing of the developer's environment, and a signing key."""
    for name in list(os.environ):
        if name.startswith(("RECONCILER_", "ED25519_", "GITHUB_")):
            monkeypatch.delenv(name)
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("RECONCILER_CACHE_DIR", str(tmp_path / "cache"))
    at = Terminal(capsys, directory)
    at("keys", "generate", str(tmp_path / "signing.key"))
    monkeypatch.setenv("RECONCILER_SIGNING_KEY_FILE", str(tmp_path / "signing.key"))
    return at
