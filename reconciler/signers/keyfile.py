"""A private key in a file that its owner alone can read.

The file is opened once and judged by what was opened, not by what its name pointed to a moment before. It is read into
memory here and nowhere else; the key is not shown, logged or put into an error.
"""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from typing import TYPE_CHECKING, Final

from reconciler.core.hostile import printable
from reconciler.core.signing import load_private_key
from reconciler.errors import InputError, SignerError
from reconciler.signers.held import HeldKey

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def key_in_file(path: Path) -> HeldKey:
    """Return a signer over the key in the file `path`, an unencrypted PKCS#8 PEM of mode 0600 or stricter.

    Raises:
        SignerError: the file is missing, is not a regular one, can be read by others, or holds no usable key.
    """
    try:
        return HeldKey(load_private_key(_read(path)), f"file:{path}")
    except SignerError as error:
        raise SignerError(f"{printable(str(path))}: {error}", fix=error.fix) from None


def write_new_key(path: Path, private: bytes) -> None:
    """Write a private key into a new file that only its owner can read, completely or not at all.

    The key is written under another name and then linked to `path`: a name that exists is never replaced, and a key
    cut short by a full disk never gets the name.

    Raises:
        InputError: the file exists already, or cannot be written.
    """
    try:
        draft = _draft(path.parent, private)
        try:
            os.link(draft, path, follow_symlinks=False)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise InputError(
            f"{printable(str(path))} exists already and was not touched",
            fix="choose another name; replacing a key orphans its signatures",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{printable(str(path))} cannot be written: {reason}", fix="check the directory") from None


def _draft(directory: Path, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=directory)  # 0600 from the start
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return directory / name


def _read(path: Path) -> bytes:
    # Non-blocking, for a FIFO must not hang the run before it is seen to be one.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        fix = "make one with `reconciler keys generate`, or correct the path"
        reason = error.strerror if isinstance(error, OSError) else error
        raise SignerError(f"the signing key cannot be read: {reason}", fix=fix) from None
    try:
        _demand_private(path, os.fstat(descriptor))
        return os.read(descriptor, _MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def _demand_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SignerError("the signing key is not a regular file", fix="give the path of the key file itself")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        message = f"the signing key can be used by others than its owner (mode {mode:04o})"
        raise SignerError(message, fix=f"chmod 600 {printable(shlex.quote(str(path)))}")
