"""Rules that look across manifests: what is right in each file and wrong in all of them together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.core.problems import Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.core.model import DesiredGateway, TrustBundle

SAME_URL = Rule(
    "same-url",
    Severity.WARNING,
    "Two gateways reach one upstream: its tools appear twice, and ContextForge refuses it.",
)
SHARED_CA = Rule(
    "ca-in-two-environments",
    Severity.WARNING,
    "One CA vouches in two environments, so a test server could stand in for a production one.",
)
PLAIN_HTTP = Rule("plain-http", Severity.WARNING, "Over http:// nothing is encrypted and no certificate is looked at.")
UNUSED_BUNDLE = Rule(
    "bundle-without-tls", Severity.WARNING, "A CA bundle on an http:// URL is never used, by any platform."
)


def lint(gateways: Mapping[str, DesiredGateway], bundles: Mapping[str, TrustBundle]) -> Iterator[Problem]:
    """Yield what is wrong across `gateways`; `bundles` maps canonical text to its bundle."""
    yield from _same_urls(gateways)
    yield from _plain_http(gateways)
    yield from _shared_authorities(gateways, bundles)


def _same_urls(gateways: Mapping[str, DesiredGateway]) -> Iterator[Problem]:
    first: dict[str, DesiredGateway] = {}
    for wanted in gateways.values():
        known = first.setdefault(wanted.gateway.url, wanted)
        if known is not wanted:
            message = f"`{wanted.gateway.name}` has the same URL as `{known.gateway.name}` ({known.location.file})"
            yield SAME_URL.at(wanted.location, message, fix="keep one of the two")


def _plain_http(gateways: Mapping[str, DesiredGateway]) -> Iterator[Problem]:
    for wanted in gateways.values():
        gateway = wanted.gateway
        if not gateway.url.startswith("http://"):
            continue
        if gateway.ca_certificate:
            message = f"`{gateway.name}` has a CA bundle, and a URL that never uses it"
            yield UNUSED_BUNDLE.at(wanted.location, message, fix="use https://, or remove `tls.caCertificates`")
        elif not _is_loopback(gateway.url):
            message = f"`{gateway.name}` is reached without TLS: anyone on the way can read and change what it says"
            yield PLAIN_HTTP.at(wanted.location, message, fix="use https://")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _shared_authorities(
    gateways: Mapping[str, DesiredGateway], bundles: Mapping[str, TrustBundle]
) -> Iterator[Problem]:
    environments: defaultdict[str, dict[str, DesiredGateway]] = defaultdict(dict)
    for wanted in gateways.values():
        environment = dict(wanted.labels).get("environment")
        bundle = bundles.get(wanted.gateway.ca_certificate)
        if environment and bundle:
            for certificate in bundle.certificates:
                environments[certificate.sha256].setdefault(environment, wanted)
    subjects = {c.sha256: c.subject for bundle in bundles.values() for c in bundle.certificates}
    for fingerprint, users in environments.items():
        if len(users) > 1:
            names = ", ".join(f"{environment} (`{users[environment].gateway.name}`)" for environment in sorted(users))
            message = f"the CA {subjects[fingerprint]} is trusted in {len(users)} environments: {names}"
            where = users[max(users)].location
            yield SHARED_CA.at(where, message, fix="give each environment a CA of its own")
