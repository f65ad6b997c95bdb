"""CA certificates that a cluster keeps (`tls.caFrom`), made part of the bundles of the gateways that refer to them.

What was found there is judged like any file, canonical like any bundle, and from then on part of the row: planned,
compared, signed. Reading it is the store's business; `resolved` is given the bytes, or why there are none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.core.pem import read_pem
from reconciler.core.problems import Location, Rule, Severity, has_errors
from reconciler.core.trust import build_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.core.model import CaReference, DesiredGateway, DesiredState, TrustBundle
    from reconciler.core.problems import Problem

REFERENCE_UNREADABLE = Rule(
    "ca-reference-unreadable",
    Severity.ERROR,
    "A gateway trusts what an object of the cluster holds, and without it, it would trust nothing or the wrong CA.",
    "/spec/tls/caFrom",
)


def references(desired: DesiredState) -> tuple[CaReference, ...]:
    """Return what the gateways refer to, once each and in a fixed order."""
    found = {wanted.ca_from for wanted in desired.gateways.values() if wanted.ca_from is not None}
    return tuple(sorted(found, key=lambda each: (each.kind, each.name, each.key)))


def resolved(desired: DesiredState, found: Mapping[CaReference, bytes | str], now: datetime) -> DesiredState:
    """Return the desired state with complete bundles. `found` has the bytes, or why there are none; `now` is aware.

    A gateway whose certificates are no bundle stays as it is, and is an error among the problems.
    """
    gateways = dict(desired.gateways)
    bundles = dict(desired.bundles)
    problems = list(desired.problems)
    for name, wanted in desired.gateways.items():
        if wanted.ca_from is None:
            continue
        bundle, said = _bundle(wanted, wanted.ca_from, found[wanted.ca_from], now)
        problems.extend(said)
        if bundle is not None:
            bundles[bundle.pem] = bundle
            gateways[name] = replace(wanted, gateway=replace(wanted.gateway, ca_certificate=bundle.pem))
    return replace(
        desired,
        gateways=gateways,
        bundles=bundles,
        problems=tuple(problems),
        complete=desired.complete and not has_errors(problems),
    )


def _bundle(
    wanted: DesiredGateway, reference: CaReference, content: bytes | str, now: datetime
) -> tuple[TrustBundle | None, list[Problem]]:
    name = wanted.gateway.name
    if isinstance(content, str):
        fix = "create the object, or correct the name and the key under `tls.caFrom`"
        return None, [REFERENCE_UNREADABLE.at(wanted.location, f"`{name}`: {content}", fix=fix, gateways=(name,))]
    kind = "ConfigMap" if reference.kind == "configMapKeyRef" else "Secret"
    files = [read_pem(f"{kind} {reference.name}, {reference.key}.pem", content)]
    if wanted.gateway.ca_certificate:
        files.append(read_pem("tls.caCertificates.pem", wanted.gateway.ca_certificate.encode()))
    bundle, said = build_bundle(files, now)
    every = [*(problem for file in files for problem in file.problems), *said]
    return bundle, [_placed(problem, wanted.location, name) for problem in every]


def _placed(problem: Problem, location: Location, name: str) -> Problem:
    """Return the problem at the manifest, for what it is about is no file of the tree."""
    found = problem.location
    where = replace(location, pointer=REFERENCE_UNREADABLE.field)
    message = f"{problem.message} ({found.file.removesuffix('.pem')}, line {found.line})"
    return replace(problem, location=where, message=message, gateways=(name,))
