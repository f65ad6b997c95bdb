"""The MCP conversation, sans I/O: who says what, in which order, and what a sound answer looks like.

`converse` is a generator over JSON-RPC messages. It yields a `Call`; whoever carries it sends back the JSON-RPC
response object, None for a notification, or the `Diagnosis` of why there is no response; it returns what was learnt:

    initialize -> notifications/initialized -> tools/list, resources/list, prompts/list as far as `capabilities` names
    them, page by page.

That opening is for the revisions with a handshake (`PROTOCOL_VERSIONS`), and it comes first because the platforms speak
it. A server that refuses it is asked `server/discover`, the opening of the stateless revision, where every request
carries who asks and in which version; the lists behind it are the same. It knows nothing of HTTP. Whatever the peer
does wrong ends the conversation with a reason, never with an exception.

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle and .../server/utilities/pagination;
https://modelcontextprotocol.io/specification/2026-07-28/server/discover.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from reconciler.core.canonical import canonical_json
from reconciler.core.hostile import printable
from reconciler.core.observation import Diagnosis, McpObservation, Tool, ToolRequest
from reconciler.version import __version__

PROTOCOL_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""The revisions with a handshake that are understood, newest first."""

STATELESS_VERSION = "2026-07-28"
"""The revision without a handshake."""

MAX_PAGES = 100
MAX_ITEMS = 10_000

_MAX_CURSOR = 4096
MAX_NAME = 128
_METHOD_NOT_FOUND = -32601
_VERSION_UNSUPPORTED = -32022
_META = "io.modelcontextprotocol"
_CLIENT = {"name": "reconciler", "version": __version__}
_REFUSALS = frozenset({"MethodNotFound", "MethodRefused", "BadRequest", "ProtocolVersionUnsupported"})
"""What a server without a handshake may answer to one."""

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

    @property
    def stateless(self) -> bool:
        """Whether it stands for itself: no session, no handshake before it."""
        return self.protocol_version == STATELESS_VERSION

    def message(self) -> dict[str, Any]:
        """Return the JSON-RPC 2.0 object."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": self.method}
        params = {**self.params, "_meta": _ENVELOPE} if self.stateless else self.params
        if params:
            message["params"] = params
        if self.id is not None:
            message["id"] = self.id
        return message


_ENVELOPE = {
    f"{_META}/protocolVersion": STATELESS_VERSION,
    f"{_META}/clientInfo": _CLIENT,
    f"{_META}/clientCapabilities": {},
}


@dataclass(slots=True)
class _Seen:
    """What has been learnt so far."""

    keep_definitions: bool = False
    request: ToolRequest | None = None
    answer: str = ""
    calls: int = 0
    protocol_version: str = ""
    server: str = ""
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    tools: dict[str, Tool] = field(default_factory=dict)
    resources: int = 0
    prompts: int = 0


def converse(
    require_tools: tuple[str, ...] = (),
    *,
    revision: str = PROTOCOL_VERSIONS[0],
    keep_definitions: bool = False,
    request: ToolRequest | None = None,
) -> Conversation:
    """Carry out one conversation and return what it showed; `require_tools` must be among the server's tools.

    `revision` is offered first; the whole definitions of the tools are kept only when `keep_definitions` asks for them.
    With a `request`, its tool is called in the end, once; nothing but the tools is listed then.
    """
    seen = _Seen(keep_definitions, request)
    failure = yield from _open(seen, revision)
    if not failure:
        failure = yield from _list_everything(seen)
    if not failure:
        failure = _missing_tools(seen, require_tools)
    if not failure and request:
        failure = yield from _call_tool(seen, request)
    return _observation(seen, failure)


def _open(seen: _Seen, revision: str) -> Generator[Call, Answer, Diagnosis | None]:
    """Find a revision that both sides speak."""
    if revision == STATELESS_VERSION:
        return (yield from _discover(seen))
    return (yield from _introduce(seen, revision))


def _introduce(seen: _Seen, revision: str) -> Generator[Call, Answer, Diagnosis | None]:
    offer = {"protocolVersion": revision, "capabilities": {}, "clientInfo": _CLIENT}
    result = yield from _ask(seen, "initialize", offer)
    if isinstance(result, Diagnosis):
        undiscovered = result if result.reason not in _REFUSALS else (yield from _discover(seen))
        return result if undiscovered else None
    version = result.get("protocolVersion")
    if version not in PROTOCOL_VERSIONS:
        return _unknown_version(f"answered initialize with protocol version {_word(version)}")
    seen.protocol_version = version
    seen.server = _server_name(result.get("serverInfo"))
    seen.capabilities = _mapping(result.get("capabilities"))
    refused = yield Call("notifications/initialized", {}, None, version)
    return refused if isinstance(refused, Diagnosis) else None


def _discover(seen: _Seen) -> Generator[Call, Answer, Diagnosis | None]:
    seen.protocol_version = STATELESS_VERSION
    result = yield from _ask(seen, "server/discover", {})
    if isinstance(result, Diagnosis):
        seen.protocol_version = ""
        return result
    supported = result.get("supportedVersions")
    if not isinstance(supported, list) or STATELESS_VERSION not in supported:
        seen.protocol_version = ""
        return _unknown_version(f"supports {_versions(supported)}")
    seen.server = _server_name(_mapping(result.get("_meta")).get(f"{_META}/serverInfo"))
    seen.capabilities = _mapping(result.get("capabilities"))
    return None


def _list_everything(seen: _Seen) -> Generator[Call, Answer, Diagnosis | None]:
    if "tools" in seen.capabilities:
        tools = yield from _list(seen, "tools")
        failure = tools if isinstance(tools, Diagnosis) else _remember_tools(seen, tools)
        if failure:
            return failure
    for kind in ("resources", "prompts") if seen.request is None else ():
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
        shown = printable(name, MAX_NAME)
        if shown in seen.tools:
            return Diagnosis(
                "ToolsAmbiguous",
                f"tools/list names the tool {shown} twice, so nobody can say which definition a call will reach.",
                "Have the upstream's owner give every tool a name of its own.",
            )
        try:
            definition = canonical_json(tool)
        except RecursionError:
            return _malformed("tools/list", f"the definition of {shown} is nested too deeply")
        seen.tools[shown] = Tool(shown, tool_digest(definition), definition if seen.keep_definitions else "")
    return None


def _call_tool(seen: _Seen, request: ToolRequest) -> Generator[Call, Answer, Diagnosis | None]:
    """Call a tool that is there, and is the one that was reviewed where any was."""
    tool = seen.tools.get(request.tool)
    if tool is None:
        return Diagnosis(
            "ToolUnknown",
            f"The upstream has no tool {printable(request.tool, MAX_NAME)}; it offers {_some(sorted(seen.tools))}.",
            "Call one of these.",
        )
    if request.reviewed not in (None, tool.digest):
        return Diagnosis(
            "ToolNotReviewed",
            f"The tool {tool.name} is not the one that was reviewed, so it was not called.",
            "See what changed with `reconciler verify`; what you agree with, `reconciler lock` writes down.",
        )
    result = yield from _ask(seen, "tools/call", {"name": request.tool, "arguments": json.loads(request.arguments)})
    if isinstance(result, Diagnosis):
        return result
    try:
        seen.answer = canonical_json(result)
    except RecursionError:
        return _malformed("tools/call", "it is nested too deeply")
    return None


def tool_digest(definition: str) -> str:
    """Return the hex SHA-256 of a tool's canonical definition."""
    # JSON may escape half of a surrogate pair; such text has no UTF-8 form but must have a digest.
    return sha256(definition.encode("utf-8", "surrogatepass")).hexdigest()


def _missing_tools(seen: _Seen, required: tuple[str, ...]) -> Diagnosis | None:
    missing = sorted(set(required) - seen.tools.keys())
    if not missing:
        return None
    return Diagnosis(
        "ToolsMissing",
        f"The upstream lacks {', '.join(missing)}; it offers {_some(sorted(seen.tools))}.",
        "Bring the tools back at the upstream, or take them out of spec.verify.requireTools.",
    )


def _observation(seen: _Seen, failure: Diagnosis | None) -> McpObservation:
    found = failure or Diagnosis(
        "Answered",
        f"{seen.server or 'The server'} speaks MCP {seen.protocol_version}: {len(seen.tools)} tools, "
        f"{seen.resources} resources, {seen.prompts} prompts.",
    )
    return McpObservation(
        ok=failure is None,
        reason=found.reason,
        message=found.message,
        fix=found.fix,
        protocol_version=seen.protocol_version,
        server=seen.server,
        tools=tuple(seen.tools[name] for name in sorted(seen.tools)),
        resources=seen.resources,
        prompts=seen.prompts,
        answer=seen.answer,
    )


def _unknown_version(what: str) -> Diagnosis:
    return Diagnosis(
        "ProtocolVersionUnsupported",
        f"The server {what}; understood are {', '.join((STATELESS_VERSION, *PROTOCOL_VERSIONS))}.",
        "Update the upstream to a published revision of MCP, or this tool if the revision is newer than it.",
    )


def _refused(method: str, error: Mapping[str, Any]) -> Diagnosis:
    code = error.get("code")
    if code == _VERSION_UNSUPPORTED:
        return _unknown_version(f"supports {_versions(_mapping(error.get('data')).get('supported'))}")
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
    return " ".join(printable(part, MAX_NAME) for part in parts if isinstance(part, str) and part)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str:
    """Return a scalar of the peer's as text. Anything else may be too deep to print."""
    return printable(str(value)) if isinstance(value, str | int | float | None) else "(not a plain value)"


def _versions(supported: object) -> str:
    given = supported if isinstance(supported, list) else []
    return _some([_word(version) for version in given], 5)


def _some(names: list[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit]) or "none"
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
