"""References become secrets here, at the last moment, and only in memory.

The environment is an argument. A secret is never part of an error: only the name of where it should have been.
"""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.core.oauth import TokenRequest
from reconciler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import Auth, SecretReference

_SECRET_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries to authenticate: header and query pairs, and how to get the token it carries as well.

    Not shown in any representation.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token: TokenRequest | None = field(default=None, repr=False)


def resolve(reference: SecretReference, environ: Mapping[str, str]) -> str:
    """Return the secret the reference points at, without white space around it.

    Raises:
        InputError: it is not there, or empty, or is kept where only a Kubernetes store can read it.
    """
    if reference.kind == "env":
        value = environ.get(reference.name, "")
        where = f"environment variable {reference.name}"
    elif reference.kind == "file":
        value = _read(reference.name)
        where = f"file {reference.name}"
    else:
        raise InputError(
            f"Secret {reference.name}, key {reference.key}, can only be read with a Kubernetes store",
            fix="use {env: …} or {file: …} with this store",
        )
    if not value.strip():
        raise InputError(f"the {where} is empty or not set", fix="set it where the reconciler runs")
    return value.strip()


def credentials(auth: Auth, environ: Mapping[str, str]) -> Credentials:
    """Return what `auth` adds to a request.

    Raises:
        InputError: a secret is missing.
    """
    secrets = {purpose: resolve(reference, environ) for purpose, reference in auth.secrets}
    try:
        return _carried(auth.type, dict(auth.settings), secrets)
    except KeyError as missing:
        raise InputError(
            f"the gateway's {auth.type} authentication lacks its {missing.args[0]}",
            fix="`reconciler apply` writes the reviewed row back",
        ) from None


def _carried(kind: str, settings: Mapping[str, str], secrets: Mapping[str, str]) -> Credentials:
    if kind == "bearer":
        return Credentials(headers=(("Authorization", f"Bearer {secrets['token']}"),))
    if kind == "basic":
        pair = b64encode(f"{settings['username']}:{secrets['password']}".encode("utf-8", "surrogateescape")).decode()
        return Credentials(headers=(("Authorization", f"Basic {pair}"),))
    if kind == "headers":
        return Credentials(headers=tuple(secrets.items()))
    if kind == "queryParameter":
        return Credentials(query=((settings["name"], secrets["value"]),))
    if kind == "oauth":
        scopes = tuple(settings.get("scopes", "").split())
        request = TokenRequest(settings["tokenUrl"], settings["clientId"], secrets["clientSecret"], scopes)
        return Credentials(token=request)
    return Credentials()


def _read(path: str) -> str:
    try:
        # Not blocking: a pipe that nobody writes to must not stop a run.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_SECRET_LIMIT).decode()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None
    except UnicodeDecodeError:
        raise _unreadable(path, "not UTF-8") from None
    except ValueError:
        raise _unreadable(path, "not a path") from None


def _unreadable(path: str, reason: str) -> InputError:
    return InputError(f"the secret file {path} cannot be read: {reason}", fix="check the path and mode")
