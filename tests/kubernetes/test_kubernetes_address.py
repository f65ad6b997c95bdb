"""Which cluster and namespace a store URL means, and what is refused before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.errors import InputError
from reconciler.stores.access import Access
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.store import open_kubernetes

if TYPE_CHECKING:
    from pathlib import Path


def kubeconfig(path: Path, **cluster: Any) -> Path:
    """Write a kubeconfig with the contexts `here` (current) and `arn:aws:eks:eu:1:cluster/there`."""
    server = {"server": "https://api.example:6443", **cluster}
    contexts = {"here": "tools", "arn:aws:eks:eu:1:cluster/there": None}
    document = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u", **({"namespace": ns} if ns else {})}}
            for name, ns in contexts.items()
        ],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize(
    ("url", "context", "namespace"),
    [
        ("kubernetes:", "here", "tools"),
        ("kubernetes://", "here", "tools"),
        ("kubernetes:///", "here", "tools"),
        ("kubernetes:///mcp-system", "here", "mcp-system"),
        ("kubernetes://here", "here", "tools"),
        ("kubernetes://here/mcp-system", "here", "mcp-system"),
        ("kubernetes://arn:aws:eks:eu:1:cluster%2Fthere/", "arn:aws:eks:eu:1:cluster/there", "default"),
    ],
)
def test_a_url_names_a_context_and_a_namespace(tmp_path: Path, url: str, context: str, namespace: str) -> None:
    found = address_of(url, {"KUBECONFIG": str(kubeconfig(tmp_path / "config"))})
    assert (found.config.context_name, found.namespace) == (context, namespace)
    assert "secret-token" not in repr(found)


def test_the_kubeconfig_of_the_home_directory_is_the_default(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube/config")
    assert address_of("kubernetes:", {"HOME": str(tmp_path)}).namespace == "tools"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kubernetes://a/b/c", "more than a context and a namespace"),
        ("kubernetes://a/b?c", "more than a context and a namespace"),
        ("kubernetes:///Not_A_Namespace", "the namespace of the Kubernetes store is none"),
        ("kubernetes://nowhere/x", "Context 'nowhere' not found"),
    ],
)
def test_what_is_no_address_is_refused(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        address_of(url, {"KUBECONFIG": str(kubeconfig(tmp_path / "config"))})


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"server": "http://api.example:6443"}, "unencrypted"),
        ({"server": "https://[nonsense"}, "unencrypted"),
        ({"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
    ],
)
def test_credentials_never_go_unprotected(tmp_path: Path, cluster: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        address_of("kubernetes:", {"KUBECONFIG": str(kubeconfig(tmp_path / "config", **cluster))})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "a: [", "clusters: 1\ncontexts: 2\n", "clusters: []\ncontexts: []\n", "\0", "current-context: x\n"],
)
def test_what_is_no_kubeconfig_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(InputError, match="the kubeconfig cannot be used"):
        address_of("kubernetes:", {"KUBECONFIG": str(tmp_path / "config")})


def test_a_kubeconfig_that_is_not_there_or_several_are_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        address_of("kubernetes:", {"KUBECONFIG": str(tmp_path / "none")})
    with pytest.raises(InputError, match="names several files"):
        address_of("kubernetes:", {"KUBECONFIG": "/a:/b"})


def test_in_a_cluster_it_is_that_cluster(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("mcp-system\n")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = address_of("kubernetes://", environ, tmp_path)
    assert (found.config.cluster.server, found.namespace) == ("https://[fd00::1]:443", "mcp-system")
    assert found.config.cluster.certificate_auth == str(tmp_path / "ca.crt")


def test_a_certificate_that_is_not_there_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path / "config", **{"certificate-authority": "missing.pem"})
    with pytest.raises(InputError, match="cannot be used"):
        open_kubernetes("kubernetes:", create=False, access=Access({"KUBECONFIG": str(config)}, lambda _: ""))


def test_a_store_without_access_is_refused() -> None:
    with pytest.raises(InputError, match="without access"):
        open_kubernetes("kubernetes:", create=False)
