"""A CA is rotated in three steps through ContextForge while somebody keeps calling a tool: not one call fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from raw_servers import VALID

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    import httpx
    from live_contextforge import ContextForge
    from terminal import Terminal

PATIENCE_SECONDS = 30
CALLS = 5
"""That have to end at each stage of the rotation, and were begun in it."""


class Caller:
    """Calls a tool through the platform, over and over, until it is left; `failures` are what failed calls got."""

    def __init__(self, api: httpx.Client, tool: str) -> None:
        self._api = api
        self._message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
        self._calls = 0
        self._ended = threading.Condition()
        self._left = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failures: list[Any] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._thread.join()

    def await_calls(self) -> None:
        """Return when some calls have begun and ended since now."""
        with self._ended:
            goal = self._calls + 1 + CALLS
            assert self._ended.wait_for(lambda: self._calls >= goal, PATIENCE_SECONDS), self.failures

    def _run(self) -> None:
        while not self._left:
            answer = self._api.post("/rpc", json=self._message)
            if not _worked(answer):
                self.failures.append(answer.text)
            with self._ended:
                self._calls += 1
                self._ended.notify_all()


def _worked(answer: httpx.Response) -> bool:
    return answer.is_success and not answer.json().get("result", {"isError": True})["isError"]


def test_no_call_fails_while_a_ca_is_rotated(contextforge_terminal: Terminal, contextforge: ContextForge) -> None:
    terminal = contextforge_terminal
    old, new = Authority.root("Payments Root CA", VALID), Authority.root("Payments Root CA G2", VALID)
    terminal.write("gateways/old.pem", old.pem)
    terminal.write("gateways/new.pem", new.pem)

    with Upstream("payments", old.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as upstream:

        def apply(*files: str) -> None:
            terminal.gateway(
                "payments",
                url=upstream.url,
                transport="streamable-http",
                visibility="public",
                tls={"caCertificates": list(files)},
                verify={"mode": "required", "requireTools": ["pay"]},
            )
            assert "payments applied" in terminal("apply", "gateways", "--prove-with", "pay").out

        apply("old.pem")
        with contextforge.client() as api, Caller(api, "payments-pay") as caller:
            caller.await_calls()
            apply("old.pem", "new.pem")
            caller.await_calls()
            upstream.switch_certificate(new.issue_server(["localhost"]))
            caller.await_calls()
            apply("new.pem")
            caller.await_calls()

    assert caller.failures == []
