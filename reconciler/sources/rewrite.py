"""Writing a file of the working tree: all of it or nothing, and never through a link out of the root."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from reconciler.errors import InputError, ReconcilerError


def rewrite(root: Path, name: str, data: bytes) -> None:
    """Replace the contents of `name` (root-relative), keeping its mode and, where that is allowed, its owner.

    A link is left in place; what it points to is written.

    Raises:
        InputError: it leads out of the root.
        ReconcilerError: it cannot be written.
    """
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(os.path.realpath(root)):
        raise InputError(f"{name} leads out of the repository", fix="replace the link by the file")
    try:
        _replace(path, data)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ReconcilerError(f"{name} cannot be written: {reason}", fix="mend the permissions") from None


def write_inside(root: Path, name: str, data: bytes) -> None:
    """Write the file `name` (root-relative), all of it or nothing; one that exists is replaced.

    Raises:
        InputError: its directory does not exist, or a link is part of its path: nothing is written through links.
        ReconcilerError: it cannot be written.
    """
    top = Path(os.path.realpath(root))
    path = top / name
    if not path.is_relative_to(top) or Path(os.path.realpath(path)) != path:
        raise InputError(
            f"{name} is reached through a link, or lies outside of the repository", fix="give a plain path"
        )
    temporary = path.with_name(f".{path.name}.new")
    try:
        _fill(temporary, data)
        temporary.replace(path)
    except FileExistsError:
        message = f"{temporary.name} is in the way beside {name}: another run is writing, or was interrupted"
        raise ReconcilerError(message, fix="remove it if nobody is writing") from None
    except FileNotFoundError:
        raise InputError(f"{name} cannot be written: its directory does not exist", fix="make the directory") from None
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ReconcilerError(f"{name} cannot be written: {reason}", fix="mend the permissions") from None


def _fill(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _replace(path: Path, data: bytes) -> None:
    before = path.stat()
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            with suppress(PermissionError):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
