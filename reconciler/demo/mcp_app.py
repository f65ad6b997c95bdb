"""The ASGI applications of the demonstration's MCP servers, made of the official SDK. Importing this needs the SDK."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mcp_types as types
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from reconciler.core.model import Transport

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

_HOSTS = ["localhost:*", "127.0.0.1:*", "[::1]:*"]
_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"input": {"type": "string"}}}

for _name in ("mcp", "uvicorn", "sse_starlette"):
    # Connections are cut when a demonstration ends; nobody needs to read about it.
    logging.getLogger(_name).addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server offers. `tools` maps names to descriptions; it is read at every request and may change."""

    name: str
    tools: Mapping[str, str]
    resources: Sequence[str] = ()
    prompts: Sequence[str] = ()
    page_size: int = 100


def application(offer: Offer, transport: Transport, *, json_response: bool) -> ASGIApp:
    """Return the application: `/mcp` for streamable HTTP, `/sse` for the older transport."""
    server = _server(offer)
    security = TransportSecuritySettings(allowed_hosts=_HOSTS)
    if transport is Transport.STREAMABLE_HTTP:
        return server.streamable_http_app(json_response=json_response, transport_security=security)
    messages = SseServerTransport("/messages/", security_settings=security)
    return Starlette(
        routes=[
            Route("/sse", endpoint=_EventStream(server, messages), methods=["GET"]),
            Mount("/messages/", app=messages.handle_post_message),
        ]
    )


class _EventStream:
    """The endpoint of the older transport. An object, because Starlette would wrap a function in its own response."""

    def __init__(self, server: Server[Any], messages: SseServerTransport) -> None:
        self._server = server
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._messages.connect_sse(scope, receive, send) as (incoming, outgoing):
            await self._server.run(incoming, outgoing, self._server.create_initialization_options())


def _server(offer: Offer) -> Server[Any]:
    async def list_tools(_: object, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        tools = [
            types.Tool(name=name, description=description, input_schema=_SCHEMA)
            for name, description in offer.tools.items()
        ]
        start = int(params.cursor) if params and params.cursor else 0
        end = start + offer.page_size
        return types.ListToolsResult(tools=tools[start:end], next_cursor=str(end) if end < len(tools) else None)

    async def call_tool(_: object, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(text=f"{params.name}: done")])

    async def list_resources(_: object, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[types.Resource(name=uri, uri=uri) for uri in offer.resources])

    async def list_prompts(_: object, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        return types.ListPromptsResult(prompts=[types.Prompt(name=name) for name in offer.prompts])

    return Server(
        offer.name,
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources if offer.resources else None,
        on_list_prompts=list_prompts if offer.prompts else None,
    )


class HttpServer(uvicorn.Server):
    """A uvicorn that says when it is ready, and stops at once however many streams are open."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None], stopped: asyncio.Event) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._stopped = stopped

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so."""
        await super().startup(sockets)
        self._on_ready()

    async def main_loop(self) -> None:
        """Serve until told to stop, without looking ten times a second."""
        await self.on_tick(0)
        await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut every connection: an event stream would keep a polite server waiting for ever."""
        for connection in self.server_state.connections:
            connection.transport.abort()
        await super().shutdown(sockets)
