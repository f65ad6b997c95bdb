"""What a gateway presents as a client is looked at for its dates, and for being a client's own."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from raw_servers import NOW, VALID

from reconciler.core.desired import Material, assemble
from reconciler.core.manifest import read_manifests
from reconciler.core.problems import Problem, Severity, has_errors
from reconciler.core.snapshot import Files
from reconciler.demo.pki import Authority, Lifetime, self_signed
from reconciler.schema_files import load_schemas

if TYPE_CHECKING:
    from reconciler.core.model import DesiredState

SCHEMAS = load_schemas()
ROOT = Authority.root("Root", VALID)
GOOD = ROOT.issue_client("payments")
ENDING = Lifetime(VALID.not_before, NOW + timedelta(days=3))


def assembled(client: str, *, gateways: int = 1, bundle: str = ROOT.pem) -> DesiredState:
    spec = {
        "url": "https://mcp.example/mcp",
        "transport": "sse",
        "tls": {"caCertificates": ["ca.pem"], "clientCertificate": "client.pem", "clientKeyFrom": {"env": "KEY"}},
    }
    texts = {
        f"{number}.yaml": json.dumps(
            {"apiVersion": "reconciler/v1", "kind": "Gateway", "metadata": {"name": f"gateway-{number}"}, "spec": spec}
        ).encode()
        for number in range(gateways)
    }
    read = [read_manifests(file, data, SCHEMAS) for file, data in texts.items()]
    files = Files({"ca.pem": bundle.encode(), "client.pem": client.encode()}, {})
    return assemble(Material([each for file in read for each in file.manifests], texts, files), NOW)


def problem(client: str) -> Problem:
    (found,) = assembled(client).problems
    assert (found.location.file, found.gateways) == ("client.pem", ("gateway-0",))
    assert found.fix
    return found


def test_a_good_client_certificate_is_no_problem() -> None:
    state = assembled(GOOD.certificate_pem)
    assert state.problems == ()
    assert state.gateways["gateway-0"].gateway.client_certificate == GOOD.leaf_pem


@pytest.mark.parametrize(
    ("lifetime", "code", "severity"),
    [
        (Lifetime.expired(NOW), "certificate-expired", Severity.ERROR),
        (Lifetime.future(NOW), "certificate-not-yet-valid", Severity.ERROR),
        (ENDING, "certificate-expires-soon", Severity.WARNING),
    ],
)
def test_the_dates_of_a_client_certificate_are_looked_at(lifetime: Lifetime, code: str, severity: Severity) -> None:
    client = ROOT.issue_client("payments", lifetime).leaf_pem
    found = problem(f"# ours\n{client}\n")
    assert (found.code, found.severity, found.location.line) == (code, severity, 2)
    assert has_errors(assembled(client).problems) == (severity is Severity.ERROR) == (not assembled(client).gateways)


def test_the_dates_of_an_intermediate_that_the_client_sends_are_looked_at_too() -> None:
    issuing = ROOT.issue_authority("Issuing", Lifetime.expired(NOW))
    found = problem(issuing.issue_client("payments", VALID).certificate_pem)
    assert (found.code, "CN=Issuing" in found.message) == ("certificate-expired", True)


@pytest.mark.parametrize("ca", [ROOT.pem, self_signed(["payments"], VALID).leaf_pem, f"{ROOT.pem}\n{GOOD.leaf_pem}"])
def test_a_ca_that_comes_first_is_no_clients_own_certificate(ca: str) -> None:
    found = problem(ca)
    assert (found.code, found.severity) == ("client-certificate-is-a-ca", Severity.WARNING)
    assert assembled(ca).gateways


def test_a_ca_behind_the_clients_own_certificate_is_its_chain() -> None:
    assert assembled(f"{GOOD.leaf_pem}\n{ROOT.pem}").problems == ()


def test_what_many_gateways_present_is_looked_at_once() -> None:
    state = assembled(ROOT.issue_client("payments", ENDING).leaf_pem, gateways=5)
    (found,) = state.problems
    assert found.gateways == tuple(f"gateway-{number}" for number in range(5))
    assert [certificate.not_after for certificate in state.clients] == [ENDING.not_after.replace(microsecond=0)]


def test_a_broken_client_certificate_is_one_problem_of_its_file() -> None:
    assert problem(GOOD.leaf_pem.replace("-----END", "----END")).code == "pem-malformed-marker"
