"""Sessions with a PostgreSQL database: statements in, rows out, and the errors of the driver translated.

Statements are written as for SQLite, with `?` where values go, so that the rooms above need one form of each. No
exception of psycopg leaves `errors_of`, and nothing waits for ever.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import StoreBusyError, StoreError
from reconciler.postgresql.address import CA_FILE, PASSWORD, PASSWORD_FILE, driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from reconciler.postgresql.address import Address

LOCK_SECONDS: Final = 5
"""How long a statement waits for a lock that another session holds."""

STATEMENT_SECONDS: Final = 60
SILENCE_SECONDS: Final = 10
"""How long a transaction of ours may be silent before the server takes it back: whoever is paused in the middle of a
write must not keep the others from going on."""

LENGTH_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of the longest row that is read, as in an SQLite file of ours."""

_SESSION: Final = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{SILENCE_SECONDS}s",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "standard_conforming_strings": "on",
}
_BATCH: Final = 1000

_NO_NUL: Final = str.maketrans({"\0": "\N{SYMBOL FOR NULL}"})

_BUSY: Final = {
    "40001": "another session wrote the same rows",
    "40P01": "another session wrote the same rows",
    "53300": "it has too many connections already",
    "55P03": f"another session has been writing for more than {LOCK_SECONDS} seconds",
    "57014": f"a statement took longer than {STATEMENT_SECONDS} seconds",
}
_EXPLAINED: Final = {
    "25006": ("may only be read", "name the primary server, or add `target_session_attrs=read-write` to the URL"),
    "42501": ("does not permit that", "grant the role what docs/postgresql.md lists"),
    "53100": ("cannot grow: the disk is full", "free some space; nothing of this write was kept"),
    "57P01": ("was shut down by its administrator", "try again once it is back"),
    "57P02": ("was shut down by a crash of the server", "try again once it is back"),
    "57P03": ("is starting, or shutting down", "try again once it is up"),
    "25P03": (f"took the transaction back: it was silent for more than {SILENCE_SECONDS} seconds", "try again"),
}
_REFUSED: Final = (
    (
        re.compile(r"certificate verify failed|root certificate|SSL|certificate", re.IGNORECASE),
        f"set {CA_FILE} to the PEM file of the server's CA; the URL's `sslmode` says what is asked of the server",
    ),
    (
        re.compile(r"password|authentication", re.IGNORECASE),
        f"set {PASSWORD_FILE} (or {PASSWORD}, PGPASSFILE, PGPASSWORD) to the password of the role that the URL names",
    ),
    (re.compile(r"database .* does not exist"), "create the database, or name another one"),
    (re.compile(""), "check that the server is up, and its host and port"),
)


@contextmanager
def errors_of(shown: str) -> Iterator[None]:
    """Turn what goes wrong with the database that is shown like this into ours.

    Raises:
        StoreBusyError: others kept us waiting for too long; trying again helps.
        StoreError: anything else.
    """
    psycopg = driver()
    try:
        yield
    except psycopg.Error as error:
        raise _explained(shown, error) from error
    except UnicodeEncodeError as error:
        raise UnsendableError(f"{shown} cannot hold text that is not Unicode (a lone surrogate)") from error


def _explained(shown: str, error: psycopg.Error) -> StoreError:
    state = error.sqlstate or ""
    if state in _BUSY:
        return StoreBusyError(f"{shown} is busy: {_BUSY[state]}", fix="try again; if it stays so, see pg_stat_activity")
    if state in _EXPLAINED:
        said, fix = _EXPLAINED[state]
        return StoreError(f"{shown} {said}", fix=fix)
    message = error.diag.message_primary or str(error).partition("\n")[0]
    if not state and "connection" in message:
        # libpq's words for a connection that is not made name host, port and role, and no password.
        said = str(error).strip().replace("\n", "; ")
        fix = next(fix for words, fix in _REFUSED if words.search(said))
        return StoreError(f"{shown} cannot be reached: {said}", fix=fix)
    return StoreError(f"{shown} did not do as it was told: {message}")


class UnsendableError(StoreError):
    """A row that no database of ours takes."""


class Session:
    """A connection of ours, used by one thread at a time. Statements have `?` for values, and no other `?` or `%`.

    PostgreSQL's text has no NUL character: one is written as the symbol for it.
    """

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection

    def execute(self, statement: str, values: Sequence[object] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """Carry out one statement and return the cursor over what it finds."""
        return self.connection.execute(_translated(statement), _storable(values) if values else None)

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Carry out one statement for each row, many of them on their way at once.

        psycopg keeps what it has sent until all is answered, so that it is given a batch at a time.
        """
        storable = (_storable(row) for row in rows)
        with self.connection.cursor() as cursor:
            while batch := list(islice(storable, _BATCH)):
                cursor.executemany(_translated(statement), batch)

    @property
    def lost(self) -> bool:
        """Whether the connection is of no use any more."""
        return self.connection.closed

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


@cache
def _translated(statement: str) -> Any:  # noqa: ANN401 - psycopg asks for literals, and ours are constants
    return statement.replace("?", "%s")


def _storable(values: Sequence[object]) -> tuple[object, ...]:
    """Return a row as it can be sent.

    Raises:
        UnsendableError: it has text that is not Unicode, or is longer than we would read.
    """
    try:
        length = sum([len(value.encode()) for value in values if type(value) is str])
    except UnicodeEncodeError as error:
        raise UnsendableError("no database can hold text that is not Unicode (a lone surrogate)") from error
    if length > LENGTH_LIMIT:
        raise UnsendableError(f"it has more than {LENGTH_LIMIT} bytes in one row", fix="shorten that row")
    return tuple([without_nul(value) if type(value) is str else value for value in values])


def without_nul(text: str) -> str:
    """Return a text as it comes back from a column."""
    return text.translate(_NO_NUL) if "\0" in text else text


def connect(address: Address) -> Session:
    """Return a new session. Whoever calls this does so inside `errors_of`."""
    psycopg = driver()
    from psycopg.types.string import TextLoader

    with ExitStack() as undo:
        connection = psycopg.connect(
            **address.parameters, autocommit=True, application_name="reconciler", client_encoding="UTF8"
        )
        undo.callback(connection.close)
        for kind in ("json", "jsonb", "timestamptz", "timestamp"):
            connection.adapters.register_loader(kind, TextLoader)
        settings = {**_SESSION, "search_path": f"{address.schema}"}
        chosen = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        connection.execute(f"SELECT {chosen}", [word for setting in settings.items() for word in setting])
        undo.pop_all()
        return Session(connection)


@contextmanager
def transaction(session: Session) -> Iterator[None]:
    """Hold a transaction; whatever is raised inside undoes everything."""
    with session.connection.transaction():
        yield
