"""One form in which equal gateways are equal bytes: the document of a gateway, its canonical JSON, and its digest.

The document holds the digest of the CA bundle instead of its text, so that a plan can be read and a record be signed
without walls of base64.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from reconciler.core.model import Auth, Gateway, KuadrantOptions, SecretReference

Document = dict[str, Any]

_LATER_OPTIONS: Final = ("hostname", "parent", "parent_namespace", "listener", "user_specific_list")

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def document(gateway: Gateway) -> Document:
    """Return the gateway as plain JSON values, complete, with references where secrets belong."""
    return {
        "name": gateway.name,
        "url": gateway.url,
        "transport": gateway.transport,
        "description": gateway.description,
        "enabled": gateway.enabled,
        "visibility": gateway.visibility,
        "tags": list(gateway.tags),
        "passthrough_headers": list(gateway.passthrough_headers),
        "ca_certificate": text_digest(gateway.ca_certificate),
        "system_trust": gateway.system_trust,
        "client_certificate": text_digest(gateway.client_certificate),
        "client_key": reference_document(gateway.client_key),
        "auth": auth_document(gateway.auth),
        "contextforge": {"mode": gateway.contextforge.mode, "team": gateway.contextforge.team},
        "kuadrant": _kuadrant_document(gateway.kuadrant),
    }


def _kuadrant_document(options: KuadrantOptions) -> Document:
    """Return the options as plain JSON values; of what came later than the digests in use, only what is set."""
    document: Document = {
        "prefix": options.prefix,
        "route": options.route,
        "category": list(options.category),
        "hint": options.hint,
    }
    later = {name: getattr(options, name) for name in _LATER_OPTIONS}
    return document | {name: value for name, value in later.items() if value}


def auth_document(auth: Auth) -> Document:
    """Return `auth` as plain JSON values: its type, its settings, and references for its secrets."""
    return {
        "type": auth.type,
        "settings": dict(auth.settings),
        "secrets": {purpose: reference_document(reference) for purpose, reference in auth.secrets},
    }


def reference_document(reference: SecretReference | None) -> Document | None:
    """Return the reference as it is written in a manifest, or None."""
    if reference is None:
        return None
    if reference.kind == "secretKeyRef":
        return {"secretKeyRef": {"name": reference.name, "key": reference.key}}
    return {reference.kind: reference.name}


@lru_cache(maxsize=16_384)
def gateway_json(gateway: Gateway) -> bytes:
    """Return the canonical JSON of the gateway's document, in UTF-8.

    A row may hold anything, text that no manifest could give included; it has bytes, too, that nobody ever signed.
    """
    return canonical_json(document(gateway)).encode(errors="surrogatepass")


def gateway_digest(gateway: Gateway) -> str:
    """Return `sha256:<hex>` of the canonical JSON of the gateway's document."""
    return f"sha256:{sha256(gateway_json(gateway)).hexdigest()}"


@lru_cache(maxsize=4096)
def text_digest(text: str) -> str:
    """Return `sha256:<hex>` of the UTF-8 bytes of `text`, or the empty string for no text."""
    return f"sha256:{sha256(text.encode()).hexdigest()}" if text else ""


def canonical_json(value: object) -> str:
    """Return the RFC 8785 form of values made of objects with ASCII keys, arrays, strings, integers and booleans.

    For those, sorted keys and minimal separators are the whole of the standard.
    """
    return _encode(value)


def digest(value: object) -> str:
    """Return `sha256:<hex>` of the canonical JSON of `value`."""
    return f"sha256:{sha256(canonical_json(value).encode()).hexdigest()}"
