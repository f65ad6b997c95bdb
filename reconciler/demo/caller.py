"""A client that never stops calling a tool, with nothing but the trust that the store holds at that moment.

It shows what a rotation without a gap means: whoever reads the row, verifies the signature and trusts the bundle has no
failed call, whatever is rotated meanwhile.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from reconciler.client import open_client

if TYPE_CHECKING:
    from reconciler.core.signing import Keyring

_PATH: Final = "/mcp"
_HEADERS: Final = {"Accept": "application/json, text/event-stream"}
_INITIALIZE: Final = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "caller", "version": "1"},
}


@dataclass(slots=True)
class Caller:
    """Calls `tool` of gateway `name` over a new connection each time, until it is left."""

    store: str
    name: str
    keyring: Keyring
    tool: str
    calls: int = 0
    failures: list[str] = field(default_factory=list)
    _stopped: bool = False
    _progress: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to call."""
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Finish the call under way and stop."""
        self._stopped = True
        if self._thread is not None:
            self._thread.join()

    def await_calls(self, more: int) -> None:
        """Return when `more` calls have ended since now."""
        with self._progress:
            goal = self.calls + more
            self._progress.wait_for(lambda: self.calls >= goal)

    def _run(self) -> None:
        while not self._stopped:
            try:
                call(self.store, self.name, self.keyring, self.tool)
            except Exception as error:  # noqa: BLE001 - a failed call is what is being counted
                self.failures.append(f"{type(error).__name__}: {error}")
            with self._progress:
                self.calls += 1
                self._progress.notify_all()


def call(store: str, name: str, keyring: Keyring, tool: str) -> None:
    """Read the row, verify it, connect with its trust, introduce ourselves and call the tool.

    Raises:
        Exception: whatever goes wrong on the way.
    """
    with open_client(store, name, keyring) as client:
        opened = client.post(_PATH, json=_message("initialize", 1, _INITIALIZE), headers=_HEADERS).raise_for_status()
        session = {**_HEADERS, "Mcp-Session-Id": opened.headers["Mcp-Session-Id"]}
        client.post(_PATH, json=_message("notifications/initialized"), headers=session).raise_for_status()
        called = client.post(_PATH, json=_message("tools/call", 2, {"name": tool, "arguments": {}}), headers=session)
        answer = called.raise_for_status().json()
        client.delete(_PATH, headers=session)
    if "result" not in answer or answer["result"].get("isError"):
        raise ValueError(f"the tool answered {answer}")


def _message(method: str, number: int | None = None, params: object = None) -> dict[str, object]:
    message = {"jsonrpc": "2.0", "method": method, "id": number, "params": params}
    return {key: value for key, value in message.items() if value is not None}
