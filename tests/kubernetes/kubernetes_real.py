"""A real etcd and kube-apiserver, from the directory that KUBEBUILDER_ASSETS names, as in controller-runtime's envtest.

There are no controllers: nobody accepts a route or lets go of a finalizer unless a test does.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes_cluster import CRDS, USER, Cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.demo.pki import Authority

_STARTING_SECONDS = 90.0
_GLANCE_SECONDS = 0.1
_LOG_TAIL = 3000


@contextmanager
def real_cluster(assets: Path, directory: Path, root: Authority) -> Iterator[Cluster]:
    """Run both for as long as the context lasts."""
    client, peer, secure = (_free_port() for _ in range(3))
    etcd = f"http://127.0.0.1:{client}"
    store = [
        str(assets / "etcd"),
        f"--data-dir={directory / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={etcd}",
    ]
    store += [f"--advertise-client-urls={etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}"]
    token, own = secrets.token_hex(16), secrets.token_hex(16)
    server = [
        str(assets / "kube-apiserver"),
        f"--etcd-servers={etcd}",
        *_options(directory, root, (token, own), secure),
    ]
    with _running(store, directory / "etcd.log"), _running(server, directory / "kube-apiserver.log") as process:
        cluster = Cluster("a real kube-apiserver", f"https://127.0.0.1:{secure}", root.pem, token, own)
        with cluster.client() as http:
            _until(http, "/readyz", process, directory / "kube-apiserver.log")
            for each in CRDS:
                http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=each).raise_for_status()
            for each in CRDS:
                path = f"/apis/{each['spec']['group']}/v1/{each['spec']['names']['plural']}"
                _until(http, path, process, directory / "kube-apiserver.log")
        yield cluster


def _options(directory: Path, root: Authority, tokens: tuple[str, str], port: int) -> list[str]:
    identity = root.issue_server(["localhost", "127.0.0.1"])
    files = {
        "tls.crt": identity.certificate_pem,
        "tls.key": identity.key_pem,
        "account.key": _account_key(),
        "tokens.csv": f'{tokens[0]},admin,admin,"system:masters"\n{tokens[1]},{USER},{USER}\n',
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    return [
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={directory / 'tls.crt'}",
        f"--tls-private-key-file={directory / 'tls.key'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={directory / 'account.key'}",
        f"--service-account-signing-key-file={directory / 'account.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _account_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(_STARTING_SECONDS)


def _until(http: httpx.Client, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a path answers with success."""
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get(path).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_GLANCE_SECONDS)
    raise AssertionError(f"the API server does not answer {path}: {log.read_text()[-_LOG_TAIL:]}")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
