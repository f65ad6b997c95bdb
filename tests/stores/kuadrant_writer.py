"""Writes generation after generation of four servers in a process that is killed at a random moment, a hundred times.

After each death it prints what the broker would load and what the store says. Each run is a fork of this process, which
has imported everything, so that the moments fall into the work and not into the start.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contract import AUDIT, SIGNATURE, a_gateway, a_stamp, created, deleted
from kuadrant_broker import load

from reconciler.core.model import Auth, SecretReference
from reconciler.stores import open_store
from reconciler.stores.access import Access

if TYPE_CHECKING:
    from reconciler.core.ports import Store

ROUNDS = 100
TOKEN = Auth("bearer", (), (("token", SecretReference("env", "TOKEN")),))


def opened(config: Path) -> Store:
    return open_store(f"kuadrant+file://{config}", create=True, access=Access({}, lambda _: "hunter2"))


def apply(store: Store, generation: int) -> None:
    """Replace the servers of the last generation by those of this one: the names of the last but one, other URLs."""
    fleet = [
        a_gateway(
            f"gw-{generation % 2}-{number}",
            url=f"https://host-{number}.example/{generation}",
            description=str(generation),
            auth=TOKEN,
        )
        for number in range(4)
    ]
    made = [created(each, SIGNATURE, a_stamp(each.name, str(generation))) for each in fleet]
    store.apply([*map(deleted, store.read().gateways.values()), *made], AUDIT)


def started(config: Path, generation: int) -> int:
    """Start a process that applies one generation after the other."""
    child = os.fork()
    if child == 0:
        store = opened(config)
        while True:
            generation += 1
            apply(store, generation)
    return child


def main(config: Path, seed: int) -> None:
    chance = random.Random(seed)
    apply(opened(config), 1)
    begin = time.monotonic()
    apply(opened(config), 2)
    one = time.monotonic() - begin
    for _ in range(ROUNDS):
        live = opened(config).read().gateways
        child = started(config, max(int(found.gateway.description) for found in live.values()))
        time.sleep(chance.uniform(0, 5) * one)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded = [server["url"] for server in load(config.read_bytes())["servers"]]
        known = {
            name: (found.gateway.url, found.gateway.description, found.stamp and found.stamp.revision, found.signature)
            for name, found in opened(config).read().gateways.items()
        }
        print(json.dumps([loaded, known]), flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
