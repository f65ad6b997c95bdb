"""The MCP conversation, sans I/O: who says what, in which order, and what a sound answer looks like.

`converse` is a generator over JSON-RPC messages. It yields a `Call`; whoever carries it sends back the JSON-RPC
response object, None for a notification, or the `Diagnosis` of why there is no response; it returns what was learnt:

    initialize -> notifications/initialized -> tools/list, resources/list, prompts/list as far as `capabilities` names
    them, page by page.

It knows nothing of HTTP. It accepts every revision with a handshake (`PROTOCOL_VERSIONS`); the stateless revision after
those would be another opening in place of `_introduce`, with the same lists behind it. Whatever the peer does wrong
ends the conversation with a reason, never with an exception.

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle and .../server/utilities/pagination.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from reconciler.core.canonical import canonical_json
from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis, McpObservation
from reconciler.version import __version__

PROTOCOL_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The revisions understood, newest first. The first one is offered."""

MAX_PAGES = 100
MAX_ITEMS = 10_000

_MAX_CURSOR = 4096
_MAX_NAME = 128
_METHOD_NOT_FOUND = -32601

Reply = Mapping[str, Any]
Answer = Reply | Diagnosis | None
Conversation = Generator["Call", Answer, McpObservation]


@dataclass(frozen=True, slots=True)
class Call:
    """One message to send. A notification has no `id` and no answer. `protocol_version` is empty until agreed."""

    method: str
    params: Mapping[str, Any]
    id: int | None
    protocol_version: str

    def message(self) -> dict[str, Any]:
        """Return the JSON-RPC 2.0 object."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": self.method}
        if self.params:
            message["params"] = self.params
        if self.id is not None:
            message["id"] = self.id
        return message


@dataclass(slots=True)
class _Seen:
    """What has been learnt so far."""

    calls: int = 0
    protocol_version: str = ""
    server: str = ""
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    resources: int = 0
    prompts: int = 0


def converse(require_tools: tuple[str, ...] = ()) -> Conversation:
    """Carry out one conversation and return what it showed; `require_tools` must be among the server's tools."""
    seen = _Seen()
    failure = yield from _introduce(seen)
    if not failure:
        failure = yield from _list_everything(seen)
    if not failure:
        failure = _missing_tools(seen, require_tools)
    return _observation(seen, failure)


def _introduce(seen: _Seen) -> Generator[Call, Answer, Diagnosis | None]:
    offer = {
        "protocolVersion": PROTOCOL_VERSIONS[0],
        "capabilities": {},
        "clientInfo": {"name": "reconciler", "version": __version__},
    }
    result = yield from _ask(seen, "initialize", offer)
    if isinstance(result, Diagnosis):
        return result
    version = result.get("protocolVersion")
    if version not in PROTOCOL_VERSIONS:
        return _unknown_version(version)
    seen.protocol_version = version
    seen.server = _server_name(result.get("serverInfo"))
    seen.capabilities = _mapping(result.get("capabilities"))
    refused = yield Call("notifications/initialized", {}, None, version)
    return refused if isinstance(refused, Diagnosis) else None


def _list_everything(seen: _Seen) -> Generator[Call, Answer, Diagnosis | None]:
    if "tools" in seen.capabilities:
        tools = yield from _list(seen, "tools")
        failure = tools if isinstance(tools, Diagnosis) else _remember_tools(seen, tools)
        if failure:
            return failure
    for kind in ("resources", "prompts"):
        if kind not in seen.capabilities:
            continue
        items = yield from _list(seen, kind)
        if isinstance(items, Diagnosis):
            return items
        setattr(seen, kind, len(items))
    return None


def _list(seen: _Seen, kind: str) -> Generator[Call, Answer, list[Any] | Diagnosis]:
    """Ask for every page of one list."""
    method = f"{kind}/list"
    items: list[Any] = []
    cursors: set[str] = set()
    params: Mapping[str, Any] = {}
    for _ in range(MAX_PAGES):
        result = yield from _ask(seen, method, params)
        if isinstance(result, Diagnosis):
            # Some servers name a capability they do not have; a platform takes such a list for empty, and so do we.
            return [] if result.reason == "MethodNotFound" and kind != "tools" else result
        page = result.get(kind)
        if not isinstance(page, list):
            return _malformed(method, f"`{kind}` is not a list")
        items += page
        cursor = result.get("nextCursor")
        if cursor is None:
            return items
        if failure := _bad_cursor(method, cursor, cursors, len(items)):
            return failure
        cursors.add(cursor)
        params = {"cursor": cursor}
    return _endless(method, f"more than {MAX_PAGES} pages")


def _bad_cursor(method: str, cursor: object, cursors: set[str], items: int) -> Diagnosis | None:
    if not isinstance(cursor, str) or len(cursor) > _MAX_CURSOR:
        return _malformed(method, "`nextCursor` is not a string of reasonable length")
    if cursor in cursors:
        return _endless(method, "it gave the same cursor twice")
    if items > MAX_ITEMS:
        return _endless(method, f"more than {MAX_ITEMS} items")
    return None


def _ask(seen: _Seen, method: str, params: Mapping[str, Any]) -> Generator[Call, Answer, Reply | Diagnosis]:
    """Send one request and return its result."""
    seen.calls += 1
    answer = yield Call(method, params, seen.calls, seen.protocol_version)
    if isinstance(answer, Diagnosis):
        return answer
    reply = _mapping(answer)
    if "error" in reply:
        return _refused(method, _mapping(reply["error"]))
    result = reply.get("result")
    return result if isinstance(result, dict) else _malformed(method, "the answer has no `result` object")


def _remember_tools(seen: _Seen, tools: list[Any]) -> Diagnosis | None:
    for tool in tools:
        name = _mapping(tool).get("name")
        if not isinstance(name, str) or not name:
            return _malformed("tools/list", "a tool has no name")
        shown = printable(name, _MAX_NAME)
        if shown in seen.definitions:
            return Diagnosis(
                "ToolsAmbiguous",
                f"tools/list names the tool {shown} twice, so nobody can say which definition a call will reach.",
                "Have the upstream's owner give every tool a name of its own.",
            )
        try:
            seen.definitions[shown] = canonical_json(tool)
        except RecursionError:
            return _malformed("tools/list", f"the definition of {shown} is nested too deeply")
    return None


def tool_digest(definition: str) -> str:
    """Return the hex SHA-256 of a tool's canonical definition."""
    # JSON may escape half of a surrogate pair; such text has no UTF-8 form but must have a digest.
    return sha256(definition.encode("utf-8", "surrogatepass")).hexdigest()


def _missing_tools(seen: _Seen, required: tuple[str, ...]) -> Diagnosis | None:
    missing = sorted(set(required) - seen.definitions.keys())
    if not missing:
        return None
    return Diagnosis(
        "ToolsMissing",
        f"The upstream lacks {', '.join(missing)}; it offers {_some(sorted(seen.definitions))}.",
        "Bring the tools back at the upstream, or take them out of spec.verify.requireTools.",
    )


def _observation(seen: _Seen, failure: Diagnosis | None) -> McpObservation:
    found = failure or Diagnosis(
        "Answered",
        f"{seen.server or 'The server'} speaks MCP {seen.protocol_version}: {len(seen.definitions)} tools, "
        f"{seen.resources} resources, {seen.prompts} prompts.",
    )
    return McpObservation(
        ok=failure is None,
        reason=found.reason,
        message=found.message,
        fix=found.fix,
        protocol_version=seen.protocol_version,
        server=seen.server,
        tools=tuple(sorted(seen.definitions)),
        tool_digests={name: tool_digest(text) for name, text in seen.definitions.items()},
        tool_definitions=dict(seen.definitions),
        resources=seen.resources,
        prompts=seen.prompts,
    )


def _unknown_version(version: object) -> Diagnosis:
    return Diagnosis(
        "ProtocolVersionUnsupported",
        f"The server answered initialize with protocol version {_word(version)}; understood are "
        f"{', '.join(PROTOCOL_VERSIONS)}.",
        "Update the upstream to a published revision of MCP, or this tool if the revision is newer than it.",
    )


def _refused(method: str, error: Mapping[str, Any]) -> Diagnosis:
    code = error.get("code")
    return Diagnosis(
        "MethodNotFound" if code == _METHOD_NOT_FOUND else "MethodRefused",
        f"The server refused {method}: {_word(error.get('message'))} (JSON-RPC error {_word(code)}).",
        "Look for this error in the upstream's log; the request itself follows the MCP specification.",
    )


def _malformed(method: str, what: str) -> Diagnosis:
    return Diagnosis(
        "MalformedAnswer",
        f"The answer to {method} is not MCP: {what}.",
        "Check that spec.url is the MCP endpoint, and that nothing in between rewrites its answers.",
    )


def _endless(method: str, what: str) -> Diagnosis:
    return Diagnosis("EndlessList", f"{method} does not come to an end: {what}.", "Fix the upstream's pagination.")


def _server_name(info: object) -> str:
    server = _mapping(info)
    parts = (server.get("name"), server.get("version"))
    return " ".join(printable(part, _MAX_NAME) for part in parts if isinstance(part, str) and part)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str:
    """Return a scalar of the peer's as text. Anything else may be too deep to print."""
    return printable(str(value)) if isinstance(value, str | int | float | None) else "(not a plain value)"


def _some(names: list[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
