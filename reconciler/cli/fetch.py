"""`reconciler ca fetch`."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli.options import Voice, voice

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.core.presented import Endpoint

_DURATION: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m)")


def _given(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return the callback that gives what `read` makes of the words; its ValueError is said as a usage error."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return ""
        try:
            return read(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", ctx, param) from None

    return convert


def _endpoint(text: str) -> Endpoint:
    from reconciler.probes.presented import parse_endpoint

    return parse_endpoint(text)


def _host(text: str) -> str:
    from reconciler.probes.presented import parse_host

    return parse_host(text)


def _address(text: str) -> str:
    from reconciler.core.observation import is_address

    if not is_address(text):
        raise ValueError("write an IP address, without brackets and port")
    return text


def _seconds(text: str) -> float:
    from reconciler.core.manifest import parse_duration

    seconds = parse_duration(text) if _DURATION.fullmatch(text) else 0.0
    if not seconds:
        raise ValueError("write a number above zero with its unit: 500ms, 5s or 1m")
    return seconds


@click.command(
    epilog="""\b
Examples:
  reconciler ca fetch payments.internal:8443
  reconciler ca fetch https://payments.internal:8443/mcp > payments-ca.pem
  reconciler ca fetch payments.internal:8443 --connect-to 10.0.0.7
  reconciler ca fetch -o json payments.internal:8443 | jq -r '.missing_issuer'
"""
)
@click.argument("server", metavar="HOST[:PORT]", callback=_given(_endpoint))
@click.option("--server-name", metavar="NAME", callback=_given(_host), help="The name to ask for. [default: HOST]")
@click.option("--connect-to", metavar="IP", callback=_given(_address), help="Call this address in place of HOST's.")
@click.option(
    "--timeout",
    metavar="DURATION",
    default="5s",
    callback=_given(_seconds),
    help="For the name, the connection and the handshake together. [default: 5s]",
)
@click.option("--all", "everything", is_flag=True, help="Print every certificate presented, the server's own too.")
@voice("json")
def fetch(
    server: Endpoint, voice: Voice, *, server_name: str, connect_to: str, timeout: float, everything: bool
) -> int:
    """Print the CA certificates that a server presents, as a CA file. NOTHING IS VERIFIED: compare the fingerprints.

    It shakes hands over TLS, sends no request and no credentials, and closes. Most servers do not present their root:
    the summary on standard error says what is missing, and whether a CA file is needed at all. HOST[:PORT] may also be
    a URL, and an IPv6 address stands in brackets; the port is 443 unless given.
    """
    from reconciler.clock import now
    from reconciler.core.routes import route_to
    from reconciler.probes.presented import fetch as look
    from reconciler.reports import presented as report
    from reconciler.reports.problems import as_text

    moment = now()
    route = route_to(f"https://{server.place}", os.environ)
    fetched = look(replace(server, server_name=server_name, connect_to=connect_to), timeout, moment, route)
    if voice.format == "json":
        voice.document(report.as_document(fetched))
        return 0
    chain = fetched.chain
    certificates = [each.certificate for each in chain.members] if everything else chain.trustable
    if certificates:
        click.echo(report.as_pem(fetched.endpoint, certificates, moment))
    if chain.problems:
        click.echo(as_text(chain.problems), err=True)
    voice.say(report.as_text(fetched, moment, voice.style))
    if route.shown and not connect_to:
        voice.say(f"The server was called {route.shown}.")
    return 0
