"""What the README says to the users of ContextForge was typed, and still goes as it says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registrar import Registrar
from typed_pages import follow

from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from live_contextforge import ContextForge

    from reconciler.demo.pki import Authority

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def secrets(contextforge: ContextForge, tmp_path: Path) -> Path:
    """The directory of the token and the key, as a job gets them."""
    directory = tmp_path / "secrets"
    directory.mkdir()
    for name, text in [("token", contextforge.token), ("ed25519.pem", contextforge.signing_key)]:
        file = directory / f"contextforge-{name}"
        file.touch(mode=0o600)
        file.write_text(text)
    return directory


@pytest.fixture
def _payments(contextforge: ContextForge, root: Authority) -> Iterator[None]:
    """A gateway that somebody registered with the API."""
    identity = root.issue_server(["localhost"])
    with (
        Upstream("payments", identity, {"charge": "Charge a card", "refund": "Pay it back"}) as upstream,
        contextforge.client() as api,
        Registrar(api) as registrar,
    ):
        registrar.register(upstream.url, name="payments", ca_certificate=root.pem)
        yield


@pytest.mark.usefixtures("_payments")
def test_the_quick_start_goes_as_it_says(contextforge: ContextForge, secrets: Path, tmp_path: Path) -> None:
    _, found, rest = README.read_text().partition("### IBM ContextForge\n")
    page = rest.partition("\n### ")[0]
    here = page.replace("https://contextforge.internal", contextforge.url).replace("/run/secrets", str(secrets))
    directory = tmp_path / "work"
    directory.mkdir()

    assert found
    assert follow(here, directory, {"RECONCILER_CACHE_DIR": str(tmp_path / "cache"), "USER": "ada"}) == []
    assert "\n$ reconciler apply " in here
