"""Writing a file of the working tree anew: all of it or nothing, and never through a link out of the root."""

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
