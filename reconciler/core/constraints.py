"""Name constraints: whether any CA of a bundle may vouch for the host that a gateway's URL names.

A constraint of a CA binds all that is below it. So as soon as one of the certificates at which the chains of a bundle
end may vouch for a host, nothing is said: it may itself issue what the chains below it may not. Constraints on other
kinds of names (directory names, mail addresses) say nothing of a host, and neither do those on DNS names of an IP
address, or the reverse.

Source: RFC 5280 section 4.2.1.10, and OpenSSL's `NAME_CONSTRAINTS_check`, which decides where the two differ: a leading
dot leaves out the domain itself.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reconciler.core.hostile import printable
from reconciler.core.problems import Problem, Rule, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.certificate import NameConstraints, ParsedCertificate, Subtree

EXCLUDES_HOST = Rule(
    "ca-excludes-host",
    Severity.ERROR,
    "A CA whose name constraints leave out the gateway's host is refused for it (47, 48).",
)

Host = str | IPv4Address | IPv6Address
"""A DNS name in lower case, or an address."""

_SHOWN: Final = 3


def excludes(anchors: Sequence[ParsedCertificate], url: str, gateway: str) -> Problem | None:
    """Return the problem that no chain of a bundle may vouch for a gateway's host, if it is so.

    `anchors` are where its chains end; without any, and for plain HTTP, nothing is said.
    """
    limited = [(anchor, anchor.name_constraints) for anchor in anchors if anchor.name_constraints is not None]
    host = tls_host(url) if limited and len(limited) == len(anchors) else None
    if host is None:
        return None
    reasons = []
    for anchor, constraints in limited:
        reason = refusal(constraints, host)
        if not reason:
            return None
        reasons.append(f"{anchor.certificate.subject} {reason}")
    message = f"no CA of the bundle may vouch for {host}, the host of `{gateway}`: {_listed(reasons, '; ')}"
    fix = "add the CA that issues the certificates of this host, or correct `url`"
    return EXCLUDES_HOST.at(anchors[0].location, message, fix=fix, gateways=(gateway,))


def tls_host(url: str) -> Host | None:
    """Return the host that a server at `url` must prove to be; None where it need not prove anything."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        return ip_address(parts.hostname)
    except ValueError:
        return parts.hostname.rstrip(".")


def refusal(constraints: NameConstraints, host: Host) -> str:
    """Return why these constraints leave out the host, or nothing."""
    for subtree in constraints.excluded:
        if _within(host, subtree):
            return f"excludes {_shown(subtree)}"
    permitted = [subtree for subtree in constraints.permitted if isinstance(subtree, str) == isinstance(host, str)]
    if not permitted or any(_within(host, subtree) for subtree in permitted):
        return ""
    return f"permits only {_listed(map(_shown, permitted), ', ')}"


def _within(host: Host, subtree: Subtree) -> bool:
    if isinstance(subtree, str):
        return isinstance(host, str) and _below(host, subtree)
    return not isinstance(host, str) and host in subtree


def _below(name: str, domain: str) -> bool:
    """Return whether a name is the domain or below it, as OpenSSL's `nc_dns` has it."""
    if not domain or name == domain:
        return True
    return name.endswith(domain if domain.startswith(".") else f".{domain}")


def _shown(subtree: str | IPv4Network | IPv6Network) -> str:
    return printable(str(subtree)) or "every DNS name"


def _listed(texts: Iterable[str], separator: str) -> str:
    found = list(texts)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return separator.join(found[:_SHOWN]) + more
