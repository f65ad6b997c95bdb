"""Where a PostgreSQL database is and how we are let in: its URL, our password, and its own private CA.

A password is never part of a URL, and nothing of a URL but host, port, database and schema is ever shown. Password and
CA come from the environment that the composition root hands over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

PASSWORD: Final = "RECONCILER_POSTGRESQL_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FILE: Final = "RECONCILER_POSTGRESQL_PASSWORD_FILE"  # noqa: S105 - as above
CA_FILE: Final = "RECONCILER_POSTGRESQL_CA_FILE"

_CONNECTING: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_OPTIONS: Final = frozenset(
    {
        "channel_binding", "connect_timeout", "gssencmode", "host", "krbsrvname", "load_balance_hosts", "port",
        "sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslrootcert", "ssl_min_protocol_version",
        "target_session_attrs", "user",
    }
)  # fmt: skip
"""What may stand after the `?` of a URL, with libpq's meaning
(https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS); besides them `schema`, which is ours.
"""

_SCHEMA_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_LIBPQ: Final = {"password": "PGPASSWORD", "passfile": "PGPASSFILE"}
"""What libpq would take from the process's own environment, which need not be the one that we were handed."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database and a schema in it. `parameters` are libpq's, and hold the password: they are never shown."""

    shown: str
    schema: str
    parameters: Mapping[str, str] = field(repr=False)


def address_of(url: str, environ: Mapping[str, str]) -> Address:
    """Return where the database of a URL is, and how we are let in.

    The server must prove who it is unless it is on this machine or the URL says otherwise: libpq's own default,
    `prefer`, would take any certificate, and none.

    Raises:
        InputError: the URL is none, has a password or an option that is not one, or a file that is named cannot be
            read. Nothing of the URL is repeated but the names of options.
    """
    base, _, query = url.partition("?")
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise _bad_url("has options that are not `name=value`, separated by `&`") from None
    schema = options.pop("schema", "public")
    if "password" in options:
        raise _with_password()
    if unknown := sorted(options.keys() - _OPTIONS):
        raise _bad_url(f"has options that are not known: {', '.join(unknown)}")
    if not _SCHEMA_NAME.fullmatch(schema):
        raise _bad_url("names a schema that is none: lower-case letters, digits and `_` are taken")
    given = _parsed(f"{base}?{urlencode(options)}" if options else base)
    parameters = {**_CONNECTING, **_trust(given, environ), **given, **_password(environ)}
    return Address(_shown(given, schema), schema, parameters)


def _parsed(url: str) -> dict[str, str]:
    psycopg = driver()
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        raise _bad_url("is none that PostgreSQL's client library can read") from None
    if "password" in given:
        raise _with_password()
    return given


def driver() -> Any:  # noqa: ANN401 - a module
    """Return psycopg, which is an extra, and costs too much to be imported before it is needed.

    Raises:
        InputError: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise InputError(
            "PostgreSQL stores need psycopg, which is not installed",
            fix="pip install 'mcp-gateway-reconciler[postgresql]'",
        ) from error
    return psycopg


def _bad_url(why: str) -> InputError:
    return InputError(
        f"the store's URL begins with `postgresql:` and {why}",
        fix="write postgresql://host:5432/database?user=reconciler, with options such as `&schema=gateways`",
    )


def _with_password() -> InputError:
    return InputError(
        "the store's URL has a password, which would be seen in config files, process lists and logs",
        fix=f"leave it out and set {PASSWORD_FILE} (or {PASSWORD}, PGPASSFILE, PGPASSWORD); change it if others saw it",
    )


def _trust(given: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    ca_file = environ.get(CA_FILE) or environ.get("PGSSLROOTCERT", "")
    if ca_file and ca_file != "system" and not Path(ca_file).is_file():
        raise InputError(f"the CA file {ca_file} is not there", fix=f"correct {CA_FILE}")
    mode = environ.get("PGSSLMODE") or ("prefer" if _is_here(given.get("host", "")) else "verify-full")
    chosen = given.get("sslmode", mode)
    # libpq asks the system's CAs only for `verify-full`, and looks for a file of the user's otherwise.
    root = {"sslrootcert": ca_file} if ca_file else {"sslrootcert": "system"} if chosen == "verify-full" else {}
    return {"sslmode": mode, **root}


def _is_here(host: str) -> bool:
    return all(each in {"", "localhost", "127.0.0.1", "::1"} or each.startswith(("/", "@")) for each in host.split(","))


def _password(environ: Mapping[str, str]) -> dict[str, str]:
    if given := environ.get(PASSWORD):
        return {"password": given}
    if name := environ.get(PASSWORD_FILE):
        try:
            return {"password": Path(name).read_text(encoding="utf-8").rstrip("\r\n")}
        except (OSError, ValueError) as error:
            raise InputError(f"the password file {name} cannot be read", fix=f"correct {PASSWORD_FILE}") from error
    return {name: environ[variable] for name, variable in _LIBPQ.items() if environ.get(variable)}


def _shown(given: Mapping[str, str], schema: str) -> str:
    place = ":".join(filter(None, (given.get("host", "localhost"), given.get("port", ""))))
    within = f", schema {schema}" if schema != "public" else ""
    return f"the database {given.get('dbname', given.get('user', ''))} at {place}{within}"
