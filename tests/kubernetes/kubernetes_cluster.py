"""A cluster as tests use it, whichever it is: its API as administrator, as another manager, and as Kuadrant."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Object = dict[str, Any]

CRDS = [yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "crds").glob("*.yaml"))]
KUADRANT = "/apis/mcp.kuadrant.io/v1/namespaces/{namespace}/mcpserverregistrations"
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{plural}"
CORE = "/api/v1/namespaces/{namespace}/{plural}"
PATHS = {
    "mcpserverregistrations": KUADRANT,
    "httproutes": ROUTES,
    "leases": LEASES,
    "roles": RBAC,
    "rolebindings": RBAC,
}
USER = "reconciler"
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server that is running: `kind` says which. `token` may do everything, `own_token` what a Role says."""

    kind: str
    url: str
    ca_pem: str
    token: str = field(repr=False)
    own_token: str = field(repr=False)

    def client(self, token: str = "") -> httpx.Client:
        """A client of the API, as the administrator or with another token."""
        import ssl

        context = ssl.create_default_context(cadata=self.ca_pem)
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.Client(base_url=self.url, verify=context, headers=headers, timeout=SECONDS, trust_env=False)

    def kubeconfig(self, path: Path, namespace: str, token: str = "") -> Path:
        """Write a kubeconfig whose current context is `test`."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority-data": b64encode(self.ca_pem.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": "test", "user": {"token": token or self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path


class Namespace:
    """A namespace of its own, with what others do there."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.client = cluster.client()
        self.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def ask(self, method: str, path: str, body: Any = None, media: str = "application/json", **params: str) -> Any:
        """Return the answer to a call that succeeds."""
        answer = self.try_to(method, path, body, media, **params)
        assert answer.is_success, answer.text
        return answer.json()

    def try_to(
        self, method: str, path: str, body: Any = None, media: str = "application/json", **params: str
    ) -> httpx.Response:
        """Return the answer to a call, whatever it is."""
        content = None if body is None else json.dumps(body).encode()
        return self.client.request(method, path, params=params, content=content, headers={"Content-Type": media})

    def grant(self, role: Object) -> None:
        """Let the user of `own_token` do what a Role says, in this namespace."""
        name = role["metadata"]["name"]
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
        }
        self.ask("POST", self.path("roles"), role)
        self.ask("POST", self.path("rolebindings"), binding)

    def path(self, plural: str, name: str = "") -> str:
        """Return where objects of a kind are."""
        pattern = PATHS.get(plural, CORE)
        return pattern.format(namespace=self.name, plural=plural) + (f"/{name}" if name else "")

    def get(self, plural: str, name: str) -> Object | None:
        """Return an object, or None."""
        answer = self.try_to("GET", self.path(plural, name))
        return None if answer.status_code == httpx.codes.NOT_FOUND else dict(answer.raise_for_status().json())

    def names(self, plural: str) -> list[str]:
        """Return the names of all objects of a kind."""
        return [each["metadata"]["name"] for each in self.ask("GET", self.path(plural))["items"]]

    def merge(
        self, plural: str, name: str, change: Mapping[str, Any], manager: str = "kubectl-edit", sub: str = ""
    ) -> Object:
        """Change an object as a person does."""
        path = self.path(plural, name) + (f"/{sub}" if sub else "")
        return dict(self.ask("PATCH", path, change, "application/merge-patch+json", fieldManager=manager))

    def apply(self, plural: str, content: Mapping[str, Any], manager: str, *, force: bool = False) -> Object:
        """Apply an object as another manager does."""
        path = self.path(plural, content["metadata"]["name"])
        params = {"fieldManager": manager, "force": str(force).lower()}
        return dict(self.ask("PATCH", path, content, "application/apply-patch+yaml", **params))

    def route(self, name: str, *, accepted: bool = True) -> None:
        """Create an HTTPRoute as somebody else does, and have it accepted."""
        spec = {
            "parentRefs": [{"name": "mcp-gateway"}],
            "hostnames": [f"{name}.mcp.example"],
            "rules": [{"backendRefs": [{"name": name, "port": 443}]}],
        }
        content = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.ask("POST", self.path("httproutes"), content, fieldManager="helm")
        if accepted:
            self.accept(name)

    def accept(self, name: str, *, status: str = "True", message: str = "", generation: int | None = None) -> None:
        """Say what the Gateway says of an HTTPRoute."""
        route = self.ask("GET", self.path("httproutes", name))
        condition = {
            "type": "Accepted",
            "status": status,
            "reason": "Accepted" if status == "True" else "NotAllowedByListeners",
            "message": message,
            "observedGeneration": generation or route["metadata"]["generation"],
            "lastTransitionTime": _now(),
        }
        parent = {
            "parentRef": {"name": "mcp-gateway"},
            "controllerName": "istio.io/gateway-controller",
            "conditions": [condition],
        }
        self.merge("httproutes", name, {"status": {"parents": [parent]}}, "istio", "status")

    def say(self, name: str, status: str, reason: str, message: str) -> None:
        """Say what Kuadrant's controller says of a registration."""
        condition = {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": _now(),
        }
        self.merge("mcpserverregistrations", name, {"status": {"conditions": [condition]}}, "controller", "status")

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


class Controller:
    """Does what `look` says over and over, as a controller does, for as long as the context lasts."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failure: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        assert self.failure is None, self.failure

    def _run(self) -> None:
        while not self._end.wait(0.02):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the test says it, when it ends
                self.failure = error
                return


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - what a controller writes down
