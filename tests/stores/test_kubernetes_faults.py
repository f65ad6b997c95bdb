"""An API server that is busy, forgetful, hostile or gone: the store says so, and leaves nothing hanging."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from contract import AUDIT, a_gateway, created, stored
from kubernetes_cluster import Cluster, Namespace
from kubernetes_serving import fake_cluster

from reconciler.core.model import Action, KuadrantOptions
from reconciler.errors import StoreBusyError, StoreError
from reconciler.stores.kubernetes.address import Address, address_of
from reconciler.stores.kubernetes.failures import CallError
from reconciler.stores.kubernetes.objects import REGISTRATION, SECRET
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.wire import MAX_BYTES, Wire
from reconciler.stores.kubernetes.writing import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kubernetes_fake import Api, Request

    from reconciler.demo.pki import Authority

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def served(root: Authority) -> Iterator[tuple[Cluster, Api]]:
    with fake_cluster(root) as running:
        yield running


@pytest.fixture
def api(served: tuple[Cluster, Api]) -> Api:
    return served[1]


@pytest.fixture
def namespace(served: tuple[Cluster, Api]) -> Iterator[Namespace]:
    made = Namespace(served[0], "tools")
    made.route("shared")
    yield made
    made.close()


@pytest.fixture
def address(namespace: Namespace, tmp_path: Path) -> Address:
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name)
    return address_of("kubernetes:", {"KUBECONFIG": str(config)})


@pytest.fixture
def store(address: Address) -> Iterator[KubernetesStore]:
    opened = KubernetesStore(address, Patience(0.2, 0.2, 0.0))
    yield opened
    opened.close()


class Times:
    """Answers like this to the first so many requests that fit, and then no more."""

    def __init__(self, times: int, answer: Answer, method: str = "GET") -> None:
        self.left = times
        self.seen = 0
        self._answer = answer
        self._method = method

    def __call__(self, request: Request) -> Answer | None:
        if request.method != self._method:
            return None
        self.seen += 1
        if self.left <= 0:
            return None
        self.left -= 1
        return self._answer


def status(code: int, message: str = "", **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "message": message, **more}).encode()


def gateway(name: str, **fields: Any) -> Any:
    return a_gateway(name, kuadrant=KuadrantOptions(route="shared"), **fields)


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_is_busy_is_asked_again_when_it_says(store: KubernetesStore, api: Api, code: int) -> None:
    fault = Times(2, (code, {"Retry-After": "0"}, status(code)))
    api.faults.append(fault)
    assert store.read().gateways == {}
    assert fault.left == 0


@pytest.mark.parametrize("wait", ["0", "3600", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_server_that_stays_busy_is_left_alone(store: KubernetesStore, api: Api, wait: str) -> None:
    fault = Times(100, (429, {"Retry-After": wait}, status(429, "too many")))
    api.faults.append(fault)
    with pytest.raises(StoreBusyError, match="it has too much to do"):
        store.read()
    assert fault.seen == (4 if wait == "0" else 1)


def test_many_gateways_are_read_page_by_page(address: Address, store: KubernetesStore, namespace: Namespace) -> None:
    for number in range(5):
        stored(store, created(gateway(f"gw-{number}")))
    paged = Wire(address, page=2)
    assert [each["metadata"]["name"] for each in paged.all(REGISTRATION)] == [f"gw-{number}" for number in range(5)]
    paged.close()
    assert namespace.names("mcpserverregistrations") == [f"gw-{number}" for number in range(5)]


def test_a_list_that_was_forgotten_half_way_is_begun_again(address: Address, store: KubernetesStore, api: Api) -> None:
    for number in range(3):
        stored(store, created(gateway(f"gw-{number}")))
    forgotten: list[str] = []

    def forget(request: Request) -> Answer | None:
        if "continue" in request.params and not forgotten:
            forgotten.append(request.params["continue"])
            return 410, {}, status(410, "The provided continue parameter is too old", reason="Expired")
        return None

    api.faults.append(forget)
    paged = Wire(address, page=2)
    assert [each["metadata"]["name"] for each in paged.all(REGISTRATION)] == ["gw-0", "gw-1", "gw-2"]
    assert forgotten
    api.faults[:] = [lambda request: (410, {}, status(410)) if "continue" in request.params else None]
    with pytest.raises(CallError, match="answered 410"):
        paged.all(REGISTRATION)
    paged.close()


def test_a_list_without_an_end_is_left(address: Address, api: Api) -> None:
    page = json.dumps({"items": [], "metadata": {"continue": "more"}}).encode()
    api.faults.append(lambda _: (200, {}, page))
    wire = Wire(address)
    with pytest.raises(CallError, match="more than 500 pages"):
        wire.all(REGISTRATION)
    wire.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no",
        b"[]",
        b"{}",
        b'{"items": 1}',
        b'{"items": [{}]}',
        b'{"items": [{"metadata": {"name": 1}}]}',
        b"[" * 9999,
    ],
    ids=["nothing", "text", "list", "empty", "number", "no metadata", "no name", "deep"],
)
def test_an_answer_that_is_none_is_said_to_be_so(store: KubernetesStore, api: Api, content: bytes) -> None:
    api.faults.append(lambda _: (200, {}, content))
    with pytest.raises(StoreError, match="the answer is not"):
        store.read()


def test_an_answer_without_an_end_is_cut_off(store: KubernetesStore, api: Api) -> None:
    api.faults.append(lambda _: (200, {}, b" " * (MAX_BYTES + 1)))
    with pytest.raises(StoreError, match="more than 67,108,864 bytes"):
        store.read()


@pytest.mark.parametrize(
    ("code", "said", "fix"),
    [
        (401, "does not accept our credentials", "log in"),
        (403, "we may not do that", "role.yaml"),
        (404, "has no such thing", "resource definitions"),
        (500, "it failed", "log of the API server"),
        (302, "it failed", "log of the API server"),
    ],
)
def test_what_an_answer_means_is_said(store: KubernetesStore, api: Api, code: int, said: str, fix: str) -> None:
    api.faults.append(lambda _: (code, {"Location": "https://evil.example/"}, status(code)))
    with pytest.raises(StoreError, match=said) as error:
        store.read()
    assert fix in error.value.fix


def test_a_field_that_the_cluster_does_not_know_is_a_refusal(store: KubernetesStore, api: Api) -> None:
    """As `prefix` was before 0.7, when it was silently dropped and the tools lost their prefix."""
    message = "failed to create typed patch object: .spec.prefix: field not declared in schema"
    api.faults.append(Times(1, (500, {}, status(500, message)), "PATCH"))
    (outcome,) = store.apply([created(gateway("payments"))], AUDIT)
    assert outcome.status == "refused"
    assert ".spec.prefix: field not declared in schema" in outcome.reason
    assert "Kuadrant's MCP gateway 0.8 or newer" in outcome.reason
    assert store.read().gateways == {}


def test_what_a_server_says_of_a_secret_is_not_repeated(store: KubernetesStore, api: Api) -> None:
    api.faults.append(
        lambda request: (
            (422, {}, status(422, "invalid: hunter2"))
            if request.plural == SECRET.plural and request.method == "PATCH"
            else None
        )
    )
    (outcome,) = store.apply([created(gateway("payments", ca_certificate="x"))], AUDIT)
    assert outcome.status == "refused"
    assert "hunter2" not in outcome.reason


def test_what_breaks_off_half_way_is_finished_by_the_next_pass(store: KubernetesStore, api: Api) -> None:
    wanted = gateway("payments", ca_certificate="x")
    api.faults.append(
        lambda request: (
            (500, {}, status(500, "etcd"))
            if request.plural == REGISTRATION.plural and request.method == "PATCH" and not request.dry_run
            else None
        )
    )
    (outcome,) = store.apply([created(wanted)], AUDIT)
    assert outcome.status == "failed"
    api.faults.clear()
    (found,) = store.read().gateways.values()
    assert found.gateway.ca_certificate == "x"
    change = replace(created(wanted), action=Action.UPDATE, before=found)
    stored(store, change)
    assert store.read().gateways["payments"].gateway == wanted


def test_a_gateway_created_by_somebody_else_at_the_same_moment_is_not_called_ours(
    store: KubernetesStore, namespace: Namespace, api: Api
) -> None:
    def meanwhile(request: Request) -> None:
        if request.plural == REGISTRATION.plural and request.method == "PATCH" and not request.dry_run:
            api.faults.clear()
            spec = {"targetRef": {"name": "shared"}, "hint": "theirs"}
            content = {"apiVersion": "mcp.kuadrant.io/v1", "kind": "MCPServerRegistration", "spec": spec}
            namespace.ask("POST", namespace.path(REGISTRATION.plural), {**content, "metadata": {"name": "payments"}})

    api.faults.append(meanwhile)
    (outcome,) = store.apply([created(gateway("payments"))], AUDIT)
    assert outcome.status == "failed"
    assert "somebody else created it at the same moment" in outcome.reason


def test_a_server_that_is_gone_is_said_to_be_so(root: Authority, tmp_path: Path) -> None:
    with fake_cluster(root) as (cluster, _):
        config = cluster.kubeconfig(tmp_path / "kubeconfig", "tools")
    store = KubernetesStore(address_of("kubernetes:", {"KUBECONFIG": str(config)}))
    with pytest.raises(StoreError, match="cannot be reached"):
        store.read()
    store.close()


def test_a_server_with_a_certificate_of_somebody_else_is_not_spoken_to(
    served: tuple[Cluster, Api], issuing: Authority, tmp_path: Path
) -> None:
    elsewhere = replace(served[0], ca_pem=issuing.pem)
    config = elsewhere.kubeconfig(tmp_path / "kubeconfig", "tools")
    store = KubernetesStore(address_of("kubernetes:", {"KUBECONFIG": str(config)}))
    with pytest.raises(StoreError, match=r"cannot be reached.*CERTIFICATE_VERIFY_FAILED"):
        store.read()
    store.close()


def test_a_server_that_does_not_answer_is_given_up(address: Address, api: Api) -> None:
    over = threading.Event()

    def hang(_: Request) -> None:
        over.wait(30)

    api.faults.append(hang)
    wire = Wire(address, seconds=0.2)
    with pytest.raises(CallError, match=r"did not answer within 0\.2 s"):
        wire.all(REGISTRATION)
    over.set()
    wire.close()
