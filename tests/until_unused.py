"""Run a command for as long as anybody uses it, then end it: `until_unused.py DIRECTORY COMMAND [ARGUMENT…]`.

Who uses it holds a shared lock on DIRECTORY/users. The kernel drops the locks of a process that ends in any way, so
nothing outlives the tests, however they end. DIRECTORY/scratch, if there is one, is a link to what is removed with it.
Only a script: it imports nothing but the standard library.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

_GLANCE_SECONDS = 0.1


def main(directory: Path, command: list[str]) -> None:
    """Start the command, and end it when it is no longer used. Its address goes first: a newcomer starts another."""
    with (directory / "users").open() as users, subprocess.Popen(command, cwd=directory) as process:
        while process.poll() is None and not _unused(users):
            time.sleep(_GLANCE_SECONDS)
        (directory / "ready.json").unlink(missing_ok=True)
        process.kill()
    if (directory / "scratch").is_symlink():
        shutil.rmtree((directory / "scratch").readlink(), ignore_errors=True)


def _unused(users: IO[str]) -> bool:
    # Once it is true it stays true until this script ends: newcomers wait for the lock.
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
