"""What Kuadrant's controller says of a registration, in our words, with what to do.

Its `Ready` means that the configuration was written, and nothing of the upstream; it carries no generation, so what it
says may be of the one before. Everything else that it says leaves the old entry in use, which is why it is a failure
though the objects are as they should be. The texts are those of the controller of Kuadrant's MCP gateway 0.9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.hostile import printable
from reconciler.stores.kubernetes.marks import listed, mapping
from reconciler.stores.rows import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN: Final = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """What the controller found: whether it took the configuration, what it said in our words, and what to do."""

    ready: bool
    message: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Return all of it in a sentence."""
        return f"{self.message}: {self.fix}" if self.fix else self.message


_OLD_IN_USE: Final = "Kuadrant goes on with the configuration it had"

_MESSAGES: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), message, fix)
    for pattern, message, fix in (
        (
            r"CA certificate secret (?P<name>\S+) not found",
            "Kuadrant does not see the Secret `{name}` with the CA",
            "apply again; if it is there, look for what deletes it or takes its label away",
        ),
        (
            r"CA certificate secret (?P<name>\S+) is missing required label.*",
            "the Secret `{name}` with the CA has lost its label mcp.kuadrant.io/secret=true",
            "apply again, and look for what takes labels away",
        ),
        (
            r"CA certificate secret (?P<name>\S+) missing key (?P<key>\S+)",
            "the Secret `{name}` with the CA has nothing under `{key}`",
            "apply again, and look for what empties it",
        ),
        (
            r"CA certificate data in secret (?P<name>\S+) exceeds maximum size.*",
            "the CA in Secret `{name}` has more than 65,536 bytes",
            "name only the CAs of this upstream; put one that many share into the bundle of the extension",
        ),
        (
            r"CA certificate in secret (?P<name>\S+) is invalid: (?P<why>.*)",
            "Kuadrant does not take the CA in Secret `{name}` ({why})",
            "give certificates of CAs only: one that says CA:FALSE cannot be pinned",
        ),
        (
            r'conflict: prefix "(?P<prefix>[^"]*)" is already used by MCPServerRegistration (?P<other>\S+).*',
            "the prefix `{prefix}` is that of the older registration {other}",
            "give this one another prefix; when the older one goes, touch this one, for nobody looks again by itself",
        ),
        (
            r"credential secret (?P<name>\S+) not found",
            "there is no Secret `{name}` with the credential",
            "create it, with the label mcp.kuadrant.io/secret=true",
        ),
        (
            r"credential secret (?P<name>\S+) is missing required label.*",
            "the Secret `{name}` with the credential lacks a label",
            "label it: kubectl label secret {name} mcp.kuadrant.io/secret=true",
        ),
        (
            r"credential secret (?P<name>\S+) missing key (?P<key>\S+)",
            "the Secret `{name}` with the credential has nothing under `{key}`",
            "put the whole value of the Authorization header there, without a line end",
        ),
        (
            r"failed to get targeted httproute.*",
            "Kuadrant does not find the HTTPRoute",
            "correct `kuadrant.route`; the route has to be in the namespace of the store",
        ),
        (
            r"no valid gateways for httproute",
            "no Gateway has accepted the HTTPRoute",
            "look at the conditions of its parents: kubectl describe httproute",
        ),
        (
            r"no valid mcpgatewayextensions configured",
            "no MCPGatewayExtension is ready",
            "mend the extension first; while its broker is not ready nothing is taken, not even a corrected CA",
        ),
        (
            r"no matching mcpgatewayextensions for attached listener",
            "no MCPGatewayExtension serves the listener of the HTTPRoute",
            "attach the route to the listener of the extension, or give it a host name that this listener takes",
        ),
        (
            r"HTTPRoute (?P<route>\S+) (?P<why>has .*|must have .*|backend reference has no name)",
            "Kuadrant does not take the HTTPRoute {route}: it {why}",
            "let it have one rule with one backend, and a host name",
        ),
        (
            r"failed to get service (?P<service>[^:\s]+).*",
            "the HTTPRoute leads to a Service `{service}` that is not there",
            "correct the host of the URL, or create the Service",
        ),
    )
)


def finding(registration: Mapping[str, Any]) -> Finding | None:
    """Return what the controller says of a registration, or None where it has said nothing yet."""
    for condition in map(mapping, listed(mapping(registration.get("status")).get("conditions"))):
        if condition.get("type") == "Ready":
            return _finding(condition)
    return None


def since(registration: Mapping[str, Any]) -> tuple[str, str]:
    """Return when the controller last changed its mind, and what it says: the two together tell news from the old."""
    for condition in map(mapping, listed(mapping(registration.get("status")).get("conditions"))):
        if condition.get("type") == "Ready":
            return text_of(condition.get("lastTransitionTime")), text_of(condition.get("message"))
    return "", ""


def accepted(route: Mapping[str, Any]) -> bool:
    """Return whether a Gateway has accepted an HTTPRoute as it is now. One word about an older generation is none."""
    generation = mapping(route.get("metadata")).get("generation", 0)
    parents = map(mapping, listed(mapping(route.get("status")).get("parents")))
    conditions = [mapping(each) for parent in parents for each in listed(parent.get("conditions"))]
    return any(
        each.get("type") == "Accepted"
        and each.get("status") == "True"
        and _number(each.get("observedGeneration")) >= _number(generation)
        for each in conditions
    )


def refusal(route: Mapping[str, Any]) -> str:
    """Return what the Gateways say against an HTTPRoute, if they say anything."""
    parents = map(mapping, listed(mapping(route.get("status")).get("parents")))
    conditions = [mapping(each) for parent in parents for each in listed(parent.get("conditions"))]
    said = [
        printable(text_of(each.get("message")) or text_of(each.get("reason")), _SHOWN)
        for each in conditions
        if each.get("type") == "Accepted" and each.get("status") == "False"
    ]
    return "; ".join(said)


def _finding(condition: Mapping[str, Any]) -> Finding:
    said, reason = text_of(condition.get("message")), text_of(condition.get("reason"))
    if condition.get("status") == "True":
        return Finding(ready=True)
    if reason == "Disabled":
        return Finding(ready=True, message="Kuadrant has switched it off, as it was told")
    for pattern, message, fix in _MESSAGES:
        if match := pattern.fullmatch(said):
            words = {name: printable(value, _SHOWN) for name, value in match.groupdict().items()}
            return Finding(False, f"{message.format(**words)}; {_OLD_IN_USE}", fix.format(**words))
    return Finding(
        ready=False,
        message=f"Kuadrant does not take it ({printable(said or reason, _SHOWN)}); {_OLD_IN_USE}",
        fix="`kubectl describe mcpserverregistration` shows what it says",
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
