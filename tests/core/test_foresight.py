"""What a platform says against a plan stands at the manifest it is about."""

from __future__ import annotations

from reconciler.core.foresight import refusals
from reconciler.core.model import DesiredGateway, DesiredState, Gateway, Transport
from reconciler.core.problems import Location, Severity


def test_each_refusal_is_told_at_its_manifest_in_the_order_of_the_names() -> None:
    wanted = {
        name: DesiredGateway(Gateway(name, f"https://{name}.example/mcp", Transport.SSE), Location(f"{name}.yaml", 3))
        for name in "abc"
    }
    found = list(refusals({"c": "`argocd` holds .spec.path", "a": "no route"}, DesiredState(wanted)))
    assert [(each.location, each.gateways) for each in found] == [
        (Location("a.yaml", 3), ("a",)),
        (Location("c.yaml", 3), ("c",)),
    ]
    assert all((each.code, each.severity) == ("refused-by-platform", Severity.WARNING) for each in found)
    assert "the change of `c` would be refused: `argocd` holds .spec.path" in found[1].message


def test_of_what_would_be_taken_nothing_is_said() -> None:
    assert list(refusals({}, DesiredState({}))) == []
