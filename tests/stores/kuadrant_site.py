"""What the tests of the store in a broker's file share: gateways that it can hold, and access to secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract import a_gateway

from reconciler.core.model import Auth, Gateway, KuadrantOptions, SecretReference
from reconciler.stores.access import Access

if TYPE_CHECKING:
    from reconciler.core.model import LiveGateway
    from reconciler.core.ports import Store
    from reconciler.demo.pki import Authority


def secret_of(reference: SecretReference) -> str:
    return f"secret of {reference.name.encode().hex()}"


ACCESS = Access({}, secret_of, lambda text: f"sealed {len(text)}")


def found(store: Store, name: str = "one") -> LiveGateway:
    return store.read().gateways[name]


def bearer(name: str = "TOKEN") -> Auth:
    return Auth("bearer", (), (("token", SecretReference("env", name)),))


def everything(name: str, root: Authority) -> Gateway:
    return a_gateway(
        name,
        url=f"https://{name}.internal:8443/mcp",
        description="Zahlungen: {a} #b",
        tags=("a", "b: c"),
        ca_certificate=root.pem.strip(),
        auth=bearer(),
        kuadrant=KuadrantOptions("pay_", "", ("finance", "no"), 'say "hi"\\', f"{name}.local", user_specific_list=True),
    )
