"""A reviewer sees the gravest first, drift apart from what git intends, and a rotation only where git means one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from reconciler.core.canonical import digest, document
from reconciler.core.effects import KnownTools, ToolEffect
from reconciler.core.model import DesiredGateway, DesiredState, Gateway, LiveGateway, LiveState, Stamp, Transport
from reconciler.core.pem import read_pem
from reconciler.core.planning import Terms, plan
from reconciler.core.problems import Location
from reconciler.core.review import Group, Review, review
from reconciler.core.signatures import Signatures
from reconciler.demo.pki import Authority, Lifetime

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD, NEW = (Authority.root(name, Lifetime.around(NOW)).pem for name in ("Old", "New"))
CERTIFICATES = {text: read_pem("b.pem", text.encode()).certificates for text in (OLD, NEW, f"{OLD}\n{NEW}")}
SIGNED = Signatures(lambda text: f"by me {text}", lambda text, signature: signature == f"by me {text}", lambda *_: True)

BASE = Gateway("a", "https://a.example/mcp", Transport.SSE, ca_certificate=OLD)


def held(written: Gateway, found: Gateway | None = None, signature: str | None = None) -> LiveGateway:
    """Return the row that was written, as somebody may have changed it since."""
    row = found or written
    stamp = Stamp("me", "a.yaml", "r", digest(document(written)))
    return LiveGateway(row, f"by me {row.ca_certificate}" if signature is None else signature, stamp, "t")


def reviews(*wanted: Gateway, live: tuple[LiveGateway, ...], tools: KnownTools | None = None) -> tuple[Review, ...]:
    desired = DesiredState({each.name: DesiredGateway(each, Location(f"{each.name}.yaml")) for each in wanted})
    state = LiveState({each.gateway.name: each for each in live})
    planned = plan(desired, state, SIGNED, Terms("me", prune=True))
    return review(planned, CERTIFICATES, tools or KnownTools())


def the_only(wanted: Gateway, live: LiveGateway) -> Review:
    (found,) = reviews(wanted, live=(live,))
    return found


def named(name: str, **fields: object) -> Gateway:
    return replace(BASE, name=name, url=f"https://{name}.example/mcp", **fields)  # type: ignore[arg-type]


def test_the_gravest_comes_first() -> None:
    live = (
        held(named("gone")),
        held(named("rotated")),
        held(named("drifted"), named("drifted", description="theirs")),
        held(named("trusting")),
        held(named("changed")),
    )
    found = reviews(
        named("added"),
        named("rotated", ca_certificate=NEW),
        named("drifted"),
        named("trusting", system_trust=False),
        named("changed", description="other"),
        live=live,
    )
    assert [(each.change.name, each.group) for each in found] == [
        ("gone", Group.DELETIONS),
        ("rotated", Group.TRUST),
        ("trusting", Group.TRUST),
        ("drifted", Group.DRIFT),
        ("changed", Group.UPDATES),
        ("added", Group.CREATIONS),
    ]


def test_a_bundle_that_git_changes_is_a_step_of_a_rotation() -> None:
    found = the_only(replace(BASE, ca_certificate=f"{OLD}\n{NEW}"), held(BASE))
    assert (found.drift, found.intended, found.rotation and found.rotation.step) == (None, True, "adds")
    assert found.bundle is not None
    assert [each.subject for each in found.bundle.added] == ["CN=New"]


def test_a_bundle_that_somebody_swapped_is_not() -> None:
    found = the_only(BASE, held(BASE, replace(BASE, ca_certificate=NEW), "by somebody else"))
    assert (found.group, found.drift, found.intended, found.rotation) == (Group.DRIFT, "tampering", False, None)
    assert found.bundle is not None
    assert [each.subject for each in found.bundle.removed] == ["CN=New"]


def test_an_older_bundle_put_back_with_its_signature_is_drift_and_no_rotation() -> None:
    found = the_only(replace(BASE, ca_certificate=NEW), held(replace(BASE, ca_certificate=NEW), BASE))
    assert (found.drift, found.intended, found.rotation) == ("drift", False, None)


def test_where_somebody_changed_one_thing_and_git_another_both_are_said() -> None:
    found = the_only(replace(BASE, ca_certificate=f"{OLD}\n{NEW}"), held(BASE, replace(BASE, description="theirs")))
    assert (found.group, found.drift, found.intended) == (Group.DRIFT, "drift", True)
    assert found.rotation is not None


def test_a_renamed_gateway_that_drifted_is_meant_and_drifted() -> None:
    found = the_only(replace(BASE, name="b"), held(BASE, replace(BASE, description="theirs")))
    assert (found.change.held_as, found.group, found.drift, found.intended) == ("a", Group.UPDATES, "drift", True)


@pytest.mark.parametrize("wanted", [(), (BASE,)], ids=["a deletion", "no change"])
def test_without_another_bundle_there_is_no_rotation(wanted: tuple[Gateway, ...]) -> None:
    assert all(each.rotation is None for each in reviews(*wanted, live=(held(BASE),)))


def test_the_tools_of_a_gateway_go_with_it() -> None:
    (found,) = reviews(live=(held(BASE),), tools=KnownTools(seen={"a": ["charge"]}))
    assert found.tools == ToolEffect("vanish", "a", ("charge",), 1)
