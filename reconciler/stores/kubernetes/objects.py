"""What a gateway is in Kubernetes: the objects that are to be there for it, as they are applied. Pure.

Only what the manifest says is declared, so that what others add, and what the API server puts in by default, is theirs.
A Secret holds the CA. An HTTPRoute is made where the manifest names a host for it, and with it, for an upstream outside
the cluster, a Service that stands for the outer name. The registration points at all of that.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from reconciler.stores.kubernetes.marks import labels, marks_of, row_beyond

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import Change, Gateway

Object = dict[str, Any]

CA_KEY: Final = "ca.crt"
SECRET_LABEL: Final = "mcp.kuadrant.io/secret"  # noqa: S105 - the name of a label
FINALIZER: Final = "mcp.kuadrant.io/finalizer"
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""What Kubernetes takes as the value of a label and as the name of an object, and manifests as that of a gateway."""

_IN_CLUSTER: Final = re.compile(r"(?P<service>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.cluster\.local)?")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, and where the API keeps it."""

    api: str
    kind: str
    plural: str

    @property
    def path(self) -> str:
        """The path of its group and version."""
        return f"/apis/{self.api}" if "/" in self.api else f"/api/{self.api}"


SECRET: Final = Kind("v1", "Secret", "secrets")
CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
SERVICE: Final = Kind("v1", "Service", "services")
ROUTE: Final = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
REGISTRATION: Final = Kind("mcp.kuadrant.io/v1", "MCPServerRegistration", "mcpserverregistrations")

WRITTEN: Final = (SECRET, SERVICE, ROUTE, REGISTRATION)
"""The kinds that we write, in the order in which they are written: what is referred to first."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What an HTTPRoute leads to: a Service of the cluster, or (`outer` set) one that stands for an outer name."""

    service: str
    namespace: str
    port: int
    outer: str = ""


def secret_name(name: str) -> str:
    """Return the name of the Secret that holds the CA of gateway `name`."""
    return f"{name}-ca"


def route_name(gateway: Gateway) -> str:
    """Return the name of the HTTPRoute of a gateway; empty where there is none, and none is to be made."""
    return gateway.kuadrant.route or (gateway.name if gateway.kuadrant.hostname else "")


def path_of(url: str) -> str:
    """Return what Kuadrant appends to the address of the upstream."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def backend_of(gateway: Gateway, namespace: str) -> Backend:
    """Return where the URL of a gateway leads, seen from `namespace`."""
    parts = urlsplit(gateway.url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    found = _IN_CLUSTER.fullmatch(host)
    if found is not None:
        return Backend(found["service"], found["namespace"], port)
    return Backend(f"{gateway.name}-external", namespace, port, host)


def declared(gateway: Gateway) -> tuple[str, ...]:
    """Return the names of the optional fields of a registration that the manifest sets."""
    options = gateway.kuadrant
    said = {
        "category": options.category,
        "hint": options.hint,
        "tags": gateway.tags,
        "userSpecificList": options.user_specific_list,
    }
    return tuple(name for name, value in said.items() if value)


def objects_of(change: Change, namespace: str) -> dict[Kind, Object]:
    """Return the objects that are to be there after a change; an empty dictionary after a deletion."""
    gateway = change.after
    if gateway is None:
        return {}
    marks = marks_of(change, row_beyond(gateway, declared(gateway)))
    made: dict[Kind, Object] = {}
    if gateway.ca_certificate:
        made[SECRET] = _secret(gateway, marks)
    if gateway.kuadrant.hostname:
        backend = backend_of(gateway, namespace)
        if backend.outer:
            made[SERVICE] = _service(gateway, backend, marks)
        made[ROUTE] = _route(gateway, backend, namespace, marks)
    made[REGISTRATION] = _object(REGISTRATION, gateway.name, gateway.name, marks) | {"spec": _spec(gateway)}
    return made


def _object(kind: Kind, name: str, gateway: str, marks: Mapping[str, str]) -> Object:
    metadata = {"name": name, "labels": labels(gateway), "annotations": dict(marks)}
    return {"apiVersion": kind.api, "kind": kind.kind, "metadata": metadata}


def _secret(gateway: Gateway, marks: Mapping[str, str]) -> Object:
    made = _object(SECRET, secret_name(gateway.name), gateway.name, marks)
    made["metadata"]["labels"][SECRET_LABEL] = "true"
    return made | {"type": "Opaque", "data": {CA_KEY: b64encode(gateway.ca_certificate.encode()).decode()}}


def _service(gateway: Gateway, backend: Backend, marks: Mapping[str, str]) -> Object:
    scheme = urlsplit(gateway.url).scheme
    port = {"name": scheme, "port": backend.port, "protocol": "TCP", "appProtocol": scheme}
    spec = {"type": "ExternalName", "externalName": backend.outer, "ports": [port]}
    return _object(SERVICE, backend.service, gateway.name, marks) | {"spec": spec}


def _route(gateway: Gateway, backend: Backend, namespace: str, marks: Mapping[str, str]) -> Object:
    options = gateway.kuadrant
    parent = {"name": options.parent, "namespace": options.parent_namespace, "sectionName": options.listener}
    target: Object = {"name": backend.service, "port": backend.port}
    if backend.namespace != namespace:
        target["namespace"] = backend.namespace
    spec = {
        "parentRefs": [{key: value for key, value in parent.items() if value}],
        "hostnames": [options.hostname],
        "rules": [{"backendRefs": [target]}],
    }
    return _object(ROUTE, route_name(gateway), gateway.name, marks) | {"spec": spec}


def _spec(gateway: Gateway) -> Object:
    options = gateway.kuadrant
    optional = {
        "prefix": options.prefix,
        "credentialRef": _credential(gateway),
        "caCertSecretRef": {"name": secret_name(gateway.name), "key": CA_KEY} if gateway.ca_certificate else None,
        "category": list(options.category),
        "hint": options.hint,
        "tags": list(gateway.tags),
        "userSpecificList": "Enabled" if options.user_specific_list else "",
    }
    return {
        "targetRef": {"name": route_name(gateway)},
        "path": path_of(gateway.url),
        "state": "Enabled" if gateway.enabled else "Disabled",
        **{name: value for name, value in optional.items() if value},
    }


def _credential(gateway: Gateway) -> dict[str, str] | None:
    for _, reference in gateway.auth.secrets:
        return {"name": reference.name, "key": reference.key}
    return None
