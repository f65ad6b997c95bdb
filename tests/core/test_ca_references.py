"""CA certificates that a cluster keeps: judged like files, merged with those of git, an error where they are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.ca_references import references, resolved
from reconciler.core.model import CaReference, DesiredGateway, DesiredState, Gateway, Transport
from reconciler.core.problems import Location, Severity
from reconciler.demo.pki import Authority, Lifetime

if TYPE_CHECKING:
    from datetime import datetime

SERVICE_CA = CaReference("configMapKeyRef", "service-ca", "service-ca.crt")


def state(*, reference: CaReference | None = SERVICE_CA, bundle: str = "") -> DesiredState:
    gateway = Gateway("payments", "https://p.example/mcp", Transport.STREAMABLE_HTTP, ca_certificate=bundle)
    other = Gateway("other", "https://o.example/mcp", Transport.STREAMABLE_HTTP)
    where = Location("payments.yaml", 3)
    return DesiredState(
        {"payments": DesiredGateway(gateway, where, ca_from=reference), "other": DesiredGateway(other, where)}
    )


def test_each_reference_is_named_once() -> None:
    assert references(state()) == (SERVICE_CA,)
    assert references(state(reference=None)) == ()


def test_what_was_found_is_the_bundle(root: Authority, now: datetime) -> None:
    desired = resolved(state(), {SERVICE_CA: b"\n\r\n" + (root.pem.encode() + b"\n") * 2}, now)
    assert desired.gateways["payments"].gateway.ca_certificate == root.pem.strip()
    assert desired.gateways["other"].gateway.ca_certificate == ""
    assert list(desired.bundles) == [root.pem.strip()]
    assert desired.complete


def test_it_is_trusted_together_with_that_of_git(root: Authority, now: datetime) -> None:
    second = Authority.root("Second", Lifetime.around(now))
    desired = resolved(state(bundle=root.pem.strip()), {SERVICE_CA: second.pem.encode()}, now)
    found = desired.gateways["payments"].gateway.ca_certificate
    assert root.pem.strip() in found
    assert second.pem.strip() in found


def test_what_is_not_there_is_an_error_of_its_gateway(now: datetime) -> None:
    desired = resolved(state(), {SERVICE_CA: "there is no ConfigMap `service-ca`"}, now)
    (problem,) = desired.problems
    assert (problem.code, problem.severity) == ("ca-reference-unreadable", Severity.ERROR)
    assert "there is no ConfigMap `service-ca`" in problem.message
    assert (problem.location.file, problem.location.line, problem.gateways) == ("payments.yaml", 3, ("payments",))
    assert not desired.complete


def test_what_is_no_certificate_is_an_error_that_says_where(now: datetime) -> None:
    desired = resolved(state(), {SERVICE_CA: b"not one"}, now)
    assert not desired.complete
    (problem,) = desired.problems
    assert "ConfigMap service-ca, service-ca.crt" in problem.message
    assert problem.location.file == "payments.yaml"


def test_an_expired_ca_is_an_error(now: datetime) -> None:
    expired = Authority.root("Old", Lifetime.expired(now))
    desired = resolved(state(), {SERVICE_CA: expired.pem.encode()}, now)
    assert not desired.complete
    assert "expired" in str([problem.message for problem in desired.problems])
