"""Plain calls to the API of ContextForge, as anybody with curl would make them, under names of their own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

    import httpx


class Registrar:
    """Registers gateways under fresh names, and deletes them when it is left."""

    def __init__(self, api: httpx.Client) -> None:
        self._api = api
        self._ids: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for identifier in self._ids:
            self._api.delete(f"/v1/gateways/{identifier}")

    def post(self, url: str, *, route: str = "/v1/gateways", **fields: Any) -> httpx.Response:
        """Create a gateway that speaks streamable HTTP and is public, unless `fields` say otherwise."""
        spec = {
            "name": f"trap-{secrets.token_hex(4)}",
            "url": url,
            "transport": "STREAMABLEHTTP",
            "visibility": "public",
            **fields,
        }
        answer = self._api.post(route, json=spec)
        if answer.is_success:
            document = answer.json()
            self._ids.append(document.get("gateway", document)["id"])
        return answer

    def register(self, url: str, **fields: Any) -> Any:
        """Create a gateway, and return it as the API shows it."""
        answer = self.post(url, **fields)
        assert answer.is_success, answer.text
        return self.get(self._ids[-1])

    def put(self, gateway: Any, **fields: Any) -> httpx.Response:
        return self._api.put(f"/v1/gateways/{gateway['id']}", json=fields)

    def get(self, identifier: str) -> Any:
        return self._api.get(f"/v1/gateways/{identifier}").raise_for_status().json()

    def works(self, gateway: Any) -> bool:
        """Whether a call of its tool `pay` succeeds. Failures come as an error of JSON-RPC or of MCP, by version."""
        call = {"name": f"{gateway['slug']}-pay", "arguments": {}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = self._api.post("/rpc", json=message).raise_for_status().json()
        return "result" in answer and not answer["result"]["isError"]
