"""Leases in a cluster: the contract of the others, and what is its own: no clock is shared, and others write too."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_cluster import Cluster, Namespace
from kubernetes_serving import fake_cluster
from test_leases import (
    AUDIT,
    LONG,
    SHORT,
    Place,
    created,
    taken_within,
    test_before_anybody_asked_nobody_reigns,
    test_of_many_who_ask_at_once_one_has_it,
    test_of_two_the_second_is_told_who_holds_it_and_for_how_long,
    test_one_that_nobody_took_goes_on_however_late_its_heartbeat,
    test_what_was_given_back_is_free_at_once_and_its_token_grows,
    test_whoever_is_killed_is_followed,
    test_without_a_heartbeat_it_runs_out_and_with_one_it_does_not,
)

from reconciler.books import books_of, lease_of
from reconciler.core.lease import Fence
from reconciler.core.model import KuadrantOptions
from reconciler.errors import LeaseHeldError, StoreError
from reconciler.leases.kubernetes import open_kubernetes_lease
from reconciler.settings import load_settings
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.fencing import lease_name
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.writing import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kubernetes_fake import Api, Request
    from terminal import Terminal

    from reconciler.core.model import Change
    from reconciler.demo.pki import Authority
    from reconciler.leases.kubernetes import KubernetesLease

__all__ = [  # what every lease promises
    "test_before_anybody_asked_nobody_reigns",
    "test_of_many_who_ask_at_once_one_has_it",
    "test_of_two_the_second_is_told_who_holds_it_and_for_how_long",
    "test_one_that_nobody_took_goes_on_however_late_its_heartbeat",
    "test_what_was_given_back_is_free_at_once_and_its_token_grows",
    "test_whoever_is_killed_is_followed",
    "test_without_a_heartbeat_it_runs_out_and_with_one_it_does_not",
]

URL = "kubernetes://test/"
NAME = lease_name("target")
ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())
SHORT_PATIENCE = Patience(0.5, 0.5, 0.0)

_numbers = count(1)


def allowing(name: str) -> dict[str, Any]:
    """Return our Role for the lease of this name, as whoever has another owner than the example edits it."""
    rules = [{**each, **({"resourceNames": [name]} if "resourceNames" in each else {})} for each in ROLE["rules"]]
    return {**ROLE, "rules": rules}


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """An empty namespace, in which we may do what our Role says."""
    with closing(Namespace(cluster, f"lease-{os.getpid()}-{next(_numbers)}")) as made:
        made.grant(allowing(NAME))
        made.route("shared")
        yield made


@pytest.fixture
def environ(namespace: Namespace, tmp_path: Path) -> Mapping[str, str]:
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token)
    return {"KUBECONFIG": str(config)}


@pytest.fixture
def lease(environ: Mapping[str, str]) -> Iterator[Callable[..., KubernetesLease]]:
    with ExitStack() as closers:

        def opened(holder: str, seconds: float = LONG) -> KubernetesLease:
            return closers.enter_context(closing(open_kubernetes_lease(URL, environ, "target", holder, seconds)))

        yield opened


@pytest.fixture
def store(environ: Mapping[str, str]) -> Iterator[KubernetesStore]:
    with closing(KubernetesStore(address_of(URL, environ), SHORT_PATIENCE)) as opened:
        yield opened


@pytest.fixture
def place(lease: Callable[..., KubernetesLease], environ: Mapping[str, str], store: KubernetesStore) -> Place:
    def nothing(fence: Fence) -> Any:
        raise AssertionError(f"{fence}: a cluster has neither journal nor history")

    imports = "import os; from reconciler.leases.kubernetes import open_kubernetes_lease"
    made = f"open_kubernetes_lease({URL!r}, os.environ, 'target', 'dying', {{seconds}})"
    return Place(lease, lambda: store, nothing, nothing, (imports, made), environ)


def wanted(name: str) -> Change:
    change = created(name)
    assert change.after is not None
    return replace(change, after=replace(change.after, kuadrant=KuadrantOptions(route="shared")))


def spec_of(namespace: Namespace, name: str = NAME) -> dict[str, Any]:
    found = namespace.get("leases", name)
    assert found is not None
    return dict(found["spec"])


# What it is to others


def test_others_see_who_holds_it_and_since_when(lease: Callable[..., KubernetesLease], namespace: Namespace) -> None:
    one = lease("host:1", 10)
    fence = one.acquire()
    begun = spec_of(namespace)
    assert (begun["holderIdentity"], begun["leaseDurationSeconds"], begun["leaseTransitions"]) == ("host:1", 10, 1)
    assert begun["acquireTime"] == begun["renewTime"]
    one.renew(fence)
    assert spec_of(namespace) == {**begun, "renewTime": spec_of(namespace)["renewTime"]}
    assert spec_of(namespace)["renewTime"] > begun["renewTime"]
    one.release(fence)
    assert spec_of(namespace)["holderIdentity"] == ""


def test_one_that_was_made_empty_is_free_and_keeps_what_others_wrote(
    lease: Callable[..., KubernetesLease], namespace: Namespace
) -> None:
    empty = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME, "labels": {"a": "b"}}}
    namespace.ask("POST", namespace.path("leases"), empty)
    one = lease("host:1")
    assert one.reign() is None
    assert one.acquire() == Fence("target", 1)
    found = namespace.get("leases", NAME)
    assert found is not None
    assert found["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize("moment", ["1999-01-01T00:00:00.000000Z", "2199-01-01T00:00:00.000000Z"])
def test_the_clock_of_another_is_not_believed(
    lease: Callable[..., KubernetesLease], namespace: Namespace, moment: str
) -> None:
    """Long ago or far ahead: whoever comes new watches for as long as the lease lasts, and no longer."""
    lease("host:1", 1).acquire()
    namespace.merge("leases", NAME, {"spec": {"renewTime": moment}})
    other = lease("host:2", 1)
    with pytest.raises(LeaseHeldError, match=r"held by host:1, for 1 more seconds"):
        other.acquire()
    assert taken_within(other, 5) == Fence("target", 2)


def test_it_lasts_for_as_long_as_its_holder_said(lease: Callable[..., KubernetesLease], namespace: Namespace) -> None:
    lease("host:1", LONG).acquire()
    other = lease("host:2", SHORT)
    with pytest.raises(LeaseHeldError, match="for 60 more seconds"):
        other.acquire()
    namespace.merge("leases", NAME, {"spec": {"leaseDurationSeconds": 1}})
    assert taken_within(other, 5) == Fence("target", 2)


def test_what_others_write_on_the_object_is_no_heartbeat(
    lease: Callable[..., KubernetesLease], namespace: Namespace
) -> None:
    lease("host:1", SHORT).acquire()
    other, stop = lease("host:2", SHORT), threading.Event()

    def label() -> None:
        for number in count():
            namespace.merge("leases", NAME, {"metadata": {"labels": {"number": str(number)}}})
            if stop.wait(0.05):
                return

    labelling = threading.Thread(target=label)
    labelling.start()
    try:
        assert taken_within(other, 10) == Fence("target", 2)
    finally:
        stop.set()
        labelling.join()


def test_a_restarted_process_of_the_same_name_waits_like_any_other(lease: Callable[..., KubernetesLease]) -> None:
    """In a container every process has the same number."""
    before, after = lease("pod:1", SHORT), lease("pod:1", SHORT)
    old = before.acquire()
    with pytest.raises(LeaseHeldError):
        after.acquire()
    assert taken_within(after, 5) == Fence("target", 2)
    with pytest.raises(LeaseHeldError, match="taken by another"):
        before.renew(old)


def test_after_somebody_deleted_it_nobody_goes_on(lease: Callable[..., KubernetesLease], namespace: Namespace) -> None:
    one = lease("host:1")
    fence = one.acquire()
    namespace.ask("DELETE", namespace.path("leases", NAME))
    with pytest.raises(LeaseHeldError):
        one.renew(fence)
    assert lease("host:2").acquire() == Fence("target", 1)
    with pytest.raises(LeaseHeldError):
        one.renew(fence)
    one.release(fence)
    assert spec_of(namespace)["holderIdentity"] == "host:2"


# What it guards


def test_whoever_was_replaced_writes_nothing(
    lease: Callable[..., KubernetesLease], store: KubernetesStore, namespace: Namespace
) -> None:
    paused = replace(AUDIT, fence=lease("host:1", SHORT).acquire())
    assert [each.status for each in store.apply([wanted("before")], paused)] == ["applied"]
    reigning = replace(AUDIT, fence=taken_within(lease("host:2"), 5))
    held = store.read()
    with pytest.raises(LeaseHeldError, match="`target` is no longer ours: `host:2` has it"):
        store.apply([wanted("late")], paused)
    assert store.read() == held
    assert namespace.names("secrets") == namespace.names("services") == []
    assert [each.status for each in store.apply([wanted("after")], reigning)] == ["applied"]


def test_whoever_gave_it_back_writes_nothing_either(
    lease: Callable[..., KubernetesLease], store: KubernetesStore
) -> None:
    one = lease("host:1")
    fence = one.acquire()
    one.release(fence)
    with pytest.raises(LeaseHeldError, match="nobody has it"):
        store.apply([wanted("late")], replace(AUDIT, fence=fence))
    assert store.read().gateways == {}


def test_whoever_is_replaced_half_way_stops_there(root: Authority, tmp_path: Path) -> None:
    with fake_cluster(root) as (cluster, api), closing(Namespace(cluster, "tools")) as namespace:
        environ = {"KUBECONFIG": str(cluster.kubeconfig(tmp_path / "kubeconfig", "tools"))}
        namespace.route("shared")
        with (
            closing(open_kubernetes_lease(URL, environ, "target", "host:1")) as one,
            closing(KubernetesStore(address_of(URL, environ), SHORT_PATIENCE)) as store,
        ):
            fence = one.acquire()
            api.faults.append(Successor(namespace))
            change = wanted("payments")
            assert change.after is not None
            change = replace(change, after=replace(change.after, ca_certificate="a CA"))
            with pytest.raises(LeaseHeldError, match="`host:2` has it, and nothing more was written"):
                store.apply([change], replace(AUDIT, fence=fence))
        assert namespace.names("secrets") == ["payments-ca"]
        assert namespace.names("mcpserverregistrations") == []


class Successor:
    """Takes the lease once a Secret was written."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._done = False

    def __call__(self, request: Request) -> None:
        wrote = request.plural == "secrets" and request.method == "PATCH" and not request.dry_run
        if wrote and not self._done:
            self._done = True
            spec = {"holderIdentity": "host:2", "leaseTransitions": 2}
            self._namespace.merge("leases", NAME, {"spec": spec})


# Where it lies


def test_a_target_in_a_cluster_has_its_lease_there_and_its_journal_here(
    terminal: Terminal, namespace: Namespace, environ: Mapping[str, str]
) -> None:
    name = lease_name("platform-team")
    namespace.grant({**allowing(name), "metadata": {"name": "of-the-platform-team"}})
    target = {"name": "cluster", "store": URL, "path": "gateways"}
    terminal.write("reconciler.yaml", config_of(target))
    (terminal.directory / "gateways").mkdir()
    settings = load_settings((), target="cluster")
    lease = lease_of(settings, environ=environ)
    assert lease is not None
    with closing(lease):
        fence = lease.acquire()
    assert fence == Fence("platform-team", 1)
    assert spec_of(namespace, name)["leaseTransitions"] == 1
    with books_of(settings, create=True, fence=fence) as books:
        assert books is not None
        books.journal.forget(["one"])  # a fence that this file knows nothing of


def config_of(target: Mapping[str, str]) -> str:
    spec = {"owner": "platform-team", "targets": [target]}
    document = {"apiVersion": "reconciler/v1", "kind": "Config", "metadata": {"name": "gateways"}, "spec": spec}
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("lease", "named"),
    [
        ("platform-team", "mcp-gateway-reconciler.platform-team"),
        ("platform-team/blue", "mcp-gateway-reconciler.platform-team.blue"),
    ],
)
def test_a_plain_name_can_be_read_in_that_of_its_object(lease: str, named: str) -> None:
    assert lease_name(lease) == named


def test_other_names_have_objects_of_their_own_that_kubernetes_takes() -> None:
    names = ["A", "a", "a.b", "a/b", "a_b", "a/b/c", "a" * 300, "", "/", "a/", "sha256"]
    found = {lease_name(each) for each in names}
    assert len(found) == len(names)
    assert all(len(each) <= 253 and each == each.lower() and "/" not in each for each in found)


# An API that does not do as it should


@pytest.mark.parametrize("code", [403, 429, 500, 503])
def test_a_lease_that_cannot_be_asked_for_is_nobodys_word(root: Authority, tmp_path: Path, code: int) -> None:
    """One call, no waiting: whoever leads has other things to do, and asks again soon."""
    with fake_cluster(root) as (cluster, api), closing(Namespace(cluster, "tools")):
        environ = {"KUBECONFIG": str(cluster.kubeconfig(tmp_path / "kubeconfig", "tools"))}
        with closing(open_kubernetes_lease(URL, environ, "target", "host:1")) as lease:
            fence = lease.acquire()
            seen = refusing(api, code)
            for call in (lease.acquire, lambda: lease.renew(fence), lambda: lease.release(fence), lease.reign):
                with pytest.raises(StoreError) as refusal:
                    call()
                assert not isinstance(refusal.value, LeaseHeldError)
            assert len(seen) == 4
            api.faults.clear()
            lease.renew(fence)


def refusing(api: Api, code: int) -> list[Request]:
    seen: list[Request] = []

    def fault(request: Request) -> tuple[int, dict[str, str], bytes]:
        seen.append(request)
        return code, {"Retry-After": "20"}, b"{}"

    api.faults.append(fault)
    return seen
