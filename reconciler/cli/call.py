"""`reconciler call`."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.options import Voice, Where, settings_of, voice, where
from reconciler.cli.probing import vantage
from reconciler.errors import GuardError, InputError, ReconcilerError

if TYPE_CHECKING:
    from reconciler.core.observation import McpObservation, Observation
    from reconciler.core.routes import Resolved
    from reconciler.examining import Lookup

_ARGUMENTS_LIMIT: Final = 1024 * 1024
_FAILED: Final = 6
_TOOL_FAILED: Final = 1
_RAISED: Final[dict[str, type[ReconcilerError]]] = {"ToolUnknown": InputError, "ToolNotReviewed": GuardError}


def _arguments(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """Return a JSON object as it was given, or what the file after an @ holds."""
    try:
        if text.startswith("@"):
            with click.open_file(text[1:], "rb") as file:
                text = file.read(_ARGUMENTS_LIMIT + 1).decode()
        if len(text) > _ARGUMENTS_LIMIT:
            raise click.BadParameter(f"more than {_ARGUMENTS_LIMIT:,} characters")
        if isinstance(json.loads(text), dict):
            return text
    except OSError as error:
        raise click.BadParameter(f"{text[1:]} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"it is not JSON: {error}") from None
    raise click.BadParameter('write a JSON object, such as {"amount": 5}')


@click.command(
    epilog="""\b
Examples:
  reconciler call payments charge --args '{"amount": 5}'
  reconciler call payments charge --args @charge.json      arguments that belong into no history
  reconciler call payments charge -o json | jq -r '.result.content[0].text'
"""
)
@click.argument("name")
@click.argument("tool")
@click.option("--args", "arguments", metavar="JSON", default="{}", callback=_arguments, help="A JSON object, or @FILE.")
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0.1, 600), default=30.0, help="For all of it.")
@where(argument="option")
@vantage
@voice("json")
def call(
    name: str, tool: str, where: Where, voice: Voice, *, arguments: str, timeout: float, resolved: Resolved
) -> int:
    """Call a TOOL of the gateway NAME as the store has it: the signatures are verified, then its CA bundle is trusted.

    Nothing is sent where a row leads that is not what was signed, and credentials go only where the manifests send
    them. Where the gateway has a tools lock, only a tool that is as it was reviewed is called.

    Exit 1 when the tool itself failed, 4 when it is not the reviewed one, 6 when the upstream did not answer.
    """
    from reconciler.clock import now
    from reconciler.composition import build_engine, reviewed_gateways
    from reconciler.core.observation import ToolRequest
    from reconciler.prober import UpstreamProber
    from reconciler.reports import calls as report

    moment = now()
    settings = settings_of(where)
    reviewed = reviewed_gateways(settings, moment, where.paths)
    with build_engine(settings, os.environ, write=False) as engine:
        lookup = engine.trusted_lookup(name, reviewed)
    prober = UpstreamProber(
        os.environ, moment, resolved=resolved, call=ToolRequest(tool, arguments, _reviewed(lookup, tool))
    )
    (seen,) = prober([(lookup.row, replace(lookup.policy, timeout_seconds=timeout, require_tools=()))])
    answer = _answer(seen)
    if voice.format == "json":
        voice.document(report.as_document(name, tool, seen, answer))
    elif answer is not None:
        voice.report(report.as_text(answer))
    if answer is None:
        return _explained(seen, voice)
    return _TOOL_FAILED if answer.get("isError") is True else 0


def _reviewed(lookup: Lookup, tool: str) -> str | None:
    """Return the digest that the tool must have, or None where nobody has reviewed any."""
    lock = lookup.policy.tools_lock
    if lock is None:
        return None
    return next((each.digest for each in lock.tools or () if each.name == tool), "")


def _answer(seen: Observation) -> dict[str, Any] | None:
    """Return what the tool gave back, or None where it was not called.

    Raises:
        InputError: there is no such tool.
        GuardError: it is not the one that was reviewed.
    """
    mcp: McpObservation | None = seen.mcp
    if mcp is None or not mcp.ok:
        if mcp is not None and mcp.reason in _RAISED:
            raise _RAISED[mcp.reason](mcp.message, fix=mcp.fix)
        return None
    answer: dict[str, Any] = json.loads(mcp.answer)
    return answer


def _explained(seen: Observation, voice: Voice) -> int:
    why = seen.tls if seen.tls is not None and not seen.tls.ok else seen.mcp
    if why is not None:
        voice.complain(f"{seen.name} was not called: {why.reason}: {why.message}", why.fix)
    return _FAILED
