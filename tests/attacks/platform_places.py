"""The stores that run by themselves, as an attacker finds them: PostgreSQL, ContextForge's database, a cluster."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from places import ENVIRON, Sql, a_change

from reconciler.composition import access
from reconciler.core.model import KuadrantOptions, SecretReference
from reconciler.postgresql.address import PASSWORD
from reconciler.stores import open_store
from reconciler.stores.contextforge.marks import sealed_of, tags_of
from reconciler.stores.kubernetes.address import address_of
from reconciler.stores.kubernetes.objects import REGISTRATION, ROUTE, SECRET, SERVICE, objects_of
from reconciler.stores.kubernetes.store import KubernetesStore
from reconciler.stores.kubernetes.writing import Patience
from reconciler.stores.rows import slug

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kubernetes_cluster import Namespace
    from live_contextforge import ContextForge
    from live_postgresql import PostgreSQL

    from reconciler.core.model import Gateway, LiveGateway
    from reconciler.core.ports import Signer, Store

_KINDS = REGISTRATION, ROUTE, SERVICE, SECRET
_PATIENCE = Patience(route=10.0, finalizer=5.0, word=0.0)


class PostgreSQLTables(Sql):
    """A schema of PostgreSQL, and another role's connection to it."""

    by: ClassVar = "SQL, to a server that runs"

    def __init__(self, server: PostgreSQL, schema: str) -> None:
        self._server = server
        self._schema = schema

    def open(self, signer: Signer | None) -> Store:
        url, environ = self.address()
        return open_store(url, create=True, access=access({**ENVIRON, **environ}, signer))

    def address(self) -> tuple[str, Mapping[str, str]]:
        return self._server.url(schema=self._schema), {PASSWORD: self._server.password}

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        with closing(self._server.connect(self._schema)) as connection:
            answer = connection.execute(statement.replace("?", "%s").encode(), [_as_json(value) for value in values])
            return answer.fetchall() if answer.description else []


def _as_json(value: Any) -> Any:
    """Return a value of a JSON column as one is given back to it."""
    return json.dumps(value) if isinstance(value, dict | list) else value


class ContextForgeDatabase:
    """A ContextForge that runs, and its database. Its gateways lead to `upstream`, whatever they are called."""

    lacks: ClassVar[Mapping[str, str]] = {"Trust public CAs besides the bundle": "the platform always trusts them"}
    by: ClassVar = "SQL, in the database of the platform itself, which runs"

    def __init__(self, platform: ContextForge, upstream: str) -> None:
        self._platform = platform
        self._upstream = upstream
        platform.empty()

    def shaped(self, gateway: Gateway) -> Gateway:
        """The platform connects before it stores, and takes a URL once."""
        path = gateway.url.partition("//")[2]
        return replace(gateway, url=f"{self._upstream}?for={path}", system_trust=True)

    def open(self, signer: Signer | None) -> Store:
        url, environ = self.address()
        return open_store(url, create=True, access=access({**ENVIRON, **environ}, signer))

    def address(self) -> tuple[str, Mapping[str, str]]:
        return f"contextforge+{self._platform.url}", {"RECONCILER_CONTEXTFORGE_TOKEN": self._platform.token}

    def leave(self, like: str, held: LiveGateway, row: LiveGateway) -> None:
        (found,) = self._rows("WHERE name = ?", like)
        gateway, sealed = row.gateway, sealed_of(json.loads(found["tags"]))
        if sealed is not None:
            sealed = replace(sealed, secrets=gateway.auth.secrets)
        found |= {
            "name": gateway.name,
            "slug": slug(gateway.name),
            "url": gateway.url,
            "description": gateway.description,
            "enabled": gateway.enabled,
            "ca_certificate": gateway.ca_certificate or None,
            "ca_certificate_sig": row.signature or None,
            "tags": json.dumps(tags_of(gateway.tags, row.stamp, row.record, sealed)),
        }
        if gateway.name == like:
            self._put("UPDATE", found)
        else:
            assert gateway.auth == held.gateway.auth
            self._put("INSERT", {**found, "id": f"{slug(gateway.name):0<32}"})

    def remove(self, name: str) -> None:
        self._ask("DELETE FROM gateways WHERE name = ?", name)

    def save(self) -> Any:
        return self._rows()

    def restore(self, saved: Any) -> None:
        self._ask("DELETE FROM gateways")
        for row in saved:
            self._put("INSERT", row)

    def _rows(self, where: str = "", *values: Any) -> list[dict[str, Any]]:
        return self._ask(f"SELECT * FROM gateways {where}", *values)  # noqa: S608 - it is ours

    def _put(self, how: str, row: Mapping[str, Any]) -> None:
        if how == "UPDATE":
            columns = ", ".join(f"{name} = ?" for name in row)
            self._ask(f"UPDATE gateways SET {columns} WHERE id = ?", *row.values(), row["id"])  # noqa: S608 - as above
        else:
            marks = ", ".join("?" * len(row))
            self._ask(f"INSERT INTO gateways ({', '.join(row)}) VALUES ({marks})", *row.values())  # noqa: S608

    def _ask(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self._platform.database, timeout=60)) as database, database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(statement, values)]


class ClusterObjects:
    """A namespace of a cluster, and an administrator who edits what is in it."""

    lacks: ClassVar[Mapping[str, str]] = {"Trust public CAs besides the bundle": "Kuadrant always trusts them"}
    by: ClassVar = "the API, as an administrator who edits the objects"

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        self.namespace = namespace
        cluster = namespace.cluster
        self._config = cluster.kubeconfig(directory / "kubeconfig", namespace.name, cluster.own_token)

    def shaped(self, gateway: Gateway) -> Gateway:
        """Kuadrant takes a credential from a Secret, and leads to an upstream by a route."""
        options = KuadrantOptions(hostname=f"{gateway.name}.mcp.example", parent="mcp-gateway", route=gateway.name)
        secrets = tuple(
            (purpose, SecretReference("secretKeyRef", each.name.lower().replace("_", "-"), "header"))
            for purpose, each in gateway.auth.secrets
        )
        auth = replace(gateway.auth, secrets=secrets)
        return replace(gateway, kuadrant=options, auth=auth, system_trust=True)

    def open(self, signer: Signer | None) -> Store:  # noqa: ARG002 - it has no use for one
        return KubernetesStore(address_of(*self.address()), _PATIENCE)

    def address(self) -> tuple[str, Mapping[str, str]]:
        return "kubernetes://test/", {"KUBECONFIG": str(self._config)}

    def leave(self, like: str, held: LiveGateway, row: LiveGateway) -> None:  # noqa: ARG002 - all objects are written
        for kind, made in objects_of(a_change(None, row), self.namespace.name).items():
            self._write(kind.plural, made)

    def remove(self, name: str) -> None:
        for kind, each in self._ours():
            if each["metadata"]["labels"]["reconciler/gateway"] == name:
                self.namespace.ask("DELETE", self.namespace.path(kind, each["metadata"]["name"]))

    def save(self) -> Any:
        return self._ours()

    def restore(self, saved: Any) -> None:
        wanted = {(kind, each["metadata"]["name"]) for kind, each in saved}
        for kind, each in self._ours():
            if (kind, each["metadata"]["name"]) not in wanted:
                self.namespace.ask("DELETE", self.namespace.path(kind, each["metadata"]["name"]))
        for kind, each in saved:
            metadata = {key: each["metadata"][key] for key in ("name", "labels", "annotations")}
            self._write(kind, {**each, "metadata": metadata})

    def accept(self) -> None:
        """Have a Gateway accept every route that there is."""
        for name in self.namespace.names("httproutes"):
            found = self.namespace.get("httproutes", name)
            if found is not None and not _is_accepted(found):
                self._accept(name)

    def _accept(self, name: str) -> None:
        try:
            self.namespace.accept(name)
        except AssertionError:
            if self.namespace.get("httproutes", name) is not None:  # otherwise it was deleted meanwhile
                raise

    def _ours(self) -> list[tuple[str, Any]]:
        found = [(kind.plural, self._items(kind.plural)) for kind in _KINDS]
        return [(kind, each) for kind, every in found for each in every if "labels" in each["metadata"]]

    def _items(self, plural: str) -> list[Any]:
        return list(self.namespace.ask("GET", self.namespace.path(plural))["items"])

    def _write(self, plural: str, made: Mapping[str, Any]) -> None:
        """Make an object what it is to be, as `kubectl edit` does, or create it."""
        name = made["metadata"]["name"]
        found = self.namespace.get(plural, name)
        if found is None:
            self.namespace.ask("POST", self.namespace.path(plural), dict(made), fieldManager="kubectl-edit")
            return
        marks = dict.fromkeys(found["metadata"].get("annotations", {})) | made["metadata"]["annotations"]
        change: dict[str, Any] = {"metadata": {"labels": made["metadata"]["labels"], "annotations": marks}}
        for part in ("spec", "data"):
            if part in made:
                change[part] = dict.fromkeys(found.get(part, {})) | made[part]
        self.namespace.merge(plural, name, change)


def _is_accepted(route: Any) -> bool:
    parents = route.get("status", {}).get("parents", [])
    generations = [each["observedGeneration"] for parent in parents for each in parent["conditions"]]
    return generations == [route["metadata"]["generation"]]
