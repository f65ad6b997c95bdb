"""The stores as an attacker finds them: how rows get into each of them without the store's own way of writing.

`places.PLACES` opens each for as long as a test needs it. Rows are translated as the store would, for the attacker can
read its code; they are written with SQL, into files, or through the API of a cluster.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import yaml

from reconciler.composition import access
from reconciler.core.model import Action, Audit, Change, Reason
from reconciler.stores import open_store
from reconciler.stores.kuadrant.marks import file_digest, mark_document
from reconciler.stores.kuadrant.rows import canonical, entry_of, mark_of
from reconciler.stores.rows import CONTENT, content

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.core.model import Gateway, LiveGateway
    from reconciler.core.ports import Signer, Store
    from reconciler.stores.access import Access

ENVIRON = {"REFUNDS_TOKEN": "hunter2", "vault-token": "correct horse"}


class Place(Protocol):
    """A store, and whoever may write everything in it."""

    lacks: ClassVar[Mapping[str, str]]
    """The attacks for which the store has no room, and why."""
    by: ClassVar[str]
    """What the attacker writes with."""

    def shaped(self, gateway: Gateway) -> Gateway:
        """Return the gateway as far as the store has room for it."""

    def open(self, signer: Signer | None) -> Store:
        """Return the store as the reconciler opens it, with this key or without one."""

    def address(self) -> tuple[str, Mapping[str, str]]:
        """Return the URL of the store, and what the environment has to say besides."""

    def leave(self, like: str, held: LiveGateway, row: LiveGateway) -> None:
        """Write a row in the place of the one called `like`, which holds `held`, or beside it under another name."""

    def remove(self, name: str) -> None:
        """Delete a row."""

    def save(self) -> Any:
        """Return everything that the store holds."""

    def restore(self, saved: Any) -> None:
        """Make the store hold that again."""


def a_change(held: LiveGateway | None, row: LiveGateway) -> Change:
    """Return the change that would write a row."""
    action = Action.CREATE if held is None else Action.UPDATE
    name, gateway = row.gateway.name, row.gateway
    return Change(action, name, Reason.ADDED, held, gateway, row.signature, row.stamp, record=row.record)


class Memory:
    """The process itself: nobody gets at it but through the store."""

    lacks: ClassVar[Mapping[str, str]] = {}
    by: ClassVar = "the store itself, for it is one process"

    def __init__(self) -> None:
        self._store = open_store("memory:", create=True)

    def shaped(self, gateway: Gateway) -> Gateway:
        return gateway

    def open(self, signer: Signer | None) -> Store:  # noqa: ARG002 - it has no use for one
        return self._store

    def address(self) -> tuple[str, Mapping[str, str]]:
        return "memory:", {}

    def leave(self, like: str, held: LiveGateway, row: LiveGateway) -> None:
        self._apply([a_change(held if row.gateway.name == like else None, row)])

    def remove(self, name: str) -> None:
        held = self._store.read().gateways[name]
        self._apply([Change(Action.DELETE, name, Reason.REMOVED_FROM_GIT, held)])

    def save(self) -> Any:
        return self._store.read().gateways

    def restore(self, saved: Any) -> None:
        for name in self._store.read().gateways:
            self.remove(name)
        self._apply([a_change(None, row) for row in saved.values()])

    def _apply(self, changes: list[Change]) -> None:
        from arena import NOW

        outcomes = self._store.apply(changes, Audit("mallory", "memory", NOW))
        assert [each.status for each in outcomes] == ["applied"] * len(changes)


class Sql:
    """The tables of SQLite or PostgreSQL, and a connection of the attacker's own."""

    lacks: ClassVar[Mapping[str, str]] = {}
    by: ClassVar = "SQL"

    def shaped(self, gateway: Gateway) -> Gateway:
        return gateway

    def open(self, signer: Signer | None) -> Store:
        raise NotImplementedError

    def address(self) -> tuple[str, Mapping[str, str]]:
        raise NotImplementedError

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        """Return the answer to a statement with the place-holders of SQLite."""
        raise NotImplementedError

    def leave(self, like: str, held: LiveGateway, row: LiveGateway) -> None:  # noqa: ARG002 - all columns are written
        name, stamp = row.gateway.name, row.stamp
        self.remove(name)
        columns = ("id", *CONTENT)
        self._insert(
            f"gateways ({', '.join(columns)})", (f"id of {name}", *content(row.gateway, row.signature, row.record))
        )
        if stamp is not None:
            fields = ("gateway_id", "owner", "manifest", "revision", "digest", "protected", "stamped_at")
            marks = (stamp.owner, stamp.manifest, stamp.revision, stamp.digest, stamp.protected)
            self._insert(f"reconciler_stamps ({', '.join(fields)})", (f"id of {name}", *marks, "2026-11-21 12:00:00"))

    def remove(self, name: str) -> None:
        self._ask("DELETE FROM reconciler_stamps WHERE gateway_id = (SELECT id FROM gateways WHERE name = ?)", name)
        self._ask("DELETE FROM gateways WHERE name = ?", name)

    def save(self) -> Any:
        return self._ask("SELECT * FROM gateways"), self._ask("SELECT * FROM reconciler_stamps")

    def restore(self, saved: Any) -> None:
        self._ask("DELETE FROM reconciler_stamps")
        self._ask("DELETE FROM gateways")
        for table, rows in zip(("gateways", "reconciler_stamps"), saved, strict=True):
            for row in rows:
                self._insert(table, row)

    def _insert(self, into: str, values: tuple[Any, ...]) -> None:
        self._ask(f"INSERT INTO {into} VALUES ({', '.join('?' * len(values))})", *values)  # noqa: S608 - no value is in it


class Sqlite(Sql):
    """The file of an SQLite store."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def open(self, signer: Signer | None) -> Store:  # noqa: ARG002 - it has no use for one
        return open_store(self.address()[0], create=True)

    def address(self) -> tuple[str, Mapping[str, str]]:
        return f"sqlite:///{self._file}", {}

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._file)) as database, database:
            return database.execute(statement, values).fetchall()


class BrokersFile:
    """The file of a Kuadrant broker and the one beside it, and an editor."""

    lacks: ClassVar[Mapping[str, str]] = {"Trust public CAs besides the bundle": "the broker always trusts them"}
    by: ClassVar = "an editor, in the broker's file and the one beside it"

    def __init__(self, directory: Path) -> None:
        self._file = directory / "config.yaml"

    @property
    def _beside(self) -> Path:
        (found,) = (path for path in self._file.parent.iterdir() if path.name.endswith("reconciler.json"))
        return found

    def _access(self, signer: Signer | None = None) -> Access:
        return access(ENVIRON, signer)

    def shaped(self, gateway: Gateway) -> Gateway:
        return canonical(gateway)

    def open(self, signer: Signer | None) -> Store:
        return open_store(self.address()[0], create=True, access=self._access(signer))

    def address(self) -> tuple[str, Mapping[str, str]]:
        return f"kuadrant+file://{self._file}", {}

    def leave(self, like: str, held: LiveGateway, row: LiveGateway) -> None:  # noqa: ARG002 - all of it is written
        gateway = row.gateway
        credential = {each["name"]: each.get("credential", "") for each in self._servers()}[like]
        entry = entry_of(gateway, credential if gateway.auth.secrets else "")
        mark = mark_document(mark_of(a_change(None, row), gateway, entry, self._salt(), self._access()))
        self._edit(gateway.name, entry, mark)

    def remove(self, name: str) -> None:
        self._edit(name, None, None)

    def save(self) -> Any:
        return {path: path.read_bytes() for path in (self._file, self._beside)}

    def restore(self, saved: Any) -> None:
        for path, data in saved.items():
            path.write_bytes(data)

    def _servers(self) -> list[Any]:
        return list(yaml.safe_load(self._file.read_text())["servers"])

    def _salt(self) -> str:
        return str(json.loads(self._beside.read_text())["salt"])

    def _edit(self, name: str, entry: Any, mark: Any) -> None:
        """Replace a server, and make what stands beside the file fit."""
        servers = [each for each in self._servers() if each["name"] != name] + ([entry] if entry else [])
        heading = "".join(line for line in self._file.read_text().splitlines(keepends=True) if line.startswith("#"))
        document = {**yaml.safe_load(self._file.read_text()), "servers": servers}
        data = (heading + yaml.safe_dump(document)).encode()
        known = json.loads(self._beside.read_text())
        marks = {**known["versions"][0]["servers"], name: mark}
        known["versions"] = [
            {"file": file_digest(data), "servers": {key: each for key, each in marks.items() if each is not None}}
        ]
        self._beside.write_text(json.dumps(known))
        self._file.write_bytes(data)
