"""One revision against another: a base's desired state stands in for a store, so that a pull request can be planned.

It needs no credentials and no store, and knows nothing of drift, tampering or signatures: git has none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.core.canonical import gateway_digest
from reconciler.core.model import LiveGateway, LiveState, Stamp
from reconciler.core.signatures import Signatures

if TYPE_CHECKING:
    from reconciler.core.model import DesiredGateway, DesiredState

UNSIGNED: Final = Signatures(lambda _: "", lambda _, __: True, lambda _, __: True)
"""Signatures between revisions: there are none, and none is missed."""


def as_live(base: DesiredState, owner: str) -> LiveState:
    """Return the store as an apply of `base` by `owner` would have left it."""
    return LiveState({name: _as_applied(wanted, owner, base.revision) for name, wanted in base.gateways.items()})


def _as_applied(wanted: DesiredGateway, owner: str, revision: str) -> LiveGateway:
    content = gateway_digest(wanted.gateway)
    stamp = Stamp(owner, wanted.location.file, revision, content, wanted.protected)
    return LiveGateway(wanted.gateway, "", stamp, content)
