"""What every story needs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from terminal import Terminal

from reconciler.demo.pki import Authority, Lifetime

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture(scope="session")
def now() -> datetime:
    """The moment around which certificates are valid."""
    return datetime.now(UTC)  # noqa: TID251 - real certificates, judged by real clocks


@pytest.fixture(scope="session")
def authority(now: datetime) -> Authority:
    """A private root CA."""
    return Authority.root("Test Root CA", Lifetime.around(now))
