"""The story: private-CA MCP servers are registered, signed, verified, rotated and repaired, in about a minute.

Every command is run as shown, in a process of its own, against real servers on this machine.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.model import Transport
from reconciler.core.signing import Keyring
from reconciler.demo.caller import Caller
from reconciler.demo.pki import Authority, Lifetime, self_signed
from reconciler.demo.upstreams import Upstream
from reconciler.errors import ReconcilerError
from reconciler.settings import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.demo.pki import Identity
    from reconciler.demo.stage import Stage

_REPOSITORY: Final = "gateways-repo"
_HOSTS: Final = ("localhost", "127.0.0.1")
_CALLS_BETWEEN_STEPS: Final = 3


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the authorities, and the running servers."""

    lifetime: Lifetime
    payments_root: Authority
    payments: Upstream
    search: Upstream
    search_identity: Identity
    reports_root: Authority
    reports: Upstream


def tell(stage: Stage, now: datetime) -> None:
    """Play the whole story on `stage`.

    Raises:
        ReconcilerError: something did not happen as it should.
    """
    if shutil.which("git") is None:
        raise ReconcilerError("the demonstration needs git", fix="install git")
    with ExitStack() as servers:
        cast = _cast(servers, Lifetime.around(now, days=90))
        _set_the_stage(stage, cast)
        _review_and_apply(stage)
        _apply_again(stage)
        _rotate(stage, cast)
        _tamper(stage, cast)
        _break_and_fix(stage, cast)
    _end(stage)


def _cast(servers: ExitStack, lifetime: Lifetime) -> Cast:
    payments_root = Authority.root("Payments Root CA", lifetime)
    issuing = payments_root.issue_authority("Payments Issuing CA")
    reports_root = Authority.root("Finance Root CA", lifetime)
    search_identity = self_signed(_HOSTS, lifetime)
    tools = {"charge": "Charge a card", "refund": "Give money back"}
    payments = Upstream("payments", issuing.issue_server(_HOSTS), tools, json_response=True)
    search = Upstream("search", search_identity, {"search": "Search the intranet"})
    reports = Upstream(
        "reports", reports_root.issue_server(_HOSTS), {"monthly": "The monthly report"}, transport=Transport.SSE
    )
    for server in (payments, search, reports):
        servers.enter_context(server)
    return Cast(lifetime, payments_root, payments, search, search_identity, reports_root, reports)


def _set_the_stage(stage: Stage, cast: Cast) -> None:
    stage.title("Three MCP servers with private certificates, and a repository")
    stage.tell("Servers of the official MCP SDK, over TLS, on this machine:")
    for server, trust in (
        (cast.payments, "a root and an intermediate of its own"),
        (cast.search, "a self-signed certificate"),
        (cast.reports, "another root, and the older SSE transport"),
    ):
        stage.tell(f"  {server.url:32} {server.name}, with {trust}")
    stage.reconciler("init", _REPOSITORY, "--owner", "platform-team")
    (stage.repository / "gateways/example.yaml").unlink()
    stage.write("gateways/payments/root.pem", cast.payments_root.pem)
    stage.write("gateways/search/server.pem", cast.search_identity.certificate_pem)
    stage.write("gateways/reports/root.pem", cast.reports_root.pem)
    stage.write(
        "gateways/payments/gateway.yaml",
        _manifest("payments", cast.payments.url, "streamable-http", "root.pem", "Charge and refund")
        + "  verify: {mode: required, requireTools: [charge, refund]}\n",
    )
    stage.write(
        "gateways/search/gateway.yaml",
        _manifest("search", cast.search.url, "streamable-http", "server.pem", "Intranet search")
        + "  verify: {mode: required}\n",
    )
    stage.write(
        "gateways/reports/gateway.yaml", _manifest("reports", cast.reports.url, "sse", "root.pem", "Monthly reports")
    )
    stage.git("init", "--quiet", "--initial-branch=main", quiet=True)
    stage.commit("Register payments, search and reports")


def _manifest(name: str, url: str, transport: str, ca_file: str, description: str) -> str:
    return (
        "# yaml-language-server: $schema=../../schemas/gateway.v1.schema.json\n"
        "apiVersion: reconciler/v1\n"
        "kind: Gateway\n"
        "metadata:\n"
        f"  name: {name}\n"
        f"  labels: {{team: {name}, environment: production}}\n"
        "spec:\n"
        f"  url: {url}\n"
        f"  transport: {transport}\n"
        f"  description: {description}\n"
        "  tls:\n"
        f"    caCertificates: [{ca_file}]\n"
        "    systemTrust: false\n"
    )


def _review_and_apply(stage: Stage) -> None:
    stage.title("Validate, plan, apply, verify")
    stage.tell("In a pull request: offline, without credentials.")
    stage.reconciler("validate", _REPOSITORY)
    stage.reconciler("plan", _REPOSITORY)
    stage.tell("")
    stage.tell("After the merge: one transaction, then proof that every server answers over TLS and MCP.")
    stage.reconciler("apply", _REPOSITORY)
    stage.reconciler("status", "--path", _REPOSITORY)


def _apply_again(stage: Stage) -> None:
    stage.title("A second apply does nothing, and says so")
    stage.reconciler("apply", _REPOSITORY)


def _rotate(stage: Stage, cast: Cast) -> None:
    stage.title("Rotate the CA of payments without a failed call")
    stage.tell("From now on a client calls a tool without pause, trusting only the bundle in the store.")
    new_root = Authority.root("Payments Root CA G2", cast.lifetime)
    with Caller(_store(stage), "payments", _keyring(stage), "charge") as caller:
        caller.await_calls(_CALLS_BETWEEN_STEPS)
        stage.write("gateways/payments/root-g2.pem", new_root.pem)
        _trust(stage, "root.pem", "root.pem, root-g2.pem")
        stage.commit("payments: trust the new CA as well")
        stage.reconciler("apply", _REPOSITORY)
        caller.await_calls(_CALLS_BETWEEN_STEPS)
        cast.payments.switch_certificate(new_root.issue_server(_HOSTS))
        stage.tell("")
        stage.tell("The server now presents a certificate of the new CA.")
        caller.await_calls(_CALLS_BETWEEN_STEPS)
        _trust(stage, "root.pem, root-g2.pem", "root-g2.pem")
        (stage.repository / "gateways/payments/root.pem").unlink()
        stage.commit("payments: trust the new CA only")
        stage.reconciler("apply", _REPOSITORY)
        caller.await_calls(_CALLS_BETWEEN_STEPS)
    if caller.failures:
        raise ReconcilerError(f"{len(caller.failures)} calls failed during the rotation: {caller.failures[0]}")
    stage.tell("")
    stage.echo(stage.style(f"{caller.calls} tool calls during the rotation, none failed.", "green", "bold"))


def _trust(stage: Stage, before: str, after: str) -> None:
    name = "gateways/payments/gateway.yaml"
    text = (stage.repository / name).read_text(encoding="utf-8")
    stage.write(name, text.replace(f"caCertificates: [{before}]", f"caCertificates: [{after}]"))


def _store(stage: Stage) -> str:
    return f"sqlite:///{stage.repository}/gateways.db"


def _keyring(stage: Stage) -> Keyring:
    """Return the keys that the repository trusts, as any consumer of the store would configure them."""
    settings = load_settings((stage.repository,))
    return Keyring.of_keys(settings.trusted_keys)


def _tamper(stage: Stage, cast: Cast) -> None:
    stage.title("Somebody with access to the database swaps a CA")
    intruder = Authority.root("Payments Root CA G2", cast.lifetime)
    with closing(sqlite3.connect(stage.repository / "gateways.db")) as database, database:
        database.execute("UPDATE gateways SET ca_certificate = ? WHERE name = 'payments'", (intruder.pem,))
    stage.echo("")
    stage.echo(
        f"{stage.style('$', 'red', 'bold')} sqlite3 gateways.db  # ca_certificate of payments = the intruder's own CA"
    )
    stage.tell("The name is the same; the key is another. The signature tells.")
    stage.reconciler("verify", "payments", "--path", _REPOSITORY, expect=6)
    stage.reconciler("plan", _REPOSITORY)
    stage.reconciler("apply", _REPOSITORY)


def _break_and_fix(stage: Stage, cast: Cast) -> None:
    stage.title("What a wrong CA looks like, and how the message leads to the fix")
    stage.tell("A pull request gives search the CA of somebody else. Search is probed before anything is written.")
    stage.write("gateways/search/server.pem", cast.reports_root.pem)
    stage.commit("search: new certificate")
    stage.reconciler("apply", _REPOSITORY, expect=6)
    stage.tell("")
    stage.tell("Nothing was written, so search still works. The certificate that the message asks for mends it:")
    stage.write("gateways/search/server.pem", cast.search_identity.certificate_pem)
    stage.commit("search: the certificate that the server really presents")
    stage.reconciler("apply", _REPOSITORY)
    stage.reconciler("verify", "--path", _REPOSITORY)


def _end(stage: Stage) -> None:
    stage.title("The end")
    stage.echo("What you saw is what runs in production: the same commands, store, signatures and probes.")
    stage.echo(f"Begin with {stage.style('reconciler init', 'bold')}.")
