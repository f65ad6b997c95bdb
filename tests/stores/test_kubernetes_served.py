"""The broker that a cluster runs: asked after a write, and believed once it must have been given what was written."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from contract import a_gateway, created, stored, updated
from kuadrant_broker import KuadrantBroker
from kubernetes_cluster import Controller, Namespace
from kubernetes_serving import fake_cluster
from raw_servers import VALID

from reconciler.clock import now
from reconciler.core.model import Gateway, KuadrantOptions
from reconciler.core.ports import Serving
from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream
from reconciler.errors import InputError
from reconciler.stores import open_store
from reconciler.stores.access import Access
from reconciler.stores.kuadrant.broker import Broker
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.writing import Patience

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from raw_servers import RawServer

    from reconciler.core.model import LiveGateway, SecretReference

NOT_SOON = 3600.0


@pytest.fixture
def namespace(root: Authority) -> Iterator[Namespace]:
    with fake_cluster(root) as (cluster, _), closing(Namespace(cluster, "tools")) as made:
        made.route("shared")
        yield made


@pytest.fixture
def environ(namespace: Namespace, tmp_path: Path) -> Mapping[str, str]:
    return {"KUBECONFIG": str(namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name))}


@pytest.fixture
def opener(environ: Mapping[str, str]) -> Iterator[Callable[..., KubernetesStore]]:
    with ExitStack() as stack:

        def opened(url: str, *, kubelet: float, seconds: float = 20.0) -> KubernetesStore:
            patience = Patience(0.5, 0.5, 0.0, kubelet)
            store = KubernetesStore(address_of("kubernetes:", environ), patience, broker=Broker(url, seconds=seconds))
            return stack.enter_context(closing(store))

        yield opened


def wanted(name: str, **fields: Any) -> Gateway:
    return a_gateway(name, kuadrant=KuadrantOptions(route="shared"), **fields)


def found(store: KubernetesStore, name: str = "payments") -> LiveGateway:
    return store.read().gateways[name]


class Carrier:
    """Brings registrations to the broker's file, as Kuadrant's controller and the kubelet do between them."""

    def __init__(self, namespace: Namespace, url: str, path: Path) -> None:
        self._namespace = namespace
        self._url = url
        self._path = path
        self.carry()

    def carry(self) -> None:
        path = self._namespace.path("mcpserverregistrations")
        servers = [self._server(each) for each in self._namespace.ask("GET", path)["items"]]
        text = json.dumps({"servers": servers})
        if not self._path.exists() or self._path.read_text() != text:
            beside = self._path.with_suffix(".new")
            beside.write_text(text)
            beside.replace(self._path)

    def _server(self, registration: dict[str, Any]) -> dict[str, Any]:
        spec, name = registration["spec"], registration["metadata"]["name"]
        named = spec.get("caCertSecretRef")
        secret = self._namespace.get("secrets", named["name"]) if named else None
        ca = b64decode(secret["data"][named["key"]]).decode() if secret and named else ""
        return {"name": f"tools/{name}", "url": self._url, "hostname": f"{name}.local", "caCert": ca}


def test_what_was_written_is_followed_to_the_broker(
    opener: Callable[..., KubernetesStore], namespace: Namespace, root: Authority, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as upstream:
        carrier = Carrier(namespace, upstream.url, config)
        with KuadrantBroker(config) as broker, Controller(carrier.carry):
            store = opener(broker.url, kubelet=1.0)
            gateway = wanted("payments", url=upstream.url, ca_certificate=root.pem.strip())
            stored(store, created(gateway))
            (served,) = store.served(["payments"])
            assert (served.gateway, served.status, served.tools) == ("payments", "ready", 3)
            other = Authority.root("Other Root CA", VALID)
            stored(store, updated(found(store), replace(gateway, ca_certificate=other.pem.strip())))
            (served,) = store.served(["payments"])
            assert (served.gateway, served.status) == ("payments", "failed")
            assert "is not issued by a CA of its bundle" in served.reason


def saying(serve: Callable[..., RawServer], word: Callable[[], tuple[datetime, str]]) -> str:
    """Serve a broker that says of one server when it looked at it, and what it saw; returns its URL."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        looked_at, message = word()
        server = {"name": "tools/payments", "lastValidated": looked_at.isoformat(), "ready": not message}
        body = json.dumps({"servers": [{**server, "message": message}], "timestamp": now().isoformat()}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return f"http://127.0.0.1:{serve(talk).port}"


def test_what_it_says_before_the_new_configuration_reached_it_is_not_believed(
    opener: Callable[..., KubernetesStore], serve: Callable[..., RawServer]
) -> None:
    """It looks every moment, and finds the old CA good until the new one is there."""
    moments: list[datetime] = []

    def word() -> tuple[datetime, str]:
        there = moments and now() > moments[0] + timedelta(seconds=0.5)
        return now(), "x509: certificate signed by unknown authority" if there else ""

    store = opener(saying(serve, word), kubelet=0.6)
    stored(store, created(wanted("payments", ca_certificate="one")))
    assert [each.status for each in store.served(["payments"])] == ["ready"]
    moments.append(now())
    stored(store, updated(found(store), wanted("payments", ca_certificate="another")))
    assert [each.status for each in store.served(["payments"])] == ["failed"]


def test_one_that_is_new_is_not_waited_for_longer_than_it_takes(
    opener: Callable[..., KubernetesStore], serve: Callable[..., RawServer]
) -> None:
    store = opener(saying(serve, lambda: (now(), "")), kubelet=NOT_SOON)
    stored(store, created(wanted("payments")))
    assert [each.status for each in store.served(["payments"])] == ["ready"]


def test_a_change_that_the_broker_need_not_connect_for_is_not_waited_for(
    opener: Callable[..., KubernetesStore], serve: Callable[..., RawServer]
) -> None:
    begin = now()
    store = opener(saying(serve, lambda: (begin, "")), kubelet=NOT_SOON, seconds=0.2)
    stored(store, created(wanted("payments", ca_certificate="one")))
    assert [each.status for each in store.served(["payments"])] == ["unknown"]
    again = opener(saying(serve, lambda: (begin, "")), kubelet=NOT_SOON)
    described = wanted("payments", ca_certificate="one", description="Invoices")
    stored(again, updated(found(again), described))
    assert [each.status for each in again.served(["payments"])] == ["ready"]
    stored(again, updated(found(again), replace(described, enabled=False)))
    stored(again, updated(found(again), described))
    late = opener(saying(serve, lambda: (begin, "")), kubelet=NOT_SOON, seconds=0.2)
    stored(late, updated(found(late), replace(described, tags=("finance",))))
    assert [each.status for each in late.served(["payments"])] == ["unknown"]


def test_of_what_it_has_not_looked_at_is_said_what_it_takes(
    opener: Callable[..., KubernetesStore], serve: Callable[..., RawServer]
) -> None:
    store = opener(saying(serve, lambda: (now(), "")), kubelet=NOT_SOON, seconds=0.2)
    (served,) = store.served(["inventory"])
    assert (served.gateway, served.status) == ("inventory", "unknown")
    assert "the broker does not know it yet" in served.reason
    assert "reaches the broker's Pod within 90 s" in served.fix


def secret_of(reference: SecretReference) -> str:
    raise InputError(f"no secret {reference.name}")


def opened(environ: Mapping[str, str]) -> Serving:
    store = open_store("kubernetes:", create=True, access=Access(environ, secret_of))
    assert isinstance(store, Serving)
    return store


def test_the_broker_comes_from_the_environment(environ: Mapping[str, str], serve: Callable[..., RawServer]) -> None:
    url = saying(serve, lambda: (now(), ""))
    store = opened({**environ, "RECONCILER_BROKER": url})
    assert [each.status for each in store.served(["payments"])] == ["ready"]


def test_without_a_broker_nothing_is_asked(environ: Mapping[str, str]) -> None:
    assert opened(environ).served(["payments"]) == ()


def test_a_url_that_is_no_brokers_is_refused(environ: Mapping[str, str]) -> None:
    with pytest.raises(InputError, match="the broker's URL is none"):
        opened({**environ, "RECONCILER_BROKER": "broker:8080"})
