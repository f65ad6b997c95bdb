"""A tool called through the platform, as its users call it: the one thing that shows whether a gateway works there.

The platform looks at the signature of a CA bundle when a tool is called and at no other time, and says no more than
"Internal error" when it does not like it. It says "Tool not found" of a tool that it lists, where the token may not use
it: one that is bound to no team calls the tools of public gateways alone, and lists those of its user all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.core.model import ToolCall
from reconciler.stores.contextforge.failures import CallError
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.stores.contextforge.wire import Wire

_SHOWN: Final = 400
_LIKELY: Final = (
    "its log has the reason; most often it is that the signing key here is not the ED25519_PRIVATE_KEY there, that"
    " ENABLE_ED25519_SIGNING is not set, or that the upstream refuses the call"
)
_NOT_FOUND: Final = -32601
_OUT_OF_REACH: Final[Mapping[str, str]] = {
    "private": "the gateway is private, and a token that is bound to no team calls tools of public gateways only: use"
    " one that the gateway's owner made for a team, or set `visibility: public` in its manifest",
    "team": "the gateway is a team's, and this token is not of that team: use one that is, or set `visibility: public`"
    " in its manifest",
}
"""Why a tool that is listed is not found when it is called, by its visibility, and what to do."""

_TAKEN_AWAY: Final = (
    "it hides the tools of a gateway that is disabled, or whose upstream it finds unreachable: see `reconciler verify`,"
    " and its log"
)


def call_tool(wire: Wire, identifier: str, gateway: str, tool: str) -> ToolCall:
    """Return what came of calling a tool, without arguments, of the gateway with this id and name."""
    try:
        offered = [each for each in wire.tools(identifier) if each.get("originalName") == tool]
        if not offered:
            return ToolCall(gateway, tool, "absent", "the platform knows no such tool of it")
        why_not_found = _OUT_OF_REACH.get(text_of(offered[0].get("visibility")).lower(), _TAKEN_AWAY)
        problem = _problem(wire.call_tool(text_of(offered[0].get("name"))), why_not_found)
    except CallError as error:
        problem = error.in_one_line()
    return ToolCall(gateway, tool, "failed" if problem else "answered", problem)


def _problem(answer: Any, why_not_found: str) -> str:  # noqa: ANN401 - JSON as found
    """Return what is wrong with the answer of JSON-RPC, which comes with status 200 either way."""
    match answer:
        case {"error": {"code": code, "message": message}} if code == _NOT_FOUND:
            return f"ContextForge said {_shown(message)}, and lists that tool all the same: {why_not_found}"
        case {"error": {"message": message}}:
            return f"ContextForge said {_shown(message)}: {_LIKELY}"
        case {"result": {"isError": True, "content": content}}:
            return f"the tool said {_shown(_text(content))}"
        case {"result": dict()}:
            return ""
        case _:
            return "ContextForge answered with something else than JSON-RPC"


def _text(content: Any) -> str:  # noqa: ANN401 - JSON as found
    texts = [each.get("text") for each in content if isinstance(each, dict)] if isinstance(content, list) else []
    return " ".join(text for text in texts if isinstance(text, str))


def _shown(text: object) -> str:
    return f"`{printable(str(text), _SHOWN)}`"
