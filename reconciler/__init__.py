"""The declarative GitOps reconciler for MCP gateways.

The names below are the public API; everything else may move. They are imported when they are first used, so that
`import reconciler` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from reconciler.version import __version__

if TYPE_CHECKING:
    from reconciler.client import open_client, trust_context
    from reconciler.core.model import Gateway, LiveGateway, LiveState, Stamp, TrustBundle
    from reconciler.core.ports import Signer, Store
    from reconciler.core.problems import Problem
    from reconciler.core.signing import Keyring
    from reconciler.engine import Engine
    from reconciler.errors import ReconcilerError, TamperingError
    from reconciler.stores import open_store

__all__ = [
    "Engine",
    "Gateway",
    "Keyring",
    "LiveGateway",
    "LiveState",
    "Problem",
    "ReconcilerError",
    "Signer",
    "Stamp",
    "Store",
    "TamperingError",
    "TrustBundle",
    "__version__",
    "open_client",
    "open_store",
    "trust_context",
]

_HOMES = {
    "Engine": "reconciler.engine",
    "Gateway": "reconciler.core.model",
    "Keyring": "reconciler.core.signing",
    "LiveGateway": "reconciler.core.model",
    "LiveState": "reconciler.core.model",
    "Problem": "reconciler.core.problems",
    "ReconcilerError": "reconciler.errors",
    "Signer": "reconciler.core.ports",
    "Stamp": "reconciler.core.model",
    "Store": "reconciler.core.ports",
    "TamperingError": "reconciler.errors",
    "TrustBundle": "reconciler.core.model",
    "open_client": "reconciler.client",
    "open_store": "reconciler.stores",
    "trust_context": "reconciler.client",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
