"""The daemon over a cluster: it leads by the cluster's Lease, and follows the CAs that the cluster keeps."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from kubernetes_cluster import Controller, Namespace
from watching import QUICK, eventually, watched

from reconciler.stores.kubernetes.fencing import lease_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubernetes_cluster import Cluster

    from reconciler.demo.pki import Authority

ROLE = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/role.yaml").read_text())
REGISTRATIONS = "mcpserverregistrations"
NO_DRIFT = replace(QUICK, drift_seconds=0)
CONFIG = """\
apiVersion: reconciler/v1
kind: Config
metadata: {name: t}
spec: {owner: platform-team, store: "kubernetes://"}
"""
MANIFEST = """\
apiVersion: reconciler/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  url: https://{name}.tools.svc.cluster.local:8443/mcp
  transport: streamable-http
  tls: {{caFrom: {{{reference}}}}}
  kuadrant: {{route: shared}}
"""

_numbers = count(1)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace as the documentation prepares it, with a controller that takes every registration."""
    with closing(Namespace(cluster, f"daemon-{os.getpid()}-{next(_numbers)}")) as made:
        made.grant(ROLE)
        made.route("shared")

        def take() -> None:
            for name in made.names(REGISTRATIONS):
                found = made.get(REGISTRATIONS, name)
                if found is not None and "status" not in found:
                    made.say(name, "True", "Ready", "config written successfully")

        with Controller(take):
            yield made


@pytest.fixture
def environ(namespace: Namespace, tmp_path: Path) -> dict[str, str]:
    config = namespace.cluster.kubeconfig(tmp_path / "kubeconfig", namespace.name, namespace.cluster.own_token)
    return {"KUBECONFIG": str(config)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    directory.mkdir()
    (directory / "reconciler.yaml").write_text(CONFIG)
    return directory


def keep(namespace: Namespace, plural: str, name: str, data: dict[str, str]) -> None:
    """Put what the cluster's own services put there, over what was there."""
    kind = {"configmaps": "ConfigMap", "secrets": "Secret"}[plural]
    content = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}
    namespace.apply(plural, content, "service-ca-operator", force=True)


def ca_of(namespace: Namespace, name: str) -> str:
    """Return the CA that Kuadrant is given for a gateway."""
    found = namespace.get("secrets", f"{name}-ca")
    return b64decode(found["data"]["ca.crt"]).decode().strip() if found is not None else ""


def test_a_ca_that_changes_in_the_cluster_is_followed_at_once(
    tree: Path, namespace: Namespace, environ: dict[str, str], root: Authority, issuing: Authority
) -> None:
    """Drift is never looked for here, and no file changes: nothing but the watch can tell."""
    keep(namespace, "configmaps", "service-ca", {"service-ca.crt": root.pem})
    reference = "configMapKeyRef: {name: service-ca, key: service-ca.crt}"
    (tree / "payments.yaml").write_text(MANIFEST.format(name="payments", reference=reference))
    with watched(tree, rhythm=NO_DRIFT, environ=environ) as daemon:
        eventually(lambda: ca_of(namespace, "payments") == root.pem.strip())
        both = f"{root.pem}\n{issuing.pem}"
        keep(namespace, "configmaps", "service-ca", {"service-ca.crt": both})
        eventually(lambda: ca_of(namespace, "payments").count("BEGIN CERTIFICATE") == 2)
        assert not daemon.told("CaWatchBroken")


def test_what_a_manifest_begins_to_refer_to_is_followed_from_then_on(
    tree: Path, namespace: Namespace, environ: dict[str, str], root: Authority, issuing: Authority
) -> None:
    keep(namespace, "configmaps", "service-ca", {"service-ca.crt": root.pem})
    reference = "configMapKeyRef: {name: service-ca, key: service-ca.crt}"
    (tree / "payments.yaml").write_text(MANIFEST.format(name="payments", reference=reference))
    with watched(tree, rhythm=NO_DRIFT, environ=environ) as daemon:
        eventually(lambda: ca_of(namespace, "payments") == root.pem.strip())
        keep(namespace, "secrets", "search-tls", {"ca.crt": encoded(root.pem)})
        reference = "secretKeyRef: {name: search-tls, key: ca.crt}"
        daemon.write("search.yaml", MANIFEST.format(name="search", reference=reference))
        eventually(lambda: ca_of(namespace, "search") == root.pem.strip())
        keep(namespace, "secrets", "search-tls", {"ca.crt": encoded(f"{root.pem}\n{issuing.pem}")})
        eventually(lambda: ca_of(namespace, "search").count("BEGIN CERTIFICATE") == 2)
        assert ca_of(namespace, "payments") == root.pem.strip()


def test_a_ca_that_is_taken_away_is_told_and_one_that_comes_back_is_taken(
    tree: Path, namespace: Namespace, environ: dict[str, str], root: Authority, issuing: Authority
) -> None:
    keep(namespace, "configmaps", "service-ca", {"service-ca.crt": root.pem})
    reference = "configMapKeyRef: {name: service-ca, key: service-ca.crt}"
    (tree / "payments.yaml").write_text(MANIFEST.format(name="payments", reference=reference))
    with watched(tree, rhythm=NO_DRIFT, environ=environ) as daemon:
        eventually(lambda: ca_of(namespace, "payments") == root.pem.strip())
        namespace.ask("DELETE", namespace.path("configmaps", "service-ca"))
        eventually(lambda: [each for each in daemon.told("PassFailed") if "service-ca" in each.message])
        assert ca_of(namespace, "payments") == root.pem.strip()
        keep(namespace, "configmaps", "service-ca", {"service-ca.crt": issuing.pem})
        eventually(lambda: ca_of(namespace, "payments") == issuing.pem.strip())
        eventually(lambda: daemon.told("PassFailed", "resolved"))


def test_it_leads_by_the_lease_of_the_cluster_and_gives_it_back(
    tree: Path, namespace: Namespace, environ: dict[str, str]
) -> None:
    with watched(tree, rhythm=NO_DRIFT, environ=environ) as daemon:
        eventually(lambda: [each.role for each in daemon.board.targets().values()] == ["leader"])
        lease = namespace.get("leases", lease_name("platform-team"))
        assert lease is not None
        assert lease["spec"]["holderIdentity"]
    lease = namespace.get("leases", lease_name("platform-team"))
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
