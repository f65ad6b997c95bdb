"""How a Python gateway consumes a store: read the row, verify its signatures, then connect. Never fall back.

A row is refused when its bundle or the row itself is not what a trusted key signed, or is not signed at all. Going on
with default trust would turn a swapped CA, or a changed URL, into a connection to whoever changed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.hostile import printable
from reconciler.core.records import verify_record
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

    It is the context that the platforms would use, and is shared between callers: do not change it. The keys are those
    of the keyring that are in force: see `Keyring.at`.

    Raises:
        TamperingError: the bundle or the row is not signed by a trusted key.
    """
    gateway = row.gateway
    bundle, record = keyring.verdict(gateway.ca_certificate, row.signature).status, verify_record(row, keyring).status
    for signed, status in (("CA bundle", bundle.value), ("row", record.value)):
        if status != SignatureStatus.VALID:
            raise TamperingError(
                f"the signature of the {signed} of {printable(gateway.name)} is {status}, so nothing is trusted",
                fix="`reconciler apply` writes the reviewed row back; find out who wrote this one",
            )
    if gateway.system_trust is True:  # a row may hold anything there, and only this is permission
        return platform_context(gateway.ca_certificate)
    return bundle_context(gateway.ca_certificate)


def open_client(store: str, name: str, keyring: Keyring | None = None) -> httpx.Client:
    """Return an HTTP client for the upstream of gateway `name` in the store at this URL, with the store's trust.

    Without a `keyring`, that of the repository which the process runs in is used: `keys/trusted.yaml`, as of today. Its
    base URL is the origin of the gateway's URL, so that requests give a path. Neither proxies nor certificates are
    taken from the environment.

    Raises:
        InputError: there is no such gateway, its URL is none, or no key is in force.
        TamperingError: its bundle, or the row, is not signed by a trusted key.
        StoreError: the store could not be read.
    """
    import os

    import httpx

    from reconciler.composition import access
    from reconciler.stores import open_store

    keyring = keyring if keyring is not None else _keyring_here()
    opened = open_store(store, create=False, access=access(os.environ, None))
    try:
        row = opened.read().gateways.get(name)
    finally:
        opened.close()
    if row is None:
        raise InputError(f"the store holds no gateway named {name}", fix="`reconciler status` lists them")
    return httpx.Client(base_url=_origin(name, row.gateway.url), verify=trust_context(row, keyring), trust_env=False)


def _keyring_here() -> Keyring:
    from reconciler import composition
    from reconciler.clock import now
    from reconciler.settings import load_settings

    return composition.keyring(load_settings(()), None, now())


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
