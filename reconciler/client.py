"""How a Python gateway consumes a store: read the row, verify the signature, then connect. Never fall back.

A bundle whose signature is missing or wrong is refused. Going on with default trust would turn a swapped CA into a
connection to whoever swapped it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.signing import SignatureStatus
from reconciler.errors import InputError, TamperingError
from reconciler.probes.tls import bundle_context, platform_context

if TYPE_CHECKING:
    import ssl

    import httpx

    from reconciler.core.model import LiveGateway
    from reconciler.core.signing import Keyring


def trust_context(row: LiveGateway, keyring: Keyring) -> ssl.SSLContext:
    """Return a TLS context that trusts what the row says, after verifying that the row says what was signed.

    It is the context that the platforms would use, and is shared between callers: do not change it.

    Raises:
        TamperingError: the bundle is not signed by a trusted key.
    """
    gateway = row.gateway
    verdict = keyring.verdict(gateway.ca_certificate, row.signature)
    if verdict.status is not SignatureStatus.VALID:
        raise TamperingError(
            f"the signature of the CA bundle of {gateway.name} is {verdict.status}, so nothing is trusted",
            fix="`reconciler apply` writes the reviewed bundle back; find out who wrote this one",
        )
    if gateway.system_trust is True:  # a row may hold anything there, and only this is permission
        return platform_context(gateway.ca_certificate)
    return bundle_context(gateway.ca_certificate)


def open_client(store: str, name: str, keyring: Keyring) -> httpx.Client:
    """Return an HTTP client for the upstream of gateway `name` in the store at this URL, with the store's trust.

    Its base URL is the origin of the gateway's URL, so that requests give a path. Neither proxies nor certificates are
    taken from the environment.

    Raises:
        InputError: there is no such gateway, or its URL is none.
        TamperingError: its bundle is not signed by a trusted key.
        StoreError: the store could not be read.
    """
    import httpx

    from reconciler.stores import open_store

    opened = open_store(store, create=False)
    try:
        row = opened.read().gateways.get(name)
    finally:
        opened.close()
    if row is None:
        raise InputError(f"the store holds no gateway named {name}", fix="`reconciler status` lists them")
    return httpx.Client(base_url=_origin(name, row.gateway.url), verify=trust_context(row, keyring), trust_env=False)


def _origin(name: str, text: str) -> httpx.URL:
    import httpx

    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme in ("http", "https") and url.host:
        return url.copy_with(raw_path=b"/")
    raise InputError(
        f"what the store holds as the URL of {name} is none", fix="`reconciler apply` writes the reviewed one back"
    )
