"""What a tool gave back, for people and as JSON. It is a peer's text: nothing in it may move a cursor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.reports.problems import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.observation import Observation

_LINE_LIMIT: Final = 1024 * 1024


def as_text(answer: Mapping[str, Any]) -> str:
    """Return the texts of an answer, a word for what is no text, and the structured content where there is no text."""
    lines = list(_lines(answer))
    if not lines and "structuredContent" in answer:
        lines = json.dumps(answer["structuredContent"], indent=2).splitlines()
    return "\n".join(lines) or "(the tool gave nothing back)"


def as_document(gateway: str, tool: str, seen: Observation, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the published JSON shape of `call`; `result` is what the tool gave back, or null."""
    why = seen.tls if seen.tls is not None and not seen.tls.ok else seen.mcp
    failed = answer is None and why is not None
    return {
        "format_version": FORMAT_VERSION,
        "gateway": gateway,
        "tool": tool,
        "ok": answer is not None and answer.get("isError") is not True,
        "result": answer,
        "reason": why.reason if failed and why else "",
        "message": why.message if failed and why else "",
        "fix": why.fix if failed and why else "",
    }


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    content = answer.get("content")
    for part in content if isinstance(content, list) else []:
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            yield from (printable(line.expandtabs(), _LINE_LIMIT) for line in text.splitlines())
        elif isinstance(part, dict):
            yield f"({printable(str(part.get('type', 'something')))}: see -o json)"
