"""The running broker behind the file: what it does with each apply, and what it is heard to say."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from contract import (
    a_gateway,
    a_stamp,
    created,
    deleted,
    stored,
    updated,
)
from kuadrant_broker import KuadrantBroker
from kuadrant_site import ACCESS, found
from raw_servers import VALID

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream
from reconciler.errors import InputError
from reconciler.stores import open_store
from reconciler.stores.kuadrant.store import KuadrantFileStore, open_kuadrant_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from raw_servers import RawServer

    from reconciler.core.ports import Store


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def store(config: Path) -> Store:
    return open_store(f"kuadrant+file://{config}", create=True, access=ACCESS)


# The running broker


def with_broker(config: Path, broker: KuadrantBroker, seconds: float = 15) -> KuadrantFileStore:
    environ = {"RECONCILER_BROKER": broker.url, "RECONCILER_BROKER_TIMEOUT": str(seconds)}
    return open_kuadrant_file(f"kuadrant+file://{config}", create=True, access=replace(ACCESS, environ=environ))


@pytest.fixture
def broker(store: Store, config: Path) -> Iterator[KuadrantBroker]:
    assert store.read().gateways == {}
    with KuadrantBroker(config) as broker:
        yield broker


@pytest.fixture
def upstream(root: Authority) -> Iterator[Upstream]:
    with Upstream("payments", root.issue_server(["localhost"]), {"pay": "Pay an invoice"}) as server:
        yield server


def test_every_apply_is_one_reload_and_the_broker_never_sees_half_a_file(broker: KuadrantBroker, store: Store) -> None:
    for number in range(20):
        stored(store, created(a_gateway(f"gw-{number}", url="http://localhost:1/mcp", enabled=False)))
        broker.wait_until_reloaded(number + 2)
        assert len(broker.config["servers"]) == number + 1
    stored(store, *(deleted(found) for found in store.read().gateways.values()))
    broker.wait_until_reloaded(22)
    assert broker.config["servers"] == []
    assert (broker.reloads, broker.failures, broker.is_watching) == (22, 0, True)


def test_what_did_not_change_keeps_its_connection(
    broker: KuadrantBroker, config: Path, upstream: Upstream, root: Authority
) -> None:
    store = with_broker(config, broker)
    one, two = (a_gateway(name, url=upstream.url, ca_certificate=root.pem.strip()) for name in ("one", "two"))
    stored(store, created(one))
    (served,) = store.served(["one"])
    assert (served.status, served.tools) == ("ready", 3)
    before = next(each for each in broker.status()["servers"] if each["name"] == "one")
    stored(store, created(two))
    assert {each.gateway: each.status for each in store.served(["one", "two"])} == {"one": "ready", "two": "ready"}
    assert before in broker.status()["servers"]


def test_a_broker_whose_clock_is_wrong_is_understood(
    broker: KuadrantBroker, config: Path, upstream: Upstream, root: Authority
) -> None:
    broker.skew = timedelta(hours=-3)
    store = with_broker(config, broker)
    stored(store, created(a_gateway("one", url=upstream.url, ca_certificate=root.pem.strip())))
    (served,) = store.served(["one"])
    assert served.status == "ready"


def test_a_ca_that_is_not_the_upstreams_is_said_with_what_to_do(
    broker: KuadrantBroker, config: Path, upstream: Upstream, root: Authority
) -> None:
    store = with_broker(config, broker)
    other = Authority.root("Other Root CA", VALID)
    gateway = a_gateway("one", url=upstream.url, ca_certificate=root.pem.strip())
    stored(store, created(gateway))
    assert [each.status for each in store.served(["one"])] == ["ready"]
    stored(store, updated(found(store), replace(gateway, ca_certificate=other.pem.strip())))
    (served,) = store.served(["one"])
    assert served.status == "failed"
    assert "is not issued by a CA of its bundle" in served.reason
    assert "tls.caCertificates" in served.fix


def test_a_bundle_that_is_no_pem_fails_that_server_alone(
    broker: KuadrantBroker, config: Path, upstream: Upstream, root: Authority
) -> None:
    store = with_broker(config, broker)
    good = a_gateway("good", url=upstream.url, ca_certificate=root.pem.strip())
    stored(store, created(good), created(a_gateway("bad", url=upstream.url, ca_certificate="no certificate")))
    served = {each.gateway: each for each in store.served(["good", "bad"])}
    assert (served["good"].status, served["bad"].status) == ("ready", "failed")
    assert "its CA bundle holds nothing that the broker can read" in served["bad"].reason


def test_a_change_that_the_broker_need_not_connect_for_is_not_waited_for(
    broker: KuadrantBroker, config: Path, upstream: Upstream, root: Authority
) -> None:
    store = with_broker(config, broker)
    gateway = a_gateway("one", url=upstream.url, ca_certificate=root.pem.strip())
    stored(store, created(gateway))
    assert [each.status for each in store.served(["one"])] == ["ready"]
    again = with_broker(config, broker)
    stored(again, updated(found(again), gateway, "", a_stamp("one")))
    assert [each.status for each in again.served(["one"])] == ["ready"]


def test_after_the_file_was_removed_the_broker_looks_no_more_and_that_is_said(
    broker: KuadrantBroker, config: Path
) -> None:
    config.unlink()
    store = with_broker(config, broker, seconds=1)
    stored(store, created(a_gateway("one", url="http://localhost:1/mcp")))
    (served,) = store.served(["one"])
    assert (served.status, broker.is_watching, broker.reloads) == ("unknown", False, 1)
    assert "restart the broker: it has stopped looking" in served.fix


def test_a_broker_that_does_not_answer_is_named(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environ = {"RECONCILER_BROKER": f"http://127.0.0.1:{port}", "RECONCILER_BROKER_TIMEOUT": "0.2"}
    store = open_kuadrant_file(f"kuadrant+file://{config}", create=True, access=replace(ACCESS, environ=environ))
    stored(store, created(a_gateway("one")))
    (served,) = store.served(["one"])
    assert served.status == "failed"
    assert f"no answer from the broker at http://127.0.0.1:{port}/status" in served.reason


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "is no broker"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n[", "is no broker"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b" " * 9_999_999, "too large"),
        (b"not HTTP\r\n\r\n", "no answer from the broker"),
    ],
    ids=["empty", "no JSON", "redirect", "not found", "too large", "not HTTP"],
)
def test_what_is_no_broker_is_not_believed(
    config: Path, serve: Callable[..., RawServer], answer: bytes, said: str
) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        with suppress(OSError):
            connection.sendall(answer)

    environ = {"RECONCILER_BROKER": f"http://127.0.0.1:{serve(talk).port}", "RECONCILER_BROKER_TIMEOUT": "0.1"}
    store = open_kuadrant_file(f"kuadrant+file://{config}", create=True, access=replace(ACCESS, environ=environ))
    stored(store, created(a_gateway("one")))
    (served,) = store.served(["one"])
    assert served.status == "failed"
    assert said in served.reason


@pytest.mark.parametrize(
    "url", ["broker:8080", "ftp://x", "http://", "http://u:hunter2@x", "http://x:0", "http://x/?a"]
)
def test_a_url_that_is_no_brokers_is_refused_and_not_repeated(config: Path, url: str) -> None:
    access = replace(ACCESS, environ={"RECONCILER_BROKER": url})
    with pytest.raises(InputError, match="the broker's URL is none") as refusal:
        open_store(f"kuadrant+file://{config}", create=False, access=access)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "1e9"])
def test_a_time_to_wait_that_is_none_is_refused(config: Path, seconds: str) -> None:
    environ = {"RECONCILER_BROKER": "http://127.0.0.1:8080", "RECONCILER_BROKER_TIMEOUT": seconds}
    with pytest.raises(InputError, match="is not a number of seconds"):
        open_store(f"kuadrant+file://{config}", create=False, access=replace(ACCESS, environ=environ))


def test_without_a_broker_nothing_is_asked(store: Store) -> None:
    assert isinstance(store, KuadrantFileStore)
    assert store.served(["one"]) == ()
