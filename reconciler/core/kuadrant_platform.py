"""What Kuadrant makes of a gateway, as data: a standalone broker with its file, and the controller in Kubernetes.

Sources: the MCP Gateway 0.9, its resource definitions, controller and loader.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from reconciler.core.features import needs_more_than_a_header
from reconciler.core.hostile import printable
from reconciler.core.model import Feature
from reconciler.core.platform import Limit, Platform
from reconciler.core.problems import Location, Rule, Severity
from reconciler.core.targets import sharing
from reconciler.core.urls import host_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.lint import TargetScope
    from reconciler.core.model import Certificate, DesiredGateway, TrustBundle
    from reconciler.core.problems import Problem

AUTH_UNSUPPORTED = Rule(
    "auth-unsupported-by-platform",
    Severity.ERROR,
    "Kuadrant sends one credential, as the Authorization header; other headers, parameters and OAuth it does not know.",
    "/spec/auth",
)
DUPLICATE_PREFIX = Rule(
    "duplicate-prefix",
    Severity.WARNING,
    "Of two registrations with one prefix Kuadrant serves the older; until then, tools of the same name collide.",
    "/spec/kuadrant/prefix",
)

ROUTE_NOT_USED = Rule(
    "route-not-used-by-platform",
    Severity.WARNING,
    "A standalone broker knows no HTTPRoute: Envoy routes its calls, by the host name that the broker's file gives.",
    "/spec/kuadrant",
)
DUPLICATE_HOSTNAME = Rule(
    "duplicate-hostname",
    Severity.WARNING,
    "A standalone broker sends the calls of a server to its host name, so of two with one name, one gets all of them.",
    "/spec/kuadrant/hostname",
)

BUNDLE_TOO_LARGE = Rule(
    "bundle-too-large-for-platform",
    Severity.ERROR,
    "Kuadrant's controller refuses a CA of more than 65,536 bytes and keeps the old one in use.",
    "/spec/tls/caCertificates",
)
BUNDLES_TOO_LARGE = Rule(
    "bundles-too-large-for-platform",
    Severity.WARNING,
    "All CAs that one MCPGatewayExtension serves share one Secret, and Kubernetes stores no Secret above 1 MiB.",
)
SHARED_BUNDLE = Rule(
    "bundle-shared-by-many",
    Severity.INFO,
    "Every copy of a CA takes its place in the one Secret that an extension serves; the extension's bundle takes one.",
)
PINNED_REFUSED = Rule(
    "pinned-certificate-refused",
    Severity.ERROR,
    "Kuadrant's controller refuses a certificate that says CA:FALSE, so a server cannot be pinned by its own.",
    "/spec/tls/caCertificates",
)
TOO_MANY_TAGS = Rule(
    "too-many-tags-for-platform",
    Severity.ERROR,
    "Kubernetes refuses an MCPServerRegistration with more than ten tags.",
    "/spec/tags",
)
ROUTE_MISSING = Rule(
    "route-missing",
    Severity.ERROR,
    "A registration in Kubernetes points at an HTTPRoute; Kuadrant finds the upstream through it.",
    "/spec/kuadrant",
)
PARENT_MISSING = Rule(
    "parent-missing",
    Severity.ERROR,
    "An HTTPRoute that is made for a host name hangs below a Gateway, or leads nowhere.",
    "/spec/kuadrant/hostname",
)
PREFIX_MISSING = Rule(
    "prefix-missing",
    Severity.ERROR,
    "Kubernetes refuses an MCPServerRegistration with a tool list for each user and without a prefix.",
    "/spec/kuadrant/userSpecificList",
)
CREDENTIAL_OUTSIDE = Rule(
    "credential-outside-cluster",
    Severity.ERROR,
    "In Kubernetes, Kuadrant takes a credential from a Secret alone, and we never copy one.",
    "/spec/auth",
)
ADDRESS_NOT_NAMED = Rule(
    "address-not-named",
    Severity.ERROR,
    "The Service that stands for an upstream outside the cluster holds a DNS name, and no IP address.",
    "/spec/url",
)

_BUNDLE_LIMIT: Final = 65_536
_SECRET_LIMIT: Final = 1_048_576
_SHARE_WORTH_SAYING: Final = 10
"""From this fraction of the Secret on, in percent, copies of one CA are worth a word."""
_TAG_LIMIT: Final = 10
_ADDRESS: Final = re.compile(r"https?://(\[|\d+\.\d+\.\d+\.\d+(?=[:/?]|$))")


def _duplicate_prefixes(
    _target: TargetScope, taken: Sequence[DesiredGateway], _bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    prefixed = (wanted for wanted in taken if wanted.gateway.kuadrant.prefix)
    for wanted, first in sharing(prefixed, lambda each: each.gateway.kuadrant.prefix):
        name, other = wanted.gateway.name, first.gateway.name
        message = f"`{name}` has the prefix `{wanted.gateway.kuadrant.prefix}` of `{other}` ({first.location.file})"
        fix = "give each its own `kuadrant.prefix`; it cannot be changed later"
        yield DUPLICATE_PREFIX.at(wanted.location, message, fix=fix, gateways=(other, name))


def _duplicate_hostnames(
    _target: TargetScope, taken: Sequence[DesiredGateway], _bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    named = (wanted for wanted in taken if _hostname(wanted))
    for wanted, first in sharing(named, _hostname):
        name, other = wanted.gateway.name, first.gateway.name
        message = f"calls of `{name}` go to {printable(_hostname(wanted))}, as those of `{other}` do"
        fix = "give each its own `kuadrant.hostname`, and Envoy a virtual host of that name"
        yield DUPLICATE_HOSTNAME.at(wanted.location, message, fix=fix, gateways=(other, name))


def _hostname(wanted: DesiredGateway) -> str:
    return wanted.gateway.kuadrant.hostname or host_of(wanted.gateway.url)


def _pinned(
    _target: TargetScope, taken: Sequence[DesiredGateway], bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    refused = {text: found for text, bundle in bundles.items() if (found := _denies_being_a_ca(bundle))}
    for wanted in taken:
        found = refused.get(wanted.gateway.ca_certificate)
        if found is not None:
            name = wanted.gateway.name
            message = f"Kuadrant refuses {found.subject} in the bundle of `{name}`: it is not a CA certificate"
            fix = "give the CA that issued it, or let the server have a certificate of a CA"
            yield PINNED_REFUSED.at(wanted.location, message, fix=fix, gateways=(name,))


def _denies_being_a_ca(bundle: TrustBundle) -> Certificate | None:
    """Return the first certificate that says CA:FALSE; one without basicConstraints is let pass."""
    from reconciler.core.certificate import ParsedCertificate, parse

    for certificate in bundle.certificates:
        if not certificate.ca:
            parsed = parse(b64decode("".join(certificate.pem.splitlines()[1:-1])), Location(certificate.file))
            if isinstance(parsed, ParsedCertificate) and parsed.basic_constraints is not None:
                return certificate
    return None


def _together(
    target: TargetScope, taken: Sequence[DesiredGateway], _bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    size = sum(len(wanted.gateway.ca_certificate) for wanted in taken)
    if size > _SECRET_LIMIT:
        message = f"the bundles of target `{target.name}` are {size:,} bytes together; a Secret holds {_SECRET_LIMIT:,}"
        fix = "put a CA that many share into the bundle of the extension (`caCertBundleRef`), or use several extensions"
        yield BUNDLES_TOO_LARGE.at(target.location, message, fix=fix)


def _shared(
    target: TargetScope, taken: Sequence[DesiredGateway], _bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    users: dict[str, list[str]] = {}
    for wanted in taken:
        if wanted.gateway.ca_certificate:
            users.setdefault(wanted.gateway.ca_certificate, []).append(wanted.gateway.name)
    for text, names in users.items():
        every = len(names) * len(text)
        if len(names) > 1 and every * 100 >= _SECRET_LIMIT * _SHARE_WORTH_SAYING:
            message = (
                f"{len(names)} gateways of target `{target.name}` carry one CA bundle: {len(names)} x {len(text):,} = "
                f"{every:,} of the {_SECRET_LIMIT:,} bytes that the Secret of their extension holds"
            )
            fix = "give it to the MCPGatewayExtension once (`caCertBundleRef`), and drop it from the manifests"
            yield SHARED_BUNDLE.at(target.location, message, fix=fix, gateways=tuple(sorted(names)))


_ONE_HEADER: Final = Limit(
    AUTH_UNSUPPORTED,
    lambda wanted: needs_more_than_a_header(wanted.gateway.auth),
    lambda wanted: f"Kuadrant cannot authenticate to `{wanted.gateway.name}` by auth.type {wanted.gateway.auth.type}",
    "use bearer or basic, or keep this gateway in another target",
)

KUADRANT_FILE: Final = Platform(
    features=frozenset({Feature.BUNDLE_SIGNATURE, Feature.RECORD_SIGNATURE, Feature.RENAME, Feature.ATOMIC}),
    limits=(
        _ONE_HEADER,
        Limit(
            ROUTE_NOT_USED,
            lambda wanted: bool(wanted.gateway.kuadrant.route or wanted.gateway.kuadrant.parent),
            lambda wanted: f"`{wanted.gateway.name}` names an HTTPRoute, and a broker's file has no room for one",
            "leave out `route` and `parentRef`; `hostname` is what Envoy routes by",
        ),
    ),
    checks=(_duplicate_prefixes, _duplicate_hostnames),
)
"""A broker that reads a file. It has none of the limits of the controller, and refuses nothing but broken PEM."""

KUBERNETES: Final = Platform(
    features=frozenset(
        {
            Feature.SECRET_KEY_REFERENCE,
            Feature.BUNDLE_SIGNATURE,
            Feature.RECORD_SIGNATURE,
            Feature.CA_REFERENCE,
        }
    ),
    limits=(
        _ONE_HEADER,
        Limit(
            BUNDLE_TOO_LARGE,
            lambda wanted: len(wanted.gateway.ca_certificate) > _BUNDLE_LIMIT,
            lambda wanted: (
                f"the bundle of `{wanted.gateway.name}` has {len(wanted.gateway.ca_certificate):,} bytes;"
                f" Kuadrant takes {_BUNDLE_LIMIT:,}"
            ),
            "name only the CAs of this upstream",
        ),
        Limit(
            TOO_MANY_TAGS,
            lambda wanted: len(wanted.gateway.tags) > _TAG_LIMIT,
            lambda wanted: f"`{wanted.gateway.name}` has {len(wanted.gateway.tags)} tags; Kuadrant takes {_TAG_LIMIT}",
            "remove some of the tags",
        ),
        Limit(
            ROUTE_MISSING,
            lambda wanted: not wanted.gateway.kuadrant.route and not wanted.gateway.kuadrant.hostname,
            lambda wanted: f"`{wanted.gateway.name}` names neither an HTTPRoute nor a host to make one for",
            "set `kuadrant.route`, or `kuadrant.hostname` and `kuadrant.parentRef`",
        ),
        Limit(
            PARENT_MISSING,
            lambda wanted: bool(wanted.gateway.kuadrant.hostname) and not wanted.gateway.kuadrant.parent,
            lambda wanted: f"`{wanted.gateway.name}` has a `kuadrant.hostname`, and no Gateway that would take it",
            "set `kuadrant.parentRef`",
        ),
        Limit(
            PREFIX_MISSING,
            lambda wanted: wanted.gateway.kuadrant.user_specific_list and not wanted.gateway.kuadrant.prefix,
            lambda wanted: f"`{wanted.gateway.name}` has a tool list for each user, and no prefix",
            "set `kuadrant.prefix`",
        ),
        Limit(
            CREDENTIAL_OUTSIDE,
            lambda wanted: any(each.kind != "secretKeyRef" for _, each in wanted.gateway.auth.secrets),
            lambda wanted: f"the credential of `{wanted.gateway.name}` is not in the cluster",
            "put the whole value of the Authorization header into a Secret, and name that by `secretKeyRef`",
        ),
        Limit(
            ADDRESS_NOT_NAMED,
            lambda wanted: bool(wanted.gateway.kuadrant.hostname) and _ADDRESS.match(wanted.gateway.url) is not None,
            lambda wanted: f"the URL of `{wanted.gateway.name}` has an address where a route needs a name",
            "give the upstream a DNS name",
        ),
    ),
    checks=(_duplicate_prefixes, _pinned, _together, _shared),
)
