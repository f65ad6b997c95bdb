"""An API server that keeps state and enforces what a client can get wrong, for where no real one is.

Server-side apply with ownership and conflicts, strict fields, defaults, validation rules, versions, preconditions, dry
runs, finalizers, label and field selectors, pages, watches and RBAC, with the status codes and texts of kube-apiserver
1.36. It is not one: lists are atomic, `managedFields` are shown in their own words, and there are only the kinds below.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kubernetes_cluster import CRDS, USER
from kubernetes_ownership import Holders, Manager, Object, drop
from kubernetes_schema import BUILT_IN, defaulted, invalid, undeclared

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

_APIS = {
    "v1": ("namespaces", "secrets", "configmaps", "services"),
    "coordination.k8s.io/v1": ("leases",),
    "rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
}
_SCHEMAS: dict[str, Any] = BUILT_IN | {
    each["spec"]["names"]["plural"]: each["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for each in CRDS
}
_CUSTOM = {each["spec"]["names"]["plural"]: f"{each['spec']['group']}/v1" for each in CRDS}
_API_OF = {plural: api for api, plurals in _APIS.items() for plural in plurals} | _CUSTOM
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class Refusal(Exception):  # noqa: N818 - it is an answer
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str, causes: list[Object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
        }
        self.body |= {"code": code, **({"reason": reason} if reason else {})}
        if causes:
            self.body["details"] = {"causes": causes}


@dataclass
class Stored:
    """An object and who holds its fields."""

    content: Object
    holders: Holders = field(default_factory=Holders)


@dataclass(frozen=True, slots=True)
class Request:
    """A request for an object of a kind, or for all of them."""

    method: str
    plural: str
    namespace: str
    name: str
    sub: str
    params: Mapping[str, str]
    body: Any
    media: str
    user: str

    @property
    def key(self) -> tuple[str, str]:
        """Where its objects are."""
        return self.plural, self.namespace

    @property
    def dry_run(self) -> bool:
        """Whether nothing may come of it."""
        return self.params.get("dryRun") == "All"


Fault = Callable[[Request], tuple[int, Mapping[str, str], bytes] | None]


class Api:
    """The state, and what requests do to it."""

    def __init__(self) -> None:
        self.admin = secrets.token_hex(16)
        self.own = secrets.token_hex(16)
        self.users = {self.admin: "admin", self.own: USER}
        self.faults: list[Fault] = []
        self._kept: dict[tuple[str, str], dict[str, Stored]] = {}
        self._version = 100
        self._events: list[tuple[int, str, str, str, Object]] = []
        self._news = threading.Condition()

    def answer(self, request: Request) -> tuple[int, Any]:
        """Return status and body for a request."""
        with self._news:
            try:
                self._authorize(request)
                code, body = self._route(request)
            except Refusal as refusal:
                return refusal.code, refusal.body
            self._news.notify_all()
            return code, body

    def refusal(self, request: Request) -> tuple[int, Any] | None:
        """Return what is said to one who may not do that, or None."""
        with self._news:
            try:
                self._authorize(request)
            except Refusal as refusal:
                return refusal.code, refusal.body
        return None

    def watch(self, request: Request) -> Iterator[bytes]:
        """Yield the lines of a watch until its time is over, and up to where it went."""
        seen = int(request.params.get("resourceVersion") or self._version)
        deadline = time.monotonic() + float(request.params.get("timeoutSeconds", "5"))
        while (left := deadline - time.monotonic()) > 0:
            with self._news:
                if not (fresh := [each for each in self._events if each[0] > seen]):
                    self._news.wait(timeout=left)
                seen = max([seen, *(each[0] for each in fresh)])
            for _, plural, namespace, kind, content in fresh:
                if (plural, namespace) == request.key and _selected(content, request.params):
                    yield _line(kind, content)
        if request.params.get("allowWatchBookmarks") == "true":
            yield _line("BOOKMARK", {"metadata": {"resourceVersion": str(seen)}})

    def _authorize(self, request: Request) -> None:
        if request.user == "admin":
            return
        verb = _VERBS.get(request.method, "get" if request.name else "list")
        verb = "watch" if request.params.get("watch") else verb
        verbs = {verb, "create"} if request.media == APPLY and request.name not in self._of(request) else {verb}
        for each in verbs:
            if not self._may(request, each):
                message = (
                    f'{request.plural} is forbidden: User "{request.user}" cannot {each} resource "{request.plural}"'
                )
                raise Refusal(403, "Forbidden", message)

    def _may(self, request: Request, verb: str) -> bool:
        group = _API_OF[request.plural].rpartition("/")[0]
        resource = request.plural + (f"/{request.sub}" if request.sub else "")
        for binding in self._kept.get(("rolebindings", request.namespace), {}).values():
            if not any(each.get("name") == request.user for each in binding.content["subjects"]):
                continue
            role = self._kept[("roles", request.namespace)][binding.content["roleRef"]["name"]]
            if any(_allows(rule, group, resource, verb, request.name) for rule in role.content["rules"]):
                return True
        return False

    def _of(self, request: Request) -> dict[str, Stored]:
        return self._kept.setdefault(request.key, {})

    def _route(self, request: Request) -> tuple[int, Any]:
        if request.plural != "namespaces" and request.namespace not in self._kept.get(("namespaces", ""), {}):
            raise Refusal(404, "NotFound", f'namespaces "{request.namespace}" not found')
        if request.method == "GET":
            return 200, self._get(request).content if request.name else self._list(request)
        if request.method == "POST":
            return 201, self._create(request)
        if request.method == "PATCH":
            return self._apply(request) if request.media == APPLY else (200, self._merge(request))
        if request.method == "PUT":
            return 200, self._replace(request)
        return 200, self._delete(request)

    def _get(self, request: Request) -> Stored:
        found = self._of(request).get(request.name)
        if found is None:
            raise Refusal(404, "NotFound", f'{request.plural} "{request.name}" not found')
        return found

    def _list(self, request: Request) -> Object:
        start, limit = "", int(request.params.get("limit", "0")) or None
        if token := request.params.get("continue"):
            try:
                start = json.loads(b64decode(token, validate=True))["start"]
            except ValueError:
                raise Refusal(400, "BadRequest", "invalid continue token") from None
        objects = [each.content for name, each in sorted(self._of(request).items()) if name > start]
        chosen = [each for each in objects if _selected(each, request.params)]
        page = chosen[:limit]
        metadata: Object = {"resourceVersion": str(self._version)}
        if len(page) < len(chosen):
            metadata["continue"] = b64encode(json.dumps({"start": page[-1]["metadata"]["name"]}).encode()).decode()
        return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": page}

    def _create(self, request: Request) -> Object:
        name = request.body["metadata"]["name"]
        if name in self._of(request):
            raise Refusal(409, "AlreadyExists", f'{request.plural} "{name}" already exists')
        stored = Stored(self._new(request, name))
        content = self._judged(request, {**stored.content, **_writable(request.body, stored.content)}, None)
        stored.holders.update(self._manager(request, "Update"), {}, content)
        return self._keep(request, name, stored, content)

    def _apply(self, request: Request) -> tuple[int, Object]:
        manager = self._manager(request, "Apply")
        if unknown := list(undeclared(_SCHEMAS[request.plural], request.body)):
            raise Refusal(500, "", f"failed to create typed patch object: {unknown[0]}: field not declared in schema")
        found = self._of(request).get(request.name)
        live = found.content if found else self._new(request, request.name)
        if found is not None:
            self._compare(request, live)
        stored = Stored(live, deepcopy(found.holders) if found else Holders())
        conflicts = stored.holders.conflicts(manager, live, request.body)
        if conflicts and request.params.get("force") != "true":
            causes = [
                {"reason": "FieldManagerConflict", "message": other.said(), "field": "." + ".".join(path)}
                for other, path in conflicts
            ]
            raise Refusal(409, "Conflict", f"Apply failed with {len(conflicts)} conflict(s)", causes)
        content = self._judged(request, stored.holders.apply(manager, live, request.body), live if found else None)
        return (200 if found else 201), self._keep(request, request.name, stored, content)

    def _merge(self, request: Request) -> Object:
        found = self._get(request)
        self._compare(request, found.content)
        merged = _merged(found.content, {key: each for key, each in request.body.items() if key != "metadata"})
        if not request.sub:
            merged["metadata"] = _merged(found.content["metadata"], request.body.get("metadata", {}))
            merged["metadata"]["resourceVersion"] = found.content["metadata"]["resourceVersion"]
        if request.params.get("fieldValidation") == "Strict" and (
            unknown := list(undeclared(_SCHEMAS[request.plural], merged))
        ):
            raise Refusal(400, "BadRequest", f'strict decoding error: unknown field "{unknown[0]}"')
        content = self._judged(request, merged, found.content)
        stored = Stored(found.content, deepcopy(found.holders))
        stored.holders.update(self._manager(request, "Update"), found.content, content)
        if content["metadata"].get("deletionTimestamp") and not content["metadata"].get("finalizers"):
            return self._gone(request, found)
        return self._keep(request, request.name, stored, content)

    def _replace(self, request: Request) -> Object:
        found = self._get(request)
        if not request.body["metadata"].get("resourceVersion"):
            raise Refusal(422, "Invalid", "metadata.resourceVersion: Invalid value: must be specified for an update")
        self._compare(request, found.content)
        if unknown := list(undeclared(_SCHEMAS[request.plural], request.body)):
            raise Refusal(400, "BadRequest", f'strict decoding error: unknown field "{unknown[0]}"')
        kept = {key: found.content["metadata"][key] for key in ("name", "namespace", "uid", "creationTimestamp")}
        given = {**request.body, "metadata": {**request.body["metadata"], **kept}}
        content = self._judged(request, given, found.content)
        stored = Stored(found.content, deepcopy(found.holders))
        stored.holders.update(self._manager(request, "Update"), found.content, content)
        return self._keep(request, request.name, stored, content)

    def _delete(self, request: Request) -> Object:
        found = self._get(request)
        held = (request.body or {}).get("preconditions", {})
        for name, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            if name in held and held[name] != found.content["metadata"][name]:
                message = f"Operation cannot be fulfilled: the {word} in the precondition does not match"
                raise Refusal(409, "Conflict", message)
        if not found.content["metadata"].get("finalizers"):
            return self._gone(request, found)
        content = deepcopy(found.content)
        content["metadata"].setdefault("deletionTimestamp", _now())
        return self._keep(request, request.name, Stored(found.content, found.holders), content)

    def _gone(self, request: Request, found: Stored) -> Object:
        if not request.dry_run:
            del self._of(request)[request.name]
            self._version += 1
            self._tell(request, "DELETED", found.content)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    def _judged(self, request: Request, content: Object, old: Object | None) -> Object:
        schema = _SCHEMAS[request.plural]
        filled = defaulted(schema, content)
        plain = {key: each for key, each in filled.items() if key not in ("metadata", "apiVersion", "kind")}
        if errors := list(invalid(schema, plain | {"metadata": {}}, old)):
            raise Refusal(422, "Invalid", f'"{request.name}" is invalid: {"; ".join(errors)}')
        metadata = filled["metadata"]
        if request.plural == "secrets":
            try:
                [b64decode(each, validate=True) for each in filled.get("data", {}).values()]
            except ValueError:
                raise Refusal(500, "", "failed to convert new object: illegal base64 data") from None
        if request.plural in _CUSTOM and _content(filled) != _content(old or {}):
            metadata["generation"] = metadata.get("generation", 0) + 1
        return dict(filled)

    def _keep(self, request: Request, name: str, stored: Stored, content: Object) -> Object:
        before = self._of(request).get(name)
        if before is not None and _plain(before.content) == _plain(content) and before.holders == stored.holders:
            return before.content
        if request.dry_run:
            if before is None:
                drop(content, ("metadata", "resourceVersion"))
            return content
        self._version += 1
        content["metadata"]["resourceVersion"] = str(self._version)
        content["metadata"]["managedFields"] = stored.holders.shown()
        self._of(request)[name] = Stored(content, stored.holders)
        self._tell(request, "MODIFIED" if before else "ADDED", content)
        return content

    def _tell(self, request: Request, kind: str, content: Object) -> None:
        self._events.append((self._version, *request.key, kind, content))

    def _new(self, request: Request, name: str) -> Object:
        metadata = {"name": name, "uid": secrets.token_hex(8), "creationTimestamp": _now(), "resourceVersion": "0"}
        if request.namespace:
            metadata["namespace"] = request.namespace
        return {"apiVersion": _API_OF[request.plural], "kind": request.body["kind"], "metadata": metadata}

    def _compare(self, request: Request, live: Object) -> None:
        given = request.body.get("metadata", {})
        if given.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            raise Refusal(422, "Invalid", "metadata.uid: Invalid value: field is immutable")
        if given.get("resourceVersion", live["metadata"]["resourceVersion"]) != live["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", "Operation cannot be fulfilled: the object has been modified")

    def _manager(self, request: Request, operation: str) -> Manager:
        name = request.params.get("fieldManager", "unknown")
        return Manager(name, operation, _API_OF[request.plural], request.sub)


def _allows(rule: Object, group: str, resource: str, verb: str, name: str) -> bool:
    named = name in rule.get("resourceNames", [name])
    return named and group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]


def _line(kind: str, content: Object) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


def _writable(body: Object, new: Object) -> Object:
    return {**body, "metadata": {**body["metadata"], **new["metadata"]}}


def _selected(content: Object, params: Mapping[str, str]) -> bool:
    labels = content["metadata"].get("labels", {})
    for each in filter(None, params.get("labelSelector", "").split(",")):
        name, _, value = each.partition("=")
        if labels.get(name) != value:
            return False
    wanted = params.get("fieldSelector", "").removeprefix("metadata.name=")
    return not wanted or content["metadata"]["name"] == wanted


def _merged(value: Any, change: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(change, dict):
        return deepcopy(change)
    result = dict(value) if isinstance(value, dict) else {}
    for name, part in change.items():
        if part is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), part)
    return result


def _content(content: Object) -> Object:
    return {key: each for key, each in content.items() if key not in ("metadata", "status")}


def _plain(content: Object) -> Object:
    metadata = {
        key: each for key, each in content["metadata"].items() if key not in ("managedFields", "resourceVersion")
    }
    return {**content, "metadata": metadata}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251 - a server has a clock
