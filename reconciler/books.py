"""The books of a store: its journal, its history and its ledger, in one database and over one connection; its lease.

They lie beside the gateways of an SQL store; for other stores in `.reconciler/` beside the manifests, which is made by
the first run that writes. Reading makes nothing.
"""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from reconciler import history, journal, ledger
from reconciler.database import SqliteTables, create_missing, errors_of, open_database
from reconciler.errors import StoreError
from reconciler.settings import shown_store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.core.lease import Fence
    from reconciler.leases import Lease
    from reconciler.settings import Settings
    from reconciler.tables import Session, Tables

DIRECTORY: Final = ".reconciler"

_POSTGRESQL: Final = "postgresql:"
_KUBERNETES: Final = "kubernetes:"


class Books:
    """The books of one store. With a `fence`, nothing is written once its lease is another's.

    `store` names the store where the books lie outside of it, and may have entries of others. With `lease_elsewhere`
    the lease is not in this database but in a cluster, so that no fence says anything to it.
    """

    def __init__(
        self, tables: Tables, store: str = "", fence: Fence | None = None, *, lease_elsewhere: bool = False
    ) -> None:
        self._tables = tables
        self._store = store
        self._lease_elsewhere = lease_elsewhere
        self._fence = fence = None if lease_elsewhere else fence
        self.journal = journal.Journal(tables, fence)
        self.history = history.History(tables, fence)
        self.ledger = ledger.Ledger(tables, store, fence)

    def under(self, fence: Fence | None) -> Books:
        """Return the same books, over the same connection, for whoever holds the lease of `fence`."""
        if self._lease_elsewhere or fence == self._fence:
            return self
        return Books(self._tables, self._store, fence)

    def writing(self) -> AbstractContextManager[Session]:
        """Hold one transaction around all that is written inside.

        Raises:
            LeaseHeldError: the lease of the fence is another's by now.
            StoreBusyError: another writer holds the database.
            StoreError: it cannot be written, or was opened for reading before it was there.
        """
        return self._tables.writing(self._fence)

    def close(self) -> None:
        """Let go of the database."""
        self._tables.close()


def open_books(
    path: Path, store: str = "", *, create: bool, fence: Fence | None = None, lease_elsewhere: bool = False
) -> Books:
    """Return the books in the file at `path`, which may be that of an SQLite store.

    Without `create`, a file that does not exist reads as empty, and stays away.

    Raises:
        StoreError: the file is not a database, or another program's.
    """
    with errors_of(path):
        tables = SqliteTables(path, open_database(path, _prepare, create=create))
    return Books(tables, store, fence, lease_elsewhere=lease_elsewhere)


def open_books_at(url: str, environ: Mapping[str, str], *, create: bool, fence: Fence | None = None) -> Books:
    """Return the books beside the gateways of a PostgreSQL store.

    Raises:
        StoreError: the database cannot be reached, or its tables are another program's.
    """
    from reconciler.postgresql.address import address_of
    from reconciler.postgresql.tables import PostgresqlTables

    rooms = {"the journal": journal.STEPS, "the history": history.STEPS, "the ledger": ledger.STEPS}
    return Books(PostgresqlTables(address_of(url, environ), rooms, create=create), "", fence)


@contextmanager
def books_of(
    settings: Settings, *, create: bool, fence: Fence | None = None, environ: Mapping[str, str] = os.environ
) -> Iterator[Books | None]:
    """Yield the books of the store, or None where a store has none. `environ` has the password of a database."""
    url = settings.target.store
    if url.startswith(_POSTGRESQL):
        books = open_books_at(url, environ, create=create, fence=fence)
    elif (path := file_of(settings, create=create)) is not None:
        beside = "" if url.startswith("sqlite:") else shown_store(url)
        elsewhere = url.startswith(_KUBERNETES)
        books = open_books(path, beside, create=create, fence=fence, lease_elsewhere=elsewhere)
    else:
        yield None
        return
    with closing(books):
        yield books


@contextmanager
def ledger_of(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> Iterator[ledger.Ledger | None]:
    """Yield the ledger of the store for reading, or None where none is kept."""
    with books_of(settings, create=False, environ=environ) as books:
        yield books.ledger if books is not None and settings.history_keep else None


def lease_of(settings: Settings, *, environ: Mapping[str, str] = os.environ) -> Lease | None:
    """Return the lease of the target, or None where a store has no room for one. It is the caller's to close.

    It lies in the cluster of a Kubernetes store, else where the journal does, under the name that the target puts into
    its stamps: targets that share a database have a lease each, and whatever writes for the same target anywhere has
    the same one.

    Raises:
        InputError: there is no usable way into the cluster.
        StoreError: the database cannot be reached.
    """
    from reconciler.history import this_process
    from reconciler.leases.kubernetes import open_kubernetes_lease
    from reconciler.leases.postgresql import open_postgresql_lease
    from reconciler.leases.sqlite import open_sqlite_lease

    name = settings.stamp_owner
    if settings.target.store.startswith(_POSTGRESQL):
        return open_postgresql_lease(settings.target.store, environ, name, this_process())
    if settings.target.store.startswith(_KUBERNETES):
        return open_kubernetes_lease(settings.target.store, environ, name, this_process())
    path = file_of(settings, create=True)
    return None if path is None else open_sqlite_lease(path, name, this_process())


def file_of(settings: Settings, *, create: bool) -> Path | None:
    """Return the file that the books are in; a store that forgets has none.

    Raises:
        StoreError: its directory cannot be made, or is a link: a repository must not choose what is written to.
    """
    from reconciler.stores import sqlite_path

    target = settings.target
    if (beside := sqlite_path(target.store)) is not None:
        return beside
    if target.store.startswith("memory:") or not settings.history_keep:
        return None
    directory = settings.root / DIRECTORY
    path = directory / f"journal-{target.name}.db"
    if directory.is_symlink() or path.is_symlink():
        raise StoreError(f"{path} is reached through a link", fix="remove the link: the journal is made where it is")
    if create:
        _make_private(directory)
    return path


def _make_private(directory: Path) -> None:
    """Make a directory that its owner alone can read, and that git does not see."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / ".gitignore").write_text("*\n", encoding="ascii")
    except OSError as error:
        fix = "let it be written, or set `spec.history.keep: 0` in reconciler.yaml to keep no history"
        raise StoreError(f"{directory} cannot be made: {error.strerror}", fix=fix) from error


def _prepare(connection: sqlite3.Connection) -> None:
    create_missing(connection, (*journal.TABLES, *history.TABLES, *ledger.TABLES))
    history.bring_forward(connection)
