"""`reconciler lock`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.cli.probing import ProgressProber, vantage
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.core.model import DesiredGateway
    from reconciler.core.observation import Observation
    from reconciler.core.routes import Resolved
    from reconciler.reports.locks import Locked
    from reconciler.settings import Settings


@click.command(
    epilog="""\b
Examples:
  reconciler lock payments                writes payments.tools.json beside the manifest
  reconciler lock payments search         several at once
  reconciler lock --check payments        writes nothing; exit 2 when the tools are others
  git diff gateways/payments.tools.json   the review
"""
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--check", is_flag=True, help="Write nothing, and exit 2 when a lock would be another.")
@where(argument="option")
@vantage
@voice("json")
def lock(names: tuple[str, ...], where: Where, voice: Voice, *, check: bool, resolved: Resolved) -> int:
    """Ask upstreams for their tools, and write the definitions to the tools locks that `verify` compares with.

    The upstream is called as its manifest says: with the CA bundle, the address and the credentials that git has; the
    store is asked for nothing but CAs under `tls.caFrom`. What is written is for a commit and a review; texts that
    hide, or that give orders to a model, are pointed out.

    Exit 6 when an upstream did not say which tools it has; the locks of the others are written.
    """
    from reconciler.clock import now
    from reconciler.composition import reviewed_gateways
    from reconciler.reports import locks as report

    moment = now()
    settings = settings_of(where)
    chosen = _complete(_chosen(reviewed_gateways(settings, moment, where.paths), names), settings)
    prober = ProgressProber(voice, os.environ, moment, resolved, keep_definitions=True)
    seen = prober([(wanted.gateway, wanted.verify) for wanted in chosen])
    results = [_locked(wanted, observation) for wanted, observation in zip(chosen, seen, strict=True)]
    files = _files(results)
    if not check:
        _write(settings, files)
    if voice.format == "json":
        voice.document(report.as_document(results, check=check))
    else:
        voice.report(report.as_text(results, check=check, style=voice.style))
    if any(result.tools is None for result in results):
        return 6
    return 2 if check and any(result.differs for result in results) else 0


def _chosen(reviewed: Mapping[str, DesiredGateway], names: Sequence[str]) -> list[DesiredGateway]:
    if missing := sorted(set(names) - reviewed.keys()):
        raise InputError(
            f"no manifest describes {', '.join(missing)}, or it has errors",
            fix="see `reconciler validate`, and give the manifests with --path where there is no reconciler.yaml",
        )
    return [reviewed[name] for name in dict.fromkeys(names)]


def _complete(chosen: list[DesiredGateway], settings: Settings) -> list[DesiredGateway]:
    """Return the gateways with the CAs that the platform behind the store keeps (`tls.caFrom`)."""
    if not any(wanted.ca_from for wanted in chosen):
        return chosen
    from reconciler.composition import build_engine
    from reconciler.core.model import DesiredState

    desired = DesiredState({wanted.gateway.name: wanted for wanted in chosen})
    with build_engine(settings, os.environ, write=False) as engine:
        return list(engine.with_references(desired).gateways.values())


def _locked(wanted: DesiredGateway, seen: Observation) -> Locked:
    from reconciler.core.reviewed_tools import default_file
    from reconciler.core.toolchanges import compare, flagged
    from reconciler.reports.locks import Locked

    name, lock = wanted.gateway.name, wanted.verify.tools_lock
    file = lock.file if lock is not None else default_file(wanted.location.file, name)
    if seen.mcp is None or not seen.mcp.tools_known:
        return Locked(name, file, None, why=seen.mcp or seen.tls)
    before = lock.tools if lock is not None else None
    changes = compare(before, seen.tools) if before is not None else ()
    return Locked(name, file, seen.tools, before is None or bool(changes), changes, flagged(seen.tools))


def _files(results: Sequence[Locked]) -> dict[str, bytes]:
    """Return the locks that are others than those in the tree, by their paths.

    Raises:
        InputError: gateways that share a lock do not have the same tools, or a lock could not be read back.
    """
    from reconciler.core.problems import has_errors
    from reconciler.core.toollock import read_lock, write_lock

    files: dict[str, bytes] = {}
    for result in results:
        if result.tools is None:
            continue
        data = write_lock(result.tools)
        if files.setdefault(result.file, data) != data:
            raise InputError(
                f"gateways that share {result.file} have different tools",
                fix="give each a `verify.toolsLock` of its own",
            )
        if has_errors(read_lock(result.file, data)[1]):
            raise InputError(
                f"the tools of {result.name} cannot be written down so that they can be compared",
                fix="the upstream's definitions are too large, too deep or no JSON: have its owner mend them",
            )
    same = {result.file for result in results if not result.differs}
    return {file: data for file, data in files.items() if file not in same}


def _write(settings: Settings, files: Mapping[str, bytes]) -> None:
    from reconciler.sources.rewrite import write_inside

    for file, data in files.items():
        write_inside(settings.root, file, data)
