"""What each gateway platform makes of a gateway, told before anything is written: what it refuses, changes or ignores.

Rules are data: a `Platform` has the features that its stores can have, limits that concern one gateway, and conflicts
between all the gateways of one target. Nothing here speaks to a platform, and what the schema of the manifest already
refuses is not said again (names, tags, categories, hints and prefixes fit both platforms by their patterns).

Sources: ContextForge 1.0.7, observed on a running server and read in `gateway_service`, `passthrough_headers`,
`create_slug` and the URL validation; the Kuadrant MCP Gateway 0.9, its resource definitions, controller and loader.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.features import lacking, needs_more_than_a_header
from reconciler.core.hostile import printable
from reconciler.core.model import DesiredState, Feature, Visibility
from reconciler.core.problems import Location, Problem, Rule, Severity
from reconciler.core.targets import sharing
from reconciler.core.urls import host_of

if TYPE_CHECKING:
    from reconciler.core.lint import TargetScope
    from reconciler.core.model import Certificate, DesiredGateway, Gateway, TrustBundle
    from reconciler.core.targets import Membership

DUPLICATE_SLUG = Rule(
    "duplicate-slug",
    Severity.ERROR,
    "ContextForge writes both names alike and refuses the second one where both are for the same audience (409).",
    "/metadata/name",
)
NAME_TOO_LONG = Rule(
    "name-too-long-for-platform",
    Severity.ERROR,
    "ContextForge calls a tool `<gateway>-<tool>` and registers no gateway where that is longer than 128 characters.",
    "/metadata/name",
)
HOST_REWRITTEN = Rule(
    "host-rewritten",
    Severity.WARNING,
    "ContextForge stores 127.0.0.1 as localhost, and then certificate and server have to answer to that name.",
    "/spec/url",
)
HOST_REFUSED = Rule(
    "host-refused-by-platform",
    Severity.ERROR,
    "ContextForge takes no URL with an IPv6 address, nor with one of 0.0.0.0, 169.254.0.0/16 or 100.64.0.0/10 (422).",
    "/spec/url",
)
HEADER_NOT_PASSED = Rule(
    "header-not-passed",
    Severity.WARNING,
    "ContextForge stores any header name and silently passes only some of them on.",
    "/spec/passthroughHeaders",
)
BUNDLE_NOT_USED = Rule(
    "bundle-not-used-by-platform",
    Severity.WARNING,
    "In the mode direct_proxy ContextForge ignores the CA bundle: calls fail, or trust every public CA.",
    "/spec/contextforge/mode",
)
CLIENT_CERTIFICATE_NOT_USED = Rule(
    "client-certificate-not-used-by-platform",
    Severity.WARNING,
    "ContextForge presents a client certificate only where there is a CA bundle as well.",
    "/spec/tls/clientCertificate",
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

SHARED_BUNDLE = Rule(
    "bundle-shared-by-many",
    Severity.INFO,
    "Every copy of a CA takes its place in the one Secret that an extension serves; the extension's bundle takes one.",
)

_TOOL_NAME_LIMIT: Final = 128
_BUNDLE_LIMIT: Final = 65_536
_SECRET_LIMIT: Final = 1_048_576
_SHARE_WORTH_SAYING: Final = 10
"""From this fraction of the Secret on, in percent, copies of one CA are worth a word."""
_TAG_LIMIT: Final = 10
_SHOWN: Final = 3

_REWRITTEN: Final = re.compile(r"https?://127\.0\.0\.1(?=[:/?]|$)")
_REFUSED: Final = re.compile(
    r"https?://(\[[^\]]*\]|(?:0\.0\.0\.0|169\.254\.\d+\.\d+|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+)(?=[:/?]|$))"
)
_ADDRESS: Final = re.compile(r"https?://(\[|\d+\.\d+\.\d+\.\d+(?=[:/?]|$))")
_NOT_IN_SLUGS: Final = re.compile(r"[\W_]+")
_PASSED: Final = re.compile(r"[A-Za-z0-9-]+")
_NEVER_PASSED: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)


Check = Callable[["TargetScope", Sequence["DesiredGateway"], Mapping[str, "TrustBundle"]], Iterator[Problem]]
"""Looks at all the gateways that one target takes; bundles are by their canonical text."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a platform makes of one gateway: whom it concerns, what was found, and what to do."""

    rule: Rule
    concerns: Callable[[DesiredGateway], bool]
    found: Callable[[DesiredGateway], str]
    fix: str


@dataclass(frozen=True, slots=True)
class Platform:
    """What a platform's stores can hold, and what it makes of gateways, alone and together."""

    features: frozenset[Feature]
    limits: tuple[Limit, ...]
    checks: tuple[Check, ...] = ()


def platform_of(scheme: str) -> Platform | None:
    """Return the platform behind the scheme of a store URL, or None for a store of our own."""
    return _PLATFORMS.get(scheme) or _PLATFORMS.get(scheme.partition("+")[0])


def check_platforms(membership: Membership, bundles: Mapping[str, TrustBundle]) -> Iterator[Problem]:
    """Yield what the platforms of the targets will not take, or not as it is written, each thing once."""
    return iter(
        dict.fromkeys(
            problem
            for target, taken in membership.taken()
            if (platform := platform_of(target.scheme)) is not None
            for problem in _check(platform, target, taken, bundles)
        )
    )


def _check(
    platform: Platform, target: TargetScope, taken: Sequence[DesiredGateway], bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    desired = DesiredState({wanted.gateway.name: wanted for wanted in taken})
    said_better = {Feature.OTHER_AUTH}  # `auth-unsupported-by-platform` names the type, and is among the limits
    yield from lacking(desired, platform.features | said_better, target.scheme)
    for limit in platform.limits:
        for wanted in filter(limit.concerns, taken):
            yield limit.rule.at(wanted.location, limit.found(wanted), fix=limit.fix, gateways=(wanted.gateway.name,))
    for check in platform.checks:
        yield from check(target, taken, bundles)


def slug(name: str) -> str:
    """Return what ContextForge makes of an ASCII name: every run of other characters becomes one hyphen."""
    return _NOT_IN_SLUGS.sub("-", name.lower()).strip("-")


def audience(gateway: Gateway) -> tuple[Visibility, str]:
    """Return within what ContextForge wants names and URLs to be unique: the visibility, and the team if that is it."""
    return gateway.visibility, gateway.contextforge.team if gateway.visibility is Visibility.TEAM else ""


def _duplicate_slugs(
    _target: TargetScope, taken: Sequence[DesiredGateway], _bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    for wanted, first in sharing(taken, lambda each: (slug(each.gateway.name), audience(each.gateway))):
        name, other = wanted.gateway.name, first.gateway.name
        message = f"ContextForge writes `{name}` and `{other}` ({first.location.file}) both as `{slug(name)}`"
        fix = "give one of the two a name that differs in more than its hyphens"
        yield DUPLICATE_SLUG.at(wanted.location, message, fix=fix, gateways=(other, name))


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


def _long_tools(wanted: DesiredGateway) -> list[str]:
    if not wanted.verify.require_tools:
        return []
    room = _TOOL_NAME_LIMIT - len(slug(wanted.gateway.name)) - 1
    return [tool for tool in wanted.verify.require_tools if len(slug(tool)) > room]


def _kept_back(wanted: DesiredGateway) -> list[str]:
    gateway = wanted.gateway
    own = gateway.auth.type in ("basic", "bearer")
    return [
        name
        for name in gateway.passthrough_headers
        if _PASSED.fullmatch(name) is None or name.lower() in _NEVER_PASSED or (own and name.lower() == "authorization")
    ]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{printable(name, 80)}`" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


CONTEXTFORGE: Final = Platform(
    features=frozenset(Feature)
    - {Feature.BUNDLE_ONLY_TRUST, Feature.SECRET_KEY_REFERENCE, Feature.CA_REFERENCE, Feature.ATOMIC},
    limits=(
        Limit(
            NAME_TOO_LONG,
            lambda wanted: bool(_long_tools(wanted)),
            lambda wanted: f"`{wanted.gateway.name}` is too long a name for its tools {_few(_long_tools(wanted))}",
            f"shorten it: gateway and tool have {_TOOL_NAME_LIMIT} characters together, with a hyphen between",
        ),
        Limit(
            HOST_REFUSED,
            lambda wanted: _REFUSED.match(wanted.gateway.url) is not None,
            lambda wanted: f"ContextForge refuses the URL of `{wanted.gateway.name}`: {printable(wanted.gateway.url)}",
            "give the upstream a DNS name",
        ),
        Limit(
            HOST_REWRITTEN,
            lambda wanted: _REWRITTEN.match(wanted.gateway.url) is not None,
            lambda wanted: f"ContextForge stores the URL of `{wanted.gateway.name}` with localhost, not 127.0.0.1",
            "write localhost, and let the certificate have that name",
        ),
        Limit(
            HEADER_NOT_PASSED,
            lambda wanted: bool(wanted.gateway.passthrough_headers) and bool(_kept_back(wanted)),
            lambda wanted: f"ContextForge will not pass on {_few(_kept_back(wanted))} to `{wanted.gateway.name}`",
            "remove it: it is either not of letters, digits and hyphens, or the platform sets that header itself",
        ),
        Limit(
            BUNDLE_NOT_USED,
            lambda wanted: wanted.gateway.contextforge.mode == "direct_proxy" and bool(wanted.gateway.ca_certificate),
            lambda wanted: f"`{wanted.gateway.name}` has a CA bundle that ContextForge ignores in direct_proxy mode",
            "set `contextforge.mode` to cache, or use a certificate of a public CA",
        ),
        Limit(
            CLIENT_CERTIFICATE_NOT_USED,
            lambda wanted: bool(wanted.gateway.client_certificate) and not wanted.gateway.ca_certificate,
            lambda wanted: f"`{wanted.gateway.name}` has a client certificate that ContextForge does not present",
            "name the CA of the upstream under `tls.caCertificates`, even where it is a public one",
        ),
    ),
    checks=(_duplicate_slugs,),
)

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

KUADRANT: Final = Platform(
    features=frozenset({Feature.SECRET_KEY_REFERENCE}),
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
    ),
    checks=(_duplicate_prefixes, _pinned, _together),
)

KUBERNETES: Final = Platform(
    features=KUADRANT.features | {Feature.BUNDLE_SIGNATURE, Feature.RECORD_SIGNATURE, Feature.CA_REFERENCE},
    limits=(
        *KUADRANT.limits,
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
    checks=(*KUADRANT.checks, _shared),
)

_PLATFORMS: Final[Mapping[str, Platform]] = {
    "contextforge": CONTEXTFORGE,
    "kuadrant": KUADRANT,
    "kuadrant+file": KUADRANT_FILE,
    "kubernetes": KUBERNETES,
}
