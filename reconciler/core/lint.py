"""Rules that look across manifests: what is right in each file and wrong in all of them together."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.contextforge_platform import audience
from reconciler.core.hostile import printable
from reconciler.core.leftovers import check_leftovers, check_locks
from reconciler.core.platforms import check_platforms
from reconciler.core.problems import Problem, Rule, Severity
from reconciler.core.targets import Membership, check_targets, sharing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.core.manifest import Manifest
    from reconciler.core.model import DesiredGateway, TrustBundle
    from reconciler.core.problems import Location

SAME_URL = Rule(
    "same-url",
    Severity.WARNING,
    "Two gateways reach one upstream, so its tools appear twice. ContextForge refuses the second one where credentials "
    "and audience are the same too.",
    "/spec/url",
)
SHARED_CA = Rule(
    "ca-in-two-environments",
    Severity.WARNING,
    "One CA vouches in two environments, so a test server could stand in for a production one.",
    "/spec/tls/caCertificates",
)
PLAIN_HTTP = Rule(
    "plain-http",
    Severity.WARNING,
    "Over http:// nothing is encrypted and no certificate is looked at.",
    "/spec/url",
)
UNUSED_BUNDLE = Rule(
    "bundle-without-tls",
    Severity.WARNING,
    "A CA bundle on an http:// URL is never used, by any platform.",
    "/spec/tls/caCertificates",
)

_URL: Final = re.compile(r"(https?)://(\[[^\]/?]*\]|[^:/?]*)(?::0*([0-9]+))?(.*)", re.IGNORECASE | re.DOTALL)
_PLAIN_URL: Final = re.compile(r"https?://(?!127\.0\.0\.1[:/])[a-z0-9._-]+(?::(?!0|80/|443/)[0-9]+)?/")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_LOOPBACK: Final = re.compile(r"http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(?=[:/?]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TargetScope:
    """What the config file says of one target: the scheme of its store, and what belongs in it.

    `path` is root-relative (`.` is all); `location` is where the target stands in the config file.
    """

    name: str
    scheme: str
    path: str
    selector: Mapping[str, str]
    location: Location


@dataclass(frozen=True, slots=True)
class Across:
    """Everything that one look at a tree has found.

    `bundles` maps canonical text to its bundle. `manifests` are those of every kind that passed their schema.
    `pem_files` are the certificate files of the tree, `lock_files` its tools locks. Only where `whole` is true does
    absence mean anything.
    """

    gateways: Mapping[str, DesiredGateway]
    bundles: Mapping[str, TrustBundle]
    manifests: Sequence[Manifest] = ()
    pem_files: frozenset[str] = frozenset()
    whole: bool = False
    targets: Sequence[TargetScope] = ()
    lock_files: frozenset[str] = frozenset()


def lint(across: Across) -> Iterator[Problem]:
    """Yield what is wrong across the manifests of a tree. In what order they are given makes no difference."""
    gateways = [across.gateways[name] for name in sorted(across.gateways)]
    membership = Membership(gateways, across.targets)
    yield from _same_urls(gateways, membership)
    yield from _plain_http(gateways)
    yield from _shared_authorities(gateways, across.bundles)
    yield from check_targets(membership, whole=across.whole)
    yield from check_platforms(membership, across.bundles)
    if across.whole:
        yield from check_leftovers(across.manifests, across.pem_files)
        yield from check_locks(across.gateways.values(), across.lock_files)


def endpoint(url: str) -> str:
    """Return a URL in the form in which those that reach one place are equal.

    Scheme and host lose their case, a default port and an empty path what they need not say (RFC 3986 section 6.2), and
    127.0.0.1 becomes localhost, as ContextForge has it. What is no HTTP URL is returned as it is.
    """
    if _PLAIN_URL.match(url):
        return url
    found = _URL.fullmatch(url)
    if found is None:
        return url
    scheme, host, port, rest = found[1].lower(), found[2].lower(), found[3], found[4]
    if host == "127.0.0.1":
        host = "localhost"
    if port and port != _DEFAULT_PORTS[scheme]:
        host = f"{host}:{port}"
    return f"{scheme}://{host}{rest if rest.startswith('/') else f'/{rest}'}"


def _same_urls(gateways: Sequence[DesiredGateway], membership: Membership) -> Iterator[Problem]:
    for wanted, known in sharing(gateways, lambda each: endpoint(each.gateway.url)):
        if membership.meet(wanted, known):
            yield _same_url(wanted, known)


def _same_url(wanted: DesiredGateway, known: DesiredGateway) -> Problem:
    one, other = wanted.gateway, known.gateway
    message = f"`{one.name}` has the same URL as `{other.name}` ({known.location.file})"
    if one.url != other.url:
        message += f", written {printable(one.url, 100)} here and {printable(other.url, 100)} there"
    fix = "keep one of the two"
    if one.auth != other.auth or audience(one) != audience(other):
        fix += "; if both are meant, for their credentials or audience differ, suppress this with that reason"
    return SAME_URL.at(wanted.location, message, fix=fix, gateways=(other.name, one.name))


def _plain_http(gateways: Sequence[DesiredGateway]) -> Iterator[Problem]:
    for wanted in gateways:
        gateway = wanted.gateway
        if not gateway.url.startswith("http://"):
            continue
        about = (gateway.name,)
        if gateway.ca_certificate:
            message = f"`{gateway.name}` has a CA bundle, and a URL that never uses it"
            fix = "use https://, or remove `tls.caCertificates`"
            yield UNUSED_BUNDLE.at(wanted.location, message, fix=fix, gateways=about)
        elif _LOOPBACK.match(gateway.url) is None:
            message = f"`{gateway.name}` is reached without TLS: anyone on the way can read and change what it says"
            yield PLAIN_HTTP.at(wanted.location, message, fix="use https://", gateways=about)


def _shared_authorities(gateways: Sequence[DesiredGateway], bundles: Mapping[str, TrustBundle]) -> Iterator[Problem]:
    for subject, users in _environments(gateways, bundles):
        if len(users) > 1:
            names = ", ".join(f"{environment} (`{users[environment].gateway.name}`)" for environment in sorted(users))
            message = f"the CA {subject} is trusted in {len(users)} environments: {names}"
            about = tuple(users[environment].gateway.name for environment in sorted(users))
            where = users[max(users)].location
            yield SHARED_CA.at(where, message, fix="give each environment a CA of its own", gateways=about)


def _environments(
    gateways: Sequence[DesiredGateway], bundles: Mapping[str, TrustBundle]
) -> Iterator[tuple[str, dict[str, DesiredGateway]]]:
    """Yield the subject of each CA, with the first gateway of each environment that trusts it."""
    users: dict[tuple[str, str], DesiredGateway] = {}
    for wanted in gateways:
        environment = dict(wanted.labels).get("environment")
        if environment:
            users.setdefault((environment, wanted.gateway.ca_certificate), wanted)
    found: defaultdict[tuple[str, str], dict[str, DesiredGateway]] = defaultdict(dict)
    for (environment, text), wanted in users.items():
        for each in bundles[text].certificates if text in bundles else ():
            found[each.sha256, each.subject].setdefault(environment, wanted)
    return ((subject, by_environment) for (_, subject), by_environment in found.items())
