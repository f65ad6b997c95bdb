"""A change of a CA that the cluster keeps is heard of at once, from whatever point a watch has to begin again."""

from __future__ import annotations

import json
import os
import threading
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes_cluster import Namespace
from kubernetes_serving import fake_cluster

from reconciler.core.model import CaReference
from reconciler.core.ports import CaWatcher
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.watching import ReferenceWatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes_cluster import Cluster
    from kubernetes_fake import Api, Request

    from reconciler.demo.pki import Authority
    from reconciler.errors import StoreError
    from reconciler.stores.kubernetes.address import Address

ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())
IN_CONFIG_MAP = CaReference("configMapKeyRef", "service-ca", "service-ca.crt")
IN_SECRET = CaReference("secretKeyRef", "payments-tls", "ca.crt")
PATIENCE = 30.0

_numbers = count(1)


class Heard:
    """Keeps what a watch says."""

    def __init__(self) -> None:
        self.said: SimpleQueue[frozenset[CaReference] | StoreError] = SimpleQueue()

    def changed(self, references: frozenset[CaReference]) -> None:
        self.said.put(references)

    def broke_off(self, error: StoreError) -> None:
        self.said.put(error)

    def next(self) -> frozenset[CaReference]:
        found = self.said.get(timeout=PATIENCE)
        assert isinstance(found, frozenset), found
        return found

    def error(self) -> StoreError:
        found = self.said.get(timeout=PATIENCE)
        while isinstance(found, frozenset):
            found = self.said.get(timeout=PATIENCE)
        return found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace with one ConfigMap and one Secret, in which we may do what our Role says."""
    with closing(Namespace(cluster, f"watch-{os.getpid()}-{next(_numbers)}")) as made:
        made.grant(ROLE)
        furnish(made)
        yield made


def furnish(namespace: Namespace) -> None:
    for name in ("service-ca", "other"):
        put(namespace, "configmaps", name, {"service-ca.crt": "one"})
    put(namespace, "secrets", "payments-tls", {"ca.crt": "b25l"})


def put(namespace: Namespace, plural: str, name: str, data: dict[str, str]) -> None:
    kind = {"configmaps": "ConfigMap", "secrets": "Secret"}[plural]
    content = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}
    namespace.ask("POST", namespace.path(plural), content)


def change(namespace: Namespace, plural: str, name: str, data: dict[str, str | None]) -> None:
    namespace.merge(plural, name, {"data": data}, "service-ca-operator")


def address(cluster: Cluster, directory: Path, name: str) -> Address:
    config = cluster.kubeconfig(directory / "kubeconfig", name, cluster.own_token)
    return address_of("kubernetes://test/", {"KUBECONFIG": str(config)})


def test_it_begins_with_everything_and_goes_on_with_what_changes(namespace: Namespace, tmp_path: Path) -> None:
    heard = Heard()
    with closing(KubernetesStore(address(namespace.cluster, tmp_path, namespace.name))) as store:
        assert isinstance(store, CaWatcher)
        end = store.watch_ca_certificates([IN_CONFIG_MAP, IN_SECRET], heard)
    try:
        assert {heard.next(), heard.next()} == {frozenset({IN_CONFIG_MAP}), frozenset({IN_SECRET})}
        change(namespace, "configmaps", "other", {"service-ca.crt": "two"})
        change(namespace, "configmaps", "service-ca", {"service-ca.crt": "two"})
        assert heard.next() == {IN_CONFIG_MAP}
        change(namespace, "secrets", "payments-tls", {"ca.crt": "dHdv"})
        assert heard.next() == {IN_SECRET}
        namespace.ask("DELETE", namespace.path("configmaps", "service-ca"))
        assert heard.next() == {IN_CONFIG_MAP}
        put(namespace, "configmaps", "service-ca", {"service-ca.crt": "three"})
        assert heard.next() == {IN_CONFIG_MAP}
    finally:
        end()
    assert not [each.name for each in threading.enumerate() if each.name.startswith("watch-")]


def test_a_watch_that_ran_out_is_taken_up_where_it_ended(namespace: Namespace, tmp_path: Path) -> None:
    heard = Heard()
    at = address(namespace.cluster, tmp_path, namespace.name)
    with closing(ReferenceWatch(at, [IN_CONFIG_MAP], heard, seconds=1)):
        assert heard.next() == {IN_CONFIG_MAP}
        with pytest.raises(Empty):
            heard.said.get(timeout=2.5)
        change(namespace, "configmaps", "service-ca", {"service-ca.crt": "two"})
        assert heard.next() == {IN_CONFIG_MAP}


@pytest.fixture
def faulty(root: Authority, tmp_path: Path) -> Iterator[tuple[Namespace, Api, Address]]:
    """A fake API server that can be told to do wrong."""
    with fake_cluster(root) as (cluster, api), closing(Namespace(cluster, "tools")) as made:
        furnish(made)
        yield made, api, address(cluster, tmp_path, "tools")


def answering(api: Api, content: bytes, code: int = 200, times: int = 1) -> None:
    """Answer the next watches with this."""
    left = [*range(times)]

    def fault(request: Request) -> tuple[int, dict[str, str], bytes] | None:
        if request.params.get("watch") != "true" or not left:
            return None
        left.pop()
        return code, {}, content

    api.faults.append(fault)


def event(kind: str, /, **content: Any) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


@pytest.mark.parametrize(
    ("code", "content", "said"),
    [
        (200, event("ERROR", kind="Status", code=500, message="etcd is away"), "answered 500 to watch configmaps"),
        (403, b'{"kind": "Status", "message": "not you"}', "we may not do that"),
        (500, b"", "answered 500"),
        (200, b"x" * 9_000_000, "an event has more than 8,388,608 bytes"),
    ],
    ids=["error", "forbidden", "failed", "endless"],
)
def test_one_that_breaks_off_says_so_and_begins_anew_with_everything(
    faulty: tuple[Namespace, Api, Address], code: int, content: bytes, said: str
) -> None:
    namespace, api, at = faulty
    namespace.grant(ROLE)
    answering(api, content, code)
    heard = Heard()
    with closing(ReferenceWatch(at, [IN_CONFIG_MAP], heard)):
        assert said in str(heard.error())
        assert heard.next() == {IN_CONFIG_MAP}
        change(namespace, "configmaps", "service-ca", {"service-ca.crt": "two"})
        assert heard.next() == {IN_CONFIG_MAP}


@pytest.mark.parametrize(
    ("code", "content"),
    [
        (200, event("ERROR", kind="Status", code=410, message="too old resource version")),
        (410, b'{"kind": "Status", "message": "gone"}'),
    ],
)
def test_that_its_place_was_forgotten_is_no_trouble(
    faulty: tuple[Namespace, Api, Address], code: int, content: bytes
) -> None:
    namespace, api, at = faulty
    namespace.grant(ROLE)
    heard = Heard()
    with closing(ReferenceWatch(at, [IN_CONFIG_MAP], heard, seconds=1)):
        assert heard.next() == {IN_CONFIG_MAP}
        answering(api, content, code)  # where it is to be taken up
        assert heard.next() == {IN_CONFIG_MAP}
        change(namespace, "configmaps", "service-ca", {"service-ca.crt": "two"})
        assert heard.next() == {IN_CONFIG_MAP}


def test_a_role_without_the_verb_is_named_by_what_has_to_be_done(faulty: tuple[Namespace, Api, Address]) -> None:
    namespace, _, at = faulty
    rules = [{**rule, "verbs": [each for each in rule["verbs"] if each != "watch"]} for rule in ROLE["rules"]]
    namespace.grant({**ROLE, "rules": rules})
    heard = Heard()
    with closing(ReferenceWatch(at, [IN_SECRET], heard)):
        assert "deploy/kubernetes/role.yaml" in heard.error().fix


@pytest.mark.parametrize("line", [b"\n", b"no JSON\n", b"[]\n", event("MODIFIED"), event("MODIFIED", metadata=1)])
def test_what_is_no_event_says_nothing(faulty: tuple[Namespace, Api, Address], line: bytes) -> None:
    namespace, api, at = faulty
    namespace.grant(ROLE)
    answering(api, line)
    heard = Heard()
    with closing(ReferenceWatch(at, [IN_CONFIG_MAP], heard)):
        assert heard.next() == {IN_CONFIG_MAP}
        change(namespace, "configmaps", "service-ca", {"service-ca.crt": "two"})
        assert heard.next() == {IN_CONFIG_MAP}


def test_it_ends_while_the_cluster_is_away(root: Authority, tmp_path: Path) -> None:
    with fake_cluster(root) as (cluster, _):
        at = address(cluster, tmp_path, "tools")
    heard = Heard()
    with closing(ReferenceWatch(at, [IN_CONFIG_MAP, IN_SECRET], heard)):
        assert "cannot be reached" in str(heard.error())
    with suppress(Empty):
        while True:
            assert not isinstance(heard.said.get_nowait(), frozenset)
