"""Opens each kind of store for a test, new and empty, with everything that has to run for it."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from arena import Arena
from kubernetes_cluster import Controller, Namespace
from kubernetes_real import real_cluster
from kubernetes_serving import fake_cluster
from places import BrokersFile, Memory, Sqlite
from platform_places import ClusterObjects, ContextForgeDatabase, PostgreSQLTables

from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from places import Place

    from reconciler.demo.pki import Authority

ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())

_numbers = count(1)


class Opening:
    """What a place is made with, and undone when the test ends."""

    def __init__(self, request: pytest.FixtureRequest, directory: Path, undo: ExitStack) -> None:
        self.get = request.getfixturevalue
        self.directory = directory
        self.undo = undo

    def new_directory(self) -> Path:
        made = self.directory / f"place-{next(_numbers)}"
        made.mkdir()
        return made


def _postgresql(opening: Opening) -> Place:
    server, schema = opening.get("postgresql"), f"t_{secrets.token_hex(6)}"

    def drop() -> None:
        with closing(server.connect()) as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())

    opening.undo.callback(drop)
    return PostgreSQLTables(server, schema)


def _contextforge(opening: Opening) -> Place:
    platform = opening.get("contextforge")
    opening.undo.callback(platform.empty)
    upstream = opening.undo.enter_context(Upstream("any", None, {"pay": "Pay an invoice"}))
    return ContextForgeDatabase(platform, upstream.url)


def _kubernetes(opening: Opening) -> Place:
    root: Authority = opening.get("root")
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        cluster = opening.undo.enter_context(real_cluster(Path(assets), opening.new_directory(), root))
    else:
        cluster, _ = opening.undo.enter_context(fake_cluster(root))
    namespace = Namespace(cluster, f"test-{os.getpid()}-{next(_numbers)}")
    opening.undo.callback(namespace.close)
    namespace.grant(ROLE)
    place = ClusterObjects(namespace, opening.new_directory())
    opening.undo.enter_context(Controller(place.accept))
    return place


PLACES: dict[str, Callable[[Opening], Place]] = {
    "memory": lambda _: Memory(),
    "sqlite": lambda opening: Sqlite(opening.new_directory() / "gateways.db"),
    "postgresql": _postgresql,
    "contextforge": _contextforge,
    "kuadrant+file": lambda opening: BrokersFile(opening.new_directory()),
    "kubernetes": _kubernetes,
}
"""Another store is one more line: a function of what it is made with."""


@contextmanager
def arenas(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Callable[..., Arena]]:
    """Yield what makes arenas over new and empty places of a kind."""
    with ExitStack() as undo:
        opening = Opening(request, directory, undo)

        def made(**how: Any) -> Arena:
            arena = Arena(PLACES[kind](opening), opening.new_directory(), **how)
            undo.callback(arena.sealing.close)
            undo.callback(arena.reading.close)
            return arena

        yield made
