"""More gateways than fit on a page of the platform's list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from live_contextforge import ContextForge
    from terminal import Terminal

GATEWAYS = 60


def test_sixty_gateways_are_created_and_then_there_is_nothing_to_do(
    contextforge_terminal: Terminal, contextforge: ContextForge
) -> None:
    with Upstream("plain", None, {"pay": "Pay an invoice"}) as upstream:
        for number in range(GATEWAYS):
            url = f"{upstream.url}?number={number}"
            contextforge_terminal.gateway(f"gateway-{number}", url=url, transport="streamable-http")

        assert "60 applied" in contextforge_terminal("apply", "gateways").out
        planned = contextforge_terminal("plan", "gateways", "--detailed-exitcode", "-o", "json").document

    assert planned["summary"]["unchanged"] == GATEWAYS
    with contextforge.client() as api:
        assert len(api.get("/v1/gateways?limit=0").json()) == GATEWAYS
