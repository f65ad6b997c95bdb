"""A program to be killed: applies generation after generation of forty gateways, and reports each that is done."""

from __future__ import annotations

import sys

from contract import AUDIT, SIGNATURE, a_gateway, a_stamp, created, deleted

from reconciler.stores import open_store

store = open_store(f"sqlite:///{sys.argv[1]}", create=True)
live = store.read().gateways
generation = max((int(each.gateway.description) for each in live.values()), default=0)
sys.stdout.write(f"{generation}\n")
sys.stdout.flush()
while True:
    generation += 1
    fleet = [
        a_gateway(f"gw-{generation}-{number}", description=str(generation), ca_certificate="x" * 5000)
        for number in range(40)
    ]
    changes = [*map(deleted, live.values()), *(created(each, SIGNATURE, a_stamp(each.name)) for each in fleet)]
    outcomes = store.apply(changes, AUDIT)
    live = store.read().gateways
    sys.stdout.write(f"{generation}\n")
    sys.stdout.flush()
