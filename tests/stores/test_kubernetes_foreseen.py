"""What the API server would not take is known when a plan is made: it judges every change in a dry run."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from contract import a_gateway, created, deleted, stored, updated
from kubernetes_cluster import Namespace

from reconciler.core.model import KuadrantOptions
from reconciler.core.ports import Judging
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.writing import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes_cluster import Cluster
    from terminal import Terminal

    from reconciler.core.model import Gateway

ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())
REGISTRATIONS = "mcpserverregistrations"
KINDS = ("secrets", "services", "httproutes", REGISTRATIONS)

_numbers = count(1)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    with closing(Namespace(cluster, f"foreseen-{os.getpid()}-{next(_numbers)}")) as made:
        made.route("shared")
        yield made


@pytest.fixture
def config(namespace: Namespace, tmp_path: Path) -> str:
    return str(namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token))


@pytest.fixture
def store(namespace: Namespace, config: str) -> Iterator[KubernetesStore]:
    address = address_of("kubernetes://", {"KUBECONFIG": config})
    with closing(KubernetesStore(address, Patience(0.5, 0.5, 0.0))) as opened:
        namespace.grant(ROLE)
        yield opened


def wanted(name: str, **fields: Any) -> Gateway:
    options = {"route": "shared", **fields.pop("kuadrant", {})}
    return a_gateway(name, kuadrant=KuadrantOptions(**options), **fields)


def versions(namespace: Namespace) -> dict[str, str]:
    """Return the version of everything that could be written."""
    found = {kind: namespace.ask("GET", namespace.path(kind))["items"] for kind in KINDS}
    return {
        f"{kind}/{each['metadata']['name']}": each["metadata"]["resourceVersion"]
        for kind in KINDS
        for each in found[kind]
    }


def test_every_refusal_is_known_and_nothing_is_written(store: KubernetesStore, namespace: Namespace) -> None:
    stored(
        store, created(wanted("held", kuadrant={"hint": "ours"})), created(wanted("moved", kuadrant={"prefix": "a_"}))
    )
    content = {
        "apiVersion": "mcp.kuadrant.io/v1",
        "kind": "MCPServerRegistration",
        "metadata": {"name": "held"},
        "spec": {"targetRef": {"name": "shared"}, "hint": "theirs"},
    }
    namespace.apply(REGISTRATIONS, content, "argocd-controller", force=True)
    live = store.read().gateways
    before = versions(namespace)
    assert isinstance(store, Judging)
    found = store.judge(
        [
            created(wanted("new", ca_certificate="a CA")),
            updated(live["held"], wanted("held", kuadrant={"hint": "newer"})),
            updated(live["moved"], wanted("moved", kuadrant={"prefix": "b_"})),
            created(wanted("tagged", ca_certificate="a CA", tags=tuple(f"t{number:02}" for number in range(11)))),
            created(wanted("lost", kuadrant={"route": "nowhere"})),
            created(wanted("large", ca_certificate="A" * 65_537)),
        ]
    )
    assert list(found) == ["held", "tagged", "lost", "large"]
    assert "`argocd-controller` holds .spec.hint" in found["held"]
    assert "at most 10 items" in found["tagged"]
    assert "there is no HTTPRoute `nowhere`" in found["lost"]
    assert "65,537 bytes" in found["large"]
    assert versions(namespace) == before


def test_another_prefix_is_judged_as_the_new_registration_that_it_is(store: KubernetesStore) -> None:
    stored(store, created(wanted("moved", kuadrant={"prefix": "a_"})))
    live = store.read().gateways["moved"]
    tags = tuple(f"t{number:02}" for number in range(11))
    found = store.judge([updated(live, wanted("moved", kuadrant={"prefix": "b_"}, tags=tags))])
    assert "at most 10 items" in found["moved"]
    assert store.judge([deleted(live), replace(updated(live, wanted("moved", kuadrant={"prefix": "b_"})))]) == {}


def test_whoever_may_only_read_has_nothing_judged_and_may_plan(namespace: Namespace, config: str) -> None:
    rules = [{**rule, "verbs": ["get", "list"]} for rule in ROLE["rules"]]
    namespace.grant({**ROLE, "rules": rules})
    address = address_of("kubernetes://", {"KUBECONFIG": config})
    with closing(KubernetesStore(address)) as store:
        assert store.judge([created(wanted("new", ca_certificate="a CA"))]) == {}


def test_a_plan_says_what_an_apply_would_run_into(
    terminal: Terminal, namespace: Namespace, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace.grant(ROLE)
    monkeypatch.setenv("KUBECONFIG", config)
    terminal.gateway("payments", transport="streamable-http", kuadrant={"route": "nowhere"})
    assert (
        "the change of `payments` would be refused: there is no HTTPRoute `nowhere`"
        in terminal("plan", "--store", "kubernetes://").err
    )
    document = terminal("plan", "--store", "kubernetes://", "-o", "json").document
    (found,) = document["diagnostics"]
    assert (found["code"], found["severity"]) == ("refused-by-platform", "warning")
    assert found["file"].endswith("payments.yaml")
    rules = "apiVersion: reconciler/v1\nkind: Config\nmetadata: {name: t}\nspec: {rules: {refused-by-platform: off}}\n"
    terminal.write("reconciler.yaml", rules)
    assert terminal("plan", "--store", "kubernetes://", "-o", "json").document["diagnostics"] == []
