"""What manifests need and a store may lack, found before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.core.model import Feature, Transport, Visibility
from reconciler.core.problems import Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.core.model import DesiredState, Gateway

UNSUPPORTED = Rule(
    "unsupported-by-store",
    Severity.ERROR,
    "The manifest asks for something this store cannot hold; dropping it silently would be pretending.",
)


def _references_a_kubernetes_secret(gateway: Gateway) -> bool:
    references = [reference for _, reference in gateway.auth.secrets]
    if gateway.client_key is not None:
        references.append(gateway.client_key)
    return any(reference.kind == "secretKeyRef" for reference in references)


_FIELDS: Final[Mapping[Feature, str]] = {
    Feature.BUNDLE_ONLY_TRUST: "/spec/tls/systemTrust",
    Feature.CLIENT_CERTIFICATE: "/spec/tls/clientCertificate",
    Feature.PASSTHROUGH_HEADERS: "/spec/passthroughHeaders",
    Feature.SSE_TRANSPORT: "/spec/transport",
    Feature.SECRET_KEY_REFERENCE: "/spec/auth",
    Feature.VISIBILITY: "/spec/visibility",
}
"""Where a manifest asks for it."""

NEEDS: Final[Mapping[Feature, Callable[[Gateway], bool]]] = {
    Feature.BUNDLE_ONLY_TRUST: lambda gateway: not gateway.system_trust,
    Feature.CLIENT_CERTIFICATE: lambda gateway: bool(gateway.client_certificate),
    Feature.PASSTHROUGH_HEADERS: lambda gateway: bool(gateway.passthrough_headers),
    Feature.SSE_TRANSPORT: lambda gateway: gateway.transport is Transport.SSE,
    Feature.SECRET_KEY_REFERENCE: _references_a_kubernetes_secret,
    Feature.VISIBILITY: lambda gateway: gateway.visibility is not Visibility.PRIVATE,
}


def lacking(desired: DesiredState, features: frozenset[Feature], store: str) -> Iterator[Problem]:
    """Yield a problem for each manifest that needs what `store` (its scheme) does not have."""
    missing = [(feature, needs) for feature, needs in NEEDS.items() if feature not in features]
    for wanted in desired.gateways.values() if missing else ():
        for feature, needs in missing:
            if needs(wanted.gateway):
                message = f"`{wanted.gateway.name}` uses {feature}, which a {store} store cannot hold"
                fix = "remove it, or keep this gateway in another target"
                where = replace(wanted.location, pointer=_FIELDS[feature])
                yield UNSUPPORTED.at(where, message, fix=fix, gateways=(wanted.gateway.name,))
