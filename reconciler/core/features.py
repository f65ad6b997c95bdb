"""What manifests need and a store may lack, found before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.core.model import Feature, Transport, Visibility
from reconciler.core.problems import Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.core.model import Auth, DesiredGateway, DesiredState

UNSUPPORTED = Rule(
    "unsupported-by-store",
    Severity.ERROR,
    "The manifest asks for something this store cannot hold; dropping it silently would be pretending.",
)


def _references_a_kubernetes_secret(wanted: DesiredGateway) -> bool:
    references = [reference for _, reference in wanted.gateway.auth.secrets]
    if wanted.gateway.client_key is not None:
        references.append(wanted.gateway.client_key)
    return any(reference.kind == "secretKeyRef" for reference in references)


def needs_more_than_a_header(auth: Auth) -> bool:
    """Return whether an upstream cannot be satisfied with one value of the header Authorization."""
    if auth.type == "headers":
        return [name.lower() for name, _ in auth.secrets] != ["authorization"]
    return auth.type in ("queryParameter", "oauth")


_FIELDS: Final[Mapping[Feature, str]] = {
    Feature.BUNDLE_ONLY_TRUST: "/spec/tls/systemTrust",
    Feature.CLIENT_CERTIFICATE: "/spec/tls/clientCertificate",
    Feature.PASSTHROUGH_HEADERS: "/spec/passthroughHeaders",
    Feature.SSE_TRANSPORT: "/spec/transport",
    Feature.SECRET_KEY_REFERENCE: "/spec/auth",
    Feature.VISIBILITY: "/spec/visibility",
    Feature.OTHER_AUTH: "/spec/auth",
    Feature.CA_REFERENCE: "/spec/tls/caFrom",
}
"""Where a manifest asks for it."""

NEEDS: Final[Mapping[Feature, Callable[[DesiredGateway], bool]]] = {
    Feature.BUNDLE_ONLY_TRUST: lambda wanted: not wanted.gateway.system_trust,
    Feature.CLIENT_CERTIFICATE: lambda wanted: bool(wanted.gateway.client_certificate),
    Feature.PASSTHROUGH_HEADERS: lambda wanted: bool(wanted.gateway.passthrough_headers),
    Feature.SSE_TRANSPORT: lambda wanted: wanted.gateway.transport is Transport.SSE,
    Feature.SECRET_KEY_REFERENCE: _references_a_kubernetes_secret,
    Feature.VISIBILITY: lambda wanted: wanted.gateway.visibility is not Visibility.PRIVATE,
    Feature.OTHER_AUTH: lambda wanted: needs_more_than_a_header(wanted.gateway.auth),
    Feature.CA_REFERENCE: lambda wanted: wanted.ca_from is not None,
}


def lacking(desired: DesiredState, features: frozenset[Feature], store: str) -> Iterator[Problem]:
    """Yield a problem for each manifest that needs what `store` (its scheme) does not have."""
    missing = [(feature, needs) for feature, needs in NEEDS.items() if feature not in features]
    for wanted in desired.gateways.values() if missing else ():
        for feature, needs in missing:
            if needs(wanted):
                message = f"`{wanted.gateway.name}` uses {feature}, which a {store} store cannot hold"
                fix = "remove it, or keep this gateway in another target"
                where = replace(wanted.location, pointer=_FIELDS[feature])
                yield UNSUPPORTED.at(where, message, fix=fix, gateways=(wanted.gateway.name,))
