"""What verification saw: each upstream's TLS, MCP and signature, with the diagnosis where something failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.hostile import printable
from reconciler.core.urls import shown_url
from reconciler.reports.certificates import expiry, identity_document
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.core.observation import McpObservation, Observation, TlsObservation
    from reconciler.core.verification import Verified


def as_text(results: Sequence[Verified], now: datetime, style: Style = PLAIN) -> str:
    """Return a line per gateway, its diagnosis indented below where it has one, and the sum."""
    lines = [line for result in results for line in _gateway(result, now, style)]
    lines.append(style(summary(results), "bold"))
    return "\n".join(lines)


def summary(results: Sequence[Verified]) -> str:
    """Return the counts in one sentence."""
    looked_at = [result for result in results if result.observation is not None]
    ready = sum(result.ready for result in looked_at)
    left = len(results) - len(looked_at)
    tail = f", {left} not looked at" if left else ""
    return f"Verify: {ready} of {counted(len(looked_at), 'upstream')} answered over TLS and MCP as promised{tail}."


def as_document(results: Sequence[Verified]) -> dict[str, Any]:
    """Return the published JSON shape of `verify`."""
    return {"format_version": FORMAT_VERSION, "gateways": [_document(result) for result in results]}


def _gateway(result: Verified, now: datetime, style: Style) -> Iterator[str]:
    observation = result.observation
    mark = style("✓", "green") if result.ready else style("✗", "red")
    name = style(printable(result.name), "bold")
    if observation is None:
        yield f"{style('·', 'dim') if result.ready else mark} {name}  {result.why}"
    else:
        yield f"{mark} {name}  {style(_facts(observation, now), 'dim')}"
    if result.bundle in ("invalid", "missing"):
        yield f"    {style('tampering', 'red')}: the signature of the stored CA bundle is {result.bundle}"
        yield f"    {style('fix:', 'green')} `reconciler apply` writes the reviewed bundle back"
    for part in (observation.tls, observation.mcp) if observation else ():
        if part is not None:
            yield from _diagnosis(part, style)


def _facts(observation: Observation, now: datetime) -> str:
    facts = []
    tls, mcp = observation.tls, observation.mcp
    if tls is not None and tls.ok:
        facts.append(tls.version)
        facts.append({"bundle": "trusted by its bundle", "system": "trusted by the system's CAs"}.get(tls.trust, ""))
        if tls.chain:
            facts.append(f"certificate {expiry(tls.chain[0].not_after, now)}")
    if mcp is not None and mcp.ok:
        facts.append(f"MCP {mcp.protocol_version}")
        facts.append(counted(len(mcp.tools), "tool"))
    facts.append(f"{observation.seconds * 1000:.0f} ms")
    return printable(", ".join(fact for fact in facts if fact))


def _diagnosis(part: TlsObservation | McpObservation, style: Style) -> Iterator[str]:
    if part.ok and not part.fix:
        return
    label = f"{style('warning', 'yellow') if part.ok else style(part.reason, 'red')}:"
    yield from _indented(label, part.message)
    if part.fix:
        yield from _indented(style("fix:", "green"), part.fix)


def _indented(label: str, text: str) -> Iterator[str]:
    first, *rest = text.splitlines() or [""]
    yield f"    {label} {printable(first, TEXT_LIMIT)}"
    yield from (f"      {printable(line, TEXT_LIMIT)}" for line in rest)


def _document(result: Verified) -> dict[str, Any]:
    observation = result.observation
    return {
        "name": result.name,
        "url": shown_url(result.url),
        "ready": result.ready,
        "why": result.why,
        "tls": _tls(observation.tls) if observation and observation.tls else None,
        "mcp": _mcp(observation.mcp) if observation and observation.mcp else None,
        "signature": {"bundle": result.bundle, "record": "unsigned", "key_id": result.key_id},
    }


def _tls(tls: TlsObservation) -> dict[str, Any]:
    return {
        "ok": tls.ok,
        "code": tls.code,
        "reason": tls.reason,
        "message": tls.message,
        "fix": tls.fix,
        "chain": [{**identity_document(each), "names": list(each.names)} for each in tls.chain],
        "trust": tls.trust,
    }


def _mcp(mcp: McpObservation) -> dict[str, Any]:
    return {
        "ok": mcp.ok,
        "reason": mcp.reason,
        "message": mcp.message,
        "fix": mcp.fix,
        "protocol_version": mcp.protocol_version,
        "server": mcp.server,
        "tools": list(mcp.tools),
        "resources": mcp.resources,
        "prompts": mcp.prompts,
    }
