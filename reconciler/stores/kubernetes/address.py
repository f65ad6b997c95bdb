"""Which cluster and which namespace a store URL means, and how we are let in.

`kubernetes://[context]/[namespace]`: without a context it is the cluster we run in, by the service account that is
mounted there, and elsewhere the current context of the kubeconfig. Without a namespace it is that of the context or of
the service account. Credentials come from the kubeconfig or the mounted files, never from the URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightkube.config.kubeconfig import SingleConfig

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_URL: Final = re.compile(r"kubernetes:(//)?(?P<context>[^/?#]*)(/(?P<namespace>[^/?#]*))?/?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_MOST_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Address:
    """A cluster as lightkube knows it, and the namespace in it."""

    config: SingleConfig = field(repr=False)
    namespace: str


def address_of(url: str, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> Address:
    """Return where a store URL leads.

    Raises:
        InputError: the URL is none, lightkube is not installed, or there is no usable way into a cluster. The URL is
            not repeated.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise InputError(
            "the store's URL begins with `kubernetes:` and has more than a context and a namespace",
            fix="write kubernetes://context/namespace, kubernetes:///namespace or kubernetes:// (a `/` in a name: %2F)",
        )
    _need_lightkube()
    context, namespace = unquote(found["context"]), unquote(found["namespace"] or "")
    inside = "KUBERNETES_SERVICE_HOST" in environ and (service_account / "token").exists()
    config = _from_service_account(environ, service_account) if inside and not context else _from_file(environ, context)
    _refuse_open(config)
    return Address(config, _checked(namespace or config.namespace))


def _need_lightkube() -> None:
    try:
        import lightkube  # noqa: F401 - is it there?
    except ImportError:
        raise InputError(
            "a Kubernetes store needs lightkube", fix="pip install 'mcp-gateway-reconciler[kubernetes]'"
        ) from None


def _refuse_open(config: SingleConfig) -> None:
    """Refuse a cluster to which our credentials would go unprotected."""
    try:
        parts = urlsplit(config.cluster.server)
        secure = parts.scheme == "https" or parts.hostname in _LOOPBACK
    except ValueError:
        secure = False
    if not secure:
        raise _unusable("its server has no https:// URL, so credentials would be sent unencrypted")
    if config.cluster.insecure:
        raise InputError(
            "the kubeconfig says insecure-skip-tls-verify, so credentials would go to whoever answers",
            fix="give the cluster a certificate-authority instead",
        )


def _checked(namespace: str) -> str:
    if not _NAMESPACE.fullmatch(namespace):
        raise InputError("the namespace of the Kubernetes store is none: a-z, 0-9 and `-`, at most 63 characters")
    return namespace


def _from_service_account(environ: Mapping[str, str], directory: Path) -> SingleConfig:
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.config.models import Cluster, User

    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    try:
        namespace = (directory / "namespace").read_text().strip()
    except (OSError, ValueError):
        namespace = ""
    config = KubeConfig.from_one(
        cluster=Cluster(server=f"https://{host}:{port}", certificate_auth=str(directory / "ca.crt")),
        user=User(token_file=str(directory / "token")),
        namespace=namespace or None,
    ).get()
    return _found(config)


def _from_file(environ: Mapping[str, str], context: str) -> SingleConfig:
    from lightkube.config.kubeconfig import KubeConfig
    from lightkube.core.exceptions import ConfigError

    path = _kubeconfig(environ)
    try:
        config = KubeConfig.from_file(path).get(context or None)
    except ConfigError as error:
        raise _unusable(str(error)) from None
    except OSError as error:
        raise _unusable(error.strerror or "it cannot be read") from None
    except Exception:  # noqa: BLE001 - whatever its reader of YAML, and the types that it makes of it, can raise
        raise _unusable("it is no kubeconfig") from None
    return _with_a_user(_found(config))


def _kubeconfig(environ: Mapping[str, str]) -> Path:
    given = environ.get("KUBECONFIG", "")
    if ":" in given:
        raise InputError(
            "KUBECONFIG names several files", fix="name one; `kubectl config view --flatten` makes one of them"
        )
    path = Path(given) if given else Path(environ.get("HOME", "~")) / ".kube" / "config"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _unusable("it is too large to be one")
    except OSError as error:
        raise _unusable(error.strerror or "it cannot be read") from None
    return path


def _with_a_user(config: SingleConfig) -> SingleConfig:
    """Return the configuration with a user; lightkube asserts that there is one, and nobody is one without a name."""
    from lightkube.config.models import User

    return config if config.user is not None else config._replace(user=User())


def _found(config: SingleConfig | None) -> SingleConfig:
    if config is None:
        raise _unusable("it has no current context")
    return config


def _unusable(why: str) -> InputError:
    return InputError(
        f"the kubeconfig cannot be used: {why}",
        fix="set KUBECONFIG to one that `kubectl` works with, or name one of its contexts: kubernetes://context/namespace",
    )
