"""What verification saw: each upstream's TLS, MCP and signature, with the diagnosis where something failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.core.hostile import printable
from reconciler.core.urls import shown_url
from reconciler.core.verification import RECORDS
from reconciler.reports import tools
from reconciler.reports.certificates import expiry, identity_document
from reconciler.reports.problems import FORMAT_VERSION
from reconciler.reports.style import PLAIN, TEXT_LIMIT, Style, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from reconciler.core.observation import McpObservation, Observation, TlsObservation
    from reconciler.core.routes import Route
    from reconciler.core.verification import Verified

_NAMES_SHOWN = 10
_FLAGS_SHOWN = 20


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
    elif (said := RECORDS.get(result.record)) is not None:
        yield f"    {style('tampering', 'red')}: {said[1]}"
        yield f"    {style('fix:', 'green')} `reconciler apply` writes the reviewed row back"
    for part in (observation.tls, observation.mcp) if observation else ():
        if part is not None:
            yield from _diagnosis(part, style)
    if observation and observation.tls is not None and not observation.tls.ok:
        yield from _presented(observation.tls, now, style)
    yield from _tools(result, style)


def _tools(result: Verified, style: Style) -> Iterator[str]:
    """Yield how the tools differ from the reviewed ones, or what is remarkable where nobody has reviewed any."""
    lock, changes, flags = result.policy.tools_lock, result.tool_changes, result.tool_flags()
    if lock is not None and lock.tools is None:
        said = f"{lock.file} cannot be read, so no tool was compared with it"
        yield from _indented(f"{style('warning', 'yellow')}:", said)
    if lock is not None and changes:
        yield f"    {style('ToolsChanged', 'red')}: the tools are not those of {printable(lock.file, TEXT_LIMIT)}"
        yield from (f"      {line}" for line in tools.as_lines(changes, style))
        fix = f"ask the upstream's owner; what you agree with, `reconciler lock {result.name}` writes down"
        yield from _indented(style("fix:", "green"), fix)
    if flags:
        said = tools.counted_flags(len(flags))
        yield f"    {style('warning', 'yellow')}: {said} before somebody locks them"
        for name, flag in flags[:_FLAGS_SHOWN]:
            yield f"      {printable(name)} {tools.flag_line(flag, style)}"


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
    facts += [f"{observation.seconds * 1000:.0f} ms", observation.route.shown]
    return printable(", ".join(fact for fact in facts if fact))


def _diagnosis(part: TlsObservation | McpObservation, style: Style) -> Iterator[str]:
    if part.ok and not part.fix:
        return
    label = f"{style('warning', 'yellow') if part.ok else style(part.reason, 'red')}:"
    yield from _indented(label, part.message)
    if part.fix:
        yield from _indented(style("fix:", "green"), part.fix)


def _presented(tls: TlsObservation, now: datetime, style: Style) -> Iterator[str]:
    """Yield what the server sent, leaf first: whoever has to mend it needs to see it."""
    for number, each in enumerate(tls.chain, start=1):
        issuer = "self-signed" if each.self_signed else f"issued by {each.issuer}"
        names = f", for {', '.join(each.names[:_NAMES_SHOWN])}" if each.names else ""
        line = f"{each.subject}{names}, {issuer}, {expiry(each.not_after, now)}, SHA-256 {each.sha256}"
        yield f"    {style(f'presented {number}:', 'dim')} {printable(line, TEXT_LIMIT)}"


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
        "via": _via(observation.route) if observation else None,
        "signature": {"bundle": result.bundle, "record": result.record.value, "key_id": result.key_id},
        **_tools_document(result),
    }


def _tools_document(result: Verified) -> dict[str, Any]:
    """Return what there is to say of tools: nothing, where they are not locked and nothing is remarkable."""
    if (lock := result.policy.tools_lock) is None:
        flags = [{"tool": name, **each} for name, flag in result.tool_flags() for each in tools.flag_documents([flag])]
        return {"tool_flags": flags} if flags else {}
    changes = result.tool_changes
    match = "Unknown" if changes is None else str(not changes)
    return {"tools_lock": {"file": lock.file, "match": match, "changes": tools.documents(changes or ())}}


def _via(route: Route) -> dict[str, str]:
    return {"proxy": route.proxy.place if route.proxy else "", "address": route.address}


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
        "tools": list(mcp.tool_names),
        "resources": mcp.resources,
        "prompts": mcp.prompts,
    }
