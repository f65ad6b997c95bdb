"""What the documentation says to the users of Kubernetes was typed, against an API server that keeps state."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from kubernetes_cluster import Controller, Namespace
from kubernetes_serving import fake_cluster
from raw_servers import VALID
from typed_pages import PERSON, follow, sections

from reconciler.demo.pki import Authority
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REGISTRATIONS = "mcpserverregistrations"
SIGNER = "openshift-service-serving-signer"

ROTATE = """
import json, os, ssl, urllib.request
context = ssl.create_default_context(cafile=os.environ["CLUSTER_CA"])
headers = {"Authorization": "Bearer " + os.environ["TOKEN"], "Content-Type": "application/merge-patch+json"}
body = open(os.environ["BOTH"], "rb").read()
request = urllib.request.Request(os.environ["CONFIG_MAP"], body, headers, method="PATCH")
urllib.request.urlopen(request, context=context).read()
"""

KUBECTL = """#!/usr/bin/env python3
import json, os, sys
open(os.environ["TYPED"], "a").write(json.dumps(sys.argv[1:]) + "\\n")
"""


@pytest.fixture
def namespace(root: Authority) -> Iterator[Namespace]:
    with fake_cluster(root) as (cluster, _), closing(Namespace(cluster, "mcp-system")) as made:
        for name in ("payments", "search"):
            made.route(name)
        with Controller(lambda: _ready(made)):
            yield made


def _ready(namespace: Namespace) -> None:
    """Do what Kuadrant's controller does for every registration."""
    for name in namespace.names(REGISTRATIONS):
        found = namespace.get(REGISTRATIONS, name)
        if found is not None and "status" not in found:
            namespace.say(name, "True", "Ready", "config written successfully")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


@pytest.fixture
def environ(namespace: Namespace, tmp_path: Path) -> dict[str, str]:
    return {
        **PERSON,
        "KUBECONFIG": str(namespace.cluster.kubeconfig(tmp_path / "kubeconfig", "default")),
        "RECONCILER_CACHE_DIR": str(tmp_path / "cache"),
    }


def test_the_quick_start_goes_as_it_says(
    root: Authority, namespace: Namespace, environ: dict[str, str], directory: Path, tmp_path: Path
) -> None:
    section = sections((ROOT / "README.md").read_text())["Kuadrant (Kubernetes)"]
    key = tmp_path / "reconciler-ed25519.pem"
    subprocess.run([sys.executable, "-m", "reconciler", "keys", "generate", str(key), "-q"], check=True)
    (directory / "gateways").mkdir()
    (directory / "gateways/payments-root.pem").write_text(root.pem)
    with Upstream("payments", root.issue_server(["localhost"]), {"charge": "Charge a card"}) as upstream:
        section = section.replace("https://payments.internal:8443/mcp", upstream.url)
        section = section.replace("/run/secrets/reconciler-ed25519.pem", str(key))
        assert follow(section, directory, environ) == []
    assert namespace.names(REGISTRATIONS) == ["payments"]


def test_the_page_about_cas_of_the_cluster_goes_as_it_says(
    namespace: Namespace, environ: dict[str, str], directory: Path, tmp_path: Path
) -> None:
    signer, successor, issuer = (
        Authority.root(name, VALID) for name in (SIGNER, f"{SIGNER} G2", "cert-manager CA")
    )  # fmt: skip
    for kind, name, data in [
        ("ConfigMap", "service-ca", {"data": {"service-ca.crt": signer.pem}}),
        ("Secret", "payments-tls", {"data": {"ca.crt": b64encode(issuer.pem.encode()).decode()}}),
    ]:
        content = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **data}
        namespace.ask("POST", namespace.path(f"{kind.lower()}s"), content)
    home = tmp_path / "home"
    home.mkdir()
    both = {"data": {"service-ca.crt": f"{signer.pem}\n{successor.pem}"}}
    for name, text in {"rotate.py": ROTATE, "both": json.dumps(both), "ca": namespace.cluster.ca_pem}.items():
        (home / name).write_text(text)
    environ |= {
        "HOME": str(home),
        "BOTH": str(home / "both"),
        "CLUSTER_CA": str(home / "ca"),
        "TOKEN": namespace.cluster.token,
        "CONFIG_MAP": f"{namespace.cluster.url}{namespace.path('configmaps', 'service-ca')}",
    }
    assert follow((ROOT / "docs/cluster-certificates.md").read_text(), directory, environ) == []


def test_what_the_daemon_in_the_cluster_needs_is_what_the_page_makes(directory: Path, tmp_path: Path) -> None:
    """`kubectl` only writes down its words here: the names in them are compared with those in the Deployment."""
    section = sections((ROOT / "docs/kubernetes.md").read_text())["The daemon in the cluster"]
    (tmp_path / "bin").mkdir()
    kubectl = tmp_path / "bin/kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    typed = tmp_path / "typed"
    section = section.replace("$ kubectl", f"$ {kubectl}").replace("deploy/kubernetes", str(ROOT / "deploy/kubernetes"))
    assert follow(section, directory, {"TYPED": str(typed)}) == []
    config, secret, apply = map(json.loads, typed.read_text().splitlines())
    kustomization = yaml.safe_load((Path(apply[-1]) / "kustomization.yaml").read_text())
    assert {config[1], secret[1]} == {kustomization["namespace"]}
    pod = yaml.safe_load((Path(apply[-1]) / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert config[2:5] == ["create", "configmap", volumes["gateways"]["configMap"]["name"]]
    assert secret[2:6] == ["create", "secret", "generic", volumes["keys"]["secret"]["secretName"]]
    files = {word.partition("=")[2] for word in secret[6:]}
    wanted = {each["value"] for each in pod["containers"][0]["env"] if each["name"].endswith("_FILE")}
    assert files == {Path(each).name for each in wanted} == {path.name for path in directory.iterdir()}
    assert all((directory / each).stat().st_size for each in files)
