"""The Kubernetes store against an API server: the port's promises, Kuadrant's traps, and others who write too."""

from __future__ import annotations

import os
from base64 import b64decode
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from contract import AUDIT, SIGNATURE, PortContract, a_gateway, a_stamp, created, deleted, statuses, stored, updated
from kubernetes_cluster import Cluster, Controller, Namespace

from reconciler.core.model import Auth, Gateway, KuadrantOptions, Reason, SecretReference, Transport
from reconciler.demo.upstreams import Upstream
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.writing import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from terminal import Terminal

    from reconciler.core.ports import Store
    from reconciler.demo.pki import Authority

ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())
REGISTRATIONS = "mcpserverregistrations"
SHORT = Patience(route=0.5, finalizer=0.5, word=0.0)
RECORD = "ab" * 64

_numbers = count(1)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """An empty namespace, in which we may do what our Role says."""
    made = Namespace(cluster, f"test-{os.getpid()}-{next(_numbers)}")
    made.grant(ROLE)
    yield made
    made.close()


@pytest.fixture
def opener(namespace: Namespace, tmp_path: Path) -> Iterator[Callable[..., KubernetesStore]]:
    """Open stores over the namespace as the user that the Role is bound to."""
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token)
    with ExitStack() as stack:

        def opened(patience: Patience = SHORT) -> KubernetesStore:
            store = KubernetesStore(address_of("kubernetes://test/", {"KUBECONFIG": str(config)}), patience)
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def store(opener: Callable[..., KubernetesStore], namespace: Namespace) -> KubernetesStore:
    """A store in a namespace with the HTTPRoute `shared`."""
    namespace.route("shared")
    return opener()


def wanted(name: str, **fields: Any) -> Gateway:
    options = KuadrantOptions(route="shared", **fields.pop("kuadrant", {}))
    return a_gateway(name, kuadrant=options, **fields)


class TestKubernetesStore(PortContract):
    @pytest.fixture
    def opened(self, opener: Callable[..., KubernetesStore], namespace: Namespace) -> Callable[[], Store]:
        namespace.route("shared")
        return opener

    def a_gateway(self, name: str, **fields: Any) -> Gateway:
        return wanted(name, **fields)

    def test_a_second_name_of_one_slug_is_refused(self, store: Store) -> None:
        """A name that would share its slug with another's is none in Kubernetes."""
        stored(store, created(self.a_gateway("gw-one")))
        (later,) = store.apply([created(self.a_gateway("gw_one"))], AUDIT)
        assert later.status == "refused"
        assert "`gw_one` is no name" in later.reason
        assert list(store.read().gateways) == ["gw-one"]

    def test_a_slug_is_free_for_another_name_in_the_apply_that_deletes_its_holder(self, store: Store) -> None:
        """Another slug is another name here."""
        stored(store, created(self.a_gateway("gw-one")))
        stored(store, created(self.a_gateway("gw-two")), deleted(store.read().gateways["gw-one"]))
        assert list(store.read().gateways) == ["gw-two"]

    def test_when_one_of_five_is_refused_the_others_are_written(self, store: Store) -> None:
        outcomes = store.apply(self.five_of_which_the_third_is_refused(store), AUDIT)
        assert statuses(outcomes) == ["applied", "applied", "refused", "applied", "applied"]
        assert list(store.read().gateways) == ["a", "b", "c", "d"]


# What is written


def test_everything_that_a_manifest_can_say_comes_back(store: KubernetesStore) -> None:
    full = wanted(
        "payments",
        url="https://payments.internal:8443/v1/mcp?tenant=a",
        description="Zahlungen & mehr: <b>täglich</b> 🚪",
        enabled=False,
        tags=("finance", "team"),
        ca_certificate="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        auth=Auth("bearer", (), (("token", SecretReference("secretKeyRef", "payments", "header")),)),
        kuadrant={"prefix": "pay_", "category": ("b", "a"), "hint": "Charge", "user_specific_list": True},
    )
    stored(store, replace(created(full, SIGNATURE, a_stamp("payments")), record=RECORD))
    (live,) = store.read().gateways.values()
    assert live.gateway == full == store.canonical(full)
    assert (live.signature, live.record, live.stamp) == (SIGNATURE, RECORD, a_stamp("payments"))


def test_the_secret_has_what_kuadrant_looks_for(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments", ca_certificate="a bundle"), SIGNATURE, a_stamp("payments")))
    secret, registration = namespace.get("secrets", "payments-ca"), namespace.get(REGISTRATIONS, "payments")
    assert secret is not None
    assert registration is not None
    assert secret["metadata"]["labels"]["mcp.kuadrant.io/secret"] == "true"
    assert (secret["type"], b64decode(secret["data"]["ca.crt"])) == ("Opaque", b"a bundle")
    assert registration["spec"]["caCertSecretRef"] == {"name": "payments-ca", "key": "ca.crt"}
    for each in (secret, registration):
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mcp-gateway-reconciler"
        marks = each["metadata"]["annotations"]
        assert marks["reconciler/revision"] == a_stamp("payments").revision
        assert marks["reconciler/digest"] == a_stamp("payments").digest
        assert marks["reconciler/ca-signature"] == SIGNATURE
        assert marks["reconciler/ca-sha256"].startswith("sha256:")


def test_only_what_the_manifest_says_is_ours(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments")))
    registration = namespace.get(REGISTRATIONS, "payments")
    assert registration is not None
    (ours,) = registration["metadata"]["managedFields"]
    assert (ours["manager"], ours["operation"]) == ("mcp-gateway-reconciler", "Apply")
    assert registration["spec"]["category"] == ["uncategorised"]
    assert "category" not in str(ours["fieldsV1"])


def test_defaults_and_what_others_add_are_no_drift(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments")))
    namespace.merge(REGISTRATIONS, "payments", {"spec": {"hint": "theirs", "category": ["theirs"]}})
    assert store.read().gateways["payments"].gateway == wanted("payments")


def test_what_others_change_of_ours_is_seen_and_taken_back(store: KubernetesStore, namespace: Namespace) -> None:
    gateway = wanted("payments", ca_certificate="ours", kuadrant={"hint": "ours"})
    stored(store, created(gateway, SIGNATURE, a_stamp("payments")))
    namespace.merge(REGISTRATIONS, "payments", {"spec": {"hint": "theirs", "state": "Disabled", "path": "/other"}})
    namespace.merge("secrets", "payments-ca", {"data": {"ca.crt": "dGhlaXJz"}})
    before = store.read().gateways["payments"]
    assert before.gateway == replace(
        gateway,
        enabled=False,
        url="https://payments.example/other",
        ca_certificate="theirs",
        kuadrant=replace(gateway.kuadrant, hint="theirs"),
    )
    healing = replace(updated(before, gateway, SIGNATURE, a_stamp("payments")), reason=Reason.DRIFT)
    (outcome,) = store.apply([healing], AUDIT)
    assert outcome.status == "applied"
    assert "took .spec.hint back from `kubectl-edit`" in outcome.reason
    assert store.read().gateways["payments"].gateway == gateway


@pytest.mark.parametrize("reason", [Reason.MANIFEST_CHANGED, Reason.DRIFT])
def test_what_another_manager_applies_is_never_taken(
    store: KubernetesStore, namespace: Namespace, reason: Reason
) -> None:
    gateway = wanted("payments", ca_certificate="ours", kuadrant={"hint": "ours"})
    stored(store, created(gateway))
    content = {
        "apiVersion": "mcp.kuadrant.io/v1",
        "kind": "MCPServerRegistration",
        "metadata": {"name": "payments"},
        "spec": {"targetRef": {"name": "shared"}, "hint": "theirs"},
    }
    namespace.apply(REGISTRATIONS, content, "argocd-controller", force=True)
    before = store.read()
    (outcome,) = store.apply([replace(updated(before.gateways["payments"], gateway), reason=reason)], AUDIT)
    assert outcome.status == "refused"
    assert "`argocd-controller` holds .spec.hint" in outcome.reason
    assert store.read() == before


def test_an_edit_that_no_plan_saw_is_a_conflict_with_its_name(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments", kuadrant={"hint": "ours"})))
    namespace.merge(REGISTRATIONS, "payments", {"spec": {"hint": "theirs"}})
    change = updated(store.read().gateways["payments"], wanted("payments", kuadrant={"hint": "newer"}))
    (outcome,) = store.apply([change], AUDIT)
    assert outcome.status == "refused"
    assert "`kubectl-edit` holds .spec.hint" in outcome.reason


def test_nothing_at_all_is_written_where_one_object_is_refused(store: KubernetesStore, namespace: Namespace) -> None:
    change = created(wanted("payments", ca_certificate="x", tags=tuple(f"t{number:02}" for number in range(11))))
    (outcome,) = store.apply([change], AUDIT)
    assert outcome.status == "refused"
    assert "spec.tags" in outcome.reason
    assert "at most 10 items" in outcome.reason
    assert "payments-ca" not in namespace.names("secrets")


def test_a_credential_or_a_ca_that_somebody_slips_in_is_seen_and_removed(
    store: KubernetesStore, namespace: Namespace
) -> None:
    stored(store, created(wanted("payments"), "", a_stamp("payments")))
    slipped = {"credentialRef": {"name": "stolen"}, "caCertSecretRef": {"name": "rogue"}}
    namespace.merge(REGISTRATIONS, "payments", {"spec": slipped})
    before = store.read().gateways["payments"]
    assert before.gateway.auth.secrets == (("Authorization", SecretReference("secretKeyRef", "stolen", "token")),)
    assert before.gateway.ca_certificate == "unknown:no Secret rogue"
    stored(store, replace(updated(before, wanted("payments"), "", a_stamp("payments")), reason=Reason.DRIFT))
    assert store.read().gateways["payments"].gateway == wanted("payments")


def test_a_ca_that_is_wanted_no_more_goes_with_its_secret(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments", ca_certificate="x")))
    stored(store, updated(store.read().gateways["payments"], wanted("payments")))
    assert namespace.get("secrets", "payments-ca") is None


# Prefix, names, deletion


def test_another_prefix_is_another_registration(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments", kuadrant={"prefix": "old_"})))
    before = namespace.get(REGISTRATIONS, "payments")
    stored(store, updated(store.read().gateways["payments"], wanted("payments", kuadrant={"prefix": "new_"})))
    after = namespace.get(REGISTRATIONS, "payments")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["prefix"] == "new_"


def test_a_new_prefix_that_is_refused_leaves_the_old_registration(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments", ca_certificate="x", kuadrant={"prefix": "old_"})))
    before = store.read()
    change = updated(before.gateways["payments"], wanted("payments", kuadrant={"prefix": "Not Valid"}))
    (outcome,) = store.apply([change], AUDIT)
    assert outcome.status == "refused"
    assert store.read() == before
    assert namespace.names(REGISTRATIONS) == ["payments"]


def test_pruning_waits_for_the_finalizer_before_it_takes_the_ca_away(
    opener: Callable[..., KubernetesStore], store: KubernetesStore, namespace: Namespace
) -> None:
    finalized(store, namespace, "payments")
    kept: list[bool] = []

    def let_go() -> None:
        found = namespace.get(REGISTRATIONS, "payments")
        if found is not None and "deletionTimestamp" in found["metadata"]:
            kept.append(namespace.get("secrets", "payments-ca") is not None)
            release(namespace, "payments")

    patient = opener(replace(SHORT, finalizer=30.0))
    with Controller(let_go):
        stored(patient, deleted(patient.read().gateways["payments"]))
    assert kept
    assert all(kept)
    assert namespace.get("secrets", "payments-ca") is None
    assert store.read().gateways == {}


def test_a_finalizer_that_stays_keeps_the_ca_and_the_next_pass_goes_on(
    store: KubernetesStore, namespace: Namespace
) -> None:
    finalized(store, namespace, "payments")
    (outcome,) = store.apply([deleted(store.read().gateways["payments"])], AUDIT)
    assert outcome.status == "failed"
    assert "mcp.kuadrant.io/finalizer has not let go" in outcome.reason
    assert namespace.get("secrets", "payments-ca") is not None
    (again,) = store.apply([deleted(store.read().gateways["payments"])], AUDIT)
    assert again.status == "failed"
    release(namespace, "payments")
    stored(store, deleted(store.read().gateways["payments"]))
    assert namespace.get("secrets", "payments-ca") is None


def finalized(store: KubernetesStore, namespace: Namespace, name: str) -> None:
    """Store a gateway, and have Kuadrant's controller hold on to it."""
    stored(store, created(wanted(name, ca_certificate="x"), "", a_stamp(name)))
    held = {"metadata": {"finalizers": ["mcp.kuadrant.io/finalizer"]}}
    namespace.merge(REGISTRATIONS, name, held, "controller")


def release(namespace: Namespace, name: str) -> None:
    """Have Kuadrant's controller let go, unless it has."""
    path = namespace.path(REGISTRATIONS, name)
    namespace.try_to("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")


def test_a_gateway_half_written_is_seen_and_finished(store: KubernetesStore, namespace: Namespace) -> None:
    gateway = wanted("payments", ca_certificate="x")
    stored(store, created(gateway, SIGNATURE, a_stamp("payments")))
    namespace.ask("DELETE", namespace.path(REGISTRATIONS, "payments"))
    before = store.read().gateways["payments"]
    assert before.stamp == a_stamp("payments")
    assert before.gateway != gateway
    stored(store, replace(updated(before, gateway, SIGNATURE, a_stamp("payments")), reason=Reason.DRIFT))
    assert store.read().gateways["payments"].gateway == gateway


def test_what_is_left_of_a_gateway_is_pruned(store: KubernetesStore, namespace: Namespace) -> None:
    stored(store, created(wanted("payments", ca_certificate="x"), "", a_stamp("payments")))
    namespace.ask("DELETE", namespace.path(REGISTRATIONS, "payments"))
    stored(store, deleted(store.read().gateways["payments"]))
    assert store.read().gateways == {}
    assert "payments-ca" not in namespace.names("secrets")


def test_a_registration_of_somebody_else_is_shown_without_a_stamp(store: KubernetesStore, namespace: Namespace) -> None:
    content = {
        "apiVersion": "mcp.kuadrant.io/v1",
        "kind": "MCPServerRegistration",
        "metadata": {"name": "theirs"},
        "spec": {
            "targetRef": {"name": "shared"},
            "prefix": "their_",
            "hint": "Theirs",
            "caCertSecretRef": {"name": "own", "key": "root.pem"},
        },
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own"}, "data": {"root.pem": "dGhlaXJz"}}
    namespace.ask("POST", namespace.path("secrets"), secret)
    namespace.ask("POST", namespace.path(REGISTRATIONS), content)
    (live,) = store.read().gateways.values()
    assert live.stamp is None
    assert live.gateway.ca_certificate == "theirs"
    assert live.gateway.kuadrant == KuadrantOptions("their_", "shared", (), "Theirs")


# Routes


def exposed(name: str, **fields: Any) -> Gateway:
    options = KuadrantOptions(
        hostname=f"{name}.mcp.example", parent="mcp-gateway", parent_namespace="gateways", listener="mcps", route=name
    )
    return a_gateway(name, kuadrant=options, **fields)


@pytest.mark.parametrize(
    ("url", "backend", "service"),
    [
        (
            "https://payments.tools.svc.cluster.local:8443/mcp",
            {"name": "payments", "namespace": "tools", "port": 8443},
            None,
        ),
        ("https://payments.example/mcp", {"name": "payments-external", "port": 443}, "payments.example"),
    ],
    ids=["in the cluster", "outside"],
)
def test_a_route_is_made_and_waited_for(
    opener: Callable[..., KubernetesStore], namespace: Namespace, url: str, backend: dict[str, Any], service: str | None
) -> None:
    order: list[str] = []

    def accept() -> None:
        route = namespace.get("httproutes", "payments")
        if route is not None and "status" not in route:
            order.append("registration" if namespace.names(REGISTRATIONS) else "route")
            namespace.accept("payments")

    gateway, store = exposed("payments", url=url, ca_certificate="x"), opener(replace(SHORT, route=30.0))
    with Controller(accept):
        stored(store, created(gateway, SIGNATURE, a_stamp("payments")))
    assert order == ["route"]
    assert store.read().gateways["payments"].gateway == gateway
    route, made = namespace.get("httproutes", "payments"), namespace.get("services", "payments-external")
    assert route is not None
    (rule,) = route["spec"]["rules"]
    assert backend.items() <= rule["backendRefs"][0].items()
    assert (made["spec"]["externalName"] if made else None) == service
    stored(store, deleted(store.read().gateways["payments"]))
    assert namespace.names("httproutes") == namespace.names("services") == []


def test_what_becomes_of_a_route_after_it_was_read_stands_in_no_way_and_an_edit_of_it_does(
    store: KubernetesStore, namespace: Namespace
) -> None:
    gateway = exposed("payments")

    def accept() -> None:
        if (route := namespace.get("httproutes", "payments")) is not None and "status" not in route:
            namespace.accept("payments")

    with Controller(accept):
        stored(store, created(gateway, SIGNATURE, a_stamp("payments")))
    before = store.read().gateways["payments"]
    namespace.accept("payments", message="as before")
    after = replace(gateway, kuadrant=replace(gateway.kuadrant, hint="Pays."))
    stored(store, updated(before, after, SIGNATURE, a_stamp("payments")))
    before = store.read().gateways["payments"]
    assert before.gateway == after
    namespace.merge("httproutes", "payments", {"spec": {"hostnames": ["theirs.mcp.example"]}})
    (outcome,) = store.apply([updated(before, gateway, SIGNATURE, a_stamp("payments"))], AUDIT)
    assert outcome.status == "refused"


def test_no_registration_is_written_for_a_route_that_nobody_accepts(
    opener: Callable[..., KubernetesStore], namespace: Namespace
) -> None:
    (outcome,) = opener().apply([created(exposed("payments"))], AUDIT)
    assert outcome.status == "failed"
    assert "no Gateway has accepted the HTTPRoute `payments`" in outcome.reason
    assert namespace.names(REGISTRATIONS) == []


def test_what_a_gateway_says_against_a_route_is_told(store: KubernetesStore, namespace: Namespace) -> None:
    namespace.route("refused", accepted=False)
    namespace.accept("refused", status="False", message="no listener takes this host name")
    gateway = a_gateway("payments", kuadrant=KuadrantOptions(route="refused"))
    (outcome,) = store.apply([created(gateway)], AUDIT)
    assert "no listener takes this host name" in outcome.reason
    assert "secrets" not in namespace.names("secrets")


def test_an_acceptance_of_an_older_route_is_none(store: KubernetesStore, namespace: Namespace) -> None:
    namespace.merge("httproutes", "shared", {"spec": {"hostnames": ["other.mcp.example"]}})
    (outcome,) = store.apply([created(wanted("payments"))], AUDIT)
    assert "no Gateway has accepted" in outcome.reason


def test_a_route_that_is_not_there_is_named(store: KubernetesStore) -> None:
    (outcome,) = store.apply([created(a_gateway("payments", kuadrant=KuadrantOptions(route="nowhere")))], AUDIT)
    assert outcome.status == "refused"
    assert "there is no HTTPRoute `nowhere`" in outcome.reason


def test_a_route_that_somebody_turns_elsewhere_is_seen(
    opener: Callable[..., KubernetesStore], namespace: Namespace
) -> None:
    store = opener(replace(SHORT, route=30.0))
    with Controller(lambda: namespace.accept("payments") if namespace.get("httproutes", "payments") else None):
        stored(store, created(exposed("payments"), "", a_stamp("payments")))
    rules = [{"backendRefs": [{"name": "evil", "port": 443}]}]
    namespace.merge("httproutes", "payments", {"spec": {"rules": rules}})
    assert store.read().gateways["payments"].gateway.url == "unknown:the route leads to evil:443"


# What Kuadrant says


@pytest.mark.parametrize(
    ("said", "ours", "fix"),
    [
        ("CA certificate secret payments-ca not found", "does not see the Secret `payments-ca`", "apply again"),
        (
            "CA certificate secret payments-ca is missing required label mcp.kuadrant.io/secret=true",
            "has lost its label",
            "takes labels away",
        ),
        ("CA certificate secret payments-ca missing key ca.crt", "has nothing under `ca.crt`", "empties it"),
        (
            "CA certificate data in secret payments-ca exceeds maximum size (65536 bytes)",
            "more than 65,536 bytes",
            "bundle of the extension",
        ),
        (
            'CA certificate in secret payments-ca is invalid: certificate for "leaf" is not a CA certificate',
            'certificate for "leaf" is not a CA certificate',
            "CA:FALSE cannot be pinned",
        ),
        (
            'conflict: prefix "pay_" is already used by MCPServerRegistration a/b in the same MCPGatewayExtension',
            "the prefix `pay_` is that of the older registration a/b",
            "another prefix",
        ),
        ("no valid gateways for httproute", "no Gateway has accepted the HTTPRoute", "kubectl describe httproute"),
        ("something new", "something new", "kubectl describe mcpserverregistration"),
    ],
)
def test_what_kuadrant_says_is_told_with_its_fix(
    opener: Callable[..., KubernetesStore], store: KubernetesStore, namespace: Namespace, said: str, ours: str, fix: str
) -> None:
    def say() -> None:
        found = namespace.get(REGISTRATIONS, "payments")
        if found is not None and "status" not in found:
            namespace.say("payments", "False", "NotReady", said)

    with Controller(say):
        (outcome,) = opener(replace(SHORT, word=30.0)).apply([created(wanted("payments"))], AUDIT)
    assert outcome.status == "failed"
    assert outcome.reason.startswith("written, but ")
    assert ours in outcome.reason
    assert "goes on with the configuration it had" in outcome.reason
    assert fix in outcome.reason
    assert list(store.read().gateways) == ["payments"]


@pytest.mark.parametrize(("status", "reason"), [("True", "Ready"), ("False", "Disabled")])
def test_a_configuration_that_kuadrant_took_is_applied(
    opener: Callable[..., KubernetesStore], store: KubernetesStore, namespace: Namespace, status: str, reason: str
) -> None:
    stored(store, created(wanted("payments")))
    namespace.say("payments", status, reason, "config written successfully")
    patient = opener(replace(SHORT, word=30.0))
    stored(patient, updated(patient.read().gateways["payments"], wanted("payments", description="new")))


# From the command line


def test_a_ca_of_the_cluster_is_planned_signed_and_followed(
    terminal: Terminal,
    opener: Callable[..., KubernetesStore],
    namespace: Namespace,
    root: Authority,
    issuing: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    namespace.route("shared")
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token)
    monkeypatch.setenv("KUBECONFIG", str(config))
    terminal.gateway(
        "payments",
        transport="streamable-http",
        tls={"caFrom": {"configMapKeyRef": {"name": "service-ca", "key": "service-ca.crt"}}},
        kuadrant={"route": "shared"},
    )
    at = ("--store", "kubernetes://", "--output", "json")
    missing = terminal("plan", *at, expect=3)
    assert "there is no ConfigMap `service-ca`" in missing.out + missing.err
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "service-ca"}}
    namespace.ask("POST", namespace.path("configmaps"), {**content, "data": {"service-ca.crt": root.pem}})

    def ready() -> None:
        found = namespace.get(REGISTRATIONS, "payments")
        if found is not None and "status" not in found:
            namespace.say("payments", "True", "Ready", "config written successfully")

    with Controller(ready):
        terminal("apply", *at)
    (live,) = opener().read().gateways.values()
    assert live.gateway.ca_certificate == root.pem.strip()
    assert len(live.signature) == 128
    terminal("plan", *at, "--detailed-exitcode")
    namespace.merge(
        "configmaps", "service-ca", {"data": {"service-ca.crt": f"{root.pem}\n{issuing.pem}"}}, "service-ca"
    )
    (change,) = terminal("plan", *at, "--detailed-exitcode", expect=2).document["resource_changes"]
    assert change["actions"] == ["update"]


def test_tools_are_locked_over_a_ca_of_the_cluster(
    terminal: Terminal, namespace: Namespace, root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token)
    monkeypatch.setenv("KUBECONFIG", str(config))
    at = ("--path", "gateways", "--store", "kubernetes://")
    with Upstream("payments", root.issue_server(["localhost"]), {"charge": "Charge a card."}) as upstream:
        terminal.gateway(
            "payments",
            url=upstream.url,
            transport="streamable-http",
            tls={"caFrom": {"configMapKeyRef": {"name": "service-ca", "key": "service-ca.crt"}}, "systemTrust": False},
            verify={"timeout": "20s"},
            kuadrant={"route": "shared"},
        )
        assert "there is no ConfigMap `service-ca`" in terminal("lock", "payments", *at, expect=3).err
        content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "service-ca"}}
        namespace.ask("POST", namespace.path("configmaps"), {**content, "data": {"service-ca.crt": root.pem}})
        assert "1 tool, payments.tools.json written" in terminal("lock", "payments", *at).out


def test_a_plan_says_that_another_prefix_is_another_registration(
    terminal: Terminal, store: KubernetesStore, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token)
    monkeypatch.setenv("KUBECONFIG", str(config))
    terminal.gateway("payments", transport="streamable-http", kuadrant={"route": "shared", "prefix": "old_"})
    namespace_url = f"kubernetes://test/{namespace.name}"

    def ready() -> None:
        found = namespace.get(REGISTRATIONS, "payments")
        if found is not None and "status" not in found:
            namespace.say("payments", "True", "Ready", "config written successfully")

    with Controller(ready):
        terminal("apply", "--store", namespace_url)
    terminal.gateway("payments", transport="streamable-http", kuadrant={"route": "shared", "prefix": "new_"})
    assert "the registration is deleted and made anew" in terminal("plan", "--store", namespace_url).out
    assert list(store.read().gateways) == ["payments"]


# Transport is ours alone


def test_a_transport_that_kuadrant_has_no_field_for_comes_back(store: KubernetesStore) -> None:
    stored(store, created(wanted("older", transport=Transport.SSE)))
    assert store.read().gateways["older"].gateway.transport is Transport.SSE
