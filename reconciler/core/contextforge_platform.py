"""What ContextForge makes of a gateway, as data.

Sources: ContextForge 1.0.7, observed on a running server and read in `gateway_service`, `passthrough_headers`,
`create_slug` and the URL validation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.core.hostile import printable
from reconciler.core.model import Feature, Visibility
from reconciler.core.platform import Limit, Platform
from reconciler.core.problems import Rule, Severity
from reconciler.core.targets import sharing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.lint import TargetScope
    from reconciler.core.model import DesiredGateway, Gateway, TrustBundle
    from reconciler.core.problems import Problem

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

_TOOL_NAME_LIMIT: Final = 128
_SHOWN: Final = 3

_REWRITTEN: Final = re.compile(r"https?://127\.0\.0\.1(?=[:/?]|$)")
_REFUSED: Final = re.compile(
    r"https?://(\[[^\]]*\]|(?:0\.0\.0\.0|169\.254\.\d+\.\d+|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+)(?=[:/?]|$))"
)
_NOT_IN_SLUGS: Final = re.compile(r"[\W_]+")
_PASSED: Final = re.compile(r"[A-Za-z0-9-]+")
_NEVER_PASSED: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)


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
