"""Files that somebody else watches: read bounded, replaced by rename, never written in place and never unlinked.

The broker looks at the directory: a rename onto the name is one event and one reload. A truncated file would be an
empty and valid configuration to it, and after an unlink it stops looking until it is started again.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.clock import now
from reconciler.errors import StoreBusyError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

LOCK_SECONDS: Final = 10.0

_PRIVATE: Final = 0o600
_OTHERS: Final = 0o077
_PAUSE_SECONDS: Final = 0.005
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Content(NamedTuple):
    """What a file holds, and a mark that another file of this name, or another content of it, does not have."""

    data: bytes
    identity: tuple[int, ...]


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file that belongs to another one."""
    return path.with_name(f"{path.name}.{ending}")


def read(path: Path, limit: int) -> Content | None:
    """Return what a file holds, or None where there is none.

    Raises:
        StoreError: it cannot be read, is no file, or has more than `limit` bytes.
    """
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"{path} is not a file", fix="give the file that the broker reads")
            data = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, "cannot be read", error) from None
    if len(data) > limit:
        raise StoreError(f"{path} has more than {limit:,} bytes", fix="is this the right file?")
    return Content(data, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


def identity(path: Path) -> tuple[int, ...] | None:
    """Return the mark of a file as `read` gives it, or None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, "cannot be looked at", error) from None
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def replace(path: Path, data: bytes) -> datetime:
    """Make `data` what the file of this name holds, for its owner alone: all of it or, whatever happens, nothing.

    The caller holds the lock of the file, or of the one it belongs to. When this returns, the file survives a power
    failure. What is returned is the moment just before anybody could see it.

    Raises:
        StoreError: it could not be done, and the file is as it was.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # what a writer left that was killed
        with os.fdopen(os.open(new, _CREATE, _PRIVATE), "wb") as file:
            _give_to_the_owner_of(path, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        moment = now()
        new.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise _failed(path, "cannot be written", error) from None
    return moment


def keep(path: Path, data: bytes, other: Path) -> None:
    """Let `other` be what `path` holds, which is `data`: by a second name for it, unless others may read it.

    Raises:
        StoreError: it could not be done.
    """
    new = other.with_name(f".{other.name}.new")
    try:
        if path.stat().st_mode & _OTHERS:
            replace(other, data)
            return
        new.unlink(missing_ok=True)
        os.link(path, new, follow_symlinks=False)
        new.replace(other)
        new.unlink(missing_ok=True)  # it stays where both are names of one file already
    except OSError as error:
        raise _failed(other, "cannot be written", error) from None


@contextmanager
def locked(path: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Keep every other writer of `path` out, by a lock on the file beside it, which stays.

    Raises:
        StoreBusyError: another one had it all the time.
        StoreError: it cannot be locked.
    """
    lock = beside(path, "lock")
    try:
        descriptor = os.open(lock, _LOCK, _PRIVATE)
    except OSError as error:
        raise _failed(lock, "cannot be opened", error) from None
    try:
        _wait_for(descriptor, lock, time.monotonic() + seconds)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, lock: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreBusyError(f"another writer holds {lock}", fix="try again when it is done") from None
            time.sleep(_PAUSE_SECONDS)
        except OSError as error:
            raise _failed(lock, "cannot be locked", error) from None
        else:
            return


def _give_to_the_owner_of(path: Path, descriptor: int) -> None:
    """Give a new file to the owner of the one that it replaces, for the broker runs as that user."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if found.st_uid != os.geteuid():
        os.fchown(descriptor, found.st_uid, found.st_gid)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, what: str, error: OSError) -> StoreError:
    fix = "run it as the owner of the file: the broker has to read it, and nobody else may"
    return StoreError(
        f"{path} {what}: {error.strerror or error}", fix=fix if isinstance(error, PermissionError) else ""
    )
