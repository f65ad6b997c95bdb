"""What tests of several folders share: a terminal to type in, a private CA, and servers that end with the test."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live_contextforge import alone, running_contextforge
from live_postgresql import running_postgresql
from raw_servers import VALID, RawServer
from terminal import Terminal
from vault_server import BINARIES

from reconciler.demo.pki import Authority
from reconciler.probes.tls import platform_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kubernetes_cluster import Cluster
    from live_contextforge import ContextForge
    from live_postgresql import PostgreSQL


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the Kubernetes store, and keys in Vault, were tested against."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    which = (
        f"etcd and kube-apiserver of {assets}" if assets else "a fake API server; `make envtest` prepares a real one"
    )
    terminalreporter.write_line(f"Kubernetes: {which}")
    vaults = ", ".join(BINARIES) or "and no real one, for neither `vault` nor `bao` is on the PATH"
    terminalreporter.write_line(f"Vault: a local server of its API; {vaults}")


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
def public_ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """A CA that this machine's OpenSSL takes for a public one."""
    authority = Authority.root("Public Root CA", VALID)
    (tmp_path / "public.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public.pem"))
    platform_context.cache_clear()
    yield authority
    platform_context.cache_clear()


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all the workers of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def shared_contextforge(run_directory: Path) -> Iterator[ContextForge]:
    """The one IBM ContextForge of this test run, for what may not depend on `contextforge`."""
    with running_contextforge(run_directory / "contextforge") as running:
        yield running


@pytest.fixture
def contextforge(shared_contextforge: ContextForge, run_directory: Path) -> Iterator[ContextForge]:
    """The one IBM ContextForge of this test run, left to this test alone for as long as it lasts."""
    with alone(run_directory / "contextforge"):
        yield shared_contextforge


@pytest.fixture(scope="session")
def postgresql(run_directory: Path) -> Iterator[PostgreSQL]:
    """The one PostgreSQL of this test run, for tests that keep to a schema of their own."""
    with running_postgresql(run_directory / "postgresql") as running:
        yield running


@pytest.fixture(scope="session")
def cluster(root: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kubernetes API server: the real one where there is one, else a fake. Each test has a namespace of its own."""
    from kubernetes_real import real_cluster
    from kubernetes_serving import fake_cluster

    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        with real_cluster(Path(assets), tmp_path_factory.mktemp("envtest"), root) as running:
            yield running
    else:
        with fake_cluster(root) as (running, _):
            yield running


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


@pytest.fixture
def contextforge_terminal(
    terminal: Terminal, contextforge: ContextForge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """A terminal whose store is the IBM ContextForge of this test run, emptied, which verifies our signatures."""
    (tmp_path / "signing.key").write_text(contextforge.signing_key)
    monkeypatch.setenv("RECONCILER_STORE", f"contextforge+{contextforge.url}")
    monkeypatch.setenv("RECONCILER_CONTEXTFORGE_TOKEN", contextforge.token)
    contextforge.empty()
    yield terminal
    contextforge.empty()
