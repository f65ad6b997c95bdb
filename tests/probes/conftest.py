"""What the tests of the probes share: a private CA, and servers that end with the test."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from raw_servers import VALID, RawServer

from reconciler.demo.pki import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def root() -> Authority:
    return Authority.root("Payments Root CA", VALID)


@pytest.fixture(scope="session")
def issuing(root: Authority) -> Authority:
    return root.issue_authority("Payments Issuing CA")


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start raw servers that end with the test: `serve(talk)`, or `serve(talk, context)` over TLS."""
    with ExitStack() as servers:
        yield lambda talk, context=None: servers.enter_context(RawServer(talk, context))
