"""Two daemons in processes of their own, over one store: one writes, whoever is paused or killed is followed.

Each has a tree of its own, so that the store shows which of them wrote last.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_cluster import Controller, Namespace
from watching import eventually, generate_once

from reconciler.credentials import resolve
from reconciler.stores import open_store
from reconciler.stores.access import Access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kubernetes_cluster import Cluster
    from live_postgresql import PostgreSQL

ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())
REGISTRATIONS = "mcpserverregistrations"
MANIFEST = """\
apiVersion: reconciler/v1
kind: Gateway
metadata: {{name: a}}
spec:
  url: https://a.example/mcp
  transport: streamable-http
  description: {description}
  kuadrant: {{route: shared}}
"""

_numbers = count(1)


@dataclass(frozen=True)
class Place:
    """A store that has a lease, and what leads to it."""

    url: str
    environ: Mapping[str, str]

    def held(self) -> str:
        """Return the description of the one gateway, as the store has it now."""
        access = Access(self.environ, partial(resolve, environ=self.environ))
        with closing(open_store(self.url, create=False, access=access)) as store:
            return "".join(each.gateway.description for each in store.read().gateways.values())


@pytest.fixture
def in_postgresql(postgresql: PostgreSQL) -> Place:
    schema = f"leading_{secrets.token_hex(6)}"
    return Place(postgresql.url(schema=schema), {"PGPASSWORD": postgresql.password})


@pytest.fixture
def in_kubernetes(cluster: Cluster, tmp_path: Path) -> Iterator[Place]:
    with closing(Namespace(cluster, f"leading-{os.getpid()}-{next(_numbers)}")) as namespace:
        namespace.grant(ROLE)
        namespace.route("shared")

        def take() -> None:
            for name in namespace.names(REGISTRATIONS):
                found = namespace.get(REGISTRATIONS, name)
                if found is not None and "status" not in found:
                    namespace.say(name, "True", "Ready", "config written successfully")

        config = cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, cluster.own_token)
        with Controller(take):
            yield Place("kubernetes://", {"KUBECONFIG": str(config)})


@pytest.fixture(params=["in_postgresql", "in_kubernetes"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


class Daemon:
    """A daemon in a process of its own, over a tree of its own."""

    def __init__(self, directory: Path, place: Place, wants: str) -> None:
        self._tree, self._out, self._log = directory / "tree", directory / "out", directory / "log"
        self._tree.mkdir(parents=True)
        config = {"owner": "platform-team", "store": place.url}
        document = {"apiVersion": "reconciler/v1", "kind": "Config", "metadata": {"name": "t"}, "spec": config}
        (self._tree / "reconciler.yaml").write_text(yaml.safe_dump(document))
        self.wants(wants)
        generate_once(directory.parent)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")}
        key = {"RECONCILER_SIGNING_KEY_FILE": str(directory.parent / "signing.key")}
        command = [sys.executable, "-m", "reconciler", "watch", str(self._tree), "--no-verify", "--listen", "off"]
        with self._out.open("wb") as out, self._log.open("wb") as log:
            environ = {**clean, **key, **place.environ}
            self.process = subprocess.Popen([*command, "-o", "jsonl"], stdout=out, stderr=log, env=environ)

    def wants(self, description: str) -> None:
        """Save what its tree says."""
        temporary = self._tree / ".a.swap"
        temporary.write_text(MANIFEST.format(description=description))
        temporary.replace(self._tree / "a.yaml")

    def told(self, reason: str) -> list[dict[str, Any]]:
        """Return what it said it did, as long as it runs."""
        assert self.process.poll() is None, self._log.read_text()
        events = [json.loads(line) for line in self._out.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [each for each in events if each["reason"] == reason]


@contextmanager
def daemons(directory: Path, place: Place) -> Iterator[tuple[Daemon, Daemon]]:
    """Run two, of which the first leads."""
    with ExitStack() as running:

        def started(name: str) -> Daemon:
            daemon = Daemon(directory / name, place, name)
            running.callback(daemon.process.wait)
            running.callback(daemon.process.kill)
            return daemon

        first = started("first")
        eventually(lambda: first.told("Applied") and place.held() == "first")
        yield first, started("second")


def test_a_paused_leader_is_followed_and_writes_nothing_and_a_killed_one_is_followed(
    place: Place, tmp_path: Path
) -> None:
    with daemons(tmp_path, place) as (first, second):
        first.process.send_signal(signal.SIGSTOP)
        first.wants("stale")  # something to do, the moment it wakes up
        eventually(lambda: place.held() == "second")
        first.process.send_signal(signal.SIGCONT)
        eventually(lambda: first.told("Follows"))
        assert place.held() == "second"
        assert len(first.told("Applied")) == 1
        second.process.kill()
        second.process.wait()
        eventually(lambda: place.held() == "stale")
